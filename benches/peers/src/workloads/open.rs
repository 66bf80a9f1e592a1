//! Opening: after a clean close, and after a kill with a part of the data unflushed.

use super::place;
use crate::workload::{Better, Round, Workload};
use crate::{
    child::{self, FILL_BATCH, FILL_LEN, Task},
    records::Records,
    scale::Scale,
    scratch::Scratch,
    subject::{Open, Place, Result, Subject},
};
use std::{path::Path, time::Instant};

pub const CLEAN_SMALL: Workload = Workload {
    name: "open, clean, small",
    figures: &[("open after a clean close, a small log", "ms")],
    better: Better::Less,
    durability: "",
    steady: false,
    prepare: |subject, scale, dir| clean(subject, dir, scale.opened / 64),
};

pub const CLEAN: Workload = Workload {
    name: "open, clean",
    figures: &[("open after a clean close, a log 64 times that", "ms")],
    better: Better::Less,
    durability: "",
    steady: false,
    prepare: |subject, scale, dir| clean(subject, dir, scale.opened),
};

/// No segment ends in what was not flushed.
pub const KILLED: Workload = Workload {
    name: "open, killed",
    figures: &[("open after kill -9, with unflushed data", "ms")],
    better: Better::Less,
    durability: "",
    steady: false,
    prepare: |subject, scale, dir| {
        let Some(open) = subject.open else { return Ok(None) };
        killed(subject, scale, dir, open, scale.opened - 4 * scale.unflushed)
    },
};

/// A segment ended in what was not flushed, and the kill comes while that is flushed in the background.
pub const KILLED_FLUSHING: Workload = Workload {
    name: "open, killed while flushing",
    figures: &[("open after kill -9 during a flush", "ms")],
    better: Better::Less,
    durability: "",
    steady: false,
    prepare: |subject, scale, dir| {
        let Some(open) = subject.open_past_cache else { return Ok(None) };
        killed(subject, scale, dir, open, scale.opened - scale.unflushed / 4)
    },
};

fn clean<'a>(subject: &'a Subject, dir: &'a Path, bytes: usize) -> Result<Option<Round<'a>>> {
    let (Some(make), Some(open)) = (subject.append, subject.open) else { return Ok(None) };
    // A floor has no way to know that it was closed cleanly.
    if subject.is_floor() {
        return Ok(None);
    }
    let place = place(dir, bytes);
    let mut log = make(&place)?;
    log.batched(&Records::of(FILL_LEN), 0..bytes / FILL_LEN, FILL_BATCH)?;
    log.flush()?;
    drop(log);
    Ok(Some(Box::new(move || {
        let start = Instant::now();
        let log = open(&place)?;
        let time = start.elapsed();
        drop(log);
        Ok(vec![time.as_secs_f64() * 1e3])
    })))
}

fn killed<'a>(
    subject: &'a Subject,
    scale: &'a Scale,
    dir: &'a Path,
    open: Open,
    segment: usize,
) -> Result<Option<Round<'a>>> {
    if subject.append.is_none() {
        return Ok(None);
    }
    Ok(Some(Box::new(move || {
        let dir = Scratch::new(dir, "round")?;
        let task = Task::FillAndDie { bytes: scale.opened, segment, unflushed: scale.unflushed };
        child::run(subject, &dir.0, task)?;
        let place = Place { segment: segment as u64, ..place(&dir.0, scale.opened) };
        let start = Instant::now();
        let log = open(&place)?;
        let time = start.elapsed();
        drop(log);
        Ok(vec![time.as_secs_f64() * 1e3])
    })))
}
