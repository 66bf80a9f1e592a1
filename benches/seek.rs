//! Random reads: one record by its offset, and an offset by its time; with ten times the records, segments and partitions.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, bytes, group, numbers, shape};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use streamlog::{Partition, RecordData, Timestamp};

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

/// Each answer is held against the question.
fn seeks(criterion: &mut Criterion) {
    let mut group = group(criterion, "seek");
    for (count, segment, partitions) in [
        (10_000, 64, 1),
        (100_000, 64, 1),
        (1_000_000, 64, 1),
        (100_000, 1, 1),
        (1_000_000, 1, 1),
        (100_000, 64, 10),
        (100_000, 64, 100),
    ] {
        let log = Log::spread(segment, partitions);
        let all = log.topic.partitions();
        let each = count / all.len();
        all.iter().for_each(|partition| fill(partition, each));
        let name = shape(count, segment, partitions);
        let mut numbers = numbers(0x2545_f491_4f6c_dd1d);
        let mut next = || (numbers() >> 1) as usize;
        let mut place = || (&all[next() % all.len()], (next() % each) as u64);
        group.bench_function(BenchmarkId::new("by offset", &name), |bencher| {
            bencher.iter(|| {
                let (partition, offset) = place();
                let batch = partition.read(offset).next().expect("a batch").expect("a batch");
                let record = batch.iter().next().expect("a record");
                assert_eq!(record.offset, offset);
                black_box(record.value.map(<[u8]>::len))
            });
        });
        group.bench_function(BenchmarkId::new("by time", &name), |bencher| {
            bencher.iter(|| {
                let (partition, offset) = place();
                let time = Timestamp::from_millis(FIRST + offset as i64);
                let found = partition.offset_for_timestamp(time).expect("a look-up").expect("a record");
                assert_eq!((found.timestamp, found.offset.value()), (time, offset));
            });
        });
    }
}

criterion_group!(benches, seeks);
criterion_main!(benches);
