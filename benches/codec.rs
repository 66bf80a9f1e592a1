//! Codecs: batches of a thousand and of ten thousand records that compress as log lines do, in and out. Needs the
//! features.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, calls_in_room, group, measure, topic};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use streamlog::{Durability, Partition, RecordData, config::Compression};

/// Lines that differ here and there.
fn lines(count: usize) -> Vec<String> {
    let line = |n: usize| {
        let (user, millis, status) = (n * 7919 % 4096, n * 104_729 % 997, [200, 200, 200, 404, 500][n % 5]);
        format!(
            "2024-05-01T12:00:{:02}.{millis:03}Z INFO api user={user} path=/v1/orders/{n} status={status} took={millis}ms",
            n % 60
        )
    };
    (0..count).map(line).collect()
}

/// The first batch of a partition, decompressed and gone through: how many bytes its values have.
fn read(partition: &Partition) -> usize {
    let batch = partition.read(0).next().expect("a batch").expect("a batch");
    batch.iter().map(|record| record.value.map_or(0, <[u8]>::len)).sum()
}

fn codecs(criterion: &mut Criterion) {
    let mut group = group(criterion, "codec");
    for codec in [
        Compression::None,
        #[cfg(feature = "gzip")]
        Compression::Gzip,
        #[cfg(feature = "snappy")]
        Compression::Snappy,
        #[cfg(feature = "lz4")]
        Compression::Lz4,
        #[cfg(feature = "zstd")]
        Compression::Zstd,
    ] {
        for count in [1000, 10_000] {
            let lines = lines(count);
            let records: Vec<_> = lines.iter().map(RecordData::new).collect();
            let size = lines.iter().map(String::len).sum::<usize>();
            let config = || topic(Durability::Written).compression(codec).max_message_bytes(8 << 20);
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(format!("{codec} in"), count), |bencher| {
                let setup = || {
                    let log = Log::new(config());
                    let partition = log.partition();
                    (log, partition)
                };
                measure(bencher, calls_in_room(size), setup, |(_, partition)| {
                    partition.append(black_box(&records)).expect("an append");
                });
            });
            let log = Log::new(config());
            let partition = log.partition();
            partition.append(&records).expect("an append");
            let batch = partition.read(0).next().expect("a batch").expect("a batch");
            assert_eq!(batch.compression(), codec);
            assert!(batch.iter().map(|r| r.value).eq(lines.iter().map(|line| Some(line.as_bytes()))));
            group.bench_function(BenchmarkId::new(format!("{codec} out"), count), |bencher| {
                bencher.iter(|| assert_eq!(read(black_box(&partition)), size));
            });
        }
    }
}

criterion_group!(benches, codecs);
criterion_main!(benches);
