//! Any transactions of some producers, in any order, against a model that knows of each record what became of it: what
//! a reader sees from every offset, in both directions, in steps of any size, and after a reopening.

use crate::{
    Partition, Streamlog, TopicConfig,
    codec::{
        batch::BatchHeader,
        builder::{BatchBuilder, Stamp},
        index::AbortedTransaction,
    },
    env::{Env, memory::MemoryEnv},
    partition::{
        read::{hidden::Hidden, visible::VisibleBatches},
        tests::{append, end},
        write::gate::Origin,
    },
    planted,
    streamlog::Builder,
    types::{Compression, IsolationLevel, Offset, Timestamp},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// What is done to the log: by producer 0, which has no transactions, or by one of the others.
#[derive(Clone, Debug)]
enum Act {
    Append { producer: i64, records: u64 },
    End { producer: i64, commit: bool },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let append = (0..4_i64, 1..4_u64).prop_map(|(producer, records)| Act::Append { producer, records });
    let end = (1..4_i64, any::<bool>()).prop_map(|(producer, commit)| Act::End { producer, commit });
    prop::collection::vec(prop_oneof![3 => append, 2 => end], 1..40)
}

/// What became of a record, and of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open(i64),
    Aborted,
    Committed,
    Marker,
}

/// What became of each offset.
#[derive(Default)]
struct Model {
    fates: Vec<Fate>,
}

impl Model {
    fn is_open(&self, producer: i64) -> bool {
        self.fates.contains(&Fate::Open(producer))
    }

    fn append(&mut self, producer: i64, records: u64) {
        let fate = if producer == 0 { Fate::Committed } else { Fate::Open(producer) };
        self.fates.extend((0..records).map(|_| fate));
    }

    fn end(&mut self, producer: i64, commit: bool) {
        let fate = if commit { Fate::Committed } else { Fate::Aborted };
        self.fates.iter_mut().filter(|f| **f == Fate::Open(producer)).for_each(|f| *f = fate);
        self.fates.push(Fate::Marker);
    }

    fn last_stable(&self) -> usize {
        self.fates.iter().position(|fate| matches!(fate, Fate::Open(_))).unwrap_or(self.fates.len())
    }

    /// The offsets that a reader sees.
    fn visible(&self, isolation: IsolationLevel) -> Vec<u64> {
        let sees = |at: usize, fate: Fate| match isolation {
            IsolationLevel::ReadUncommitted => fate != Fate::Marker,
            IsolationLevel::ReadCommitted => fate == Fate::Committed && at < self.last_stable(),
        };
        let all = self.fates.iter().enumerate();
        all.filter(|(at, fate)| sees(*at, **fate)).map(|(at, _)| at as u64).collect()
    }
}

fn open(env: &Arc<MemoryEnv>) -> (Streamlog, Partition) {
    let log = Builder::with_env(Arc::clone(env) as Arc<dyn Env>, Path::new("/log")).open().unwrap();
    let topic = log.topic_or_create("t", TopicConfig::default().segment_bytes(600)).unwrap();
    let partition = topic.partition(0).unwrap();
    (log, partition)
}

fn run(partition: &Partition, acts: &[Act]) -> Model {
    let (mut model, mut sequences) = (Model::default(), BTreeMap::<i64, i32>::new());
    for act in acts {
        match *act {
            Act::Append { producer, records } => {
                let mut builder = BatchBuilder::new();
                for _ in 0..records {
                    builder.append(Timestamp::from_millis(1), None, Some(b"value"), &[]).unwrap();
                }
                let mut batch = builder.seal(Compression::None, None).unwrap();
                if producer > 0 {
                    let sequence = sequences.entry(producer).or_default();
                    batch.set_producer(producer, 0, *sequence);
                    batch.set_transactional(true);
                    *sequence += records as i32;
                }
                append(partition.log(), batch, Origin::Producer);
                model.append(producer, records);
            }
            Act::End { producer, commit } if model.is_open(producer) => {
                end(partition.log(), producer, commit);
                model.end(producer, commit);
            }
            Act::End { .. } => {}
        }
    }
    model
}

/// Holds every way to read the partition against the model.
fn check(partition: &Partition, model: &Model) {
    for isolation in [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted] {
        let visible = model.visible(isolation);
        for at in 0..=model.fates.len() as u64 {
            let after: Vec<u64> = visible.iter().copied().filter(|offset| *offset >= at).collect();
            assert_eq!(forwards(partition, isolation, at, None), after, "from {at}, {isolation:?}");
            assert_eq!(forwards(partition, isolation, at, Some(1)), after, "from {at}, batch by batch");
            let before: Vec<u64> = visible.iter().copied().filter(|offset| *offset < at).rev().collect();
            let batches = partition.read_backwards_with(at, isolation).map(Result::unwrap);
            let backwards =
                batches.flat_map(|batch| batch.into_reversed()).map(|record| record.offset.value());
            assert_eq!(backwards.collect::<Vec<_>>(), before, "before {at}, {isolation:?}");
            let last = partition.last_with(at as usize, isolation).unwrap();
            let skipped = visible.len().saturating_sub(at as usize);
            assert_eq!(last.iter().map(|r| r.offset.value()).collect::<Vec<_>>(), visible[skipped..]);
        }
    }
}

/// The offsets that a reader gets, whose position is behind all that it has met in the end.
fn forwards(partition: &Partition, isolation: IsolationLevel, from: u64, step: Option<u64>) -> Vec<u64> {
    let mut batches = VisibleBatches::new(Arc::clone(partition.log()), isolation, Offset::new(from));
    if let Some(bytes) = step {
        batches = batches.in_steps_of(bytes);
    }
    let mut found = Vec::new();
    while let Some(batch) = batches.next().unwrap() {
        let offsets = batch.records.iter().map(|record| record.offset);
        found.extend(offsets.filter(|offset| *offset >= batch.from).map(Offset::value));
    }
    let bound = partition.log().offsets().bound(isolation);
    assert_eq!(batches.position(), bound.max(Offset::new(from)), "a position over what is hidden");
    found
}

fn any_transactions_are_read_as_the_model_says(acts: &[Act]) {
    let env = MemoryEnv::new();
    let (log, partition) = open(&env);
    let model = run(&partition, acts);
    assert_eq!(partition.last_stable_offset().value(), model.last_stable() as u64);
    check(&partition, &model);
    drop(partition);
    log.close().unwrap();
    // From the files.
    let (_log, partition) = open(&env);
    check(&partition, &model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn readers_see_what_was_committed_from_every_offset_in_both_directions(acts in acts()) {
        any_transactions_are_read_as_the_model_says(&acts);
    }

    /// Entries in any order, of transactions that overlap, with or without markers.
    #[test]
    fn one_walk_hides_what_a_look_at_every_transaction_hides(
        batches in prop::collection::vec((1..5_u64, 0..3_i32, 0..4_i64, 0..12_u32), 0..40),
        aborted in prop::collection::vec((0..4_i64, 0..120_u64, 1..30_u64), 0..12),
    ) {
        let transactions: Vec<_> = aborted.iter().map(|(producer, first, length)| aborts(*producer, *first, first + length)).collect();
        let mut hidden = Hidden::new(transactions.clone());
        let mut at = 0;
        for (gap, delta, producer_id, kind) in batches {
            let header = header(at + gap, delta, producer_id, kind);
            let is_aborted = transactions.iter().any(|t| {
                t.producer_id == producer_id && t.first_offset <= header.last_offset() && header.last_offset() < t.last_offset
            });
            let expected = header.is_control() || header.record_count == 0 || (header.is_transactional() && is_aborted);
            prop_assert_eq!(hidden.hides(&header), expected, "{:?}", header);
            prop_assert_eq!(hidden.hides(&header), expected, "asked again");
            at = header.last_offset().value();
        }
    }
}

fn aborts(producer_id: i64, first: u64, last: u64) -> AbortedTransaction {
    let (first_offset, last_offset) = (Offset::new(first), Offset::new(last));
    AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset: last_offset }
}

/// A batch: one in twelve is emptied, one is not transactional, two are markers.
fn header(base: u64, last_offset_delta: i32, producer_id: i64, kind: u32) -> BatchHeader {
    let mut builder = BatchBuilder::new();
    builder.append(Timestamp::from_millis(1), None, Some(b"value"), &[]).unwrap();
    let mut sealed = builder.seal(Compression::None, None).unwrap();
    let bytes = sealed.finish(Offset::new(base), 0, Stamp::CreateTime).to_vec();
    let header = BatchHeader::parse(&bytes).unwrap();
    let attributes = match kind {
        0 => 0,
        1 | 2 => 1 << 4 | 1 << 5,
        _ => 1 << 4,
    };
    let record_count = u32::from(kind != 3);
    BatchHeader { last_offset_delta, producer_id, attributes, record_count, ..header }
}

/// Two transactions of one producer one after the other, and one of another that begins in the first of them and ends
/// after both.
fn overlapping() -> Vec<Act> {
    let append = |producer| Act::Append { producer, records: 2 };
    let end = |producer, commit| Act::End { producer, commit };
    vec![
        append(1),
        append(2),
        append(0),
        end(1, false),
        append(1),
        append(0),
        end(1, true),
        end(2, false),
        append(2),
        end(2, true),
        append(3),
        append(0),
    ]
}

#[test]
fn a_transaction_that_is_over_hides_nothing_of_the_next_one() {
    let mistakes = [
        "an_abort_hides_what_follows",
        "show_what_was_aborted",
        "show_what_controls",
        "read_what_is_undecided",
        "backwards_shows_what_was_aborted",
    ];
    planted::hold(|| any_transactions_are_read_as_the_model_says(&overlapping()), &mistakes);
}

#[test]
fn what_is_read_backwards_while_retention_removes_it_is_hidden_all_the_same() {
    let env = MemoryEnv::new();
    let (log, partition) = open(&env);
    let append = |producer| Act::Append { producer, records: 3 };
    let end = |producer, commit| Act::End { producer, commit };
    let mut acts = Vec::new();
    for _ in 0..6 {
        acts.extend([append(1), append(0), append(2), end(1, false), end(2, true)]);
    }
    let model = run(&partition, &acts);
    let end = model.fates.len() as u64;
    for start in 0..end {
        let mut backwards = partition.read_backwards_with(end, IsolationLevel::ReadCommitted);
        let mut found = Vec::new();
        for step in 0_u64.. {
            let Some(batch) = backwards.next() else { break };
            found.extend(batch.unwrap().into_reversed().iter().map(|record| record.offset.value()));
            if step == start % 3 {
                log.delete_records("t", 0, start).unwrap();
            }
        }
        let visible = model.visible(IsolationLevel::ReadCommitted);
        assert!(found.iter().all(|offset| visible.contains(offset)), "{found:?}");
        let kept = visible.iter().filter(|offset| **offset >= start);
        assert!(kept.clone().all(|offset| found.contains(offset)), "{found:?} from {start}");
    }
}

/// `testReadCommittedWithCompactedTopic` of Kafka's `FetcherTest`: a cleaner took the beginnings of transactions.
#[test]
fn read_committed_with_compacted_topic() {
    let (first, second, third) = (1, 2, 3);
    let mut hidden = Hidden::new(vec![aborts(second, 6, 28), aborts(first, 0, 43)]);
    let data = |producer, base, delta| (header(base, delta, producer, 4), "data");
    let ends = |producer, base| (header(base, 0, producer, 1), "marker");
    let batches = [
        data(third, 3, 1),
        data(second, 15, 2),
        data(first, 22, 1),
        ends(second, 28),
        data(third, 30, 2),
        ends(third, 35),
        data(first, 39, 1),
        ends(first, 43),
        data(first, 44, 0),
        data(second, 45, 0),
    ];
    let shown = batches.iter().filter(|(header, _)| !hidden.hides(header));
    assert_eq!(shown.map(|(header, _)| header.base_offset.value()).collect::<Vec<_>>(), [3, 30, 44, 45]);
    // The markers too.
    let mut hidden = Hidden::new(vec![aborts(second, 6, 28), aborts(first, 0, 43)]);
    let left = batches.iter().filter(|(_, kind)| *kind == "data");
    let shown = left.filter(|(header, _)| !hidden.hides(header));
    assert_eq!(shown.map(|(header, _)| header.base_offset.value()).collect::<Vec<_>>(), [3, 30, 44, 45]);
}
