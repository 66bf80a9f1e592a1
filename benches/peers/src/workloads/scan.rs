//! Scanning: everything from the start, warm, checksums verified, every byte touched.

use super::{longest, place};
use crate::workload::{Better, Round, Workload};
use crate::{
    records::{Records, touch},
    scale::Scale,
    subject::{Result, Subject},
};
use std::{path::Path, time::Instant};

pub const SCAN: Workload = Workload {
    name: "scan",
    figures: &[("scan, 100 B, warm", "M records/s")],
    better: Better::More,
    durability: "",
    steady: false,
    prepare: |subject, scale, dir| scanning(subject, scale, dir, 100, 1000, 1e6),
};

pub const SCAN_1K: Workload = Workload {
    name: "scan of 1 KiB",
    figures: &[("scan, 1 KiB, warm", "GB/s")],
    better: Better::More,
    durability: "",
    steady: false,
    prepare: |subject, scale, dir| scanning(subject, scale, dir, 1024, 256, 1e9 / 1024.0),
};

fn scanning<'a>(
    subject: &'a Subject,
    scale: &'a Scale,
    dir: &'a Path,
    len: usize,
    batch: usize,
    unit: f64,
) -> Result<Option<Round<'a>>> {
    let (Some(make), Some(read)) = (subject.append, subject.scan) else { return Ok(None) };
    let records = Records::of(len);
    let count = scale.bytes / len / batch * batch;
    let place = place(dir, count * len);
    let mut log = make(&place)?;
    log.batched(&records, 0..count, batch)?;
    log.flush()?;
    drop(log);
    let mut log = read(&place)?;
    let floor = subject.is_floor();
    let first = if subject.crawls { 50 } else { 1000 };
    let start = Instant::now();
    let few = if floor { count as u64 } else { log.scan(first)?.records };
    let limit = longest(scale).as_secs_f64() / (start.elapsed().as_secs_f64() / few as f64);
    let most = (count as u64).min(limit as u64).max(first);
    Ok(Some(Box::new(move || {
        let start = Instant::now();
        let seen = std::hint::black_box(log.scan(most)?);
        let time = start.elapsed().as_secs_f64();
        if floor {
            return Ok(vec![count as f64 / time / unit]);
        }
        let expected = records.range(0..seen.records as usize);
        let sum = expected.fold(0u64, |sum, record| sum.wrapping_add(touch(record)));
        if seen.records < most || seen.sum != sum {
            return Err(format!("it gave {} of {most} records, or other bytes", seen.records).into());
        }
        Ok(vec![seen.records as f64 / time / unit])
    })))
}
