//! Rolling: the slowest call while one file follows another, beside the slowest of the other calls.

use crate::workload::{Better, Workload};
use crate::{records::Records, scale::Scale, scratch::Scratch, subject::Place};
use std::path::Path;
use std::time::{Duration, Instant};

pub const ROLL: Workload = Workload {
    name: "roll",
    figures: &[
        ("slowest send at a roll, 1 KiB", "us"),
        ("slowest send elsewhere, 1 KiB", "us"),
        ("slowest at a roll / elsewhere", "times"),
    ],
    better: Better::Less,
    durability: "written",
    steady: false,
    prepare: |subject, scale, dir| {
        let Some(make) = subject.send else { return Ok(None) };
        let records = Records::of(1024);
        let rolls = 4;
        let calls = (scale.segment as usize * rolls + scale.segment as usize / 2) / 1024;
        let probe = Scratch::new(dir, "probe")?;
        if make(&place(&probe.0, calls, scale))?.files().is_none() {
            return Ok(None);
        }
        Ok(Some(Box::new(move || {
            let dir = Scratch::new(dir, "round")?;
            let mut log = make(&place(&dir.0, calls, scale))?;
            let mut files = log.files();
            let (mut at_roll, mut elsewhere, mut seen) = (Duration::ZERO, Duration::ZERO, 0);
            for window in 0..calls / WINDOW {
                let mut slowest = Duration::ZERO;
                for record in records.range(window * WINDOW..(window + 1) * WINDOW) {
                    let start = Instant::now();
                    log.send(record)?;
                    slowest = slowest.max(start.elapsed());
                }
                let now = log.files();
                if now != files {
                    seen += 1;
                    files = now;
                    at_roll = at_roll.max(slowest);
                } else {
                    elsewhere = elsewhere.max(slowest);
                }
            }
            if seen == 0 {
                return Err("it never rolled".into());
            }
            let [roll, other] = [at_roll, elsewhere].map(|time| time.as_secs_f64() * 1e6);
            Ok(vec![roll, other, roll / other])
        })))
    },
};

/// Between two looks at the number of files.
const WINDOW: usize = 64;

fn place<'a>(dir: &'a Path, calls: usize, scale: &Scale) -> Place<'a> {
    Place { dir, room: (calls * 1200) as u64, segment: scale.segment }
}
