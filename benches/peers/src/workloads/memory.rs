//! Memory: the most anonymous memory that an append or a scan takes, and whether four times the data take more.

use crate::workload::{Better, Round, Workload};
use crate::{
    child::{self, Task},
    scale::Scale,
    scratch::Scratch,
    subject::{Result, Subject},
};
use std::path::Path;

pub const APPEND: Workload = Workload {
    name: "memory, append",
    figures: &[("peak memory, append", "MiB"), ("peak memory, append of 4 times as much", "MiB")],
    better: Better::Less,
    durability: "written",
    steady: true,
    prepare: |subject, scale, dir| peaks(subject, scale, dir, false),
};

pub const SCAN: Workload = Workload {
    name: "memory, scan",
    figures: &[("peak memory, scan", "MiB"), ("peak memory, scan of 4 times as much", "MiB")],
    better: Better::Less,
    durability: "",
    steady: true,
    prepare: |subject, scale, dir| peaks(subject, scale, dir, true),
};

fn peaks<'a>(subject: &'a Subject, scale: &'a Scale, dir: &'a Path, scan: bool) -> Result<Option<Round<'a>>> {
    if subject.append.is_none() || subject.is_floor() || (scan && (subject.crawls || subject.scan.is_none()))
    {
        return Ok(None);
    }
    Ok(Some(Box::new(move || {
        let mut peaks = Vec::new();
        for bytes in [scale.grown, scale.grown * 4] {
            let dir = Scratch::new(dir, "round")?;
            let peak = |task| -> Result<f64> {
                let answer = child::run(subject, &dir.0, task)?;
                let [bytes] = answer[..] else { return Err("a child without an answer".into()) };
                Ok(bytes / f64::from(1 << 20))
            };
            let append = peak(Task::PeakOfAppend { bytes })?;
            peaks.push(if scan { peak(Task::PeakOfScan { bytes })? } else { append });
        }
        Ok(peaks)
    })))
}
