//! Histories of two compacted partitions against a model that has every batch: versions, lags, horizons while the clock goes
//! forwards and back, retention, codecs, times of either kind, closes and deaths.
//!
//! Times of the model are multiples of ten seconds, and the settings are not: a simulated machine's clock goes on a little
//! with each operation, and that decides nothing.

use super::cleaning::Cleaning;
use crate::{
    Durability, Partition, RecordData, Streamlog, Timestamp, TopicConfig,
    config::{Builder, CleanupPolicy, Compression, ConfigChange, TimestampType},
    partition::write::cleanable::{CleaningTurn, cleanable, dirty_from},
    records::OwnedRecord,
    sim::{Crash, SimEnv},
    storage::scan::{ScanItem, Scanner},
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

const START: i64 = 1_767_225_600_000;
/// How far a clock may go on by itself.
const DRIFT: i64 = 4000;
const PARTITIONS: u32 = 2;

/// How a topic is made.
#[derive(Clone, Debug)]
struct Settings {
    segment_bytes: u64,
    codec: Compression,
    kind: TimestampType,
    delete_retention: i64,
    min_lag: u64,
    deletes: bool,
}

/// A record that is to be appended: its key, the length of its value if that is not null, whether it has headers, and how
/// many seconds it is old.
type Draft = (u8, Option<u8>, bool, i64);

#[derive(Clone, Debug)]
enum Step {
    Append(u32, Vec<Draft>),
    Roll(u32),
    /// All of it, or what is old enough.
    Clean(u32, bool),
    Retain,
    /// By as many times ten seconds.
    Clock(i64),
    Versions(u32),
    Reopen(Option<Crash>),
    LoseKeys,
}

#[derive(Clone, Debug)]
struct Batch {
    last: u64,
    horizon: Option<i64>,
    records: Vec<OwnedRecord>,
}

type Batches = BTreeMap<u64, Batch>;

struct Tested {
    env: SimEnv,
    handle: Streamlog,
    settings: Settings,
    now: i64,
    versions: u32,
    batches: [Batches; PARTITIONS as usize],
}

fn open(env: &SimEnv, read_only: bool) -> Streamlog {
    Builder::env(env, "/log").background_thread(false).read_only(read_only).open().unwrap()
}

fn partition(handle: &Streamlog, number: u32) -> Partition {
    handle.topic("t").unwrap().partition(number).unwrap()
}

fn records(partition: &Partition, from: u64) -> Vec<OwnedRecord> {
    let from = from.max(partition.log_start_offset().value());
    partition.records(from).map(|record| record.unwrap()).collect()
}

impl Tested {
    fn new(settings: Settings) -> Self {
        let env = SimEnv::new(1);
        env.set_wall_clock(Timestamp::from_millis(START));
        let handle = open(&env, false);
        let config = TopicConfig::default()
            .partitions(PARTITIONS)
            .durability(Durability::Flushed)
            .segment_bytes(settings.segment_bytes)
            .compression(settings.codec)
            .message_timestamp_type(settings.kind)
            .delete_retention(Duration::from_secs(settings.delete_retention as u64))
            .min_compaction_lag(Duration::from_secs(settings.min_lag))
            .retention_time(Duration::from_secs(195))
            // Only this test cleans.
            .min_cleanable_dirty_ratio(1.0)
            .cleanup_policy(CleanupPolicy::Delete);
        handle.create_topic("t", config).unwrap();
        let mut tested =
            Tested { env, handle, settings, now: START, versions: 1, batches: Default::default() };
        for number in 0..PARTITIONS {
            tested.put(number, &[RecordData::new("no key"), RecordData::new("value").key(vec![0; 3])]);
        }
        let policy = if tested.settings.deletes { "compact,delete" } else { "compact" };
        tested.alter("cleanup.policy", policy);
        tested
    }

    fn alter(&self, key: &str, value: &str) {
        self.handle.alter_topic("t", &[ConfigChange::set(key, value)]).unwrap();
    }

    fn put(&mut self, number: u32, records_of: &[RecordData<'_>]) {
        let partition = partition(&self.handle, number);
        let offsets = partition.append(records_of).unwrap();
        let (base, last) = (offsets.start.value(), offsets.end.value() - 1);
        let batch = Batch { last, horizon: None, records: records(&partition, base) };
        assert_eq!(batch.records.len(), records_of.len());
        self.batches[number as usize].insert(base, batch);
    }

    fn append(&mut self, number: u32, drafts: &[Draft]) {
        let drafts: Vec<_> = drafts
            .iter()
            .map(|(key, value, has_headers, age)| {
                let mut data = match value {
                    Some(len) => RecordData::new(vec![*len; usize::from(*len) * 2]),
                    None => RecordData::null(),
                };
                data = data.key(vec![*key; 3]).timestamp(Timestamp::from_millis(self.now - age * 1000));
                if *has_headers { data.header("h", vec![*key]).null_header("h") } else { data }
            })
            .collect();
        self.put(number, &drafts);
    }

    fn turn(&self, number: u32) -> CleaningTurn {
        CleaningTurn::take(partition(&self.handle, number).log()).unwrap()
    }

    fn clean(&mut self, number: u32, any_age: bool) {
        let turn = self.turn(number);
        if any_age {
            turn.roll().unwrap();
        }
        let segments = cleanable(turn.log(), any_age);
        let is_clean = dirty_from(&segments, turn.log().clean_below()) == segments.len();
        let end = segments.last().map_or(0, |last| last.seal.next_offset.value());
        let end = if is_clean && !any_age { 0 } else { end };
        let mut cleaning = Cleaning::new(turn, false, any_age);
        while cleaning.step(&mut |_| Ok(())).unwrap() {}
        drop(cleaning);
        self.expect_cleaned(number, end);
    }

    /// What Kafka's rules leave of the batches below `end`, and the horizons that they set.
    fn expect_cleaned(&mut self, number: u32, end: u64) {
        let (now, horizon) = (self.now, self.now + self.settings.delete_retention * 1000);
        let mut met: HashMap<Option<bytes::Bytes>, u32> = HashMap::new();
        let batches = &mut self.batches[number as usize];
        for (_, batch) in batches.range_mut(..end).rev() {
            let mut left: Vec<OwnedRecord> = batch.records.drain(..).collect();
            left.reverse();
            left.retain(|record| {
                let met = met.entry(record.key.clone()).or_default();
                let lives = record.key.is_some() && *met < self.versions;
                *met = if record.value.is_none() { u32::MAX } else { met.saturating_add(1) };
                lives
            });
            left.reverse();
            if batch.horizon.is_some_and(|horizon| now >= horizon) {
                left.retain(|record| record.value.is_some());
            }
            if left.iter().any(|record| record.value.is_none()) {
                batch.horizon.get_or_insert(horizon);
            }
            batch.records = left;
        }
        batches.retain(|_, batch| !batch.records.is_empty());
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append(number, drafts) => self.append(*number, drafts),
            Step::Roll(number) => self.turn(*number).roll().unwrap(),
            Step::Clean(number, any_age) => self.clean(*number, *any_age),
            Step::Retain => self.handle.maintain().unwrap(),
            Step::Clock(tens) => {
                self.now += tens * 10_000;
                self.env.set_wall_clock(Timestamp::from_millis(self.now));
            }
            Step::Versions(versions) => {
                self.versions = *versions;
                self.alter("streamlog.compaction.versions", &versions.to_string());
            }
            Step::Reopen(crash) => {
                match crash {
                    Some(crash) => self.env = self.env.crash(*crash, 1),
                    None => self.handle.clone().close().unwrap(),
                }
                self.handle = open(&self.env, false);
                self.env.set_wall_clock(Timestamp::from_millis(self.now));
            }
            Step::LoseKeys => {
                let keys = self.env.files().into_keys().filter(|path| path.ends_with(".keys"));
                keys.for_each(|path| self.env.overwrite(path, b"lost").unwrap());
            }
        }
    }

    /// Retention has tests of its own, and comes with other work: what it left is taken from it, unless the policy only
    /// compacts.
    fn take_log_starts(&mut self) {
        for number in 0..PARTITIONS {
            let start = partition(&self.handle, number).log_start_offset();
            assert!(self.settings.deletes || start == 0);
            self.batches[number as usize].retain(|_, batch| batch.last >= start.value());
        }
    }

    fn check(&mut self) {
        self.take_log_starts();
        let reader = open(&self.env, true);
        for number in 0..PARTITIONS {
            let batches = &self.batches[number as usize];
            let expected: Vec<&OwnedRecord> = batches.values().flat_map(|batch| &batch.records).collect();
            let own = partition(&self.handle, number);
            for handle in [&self.handle, &reader] {
                let partition = partition(handle, number);
                // After a power cut a process that reads may end at the last checkpoint.
                let end = partition.high_watermark();
                let expected: Vec<_> =
                    expected.iter().copied().filter(|record| record.offset < end).collect();
                let found = records(&partition, 0);
                assert_eq!(found.iter().collect::<Vec<_>>(), expected, "partition {number}");
            }
            let last = expected.last().map_or(0, |record| record.offset.value() + 1);
            assert!(own.log_end_offset() >= last);
            for from in (own.log_start_offset().value()..=own.log_end_offset().value()).step_by(5) {
                let first = own.records(from).next().map(|record| record.unwrap().offset);
                let next = expected.iter().find(|record| record.offset >= from);
                assert_eq!(first, next.map(|record| record.offset), "from {from}");
            }
            for tens in -6..6 {
                let time = Timestamp::from_millis(self.now + tens * 10_000);
                let found = own.offset_for_timestamp(time).unwrap().map(|found| found.offset);
                let first = expected.iter().find(|record| record.timestamp >= time);
                assert_eq!(found, first.map(|record| record.offset), "at {time:?}");
            }
            let largest = own.offset_of_max_timestamp().unwrap().map(|found| found.timestamp);
            assert_eq!(largest, expected.iter().map(|record| record.timestamp).max());
            self.check_horizons(number);
        }
    }

    fn check_horizons(&self, number: u32) {
        let own = partition(&self.handle, number);
        let mut found = BTreeMap::new();
        for segment in cleanable(own.log(), true).into_iter().map(|one| one.segment) {
            let mut scanner = Scanner::new(segment.source(), segment.readable(), 0, segment.base(), true);
            while let ScanItem::Batch(batch, _) = scanner.next().unwrap() {
                let header = batch.header();
                if let Some(horizon) = header.delete_horizon() {
                    found.insert(header.base_offset.value(), horizon.as_millis());
                }
            }
        }
        let expected: BTreeMap<u64, i64> = self.batches[number as usize]
            .iter()
            .filter_map(|(base, batch)| Some((*base, batch.horizon?)))
            .collect();
        assert!(found.keys().eq(expected.keys()), "{found:?} {expected:?}");
        let is_near = |(found, expected): (&i64, &i64)| (0..DRIFT).contains(&(found - expected));
        assert!(found.values().zip(expected.values()).all(is_near), "{found:?} {expected:?}");
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    let codecs = [
        (Compression::None, true),
        (Compression::Gzip, cfg!(feature = "gzip")),
        (Compression::Lz4, cfg!(feature = "lz4")),
        (Compression::Snappy, cfg!(feature = "snappy")),
        (Compression::Zstd, cfg!(feature = "zstd")),
    ];
    let codecs: Vec<_> =
        codecs.into_iter().filter(|(_, is_there)| *is_there).map(|(codec, _)| codec).collect();
    let kinds = prop::sample::select(vec![TimestampType::CreateTime, TimestampType::LogAppendTime]);
    let parts = (800u64..4000, prop::sample::select(codecs), kinds, any::<bool>());
    let times = (prop::sample::select(vec![0, 45, 95]), prop::sample::select(vec![0, 35]));
    (parts, times).prop_map(|((segment_bytes, codec, kind, deletes), (delete_retention, min_lag))| Settings {
        segment_bytes,
        codec,
        kind,
        delete_retention,
        min_lag,
        deletes,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop::option::weighted(0.75, 0u8..60);
    let draft = (0u8..8, value, prop::bool::weighted(0.2), 0i64..5);
    let crash = prop::option::of(prop::sample::select(Crash::ALL.to_vec()));
    let number = || 0..PARTITIONS;
    let step = prop_oneof![
        10 => (number(), prop::collection::vec(draft, 1..6)).prop_map(|(n, drafts)| Step::Append(n, drafts)),
        2 => number().prop_map(Step::Roll),
        4 => number().prop_map(|n| Step::Clean(n, true)),
        3 => number().prop_map(|n| Step::Clean(n, false)),
        1 => Just(Step::Retain),
        4 => (-4i64..12).prop_map(Step::Clock),
        1 => (1u32..4).prop_map(Step::Versions),
        2 => crash.prop_map(Step::Reopen),
        1 => Just(Step::LoseKeys),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn partitions_hold_what_a_model_of_their_batches_holds(settings in settings(), steps in steps()) {
        let mut tested = Tested::new(settings);
        for step in &steps {
            tested.step(step);
            let is_round = !matches!(step, Step::Append(..) | Step::Roll(_) | Step::Clock(_) | Step::Versions(_));
            if is_round {
                tested.check();
            }
        }
        (0..PARTITIONS).for_each(|number| tested.clean(number, true));
        tested.check();
    }
}
