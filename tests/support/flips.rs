//! Flipping bits of a golden store: which ones a run tries, what it says of them, and how answers are shown and bounded.

#![allow(dead_code, unreachable_pub, reason = "every test file takes its own part")]

use std::{
    fmt::Write,
    time::{Duration, Instant},
};
use streamlog::{Record, records::Batch};

use super::support::seed;

/// No opening, with all the questions, may take longer, on however busy a machine.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// Nor may address space of this size be asked for.
const MEMORY: u64 = 1 << 30;

/// Which bits a run tries: every `step`-th, beginning where `seed` says.
pub struct Sample {
    step: u64,
    seed: u64,
    /// How many bits there were so far, and how many of them were taken.
    seen: u64,
    pub taken: u64,
    began: Instant,
    memory: u64,
}

impl Sample {
    /// As `STREAMLOG_EVERY_BIT` and `STREAMLOG_SEED` say, or one bit of so many.
    pub fn one_of(default: u64) -> Sample {
        let step = match std::env::var("STREAMLOG_EVERY_BIT").as_deref() {
            Ok("all") => 1,
            Ok(number) => number.parse().unwrap(),
            Err(_) => default,
        };
        Sample { step, seed: seed(), seen: 0, taken: 0, began: Instant::now(), memory: most_memory() }
    }

    /// Whether the next bit is one of them.
    pub fn takes_next(&mut self) -> bool {
        self.seen += 1;
        let takes = self.seen % self.step == self.seed % self.step;
        self.taken += u64::from(takes);
        takes
    }

    /// Says what was tried, of so many files with so many bytes; and that it took no more memory than it may.
    pub fn end(self, files: usize, bytes: u64) {
        let more = most_memory().saturating_sub(self.memory);
        let Sample { seen, taken, seed, began, .. } = self;
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{taken} of {seen} bits in {files} files of {bytes} bytes, seed {seed}, {seconds:.0} s, {more} bytes more"
        );
        assert!(more < MEMORY, "{more} bytes more than before");
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
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0) << 10
}
