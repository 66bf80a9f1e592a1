//! Random reads: one record by its offset, and an offset by its time; with ten times the records and segments.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, TOPIC, bytes, group, topic};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use streamlog::{Durability, Partition, RecordData, Timestamp};

const FIRST: i64 = 1_700_000_000_000;

/// Records a millisecond apart, in batches of a hundred.
fn fill(partition: &Partition, count: usize) {
    let value = bytes(100);
    for start in (0..count).step_by(100) {
        let at = |number: usize| Timestamp::from_millis(FIRST + number as i64);
        let records: Vec<_> =
            (start..start + 100).map(|n| RecordData::new(&value).timestamp(at(n))).collect();
        partition.append(&records).expect("an append");
    }
}

/// Numbers below `end` in an order that looks like none.
fn numbers(end: usize) -> impl FnMut() -> u64 {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % end as u64
    }
}

fn seeks(criterion: &mut Criterion) {
    let mut group = group(criterion, "seek");
    for (count, segment) in [(10_000, 64), (100_000, 64), (1_000_000, 64), (100_000, 1), (1_000_000, 1)] {
        let log = Log::new(topic(Durability::Written).segment_bytes(segment << 20));
        let partition = log.partition();
        fill(&partition, count);
        let name = format!("{count} in segments of {segment} MiB");
        let mut next = numbers(count);
        group.bench_function(BenchmarkId::new("by offset", &name), |bencher| {
            bencher.iter(|| {
                let offset = next();
                let batch = partition.read(offset).next().expect("a batch").expect("a batch");
                let record = batch.iter().next().expect("a record");
                assert_eq!(record.offset, offset);
                black_box(record.value.map(<[u8]>::len))
            });
        });
        group.bench_function(BenchmarkId::new("by time", &name), |bencher| {
            bencher.iter(|| {
                let time = Timestamp::from_millis(FIRST + next() as i64);
                let found = partition.offset_for_timestamp(time).expect("a look-up").expect("a record");
                assert_eq!(found.timestamp, time, "{TOPIC}");
                black_box(found.offset)
            });
        });
    }
}

criterion_group!(benches, seeks);
criterion_main!(benches);
