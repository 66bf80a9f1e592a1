//! The workloads: one file for each kind.

mod append;
mod disk;
mod flushed;
mod hop;
mod idle;
mod memory;
mod open;
mod roll;
mod scan;
mod send;
mod spread;

use crate::{scale::Scale, subject::Place, workload::Workload};
use std::{path::Path, time::Duration};

/// All workloads, in the order of the tables.
pub const WORKS: &[Workload] = &[
    append::ENQUEUE,
    append::BATCHES,
    append::BATCHES_1K,
    send::WRITTEN,
    roll::ROLL,
    flushed::ONE,
    flushed::SIXTEEN,
    spread::SPREAD,
    scan::SCAN,
    scan::SCAN_1K,
    hop::AWAKE,
    hop::ASLEEP,
    open::CLEAN_SMALL,
    open::CLEAN,
    open::KILLED,
    open::KILLED_FLUSHING,
    memory::APPEND,
    memory::SCAN,
    disk::DISK,
    idle::IDLE,
];

/// A place for so many bytes of records, in files of the usual size.
fn place(dir: &Path, room: usize) -> Place<'_> {
    Place { dir, room: room as u64, segment: 256 << 20 }
}

/// No round of an append or a scan shall take longer than this; who is slower does fewer records.
fn longest(scale: &Scale) -> Duration {
    Duration::from_millis(if scale.quick { 60 } else { 500 })
}
