//! What background work costs those beside it: a record that lingers for a millisecond, from `enqueue` to its
//! acknowledgement, and appends at full speed.
//!
//! No criterion: what counts is the slowest of a thousand, which a mean hides. Each is measured in turns without and with
//! what runs beside it, and the last column is how many times as long it takes, or as fast it is.
//!
//! `RECORDS=3000 cargo bench --bench linger` lets so many records linger in each turn; `MIB=512` appends so much.

mod common;

use common::{Log, bytes, numbers};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use streamlog::{
    Durability, Partition, ProducerRecord, RecordData, Streamlog, TopicConfig, admin::Compact,
    config::CleanupPolicy,
};

const MIB: u64 = 1 << 20;
const TURNS: usize = 3;
/// Keys of the table that is compacted.
const KEYS: u64 = 200_000;

/// Keyed records, drawn from the keys of the table, in batches.
fn update(partition: &Partition, value: &[u8], bytes: u64, ends: &AtomicBool) {
    let mut random = numbers(88_172_645_463_325_252);
    let end = partition.log_end_offset().value() + bytes / 106;
    while partition.log_end_offset().value() < end && !ends.load(Ordering::Relaxed) {
        let keys: Vec<_> = (0..100).map(|_| format!("user-{:011x}", random() % KEYS)).collect();
        let records: Vec<_> = keys.iter().map(|key| RecordData::new(value).key(key)).collect();
        partition.append(&records).expect("an append");
    }
}

/// The times of so many records that linger, one after the other.
fn times(log: &Streamlog, count: usize) -> Vec<Duration> {
    let producer = log.producer_builder().linger(Duration::from_millis(1)).build().expect("a producer");
    let time = |_| {
        let begun = Instant::now();
        let delivery = producer.enqueue(ProducerRecord::new("quick", b"a record")).expect("an enqueue");
        delivery.wait().expect("a delivery");
        begun.elapsed()
    };
    (0..count).map(time).collect()
}

/// Times in turns without and with what `beside` does until it is told to end.
fn lingering(log: &Streamlog, count: usize, name: &str, beside: impl Fn(&AtomicBool) + Sync) {
    let (mut alone, mut with) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        alone.extend(times(log, count));
        let ends = AtomicBool::new(false);
        with.extend(thread::scope(|scope| {
            scope.spawn(|| beside(&ends));
            let times = times(log, count);
            ends.store(true, Ordering::Relaxed);
            times
        }));
    }
    println!("{:<26} {:>10} {:>10} {:>7}", name, "alone, ms", "beside, ms", "times");
    [&mut alone, &mut with].into_iter().for_each(|times| times.sort());
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        let at = |times: &[Duration]| {
            let index = ((times.len() as f64 * share) as usize).min(times.len() - 1);
            times[index].as_secs_f64() * 1e3
        };
        let (alone, with) = (at(&alone), at(&with));
        println!("{name:>26} {alone:>10.2} {with:>10.2} {:>7.1}", with / alone);
    }
    println!();
}

/// How many MB/s are appended, in turns without and with what `beside` does.
fn appending(partition: &Partition, mib: u64, name: &str, beside: impl Fn(&AtomicBool) + Sync) {
    let value = bytes(1000);
    let records = vec![RecordData::new(&value); 64];
    let append = || {
        let (begun, count) = (Instant::now(), (mib * MIB).div_ceil(64_000));
        for _ in 0..count {
            partition.append(&records).expect("an append");
        }
        (count * 64_000) as f64 / begun.elapsed().as_secs_f64() / 1e6
    };
    let mut speeds = Vec::new();
    for _ in 0..TURNS {
        let alone = append();
        let ends = AtomicBool::new(false);
        let with = thread::scope(|scope| {
            scope.spawn(|| beside(&ends));
            let with = append();
            ends.store(true, Ordering::Relaxed);
            with
        });
        speeds.push((alone, with));
    }
    speeds.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (alone, with) = speeds[TURNS / 2];
    println!("{name:<26} {:>10} {:>10} {:>7}", "alone", "beside", "times");
    println!("{:>26} {alone:>10.0} {with:>10.0} {:>7.2}\n", "MB/s", with / alone);
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

fn main() {
    let is_test = std::env::args().any(|word| word == "--test");
    let count = number("RECORDS", if is_test { 20 } else { 1000 }) as usize;
    let mib = number("MIB", if is_test { 4 } else { 512 });
    let bulk = common::topic(Durability::Written).retention_bytes(512 * MIB);
    let log = Log::new(bulk);
    let bulk = log.partition();
    let written = TopicConfig::default().durability(Durability::Written);
    log.log.create_topic("quick", written.clone()).expect("a topic");
    let table = written.segment_bytes(8 * MIB).cleanup_policy(CleanupPolicy::Compact);
    let table = log.log.create_topic("table", table.min_cleanable_dirty_ratio(1.0)).expect("a topic");
    let (table, value) = (table.partition(0).expect("a partition"), bytes(80));
    update(&table, &value, 64 * MIB, &AtomicBool::new(false));

    // One that never rests: each round has some updates, and rewrites all segments.
    let rounds = AtomicU64::new(0);
    let cleaner = |ends: &AtomicBool| {
        while !ends.load(Ordering::Relaxed) {
            update(&table, &value, 8 * MIB, ends);
            let goes_on = |_| !ends.load(Ordering::Relaxed);
            // It ends with an error where it is told to end.
            let _ = log.log.compact_now("table", Compact::new().on_progress(goes_on));
            rounds.fetch_add(1, Ordering::Relaxed);
        }
    };
    let appends = |ends: &AtomicBool| {
        let (value, mut bytes) = (bytes(1000), 0);
        let (records, begun) = (vec![RecordData::new(&value); 64], Instant::now());
        while !ends.load(Ordering::Relaxed) {
            bulk.append(&records).expect("an append");
            bytes += 64_000;
        }
        println!("(appended {:.0} MB/s)", bytes as f64 / begun.elapsed().as_secs_f64() / 1e6);
    };
    println!("A record that lingers for 1 ms, {} of them in {TURNS} turns:\n", count * TURNS);
    lingering(&log.log, count, "beside a cleaner", cleaner);
    lingering(&log.log, count, "beside appends", appends);
    println!("Appends of batches of 64 records of 1,000 bytes:\n");
    appending(&bulk, mib, "beside a cleaner", cleaner);
    println!("The cleaner did {} rounds.", rounds.load(Ordering::Relaxed));
}
