//! The works: one file for each kind.

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

use crate::{
    scale::Scale,
    subject::{Place, Result, Subject},
};
pub use open::{BATCH as FILL_BATCH, LEN as FILL_LEN};
use std::{path::Path, time::Duration};

/// A kind of work, and how a subject does it.
pub struct Work {
    pub name: &'static str,
    /// What one round gives, and in which unit.
    pub figures: &'static [(&'static str, &'static str)],
    pub better: Better,
    pub durability: &'static str,
    /// Whether every round gives the same, so that one is enough.
    pub steady: bool,
    /// Prepares a subject for its rounds, in a directory of its own. `None`: it cannot do this.
    pub prepare: for<'a> fn(&'a Subject, &'a Scale, &'a Path) -> Result<Option<Round<'a>>>,
}

/// A round: does the work once, and gives its figures.
pub type Round<'a> = Box<dyn FnMut() -> Result<Vec<f64>> + 'a>;

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

/// All works, in the order of the tables.
pub const WORKS: &[Work] = &[
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
