//! Codecs: batches of a thousand records that compress as log lines do, in and out. Needs the features.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, group, topic};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use streamlog::{Compression, Durability, RecordData};

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

/// Batches of a thousand and of ten thousand records.
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
            let log = Log::new(topic(Durability::Written).compression(codec).max_message_bytes(8 << 20));
            let partition = log.partition();
            group.throughput(Throughput::Bytes(lines.iter().map(|line| line.len() as u64).sum()));
            group.bench_function(BenchmarkId::new(format!("{codec} in"), count), |bencher| {
                bencher.iter(|| partition.append(black_box(&records)).expect("an append"));
            });
            group.bench_function(BenchmarkId::new(format!("{codec} out"), count), |bencher| {
                bencher.iter(|| {
                    let batch = partition.read(0).next().expect("a batch").expect("a batch");
                    let len = |record: streamlog::Record<'_>| record.value.map_or(0, <[u8]>::len);
                    black_box(batch.iter().map(len).sum::<usize>())
                });
            });
        }
    }
}

criterion_group!(benches, codecs);
criterion_main!(benches);
