//! Producers with a name: what was sent before is not written again, through any cut.

use super::*;
use crate::{
    Streamlog,
    config::Builder,
    env::sync::Mutex,
    partition::state::append_as::Claimed,
    planted,
    producer::identity::Names,
    sim::{Crash, Fault, FaultKind, Operation, SimEnv},
    types::TopicPartition,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Names in memory, which outlast the processes of a test.
#[derive(Default)]
struct Known(Mutex<BTreeMap<String, Claimed>>);

impl Names for Known {
    fn claim(&self, name: &str, _: Duration) -> Result<Claimed> {
        let mut known = self.0.lock();
        let fresh = Claimed { id: (1 << 41) + known.len() as i64, epoch: -1 };
        let claimed = known.entry(name.to_string()).or_insert(fresh);
        claimed.epoch += 1;
        Ok(*claimed)
    }

    fn forget(&self, name: &str) -> Result<Option<i64>> {
        Ok(self.0.lock().remove(name).map(|claimed| claimed.id))
    }
}

/// Opens the log, and makes its topic.
fn open(env: &SimEnv, partitions: u32) -> (Streamlog, Topic) {
    let log = Builder::env(env, "/data").background_thread(false).open().unwrap();
    let topic = log.topic_or_create("t", TopicConfig::default().partitions(partitions).segment_bytes(900));
    (log, topic.unwrap())
}

fn named(log: &Streamlog, names: &Arc<Known>, name: &str) -> Producer {
    let builder =
        log.producer_builder().with_names(Arc::clone(names) as Arc<dyn Names>).max_block(Duration::ZERO);
    builder.named(name).build().unwrap()
}

fn record(number: u64) -> ProducerRecord<'static> {
    ProducerRecord::new("t", number.to_string()).partition(0).sequence(number)
}

fn last(producer: &Producer) -> Option<u64> {
    producer.last_sequence(&TopicPartition::new("t", 0)).unwrap()
}

/// How a call answers: the offset, and whether it was sent before.
fn answer(sent: Result<RecordMetadata>) -> (Option<u64>, bool) {
    let sent = sent.unwrap_or_else(|error| panic!("it was refused: {error}"));
    (sent.has_offset().then(|| sent.offset.value()), sent.duplicate)
}

fn every_call_answers_what_was_sent_before() {
    let env = SimEnv::new(1);
    let names = Arc::new(Known::default());
    let (log, topic) = open(&env, 2);
    let producer = named(&log, &names, "sensor-7");
    assert_eq!(last(&producer), None);
    assert_eq!(answer(producer.send(record(5))), (Some(0), false));
    assert_eq!(answer(producer.send(record(5))), (Some(0), true));
    assert_eq!(answer(producer.send(record(3))), (None, true), "lower numbers count as sent");
    let deliveries = [7, 8, 8, 7, 20].map(|number| producer.enqueue(record(number)).unwrap());
    producer.flush().unwrap();
    let answers = deliveries.map(|delivery| answer(delivery.wait()));
    assert_eq!(answers[0], (Some(1), false));
    assert_eq!(answers.map(|(_, again)| again), [false, false, true, true, false]);
    assert_eq!(answer(producer.enqueue(record(7)).unwrap().wait()), (Some(1), true));
    let sent = producer.send_batch(&[record(20), record(21), record(21), record(30)]).unwrap();
    let sent: Vec<_> = sent.into_iter().map(|sent| answer(Ok(sent))).collect();
    assert_eq!(sent, [(Some(3), true), (Some(4), false), (Some(4), true), (Some(5), false)]);
    assert_eq!(producer.send_all((28..34).map(record)).unwrap(), 6);
    assert_eq!(last(&producer), Some(33));
    let unnumbered = producer.send(ProducerRecord::new("t", "34").partition(0));
    assert_eq!(answer(unnumbered), (Some(9), false));
    assert_eq!(last(&producer), Some(34), "a record without a number gets the next one");
    assert_eq!(values(&topic, 0), ["5", "7", "8", "20", "21", "30", "31", "32", "33", "34"]);
    // Another partition counts by itself, and so does another name.
    assert_eq!(answer(producer.send(record(1).partition(1))), (Some(0), false));
    let other = named(&log, &names, "sensor-8");
    assert_eq!(answer(other.send(record(1))), (Some(10), false));
}

#[test]
fn what_a_named_producer_sent_before_is_answered_and_not_written_again() {
    planted::hold(every_call_answers_what_was_sent_before, &["no_number_is_too_low"]);
}

fn a_name_has_one_holder() {
    let names = Arc::new(Known::default());
    let (log, _topic) = open(&SimEnv::new(1), 1);
    let first = named(&log, &names, "sensor-7");
    first.send(record(1)).unwrap();
    let waiting = first.enqueue(record(2)).unwrap();
    let second = named(&log, &names, "sensor-7");
    for refused in [first.send(record(3)).unwrap_err(), first.enqueue(record(3)).unwrap_err()] {
        assert!(refused.kind() == ErrorKind::Fenced && refused.to_string().contains("epoch 1"), "{refused}");
    }
    assert_eq!(kind(first.send_batch(&[record(3)])), ErrorKind::Fenced);
    assert_eq!(kind(first.send_all([record(3)]).map_err(|stopped| stopped.error)), ErrorKind::Fenced);
    assert_eq!(kind(first.last_sequence(&TopicPartition::new("t", 0))), ErrorKind::Fenced);
    assert_eq!(undelivered(first.flush()), (1, ErrorKind::Fenced));
    assert_eq!(undelivered(waiting.wait()), (1, ErrorKind::Fenced));
    assert_eq!(last(&second), Some(1));
    assert_eq!(answer(second.send(record(2))), (Some(1), false));
}

#[test]
fn a_later_producer_of_a_name_fences_the_one_before() {
    planted::hold(a_name_has_one_holder, &["a_name_has_two_holders"]);
}

#[test]
fn names_and_numbers_that_make_no_sense_are_refused() {
    let names = Arc::new(Known::default());
    let (log, _topic) = open(&SimEnv::new(1), 1);
    for name in [String::new(), "x".repeat(256)] {
        let builder = log.producer_builder().with_names(Arc::clone(&names) as Arc<dyn Names>).named(name);
        assert_eq!(kind(builder.build()), ErrorKind::InvalidArgument);
    }
    let unnamed = log.producer().unwrap();
    assert_eq!(kind(unnamed.send(record(1))), ErrorKind::InvalidArgument);
    assert_eq!(kind(unnamed.enqueue(record(1))), ErrorKind::InvalidArgument);
    assert_eq!(kind(unnamed.send_batch(&[record(1)])), ErrorKind::InvalidArgument);
    assert_eq!(kind(unnamed.last_sequence(&TopicPartition::new("t", 0))), ErrorKind::InvalidArgument);
    let producer = named(&log, &names, "n");
    producer.send(record(u64::MAX)).unwrap();
    assert_eq!(
        kind(producer.send(ProducerRecord::new("t", "x"))),
        ErrorKind::InvalidArgument,
        "none is left"
    );
}

fn failed_numbers_may_be_sent_again() {
    let env = SimEnv::new(1);
    let names = Arc::new(Known::default());
    let (log, topic) = open(&env, 1);
    let producer = named(&log, &names, "sensor-7");
    producer.send(record(1)).unwrap();
    let full = || env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path(".log"));
    full();
    assert_eq!(kind(producer.send(record(2))), ErrorKind::DiskFull);
    assert_eq!(answer(producer.send(record(2))), (Some(1), false));
    full();
    assert_eq!(kind(producer.send_batch(&[record(3), record(4)])), ErrorKind::DiskFull);
    assert_eq!(last(&producer), Some(2));
    for number in [3, 5, 6] {
        producer.enqueue(record(number)).unwrap();
    }
    full();
    assert_eq!(undelivered(producer.flush()), (3, ErrorKind::DiskFull));
    let lost = producer.take_undelivered();
    assert_eq!(lost.iter().map(|record| record.sequence).collect::<Vec<_>>(), [3, 5, 6].map(Some));
    for record in &lost {
        assert!(!producer.send(record.to_record()).unwrap().duplicate);
    }
    assert_eq!(values(&topic, 0), ["1", "2", "3", "5", "6"]);
}

#[test]
fn a_batch_that_fails_gives_its_numbers_back() {
    planted::hold(failed_numbers_may_be_sent_again, &["failed_numbers_are_not_given_back"]);
}

/// What happens to a source that sends its numbers.
#[derive(Clone, Debug)]
enum Step {
    /// It sends so many, in one of three ways.
    Send(u64, u8),
    /// A write or a flush fails.
    Fail(bool),
    /// It begins again so many numbers before where it was.
    Rewind(u64),
    Checkpoint,
    DeleteRecords,
    /// Its process ends, in one of four ways.
    End(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1u64..7, 0u8..3).prop_map(|(count, how)| Step::Send(count, how)),
        1 => any::<bool>().prop_map(Step::Fail),
        2 => (0u64..12).prop_map(Step::Rewind),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::DeleteRecords),
        2 => (0u8..4).prop_map(Step::End),
    ];
    prop::collection::vec(step, 1..25)
}

/// A source, its log, and every number that was ever read from it.
struct Source {
    env: SimEnv,
    names: Arc<Known>,
    log: Streamlog,
    producer: Producer,
    next: u64,
    seen: BTreeMap<u64, u64>,
}

impl Source {
    fn new() -> Self {
        let (env, names) = (SimEnv::new(1), Arc::new(Known::default()));
        let (log, _) = open(&env, 1);
        let producer = named(&log, &names, "source");
        Source { env, names, log, producer, next: 0, seen: BTreeMap::new() }
    }

    fn partition(&self) -> crate::Partition {
        self.log.topic("t").unwrap().partition(0).unwrap()
    }

    fn begin_again(&mut self, how: u8) {
        let crash = [Crash::Kill, Crash::Everything, Crash::Nothing][usize::from(how) % 3];
        self.env.clear_faults();
        self.env = self.env.crash(crash, 3);
        self.log = open(&self.env, 1).0;
        self.producer = named(&self.log, &self.names, "source");
        self.next = last(&self.producer).map_or(0, |last| last + 1);
    }

    fn send(&mut self, count: u64, how: u8) -> Result<()> {
        // Every third number is left out: there are gaps.
        let numbers: Vec<u64> = (self.next..).filter(|number| number % 3 != 1).take(count as usize).collect();
        match how {
            0 => numbers.iter().try_for_each(|number| self.producer.send(record(*number)).map(drop))?,
            1 => drop(self.producer.send_batch(&numbers.iter().map(|n| record(*n)).collect::<Vec<_>>())?),
            _ => {
                numbers.iter().try_for_each(|number| self.producer.enqueue(record(*number)).map(drop))?;
                self.producer.flush()?;
            }
        }
        self.next = numbers.last().map_or(self.next, |last| last + 1);
        Ok(())
    }

    /// Reads what is there; each number is at one offset, and offsets and numbers rise together.
    fn look(&mut self) {
        let partition = self.partition();
        for batch in partition.read(partition.log_start_offset()) {
            for record in &batch.unwrap() {
                let number = String::from_utf8_lossy(record.value.unwrap()).parse().unwrap();
                let before = self.seen.insert(number, record.offset.value());
                assert!(before.is_none_or(|before| before == record.offset.value()), "{number} came twice");
            }
        }
        assert!(self.seen.values().is_sorted(), "{:?}", self.seen);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send(count, how) => {
                if self.send(count, how).is_err() {
                    self.begin_again(0);
                }
            }
            Step::Fail(flush) => {
                let operation = if flush { Operation::Sync } else { Operation::Write };
                self.env.inject(Fault::new(FaultKind::Io).on(operation).path(".log"));
            }
            Step::Rewind(by) => self.next = self.next.saturating_sub(by),
            Step::Checkpoint => {
                let _ = self.partition().flush();
            }
            Step::DeleteRecords => {
                self.look();
                let partition = self.partition();
                let log = partition.log();
                let _ =
                    crate::partition::write::log_start::advance_log_start(log, partition.high_watermark());
            }
            Step::End(how) => self.begin_again(how),
        }
        self.look();
    }
}

fn every_number_is_there_once(steps: Vec<Step>) {
    let mut source = Source::new();
    steps.into_iter().for_each(|step| source.step(step));
    source.begin_again(0);
    source.send(3, 0).unwrap();
    source.look();
    let expected: Vec<u64> = (0..source.next).filter(|number| number % 3 != 1).collect();
    assert_eq!(source.seen.keys().copied().collect::<Vec<_>>(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_source_that_is_cut_anywhere_and_sends_again_is_in_the_log_exactly_once(steps in steps()) {
        every_number_is_there_once(steps);
    }
}
