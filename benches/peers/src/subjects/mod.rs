//! The subjects: one file each.
//!
//! Each is set up as its own documentation advises for speed, with nothing switched off that guards the data. Where a
//! subject leaves something out by its nature, a mark says so.

mod commitlog;
mod fjall;
mod floors;
mod kafka;
mod kafko;
mod mrecordlog;
mod okaywal;
#[cfg(feature = "raft-engine")]
mod raft_engine;
mod redb;
mod runtime;
mod rusqlite;
mod seglog;
mod streamlog;
mod walrus;
mod yaque;

use crate::subject::Subject;

/// All of them: this crate, its peers, the floors.
pub const SUBJECTS: &[Subject] = &[
    streamlog::SUBJECT,
    commitlog::SUBJECT,
    seglog::SUBJECT,
    walrus::SUBJECT,
    yaque::SUBJECT,
    okaywal::SUBJECT,
    #[cfg(feature = "raft-engine")]
    raft_engine::SUBJECT,
    mrecordlog::SUBJECT,
    kafko::SUBJECT,
    fjall::SUBJECT,
    redb::SUBJECT,
    rusqlite::SUBJECT,
    kafka::LAYER,
    kafka::BROKER,
    kafka::CHRONICLE,
    floors::writes::SUBJECT,
    floors::checked::SUBJECT,
    floors::group::SUBJECT,
    floors::memory::SUBJECT,
];

/// The one this package is about.
pub const OURS: &str = streamlog::SUBJECT.name;
