//! Sending with a flush: one record, acknowledged when it survives a power cut, by one thread and by many.

use super::place;
use crate::workload::{Better, Round, Workload};
use crate::{
    records::Records,
    scale::Scale,
    scratch::Scratch,
    subject::{Result, Subject},
};
use std::{path::Path, time::Instant};

pub const ONE: Workload = Workload {
    name: "send, flushed, 1 thread",
    figures: &[("send, 100 B, flushed, 1 thread", "K records/s")],
    better: Better::More,
    durability: "flushed",
    steady: false,
    prepare: |subject, scale, dir| sending(subject, scale, dir, 1),
};

pub const SIXTEEN: Workload = Workload {
    name: "send, flushed, 16 threads",
    figures: &[("send, 100 B, flushed, 16 threads", "K records/s")],
    prepare: |subject, scale, dir| sending(subject, scale, dir, 16),
    ..ONE
};

fn sending<'a>(
    subject: &'a Subject,
    scale: &'a Scale,
    dir: &'a Path,
    threads: usize,
) -> Result<Option<Round<'a>>> {
    let Some(make) = subject.flush else { return Ok(None) };
    let records = Records::of(100);
    let each = if threads == 1 { scale.flushes } else { scale.flushes.div_ceil(3) };
    Ok(Some(Box::new(move || {
        let dir = Scratch::new(dir, "round")?;
        let log = make(&place(&dir.0, threads * (each + 1) * 100))?;
        // What a first flush does once is not what is asked for here.
        log.send_flushed(records.get(0))?;
        let start = Instant::now();
        let send = |thread: usize| {
            let numbers = thread * each..(thread + 1) * each;
            records.range(numbers).try_for_each(|record| log.send_flushed(record))
        };
        let send = &send;
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..threads).map(|thread| scope.spawn(move || send(thread))).collect();
            senders.into_iter().try_for_each(|sender| sender.join().map_err(|_| "a sender panicked")?)
        })?;
        Ok(vec![(threads * each) as f64 / start.elapsed().as_secs_f64() / 1e3])
    })))
}
