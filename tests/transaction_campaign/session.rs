//! A log with producers, transactions and a group, and what is known of them.

use crate::workload::{Op, PLACES, PRODUCERS, Place, Settings, Workload};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use streamlog::{
    Consumer, Durability, Error, Outcome, Partition, Producer, ProducerRecord, RecordData, Streamlog,
    TopicConfig, Transaction,
    clients::{AutoOffsetReset, IsolationLevel},
    config::Builder,
    sim::SimEnv,
};

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Committed,
    Aborted,
    /// Nobody knows: either.
    Unknown,
}

/// A transaction as the program knows it.
#[derive(Clone, Debug)]
pub struct Known {
    pub state: State,
    /// The values that it sent, in their order.
    pub values: Vec<(Place, String)>,
    /// The offset of the group that it commits.
    pub offset: Option<u64>,
}

/// Everything that the program knows.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub transactions: Vec<Known>,
    /// The transactions that were decided, in the order of that.
    pub decided: Vec<usize>,
    /// What was sent outside, and whether it survives a power cut.
    pub plain: Vec<(Place, String, bool)>,
    /// The values below a new log start, and whether that survives a power cut.
    pub deleted: BTreeMap<String, bool>,
}

/// A run under way.
pub struct Session {
    pub env: SimEnv,
    pub log: Option<Streamlog>,
    settings: Settings,
    producers: Vec<Producer>,
    open: Vec<Option<(usize, Transaction)>>,
    consumer: Option<Consumer>,
    pub model: Model,
    /// How many values were sent outside of transactions, so that each is another one.
    plain: usize,
}

/// How much each producer keeps in memory: two of three write before the commit.
const BUFFERS: [u64; PRODUCERS] = [1 << 20, 300, 150];

/// How long a transaction may take, which is longer than whole workloads take without [`Op::Late`].
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(600);

fn builder(env: &SimEnv, settings: Settings) -> Builder {
    let builder = Builder::env(env, "/d").background_thread(false);
    match settings.upkeep {
        Some((segment_bytes, snapshot_every, rewrite_above)) => {
            builder.offsets_upkeep(segment_bytes, snapshot_every, rewrite_above)
        }
        None => builder,
    }
}

pub fn open(env: &SimEnv, settings: Settings) -> Result<Streamlog, Error> {
    builder(env, settings).open()
}

/// As another process sees it.
pub fn observe(env: &SimEnv, settings: Settings) -> Result<Streamlog, Error> {
    builder(env, settings).read_only(true).open()
}

/// Makes the topics, and what the group reads first.
pub fn prepare(env: &SimEnv, settings: Settings) -> Result<(), Error> {
    let log = open(env, settings)?;
    let small = || TopicConfig::default().segment_bytes(settings.segment_bytes);
    let weak = || small().durability(Durability::Written);
    log.create_topic("a", small().partitions(2))?;
    log.create_topic("b", weak())?;
    log.create_topic("in", weak())?;
    input(&log, 5)?;
    log.close()
}

fn input(log: &Streamlog, count: usize) -> Result<(), Error> {
    let partition = log.topic("in")?.partition(0)?;
    (0..count).try_for_each(|_| partition.append(&[RecordData::new("input")]).map(drop))
}

fn partition(log: &Streamlog, place: Place) -> Result<Partition, Error> {
    let (topic, partition) = PLACES[place];
    log.topic(topic)?.partition(partition)
}

impl Session {
    /// Opens the log, and nothing more.
    pub fn open(env: SimEnv, settings: Settings) -> Result<Session, Error> {
        let log = Some(open(&env, settings)?);
        let (producers, model) = (Vec::new(), Model::default());
        Ok(Session { env, log, settings, producers, open: Vec::new(), consumer: None, model, plain: 0 })
    }

    /// Makes producers and a consumer, of a log of which this is known.
    pub fn begin(&mut self, model: Model) -> Result<(), Error> {
        self.plain = self.plain.max(model.plain.len());
        self.model = model;
        let Some(log) = &self.log else { return Ok(()) };
        self.open = BUFFERS.iter().map(|_| None).collect();
        let build = |number| Self::producer(log, number);
        self.producers = (0..PRODUCERS).map(build).collect::<Result<_, _>>()?;
        let builder =
            log.consumer_builder("g").auto_offset_reset(AutoOffsetReset::Earliest).max_poll_records(2);
        let mut consumer = builder.build()?;
        consumer.subscribe(["in"])?;
        self.consumer = Some(consumer);
        Ok(())
    }

    fn producer(log: &Streamlog, number: usize) -> Result<Producer, Error> {
        let builder = log.producer_builder().transaction_timeout(TRANSACTION_TIMEOUT);
        builder.transaction_buffer(BUFFERS[number]).build()
    }

    /// Ends whatever is open in the model: the handle is gone, or was told so.
    fn all_aborted(&mut self) {
        for known in self.model.transactions.iter_mut().filter(|known| known.state == State::Open) {
            known.state = State::Aborted;
        }
    }

    fn decide(&mut self, number: usize, state: State) {
        self.model.transactions[number].state = state;
        if matches!(state, State::Committed | State::Unknown) {
            self.model.decided.push(number);
        }
    }

    /// Makes a call. Without faults an error is one of the library's.
    pub fn call(&mut self, op: &Op) -> Result<(), Error> {
        let Some(log) = self.log.clone() else { return Ok(()) };
        match *op {
            Op::Begin(producer) => self.begin_transaction(producer),
            Op::Send { producer, place, size } => self.send(producer, place, size),
            Op::Offsets(producer) => self.offsets(producer),
            Op::Commit(producer) => self.commit(producer),
            Op::Abort(producer) => match self.open[producer].take() {
                Some((number, transaction)) => {
                    self.decide(number, State::Aborted);
                    transaction.abort()
                }
                None => Ok(()),
            },
            Op::Drop(producer) => {
                if let Some((number, transaction)) = self.open[producer].take() {
                    self.decide(number, State::Aborted);
                    drop(transaction);
                }
                Ok(())
            }
            Op::Plain { place, size } => self.plain(&log, place, size),
            Op::Input(count) => input(&log, count),
            Op::Delete { place, quarters } => self.delete(&log, place, quarters),
            Op::Flush(place) => partition(&log, place)?.flush(),
            Op::Late => {
                self.env.advance(TRANSACTION_TIMEOUT);
                self.all_aborted();
                log.maintain()
            }
            Op::Maintain => {
                self.env.advance(Duration::from_secs(11));
                log.maintain()
            }
            Op::Reopen => {
                drop(log);
                self.close()?;
                self.log = Some(open(&self.env, self.settings)?);
                let model = std::mem::take(&mut self.model);
                self.begin(model)
            }
        }
    }

    /// Closes the log, and drops what would abort after it.
    pub fn close(&mut self) -> Result<(), Error> {
        self.all_aborted();
        let closed = self.log.take().map_or(Ok(()), |log| log.close());
        self.open.clear();
        self.consumer = None;
        self.producers.clear();
        closed
    }

    fn begin_transaction(&mut self, producer: usize) -> Result<(), Error> {
        if self.open[producer].is_none() {
            let transaction = self.producers[producer].begin_transaction()?;
            self.open[producer] = Some((self.model.transactions.len(), transaction));
            self.model.transactions.push(Known { state: State::Open, values: Vec::new(), offset: None });
        }
        Ok(())
    }

    fn send(&mut self, producer: usize, place: Place, size: usize) -> Result<(), Error> {
        let Some((number, transaction)) = &mut self.open[producer] else { return Ok(()) };
        let known = &mut self.model.transactions[*number];
        let value = format!("t{number}.{}{}", known.values.len(), "-".repeat(size));
        let (topic, partition) = PLACES[place];
        match transaction.send(ProducerRecord::new(topic, &value).partition(partition)) {
            Ok(()) if known.state == State::Open => known.values.push((place, value)),
            Ok(()) => panic!("a record was taken into transaction {number}, which has ended"),
            Err(error) if known.state == State::Aborted => drop(error),
            // Either it was aborted, and so its commit will fail, or this record is not part of it.
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn offsets(&mut self, producer: usize) -> Result<(), Error> {
        let Some((number, transaction)) = &mut self.open[producer] else { return Ok(()) };
        let Some(consumer) = &mut self.consumer else { return Ok(()) };
        consumer.poll(Duration::ZERO)?;
        let known = &mut self.model.transactions[*number];
        match transaction.send_offsets(consumer) {
            Ok(()) if known.state == State::Open => {
                known.offset = consumer.positions().offsets().next().map(|(_, offset)| offset.value());
            }
            Ok(()) => panic!("offsets were taken into transaction {number}, which has ended"),
            Err(error) if known.state == State::Aborted => drop(error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn commit(&mut self, producer: usize) -> Result<(), Error> {
        let Some((number, transaction)) = self.open[producer].take() else { return Ok(()) };
        let was_open = self.model.transactions[number].state == State::Open;
        match transaction.commit() {
            Ok(_) => {
                assert!(was_open, "transaction {number} was committed, which has ended");
                self.decide(number, State::Committed);
                Ok(())
            }
            Err(error) if was_open => {
                let is_certain = error.outcome() == Outcome::NotAppended;
                self.decide(number, if is_certain { State::Aborted } else { State::Unknown });
                Err(error)
            }
            Err(_) => Ok(()),
        }
    }

    fn plain(&mut self, log: &Streamlog, place: Place, size: usize) -> Result<(), Error> {
        let value = format!("p{}{}", self.plain, "-".repeat(size));
        self.plain += 1;
        let is_durable = PLACES[place].0 == "a";
        match partition(log, place).and_then(|partition| partition.append(&[RecordData::new(&value)])) {
            Ok(_) => self.model.plain.push((place, value, is_durable)),
            Err(error) => {
                if error.outcome() != Outcome::NotAppended {
                    self.model.plain.push((place, value, false));
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn delete(&mut self, log: &Streamlog, place: Place, quarters: u64) -> Result<(), Error> {
        let partition = partition(log, place)?;
        let (start, stable) = (partition.log_start_offset().value(), partition.last_stable_offset().value());
        let before = start + stable.saturating_sub(start) * quarters / 4;
        let mut going = Vec::new();
        for record in partition.records_with(start, IsolationLevel::ReadUncommitted) {
            let record = record?;
            if record.offset < before {
                going.push(String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned());
            }
        }
        self.model.deleted.extend(going.iter().map(|value| (value.clone(), false)));
        log.delete_records(PLACES[place].0, PLACES[place].1, before)?;
        self.model.deleted.extend(going.into_iter().map(|value| (value, true)));
        Ok(())
    }
}

/// What read-committed readers and the group see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    pub values: BTreeMap<Place, Vec<String>>,
    /// Where something is open, so that readers wait.
    pub waits: BTreeSet<Place>,
    pub offset: Option<u64>,
    /// Where the group's input ends.
    pub input_end: u64,
}

pub fn view(log: &Streamlog) -> Result<View, Error> {
    let mut view = View::default();
    for place in 0..PLACES.len() {
        let partition = partition(log, place)?;
        let mut values = Vec::new();
        let start = partition.log_start_offset();
        for record in partition.records_with(start, IsolationLevel::ReadCommitted) {
            values.push(String::from_utf8_lossy(&record?.value.unwrap_or_default()).into_owned());
        }
        view.values.insert(place, values);
        if partition.last_stable_offset() != partition.log_end_offset() {
            view.waits.insert(place);
        }
    }
    let group = log.describe_group("g")?;
    view.offset = group.committed.first().map(|(_, committed)| committed.offset.value());
    view.input_end = log.topic("in")?.partition(0)?.log_end_offset().value();
    Ok(view)
}

/// Runs a workload, with what is to be told of each call.
pub fn run(
    workload: &Workload,
    session: &mut Session,
    mut after: impl FnMut(&Session, Model),
) -> Result<(), String> {
    for op in &workload.ops {
        let before = session.model.clone();
        let done = session.call(op);
        after(session, before);
        done.map_err(|error| format!("{op:?}: {error}"))?;
    }
    Ok(())
}
