//! Retries against a model, whatever happens to the log between a batch and its retry: appends of others, markers,
//! removals, checkpoints, openings after a clean close, a kill or a power cut.
//!
//! One of the last five batches of a producer is answered with its first offsets, an older one and one that skips a
//! sequence are refused, and nothing is ever in the log twice.

use super::{append, end};
use crate::{
    Error, Partition, RecordData, Streamlog, TopicConfig,
    codec::builder::{BatchBuilder, SealedBatch},
    config::Builder,
    partition::write::{checkpoint::checkpoint, gate::Origin, log_start::advance_log_start, retention},
    planted,
    sim::{Crash, SimEnv},
    types::{Compression, Timestamp},
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The producer whose batches are transactional.
const TRANSACTIONAL: i64 = 3;

/// What happens to the log.
#[derive(Clone, Debug)]
enum Act {
    /// The next batch of a producer, with so many records.
    Send(i64, i32),
    /// The batch of a producer before so many others, once more.
    Retry(i64, usize),
    /// A batch that skips sequences.
    Skip(i64),
    /// The transactional producer ends what it began.
    End(bool),
    Plain,
    Checkpoint,
    /// So many percent of the offsets are removed, and the segments below them.
    Remove(u64),
    Reopen(Option<Crash>),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let reopen = prop_oneof![Just(None), Just(Some(Crash::Everything)), Just(Some(Crash::Nothing))]
        .prop_map(Act::Reopen);
    let act = prop_oneof![
        8 => (1..4_i64, 1..4_i32).prop_map(|(producer, records)| Act::Send(producer, records)),
        6 => (1..4_i64, 0..8_usize).prop_map(|(producer, back)| Act::Retry(producer, back)),
        1 => (1..4_i64).prop_map(Act::Skip),
        2 => any::<bool>().prop_map(Act::End),
        2 => Just(Act::Plain),
        1 => Just(Act::Checkpoint),
        2 => (0..=100_u64).prop_map(Act::Remove),
        2 => reopen,
    ];
    prop::collection::vec(act, 1..50)
}

/// A batch that a producer has sent: its first sequence, its records, its first offset.
#[derive(Clone, Copy, Debug)]
struct Sent {
    first: i32,
    records: i32,
    base: u64,
}

/// What should be in the log, and who sent it.
#[derive(Default)]
struct Model {
    values: Vec<String>,
    start: u64,
    sent: BTreeMap<i64, Vec<Sent>>,
    open: bool,
}

impl Model {
    fn end(&self) -> u64 {
        self.values.len() as u64
    }

    fn next_sequence(&self, producer: i64) -> i32 {
        self.sent.get(&producer).and_then(|sent| sent.last()).map_or(0, |last| last.first + last.records)
    }
}

fn open(env: &SimEnv) -> (Streamlog, Partition) {
    let log = Builder::env(env, "/data").background_thread(false).open().unwrap();
    let topic = log.topic_or_create("t", TopicConfig::default().segment_bytes(600)).unwrap();
    let partition = topic.partition(0).unwrap();
    (log, partition)
}

fn value(producer: i64, sequence: i32) -> String {
    format!("{producer}: {sequence}")
}

fn batch(producer: i64, first: i32, records: i32) -> SealedBatch {
    let mut builder = BatchBuilder::new();
    for sequence in first..first + records {
        let value = value(producer, sequence);
        builder.append(Timestamp::from_millis(1), None, Some(value.as_bytes()), &[]).unwrap();
    }
    let mut batch = builder.seal(Compression::None, None).unwrap();
    batch.set_producer(producer, 0, first);
    batch.set_transactional(producer == TRANSACTIONAL);
    batch
}

struct Tested {
    env: SimEnv,
    log: Streamlog,
    partition: Partition,
    model: Model,
}

impl Tested {
    fn new() -> Self {
        let env = SimEnv::new(1);
        let (log, partition) = open(&env);
        Tested { env, log, partition, model: Model::default() }
    }

    fn act(self, act: &Act) -> Self {
        match *act {
            Act::Reopen(how) => return self.reopened(how),
            Act::Send(producer, records) => return self.sends(producer, records),
            Act::Retry(producer, back) => self.retries(producer, back),
            Act::Skip(producer) => {
                let first = self.model.next_sequence(producer) + 1;
                if first > 1 {
                    self.is_refused(producer, first, 1);
                }
            }
            Act::End(commit) => return self.ends(commit),
            Act::Plain => return self.appends_plain(),
            Act::Checkpoint => checkpoint(self.partition.log()).unwrap(),
            Act::Remove(percent) => return self.removes(percent),
        }
        self
    }

    fn sends(mut self, producer: i64, records: i32) -> Self {
        let (first, base) = (self.model.next_sequence(producer), self.model.end());
        let appended = append(self.partition.log(), batch(producer, first, records), Origin::Producer);
        assert_eq!((appended.base_offset.value(), appended.duplicate), (base, false), "{producer}: {first}");
        self.model.values.extend((first..first + records).map(|sequence| value(producer, sequence)));
        self.model.sent.entry(producer).or_default().push(Sent { first, records, base });
        self.model.open |= producer == TRANSACTIONAL;
        self
    }

    fn retries(&self, producer: i64, back: usize) {
        let sent = self.model.sent.get(&producer).map_or(&[][..], Vec::as_slice);
        let Some(Sent { first, records, base }) = sent.iter().nth_back(back).copied() else { return };
        if back >= 5 {
            return self.is_refused(producer, first, records);
        }
        let appended =
            self.partition.log().append_from(&mut batch(producer, first, records), Origin::Producer);
        let appended = appended.map(|a| (a.base_offset.value(), a.next_offset.value(), a.duplicate)).ok();
        assert_eq!(appended, Some((base, base + records as u64, true)), "{producer}: {first}, {back} back");
    }

    fn is_refused(&self, producer: i64, first: i32, records: i32) {
        let refused =
            self.partition.log().append_from(&mut batch(producer, first, records), Origin::Producer);
        assert!(matches!(refused, Err(Error::OutOfOrderSequence { .. })), "{producer}: {first}: {refused:?}");
    }

    fn ends(mut self, commit: bool) -> Self {
        if std::mem::take(&mut self.model.open) {
            end(self.partition.log(), TRANSACTIONAL, commit);
            self.model.values.push(String::new());
        }
        self
    }

    fn appends_plain(mut self) -> Self {
        self.partition.append(&[RecordData::new("plain")]).unwrap();
        self.model.values.push("plain".to_string());
        self
    }

    fn removes(mut self, percent: u64) -> Self {
        self.model.start = self.model.start.max(self.model.end() * percent / 100);
        advance_log_start(self.partition.log(), self.model.start.into()).unwrap();
        retention::apply(self.partition.log()).unwrap();
        self
    }

    fn reopened(self, how: Option<Crash>) -> Self {
        let Tested { env, log, partition, model } = self;
        drop(partition);
        let env = match how {
            None => {
                log.close().unwrap();
                env
            }
            Some(crash) => env.crash(crash, 1),
        };
        let (log, partition) = open(&env);
        Tested { env, log, partition, model }
    }

    /// Everything that was sent is there, at its offset, and once.
    fn check(&self) {
        let Model { values, start, .. } = &self.model;
        assert_eq!(self.partition.log_end_offset(), self.model.end());
        assert_eq!(self.partition.log_start_offset(), *start);
        let read = self.partition.records(*start).map(|record| record.unwrap());
        let read = read.map(|record| (record.offset.value(), record.value_text().into_owned()));
        let all = (0_u64..).zip(values.iter().cloned()).skip(*start as usize);
        // A marker is no record.
        assert!(read.eq(all.filter(|(_, value)| !value.is_empty())));
    }
}

fn every_retry_is_known(acts: &[Act]) {
    let tested = acts.iter().fold(Tested::new(), Tested::act);
    tested.check();
    // All that are remembered, after one more opening of each kind.
    let ends = [None, Some(Crash::Everything), Some(Crash::Nothing)];
    ends.into_iter().fold(tested, |tested, how| {
        let tested = tested.reopened(how);
        for producer in 1..4 {
            (0..7).for_each(|back| tested.retries(producer, back));
        }
        tested.check();
        tested
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn a_retry_is_known_or_refused_and_never_appended_again(acts in acts()) {
        every_retry_is_known(&acts);
    }
}

#[test]
fn a_retry_of_what_was_removed_is_known_after_every_opening() {
    let acts = || {
        let sends = (0..7).flat_map(|_| [Act::Send(1, 2), Act::Send(TRANSACTIONAL, 1)]);
        let ends = [Act::End(false), Act::Remove(100), Act::Reopen(Some(Crash::Nothing)), Act::Retry(1, 4)];
        sends.chain(ends).collect::<Vec<_>>()
    };
    planted::hold(|| every_retry_is_known(&acts()), &["forget_producers_of_what_goes"]);
}
