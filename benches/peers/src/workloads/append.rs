//! Appending by one thread: a record a call, and in batches. Nothing is flushed.

use super::{longest, place};
use crate::workload::{Better, Round, Workload};
use crate::{
    records::Records,
    scale::Scale,
    scratch::Scratch,
    subject::{Result, Subject},
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

pub const ENQUEUE: Workload = Workload {
    name: "enqueue",
    figures: &[("enqueue, 100 B, one record a call", "M records/s")],
    better: Better::More,
    durability: "written",
    steady: false,
    prepare: |subject, scale, dir| appending(subject, scale, dir, 100, None, 1e6),
};

pub const BATCHES: Workload = Workload {
    name: "batches",
    figures: &[("append, 100 B, batches of 1,000", "M records/s")],
    better: Better::More,
    durability: "written",
    steady: false,
    prepare: |subject, scale, dir| appending(subject, scale, dir, 100, Some(1000), 1e6),
};

pub const BATCHES_1K: Workload = Workload {
    name: "batches of 1 KiB",
    figures: &[("append, 1 KiB, batches of 256", "GB/s")],
    better: Better::More,
    durability: "written",
    steady: false,
    prepare: |subject, scale, dir| appending(subject, scale, dir, 1024, Some(256), 1e9 / 1024.0),
};

fn appending<'a>(
    subject: &'a Subject,
    scale: &'a Scale,
    dir: &'a Path,
    len: usize,
    batch: Option<usize>,
    unit: f64,
) -> Result<Option<Round<'a>>> {
    let Some(make) = subject.append else { return Ok(None) };
    let records = Records::of(len);
    let once = move |count: usize| -> Result<Duration> {
        let dir = Scratch::new(dir, "round")?;
        let mut log = make(&place(&dir.0, count * len))?;
        let start = Instant::now();
        match batch {
            Some(batch) => log.batched(&records, 0..count, batch)?,
            None => log.singly(&records, 0..count)?,
        }
        Ok(start.elapsed())
    };
    let few = batch.unwrap_or(1000);
    let Ok(probe) = once(few) else { return Ok(None) };
    let most = longest(scale).as_secs_f64() / (probe.as_secs_f64() / few as f64);
    let mut count = (scale.bytes / len).min(most as usize).max(few);
    let patience = 3 * longest(scale);
    Ok(Some(Box::new(move || {
        let start = Instant::now();
        let rate = count as f64 / once(count)?.as_secs_f64();
        // Who was slower than the first few records said, or takes long to close, does fewer the next time.
        let whole = start.elapsed();
        if whole > patience {
            count = ((count as f64 * patience.as_secs_f64() / whole.as_secs_f64()) as usize).max(few);
        }
        Ok(vec![rate / unit])
    })))
}
