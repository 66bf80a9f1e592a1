//! Rounds of cleaning against a map: after each, exactly the records live that Kafka's rules keep, at their offsets.

use super::{Cleaned, Order, compact};
use crate::{
    Partition, RecordData, Streamlog, TopicConfig,
    codec::{
        keys::{KeyEntry, siphash128},
        record::Record,
    },
    config::{Builder, CleanupPolicy, Compression},
    partition::{
        log::Log,
        write::cleanable::{CleaningTurn, cleanable},
    },
    records::Batch,
    sim::SimEnv,
    storage::{
        keys::HashRange,
        layout::SegmentFile,
        scan::{ScanItem, Scanner},
        segment::{PagesVerdict, SealedSegment, Segment},
    },
    types::Offset,
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

type Key = Option<Vec<u8>>;
type Value = Option<Vec<u8>>;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A log beside what must be in it.
struct Tested {
    _handle: Streamlog,
    partition: Partition,
    cleaned: Offset,
    records: BTreeMap<u64, Expected>,
    /// What readers saw that stood there when the last cleaning began.
    standing: Vec<(u64, Vec<u64>)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Expected {
    key: Key,
    value: Value,
    /// Whether a round has met the tombstone.
    has_horizon: bool,
}

impl Tested {
    /// In a topic that is compacted only here, and takes records without a key.
    fn new(segment_bytes: u64, delete_retention: Duration, codec: Compression) -> Self {
        Self::of_policy(CleanupPolicy::Delete, segment_bytes, delete_retention, codec)
    }

    fn of_policy(
        policy: CleanupPolicy,
        segment_bytes: u64,
        delete_retention: Duration,
        codec: Compression,
    ) -> Self {
        // Its clock stands still, so that a rehearsal sets the same horizons.
        let handle = Builder::env(&SimEnv::new(1), "/log").background_thread(false).open().unwrap();
        let config = TopicConfig::default()
            .segment_bytes(segment_bytes)
            .cleanup_policy(policy)
            .delete_retention(delete_retention)
            .compression(codec);
        let partition = handle.create_topic("t", config).unwrap().partition(0).unwrap();
        Tested {
            _handle: handle,
            partition,
            cleaned: Offset::ZERO,
            records: BTreeMap::new(),
            standing: Vec::new(),
        }
    }

    fn log(&self) -> &Arc<Log> {
        self.partition.log()
    }

    fn append(&mut self, records: &[(Key, Value)]) {
        let mut batch = Vec::new();
        for (key, value) in records {
            let (key, value) = (key.as_deref().map(Into::into), value.as_deref().map(Into::into));
            batch.push(RecordData { key, value, ..RecordData::default() });
        }
        let base = self.partition.append(&batch).unwrap().start.value();
        for (offset, (key, value)) in (base..).zip(records.iter().cloned()) {
            self.records.insert(offset, Expected { key, value, has_horizon: false });
        }
    }

    /// Rehearses and cleans, with a reader at every offset.
    fn clean(&mut self) -> Cleaned {
        turn(self.log()).roll().unwrap();
        let rehearsed = self.run(true);
        let end = self.records.keys().next_back().map_or(0, |last| last + 1);
        let mut readers: Vec<_> = (0..end).map(|from| (from, self.partition.read(from))).collect();
        let mut seen = Vec::new();
        for (from, reader) in readers.iter_mut().step_by(2) {
            seen.push((*from, reader.next()));
        }
        let done = self.run(false);
        assert_eq!(rehearsed, done, "a rehearsal knows what will be done");
        self.cleaned = done.below;
        self.standing = readers
            .into_iter()
            .map(|(from, reader)| {
                let first = seen.iter().position(|(of, _)| *of == from).and_then(|at| seen.remove(at).1);
                let batches = first.into_iter().chain(reader).map(|batch| batch.unwrap());
                (from, batches.flat_map(|batch| offsets_of(&batch, from)).collect())
            })
            .collect();
        done
    }

    fn run(&self, is_rehearsal: bool) -> Cleaned {
        let goes_on = &mut |_| Ok(());
        compact(turn(self.log()), Order { is_rehearsal, goes_on }).unwrap()
    }

    /// What Kafka's rules keep, where a round has gone through everything; a tombstone whose horizon is set goes where that
    /// is over.
    fn expect_cleaned(&mut self, horizons_are_over: bool) {
        let mut newest: HashMap<Key, u64> = HashMap::new();
        for (offset, record) in &self.records {
            newest.insert(record.key.clone(), *offset);
        }
        self.records.retain(|offset, record| {
            let is_over = record.value.is_none() && record.has_horizon && horizons_are_over;
            record.key.is_some() && newest[&record.key] == *offset && !is_over
        });
        self.records.values_mut().for_each(|record| record.has_horizon |= record.value.is_none());
    }

    /// The log holds what it must, and the files beside each segment say the same.
    fn check(&self) {
        let mut found = BTreeMap::new();
        for segment in sealed(self.log()) {
            let records = records_of(&segment);
            check_sidecars(self.log(), &segment, &records);
            found.extend(records);
        }
        let expected: BTreeMap<u64, (Key, Value)> = self
            .records
            .iter()
            .filter(|(offset, _)| **offset < self.cleaned.value())
            .map(|(offset, record)| (*offset, (record.key.clone(), record.value.clone())))
            .collect();
        found.retain(|offset, _| *offset < self.cleaned.value());
        assert_eq!(found, expected);
        let live: Vec<u64> = self.records.keys().copied().collect();
        for (from, seen) in &self.standing {
            assert!(seen.is_sorted_by(|a, b| a < b), "{from}: {seen:?}");
            let missed = live.iter().find(|offset| *offset >= from && !seen.contains(offset));
            assert_eq!(missed, None, "a reader at {from} saw {seen:?}");
        }
        for from in 0..=live.last().map_or(0, |last| last + 1) {
            let batches = self.partition.read(from).map(|batch| batch.unwrap());
            let seen: Vec<u64> = batches.flat_map(|batch| offsets_of(&batch, from)).collect();
            let expected: Vec<u64> = live.iter().copied().filter(|offset| *offset >= from).collect();
            assert_eq!(seen, expected, "from {from}");
        }
    }
}

/// Nobody else cleans it here.
fn turn(log: &Arc<Log>) -> CleaningTurn {
    CleaningTurn::take(log).unwrap()
}

/// The offsets of a batch's records from one on.
fn offsets_of(batch: &Batch, from: u64) -> Vec<u64> {
    batch.iter().map(|record| record.offset.value()).filter(|offset| *offset >= from).collect()
}

fn sealed(log: &Log) -> Vec<Arc<Segment>> {
    cleanable(log, true).iter().map(|one| Arc::clone(&one.segment)).collect()
}

fn records_of(segment: &Segment) -> BTreeMap<u64, (Key, Value)> {
    let size = segment.sealed_size().unwrap();
    let mut scanner = Scanner::new(segment.source(), size, 0, segment.base(), true);
    let mut found = BTreeMap::new();
    while let ScanItem::Batch(batch, _) = scanner.next().unwrap() {
        let owned = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
        let mut keep = |record: Record<'_>| {
            found.insert(record.offset.value(), (owned(record.key), owned(record.value)));
        };
        batch.records(1 << 20).unwrap().validate().unwrap().iter().for_each(&mut keep);
    }
    assert_eq!(scanner.position(), size);
    found
}

fn check_sidecars(log: &Log, segment: &Arc<Segment>, records: &BTreeMap<u64, (Key, Value)>) {
    let cleanable = cleanable(log, true);
    let seal = cleanable.iter().find(|one| one.segment.base() == segment.base()).unwrap().seal;
    assert_eq!(segment.check_pages(0..seal.bytes).unwrap(), PagesVerdict::Good);
    let keys = SealedSegment::of(segment).unwrap().keys(seal.next_offset, log.hash_seed()).unwrap();
    let mut entries = Vec::new();
    keys.oldest_first(HashRange::ALL, |entry| {
        let entry = KeyEntry::decode(entry);
        entries.push((entry.relative, entry.hash, entry.is_tombstone));
        Ok(())
    })
    .unwrap();
    entries.sort_unstable();
    let keyed = records.iter().filter_map(|(offset, (key, value))| {
        let hash = siphash128(log.hash_seed(), key.as_deref()?);
        Some(((offset - segment.base().value()) as u32, hash, value.is_none()))
    });
    assert_eq!(entries, keyed.collect::<Vec<_>>());
}

fn key(number: u8) -> Key {
    Some(vec![number; 3])
}

fn value(number: u8) -> Value {
    Some(vec![number; 100])
}

/// One record a batch.
fn put(tested: &mut Tested, records: &[(u8, Option<u8>)]) {
    for (k, v) in records {
        tested.append(&[(key(*k), v.map_or(None, value))]);
    }
}

#[test]
fn of_each_key_the_newest_record_stays_at_its_offset() {
    let mut tested = Tested::new(512, DAY, Compression::None);
    for round in 0..6 {
        put(&mut tested, &[(1, Some(round)), (2, Some(round)), (3 + round, Some(0))]);
        let done = tested.clean();
        tested.expect_cleaned(false);
        tested.check();
        assert_eq!(done.counts.records_before - done.counts.records_after, if round == 0 { 0 } else { 2 });
    }
}

#[test]
fn a_segment_in_which_nothing_is_dead_keeps_its_file() {
    let mut tested = Tested::new(512, DAY, Compression::None);
    put(&mut tested, &[(1, Some(1)), (2, Some(1)), (3, Some(1)), (4, Some(1)), (5, Some(1))]);
    tested.clean();
    let before = sealed(tested.log());
    assert!(before.iter().all(|segment| segment.id().generation == 0) && before.len() > 1);
    put(&mut tested, &[(1, Some(2))]);
    let done = tested.clean();
    tested.expect_cleaned(false);
    tested.check();
    let after = sealed(tested.log());
    assert!(!Arc::ptr_eq(&before[0], &after[0]), "its first record is dead");
    assert!(before[1..].iter().zip(&after[1..]).all(|(a, b)| Arc::ptr_eq(a, b)));
    assert_eq!((done.rewritten, done.untouched), (1, before.len() as u64));
}

#[test]
fn a_tombstone_stays_for_a_round_and_goes_after_its_horizon() {
    for (retention, is_over) in [(Duration::ZERO, true), (DAY, false)] {
        let mut tested = Tested::new(512, retention, Compression::None);
        put(&mut tested, &[(1, Some(1)), (1, None), (2, Some(1))]);
        for round in 0..3 {
            let done = tested.clean();
            tested.expect_cleaned(is_over);
            tested.check();
            assert_eq!(done.counts.tombstones, u64::from(round == 1 && is_over), "{round}");
            put(&mut tested, &[(3, Some(round))]);
        }
    }
}

#[test]
fn the_batch_that_ends_the_log_stays_emptied_and_no_other_does() {
    let mut tested = Tested::new(1 << 20, Duration::ZERO, Compression::None);
    tested.append(&[(None, value(1))]);
    tested.append(&[(None, value(2)), (None, value(3))]);
    let done = tested.clean();
    assert_eq!((done.counts.null_keys, done.bytes_after), (3, 61));
    put(&mut tested, &[(1, Some(1))]);
    tested.clean();
    tested.expect_cleaned(false);
    tested.check();
}

#[test]
fn neighbours_are_joined_and_what_is_too_large_is_not() {
    let mut tested = Tested::new(512, DAY, Compression::None);
    for round in 0..20 {
        put(&mut tested, &[(round % 2, Some(round))]);
        turn(tested.log()).roll().unwrap();
    }
    put(&mut tested, &[(9, Some(0))]);
    turn(tested.log()).roll().unwrap();
    let before = sealed(tested.log()).len();
    tested.clean();
    tested.expect_cleaned(false);
    tested.check();
    let left = sealed(tested.log());
    assert!(left.len() <= before / 2 + 2, "{} of {before}", left.len());
    assert!(left.iter().all(|segment| segment.sealed_size().unwrap() <= 512));
}

#[test]
fn damaged_keys_are_built_again_and_damaged_records_end_the_round() {
    let mut tested = Tested::new(512, DAY, Compression::None);
    put(&mut tested, &[(1, Some(1)), (1, Some(2)), (1, Some(3)), (2, Some(1)), (2, Some(2))]);
    turn(tested.log()).roll().unwrap();
    tested.run(true);
    let (dir, base) = (tested.log().identity.dir.clone(), sealed(tested.log())[0].base());
    let damage = |kind: SegmentFile, position: u64| {
        let path = kind.path(&dir, base);
        let file = turn(tested.log()).env().open(&path, crate::env::Open::Write).unwrap();
        crate::env::write_all_at(&*file, &[0xa5; 3], position).unwrap();
    };
    damage(SegmentFile::Keys, 64 + 10);
    let mut rest = Tested { records: tested.records.clone(), ..tested };
    rest.clean();
    rest.expect_cleaned(false);
    rest.check();
    // What lies in the batch is damaged, and nothing is swapped.
    put(&mut rest, &[(1, Some(4))]);
    turn(rest.log()).roll().unwrap();
    let last = sealed(rest.log()).into_iter().rfind(|s| records_of(s).values().any(|r| r.0 == key(1)));
    let file = last.unwrap();
    let opened = turn(rest.log()).env().open(file.path(), crate::env::Open::Write).unwrap();
    crate::env::write_all_at(&*opened, &[0xa5; 3], 70).unwrap();
    let before = sealed(rest.log());
    let error =
        compact(turn(rest.log()), Order { is_rehearsal: false, goes_on: &mut |_| Ok(()) }).unwrap_err();
    assert!(matches!(error, crate::Error::Corrupt { .. }), "{error}");
    let after = sealed(rest.log());
    assert!(before.iter().zip(&after).all(|(a, b)| Arc::ptr_eq(a, b)) && before.len() == after.len());
    let names: Vec<String> = turn(rest.log())
        .env()
        .list(&rest.log().identity.dir)
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert!(names.iter().all(|name| !name.ends_with(".cleaned")), "{names:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(Option<u8>, Option<u8>)>),
    Roll,
    Clean,
    LoseKeys,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (prop::option::weighted(0.93, 0u8..12), prop::option::weighted(0.8, any::<u8>()));
    let step = prop_oneof![
        8 => prop::collection::vec(record, 1..9).prop_map(Step::Append),
        2 => Just(Step::Roll),
        3 => Just(Step::Clean),
        1 => Just(Step::LoseKeys),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn any_history_of_cleanings_keeps_what_kafka_keeps(
        steps in steps(), segment_bytes in 1100u64..6000, is_over in any::<bool>(), is_compressed in any::<bool>(),
        compacts in any::<bool>(),
    ) {
        let codec = match is_compressed && cfg!(feature = "lz4") {
            true => Compression::Lz4,
            false => Compression::None,
        };
        let policy = if compacts { CleanupPolicy::Compact } else { CleanupPolicy::Delete };
        let retention = if is_over { Duration::ZERO } else { DAY };
        let mut tested = Tested::of_policy(policy, segment_bytes, retention, codec);
        for step in steps {
            match step {
                Step::Append(records) => {
                    let owned: Vec<(Key, Value)> = records
                        .iter()
                        .map(|(k, v)| (k.or(compacts.then_some(0)).and_then(key), v.and_then(value)))
                        .collect();
                    tested.append(&owned);
                }
                Step::Roll => turn(tested.log()).roll().unwrap(),
                Step::Clean => {
                    tested.clean();
                    tested.expect_cleaned(is_over);
                    tested.check();
                }
                Step::LoseKeys => {
                    for segment in sealed(tested.log()) {
                        let path = SegmentFile::Keys.path(&tested.log().identity.dir, segment.base());
                        let _ = turn(tested.log()).env().remove_file(&path);
                    }
                }
            }
        }
        tested.clean();
        tested.expect_cleaned(is_over);
        tested.check();
    }
}

mod crashes {
    use crate::{
        RecordData, Streamlog, TopicConfig,
        admin::Compact,
        config::{Builder, CleanupPolicy},
        sim::{Crash, SimEnv},
    };
    use std::{collections::BTreeMap, time::Duration};

    fn open(env: &SimEnv) -> Streamlog {
        Builder::env(env, "/data").background_thread(false).open().unwrap()
    }

    /// What a table that is built from the topic holds.
    fn table(log: &Streamlog) -> BTreeMap<String, String> {
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let mut table = BTreeMap::new();
        for record in partition.records(0) {
            let record = record.unwrap();
            let key = record.key_str().unwrap().to_string();
            match record.value_str() {
                Some(value) => table.insert(key, value.to_string()),
                None => table.remove(&key),
            };
        }
        table
    }

    /// Compacts, dies at every operation of it, and looks at what the next opening has, before and after it has compacted too;
    /// of some of these compactions it dies as well.
    fn dies_everywhere(env: &SimEnv, log: &Streamlog, dies_again: bool) -> usize {
        let expected = table(log);
        env.record();
        log.compact_now("t", Compact::new()).unwrap();
        let recording = env.recording();
        assert_eq!(table(log), expected);
        let (mut cursor, mut deaths) = (recording.cursor(), 0);
        while cursor.advance().is_some() {
            for (seed, crash) in (0..).zip(Crash::ALL) {
                let env = cursor.crash(crash, seed);
                let log = open(&env);
                assert_eq!(table(&log), expected, "{crash:?}");
                match dies_again && deaths % 97 == 0 {
                    true => deaths += dies_everywhere(&env, &log, false),
                    false => drop(log.compact_now("t", Compact::new()).unwrap()),
                }
                assert_eq!(table(&log), expected, "{crash:?}, and compacted");
                deaths += 1;
            }
        }
        deaths
    }

    fn no_death_changes_the_table() {
        let env = SimEnv::new(1);
        let log = open(&env);
        let config = TopicConfig::default()
            .cleanup_policy(CleanupPolicy::Compact)
            .segment_bytes(512)
            .delete_retention(Duration::ZERO);
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        let put = |key: &str, value: &str| partition.append(&[RecordData::new(value).key(key)]).unwrap();
        for round in ["1", "2", "3"] {
            for key in ["a", "b", "gone", "d"] {
                put(key, round);
            }
        }
        partition.append(&[RecordData::tombstone("gone")]).unwrap();
        let mut deaths = dies_everywhere(&env, &log, false);
        put("a", "4");
        deaths += dies_everywhere(&env, &log, true);
        put("b", "5");
        deaths += dies_everywhere(&env, &log, false);
        assert!(deaths > 300, "{deaths}");
        log.close().unwrap();
    }

    #[test]
    fn no_death_of_a_compaction_loses_a_value_or_brings_a_deleted_key_back() {
        no_death_changes_the_table();
    }
}
