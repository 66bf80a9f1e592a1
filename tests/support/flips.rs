//! Flipping bits of a golden store: which ones a run tries, and how what it answers is shown and bounded.

#![allow(dead_code, unreachable_pub, reason = "every test file takes its own part")]

use std::{fmt::Write, time::Duration};
use streamlog::{Batch, Record};

/// No opening, with all the questions, may take longer.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Nor may address space of this size be asked for.
pub const MEMORY: u64 = 1 << 30;

/// Which bits a run tries: every `step`-th, beginning where `seed` says.
pub struct Sample {
    pub step: u64,
    pub seed: u64,
    /// How many bits there were so far.
    pub seen: u64,
}

impl Sample {
    /// As `STREAMLOG_EVERY_BIT` and `STREAMLOG_SEED` say, or one bit of so many and a seed that changes.
    pub fn one_of(default: u64) -> Sample {
        let step = match std::env::var("STREAMLOG_EVERY_BIT").as_deref() {
            Ok("all") => 1,
            Ok(number) => number.parse().unwrap(),
            Err(_) => default,
        };
        let seed = std::env::var("STREAMLOG_SEED").ok().and_then(|n| n.parse().ok());
        Sample { step, seed: seed.unwrap_or_else(|| u64::from(std::process::id())), seen: 0 }
    }

    /// Whether the next bit is one of them.
    pub fn takes_next(&mut self) -> bool {
        self.seen += 1;
        self.seen % self.step == self.seed % self.step
    }
}

/// What a reader is told of a record beside its offset and its batch's leader epoch.
pub fn shown(batch: &Batch, record: &Record<'_>) -> String {
    let text =
        |bytes: Option<&[u8]>| bytes.map_or("none".into(), |b| String::from_utf8_lossy(b).into_owned());
    let mut shown = format!("{}, {}", record.timestamp, batch.compression());
    write!(shown, ", {:?}, {}, {}", record.timestamp_type, text(record.key), text(record.value)).unwrap();
    for (name, value) in record.headers {
        write!(shown, ", {name}: {}", text(value)).unwrap();
    }
    shown
}

/// The most address space that this process ever had.
pub fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0) << 10
}
