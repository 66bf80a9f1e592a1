//! Compacted logs through crashes: whatever an application makes of all records of a log, one table of key and value, is what
//! it would have made of them before. So no newest value is lost, and no key that was deleted comes back, whatever a crash left of
//! a compaction, or of the opening after it.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};
use streamlog::{
    Partition, RecordData, Streamlog, TopicConfig,
    admin::Compact,
    config::{Builder, CleanupPolicy},
    sim::{Crash, SimEnv},
};

/// What was appended, at its offset.
type Records = Vec<(u8, Option<u8>)>;
type Table = BTreeMap<u8, u8>;

/// A step of a run, and what had been appended after it.
struct Step {
    ended: u64,
    appended: usize,
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

fn builder(env: &SimEnv) -> Builder {
    Builder::env(env, "/data").background_thread(false)
}

fn partition_of(log: &Streamlog) -> Partition {
    log.topic("t").unwrap().partition(0).unwrap()
}

fn compact(log: &Streamlog) {
    log.compact_now("t", Compact::new()).unwrap();
}

/// The table that these records make.
fn table_of(records: &[(u8, Option<u8>)]) -> Table {
    let mut table = Table::new();
    for (key, value) in records {
        match value {
            Some(value) => table.insert(*key, *value),
            None => table.remove(key),
        };
    }
    table
}

/// The table that a reader of a log makes, each of whose records is what was appended at its offset.
fn table_in(partition: &Partition, records: &Records, what: &str) -> Table {
    let mut found = Records::new();
    for batch in partition.read(partition.log_start_offset()) {
        for record in &batch.unwrap_or_else(|error| panic!("{what}: {error}")) {
            let (key, value) = (record.key.unwrap()[0], record.value.map(|value| value[0]));
            assert_eq!((key, value), records[record.offset.value() as usize], "{what}, at {}", record.offset);
            found.push((key, value));
        }
    }
    table_of(&found)
}

/// The log in `env` ends within `ends`, and makes the table of all records up to its end; says where that is.
fn holds(env: &SimEnv, records: &Records, ends: RangeInclusive<usize>, what: &str) -> (Streamlog, usize) {
    let log = builder(env).open().unwrap_or_else(|error| panic!("{what}: {error}"));
    let partition = partition_of(&log);
    let end = partition.log_end_offset().value() as usize;
    assert!(ends.contains(&end), "{what}: ends at {end}, not in {ends:?}");
    assert_eq!(table_in(&partition, records, what), table_of(&records[..end]), "{what}");
    assert!(log.health().is_good(), "{what}: {}", log.health());
    (log, end)
}

/// Appends, deletions and compactions in some order.
fn run(env: &SimEnv, seed: u64) -> (Records, Vec<Step>) {
    let mut random = Random(seed);
    let config = TopicConfig::default().cleanup_policy(CleanupPolicy::Compact).segment_bytes(600);
    let config = config.delete_retention(Duration::from_secs(1));
    let mut log = builder(env).open().unwrap();
    log.create_topic("t", config).unwrap();
    env.record();
    let (mut records, mut steps) = (Records::new(), Vec::new());
    for _ in 0..40 {
        match random.below(10) {
            0 => compact(&log),
            1 => env.advance(Duration::from_secs(2)),
            2 if random.below(3) == 0 => {
                log.close().unwrap();
                log = builder(env).open().unwrap();
            }
            _ => {
                let key = random.below(5) as u8;
                let value = (random.below(4) > 0).then(|| random.below(200) as u8);
                let (key_bytes, value_bytes) = ([key], value.map(|value| vec![value; 60]));
                let record = match &value_bytes {
                    Some(value) => RecordData::new(value).key(&key_bytes),
                    None => RecordData::tombstone(&key_bytes),
                };
                partition_of(&log).append(&[record]).unwrap();
                records.push((key, value));
            }
        }
        steps.push(Step { ended: env.operations(), appended: records.len() });
    }
    drop(log);
    (records, steps)
}

/// Compacts a log that was found after a crash, and dies at every operation of that.
fn dies_in_a_compaction(env: &SimEnv, records: &Records, end: usize, what: &str) {
    let (log, _) = holds(env, records, end..=end, what);
    env.record();
    compact(&log);
    let recording = env.recording();
    let mut cursor = recording.cursor();
    while cursor.advance().is_some() {
        for (seed, crash) in (0..).zip([Crash::Kill, Crash::Subset]) {
            let what = format!("{what}, then {crash:?} while it was compacted");
            holds(&cursor.crash(crash, seed), records, end..=end, &what);
        }
    }
}

#[test]
fn a_table_in_a_compacted_topic_is_the_same_after_every_crash() {
    let mut again = 0;
    for seed in 0..3 {
        let env = SimEnv::new(seed);
        let (records, steps) = run(&env, seed);
        let recording = env.recording();
        let mut cursor = recording.cursor();
        while let Some(at) = cursor.advance() {
            let done = steps.partition_point(|step| step.ended <= at);
            let least = done.checked_sub(1).map_or(0, |last| steps[last].appended);
            let most = steps.get(done).map_or(records.len(), |step| step.appended);
            for (i, crash) in (0..).zip(Crash::ALL).skip(at as usize % 6).step_by(6) {
                let died = cursor.crash(crash, seed + i);
                let what = format!("seed {seed}, operation {at}, {crash:?}");
                let (log, end) = holds(&died, &records, least..=most, &what);
                drop(log);
                // At depth two, of some.
                if (at + i) % 97 == 0 {
                    again += 1;
                    dies_in_a_compaction(&cursor.crash(crash, seed + i), &records, end, &what);
                }
            }
        }
        let whole = env.crash(Crash::Nothing, seed);
        let readers = builder(&whole).read_only(true).open().unwrap();
        table_in(&partition_of(&readers), &records, "to be read");
        let (log, _) = holds(&whole, &records, records.len()..=records.len(), "at its end");
        compact(&log);
        log.close().unwrap();
        assert!(whole.files().contains_key("/data/cleaner-offset-checkpoint"));
    }
    assert!(again > 5, "{again}");
}
