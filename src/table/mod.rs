//! A topic that is a map: state whose only writer is its log.
//!
//! What groups commit, what transactions decide and what queues hand out have one shape: an internal topic of one
//! partition whose records say how a map changed. This room keeps such maps. It appends, flushes, applies, answers, loads,
//! follows, shortens; what the records mean is the business of a [`State`], which knows no file, no lock and no clock.
//!
//! # What a state promises
//!
//! * [`apply`](State::apply) alone changes it, by what the record says and by nothing else. So the same code serves the
//!   present, the next opening and a reader in another process.
//! * [`snapshot`](State::snapshot) returns the records that make this state from an empty one. A record that it leaves out
//!   is lost when the log is rewritten, also one that `apply` passed over.
//! * What cannot be read, a record or a whole stretch of the log, is noted and answers nothing: an entry that it may have
//!   changed is an error for everyone who asks, never its older value. While such notes are open the state is not
//!   [whole](State::is_whole), and the log is neither rewritten nor given a sidecar.
//! * A sidecar that [`decode_sidecar`](State::decode_sidecar) accepts is whole: it carries a checksum of its own.
//!
//! # What a table promises
//!
//! * [`Table::update`] runs an operation, which looks at the state and returns records and an answer. The records become
//!   one batch (or several, where the operation says so); the batch is flushed; the state applies what it reads back from
//!   the log; then the answer is given. Nobody sees a state that a power cut could take back.
//! * Updates append one at a time, in the order in which their operations ran. They flush without the lock: those that come
//!   together share a flush. So an operation may run before an earlier update is durable, and [`View::is_current`] says
//!   whether it did; records of its own come after the ones that it has not seen.
//! * After an error of an update a later opening finds all of its batch or nothing of it. The state of this handle shows it
//!   once it is flushed by a later update, or never.
//! * [`Table::read`] follows the log to its durable end first, whoever wrote it: this handle, or a writer in another
//!   process where this one only reads. A log that does not exist is an empty state.
//! * Damage of the log is passed over where its end can be found, and handed to the state. After any other error of
//!   reading nothing of the state is kept: the next look begins again, and meets the error again.
//!
//! # How the log stays short
//!
//! * A **sidecar** holds the state as of an offset, so that loading reads only the records after it. It is a hint: one that
//!   is missing, damaged, of another log or ahead of this one counts as missing, and failing to write one fails nobody.
//! * **Rewriting**: when the log exceeds three times what the state takes, the snapshot is appended, flushed, and only then
//!   the log start moves to its first record. A death before the flush leaves the old records, whose replay ends in the
//!   same state; one after it leaves both, and the snapshot comes last; one after the move leaves the snapshot. Appending is
//!   locked throughout, so no value in the snapshot replaces a newer one.
//! * A reader whose place is gone with the records before the new start begins again at the start with an empty state:
//!   what was removed may have said that an entry is forgotten.
//!
//! # Locks
//!
//! Appending, then the state, then the log. An operation and a look run under the state's lock: they call neither the table
//! nor another log, and wait for nothing. A caller that holds a lock of its own takes it before all of these.

mod batches;
mod loaded;
mod rewrite;
mod runtime;
#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;

pub use runtime::Table;

use crate::{
    codec::{DecodeError, record::Record},
    error::Error,
    types::{Offset, Timestamp, TopicId},
};
use std::fmt;

/// A map that is the sum of its records.
pub trait State: Default + Send + fmt::Debug {
    /// The internal topic whose records they are.
    const TOPIC: &'static str;
    /// The sidecar's file name, in the partition's directory.
    const SIDECAR: &'static str;

    /// Changes what this record says, the next one of the log. A kind that is not ours is passed over. For one that cannot
    /// be read `unreadable` makes the error with file and position, and notes the damage.
    fn apply(&mut self, record: &Record<'_>, unreadable: &dyn Fn(DecodeError) -> Error);

    /// The log from the last record on cannot be read up to `until`, and may say anything.
    fn pass_over(&mut self, until: Offset, error: Error);

    /// Whether it is the sum of all its records: nothing that could not be read is still in question.
    fn is_whole(&self) -> bool;

    /// The records that make this state from an empty one.
    fn snapshot(&self) -> Vec<TableRecord>;

    /// The bytes of a sidecar.
    fn encode_sidecar(&self, at: SidecarPoint) -> Vec<u8>;

    /// What a sidecar holds.
    fn decode_sidecar(bytes: &[u8]) -> Result<(SidecarPoint, Self), DecodeError>;
}

/// What a sidecar was made of: this log in this life, up to an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SidecarPoint {
    /// The id of the internal topic.
    pub topic_id: TopicId,
    /// The incarnation of its partition.
    pub incarnation: u32,
    /// All records below are in it.
    pub next_offset: Offset,
}

/// A record to be appended, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRecord {
    /// What it is about.
    pub key: Vec<u8>,
    /// What is so now; `None` where the key is forgotten.
    pub value: Option<Vec<u8>>,
    /// What the value's format has no field for.
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

impl TableRecord {
    /// The record that says that `key` is forgotten.
    pub fn tombstone(key: Vec<u8>) -> Self {
        TableRecord { key, value: None, headers: Vec::new() }
    }
}

/// What an operation sees.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, S> {
    /// The state as of the durable end of the log.
    pub state: &'a S,
    /// Whether that is everything that was appended. Where not, what is missing is an update on its way, which the records
    /// of this operation come after.
    pub is_current: bool,
    /// The time that the records get.
    pub now: Timestamp,
}

/// What an operation decided.
#[derive(Clone, Debug)]
pub struct Update<A> {
    records: Vec<TableRecord>,
    answer: A,
    in_pieces: bool,
}

impl<A> Update<A> {
    /// These records, all of them or none, and the answer once they are durable. Without records nothing is written.
    pub fn atomic(records: Vec<TableRecord>, answer: A) -> Self {
        Update { records, answer, in_pieces: false }
    }

    /// The same in batches of moderate size: of a failed update the first of them may stay. For records of which any
    /// number may come, such as the tombstones of everything that belongs to a topic.
    pub fn in_pieces(records: Vec<TableRecord>, answer: A) -> Self {
        Update { records, answer, in_pieces: true }
    }
}

/// A batch of a snapshot, or of an update in pieces, ends beyond this size.
const CHUNK_BYTES: usize = 256 << 10;

/// When the log's upkeep is due.
#[derive(Clone, Copy, Debug)]
pub struct CompactionThresholds {
    /// The sidecar is renewed after this much log.
    pub snapshot_every: u64,
    /// The log is rewritten when it is larger than this, and than three times what its state takes.
    pub rewrite_above: u64,
    /// The size of the log's segments, and so of its largest batch.
    pub segment_bytes: u64,
    /// The snapshot is appended in batches of about this size.
    pub chunk_bytes: usize,
}

impl Default for CompactionThresholds {
    fn default() -> Self {
        CompactionThresholds {
            snapshot_every: 16 << 20,
            rewrite_above: 32 << 20,
            segment_bytes: 8 << 20,
            chunk_bytes: CHUNK_BYTES,
        }
    }
}
