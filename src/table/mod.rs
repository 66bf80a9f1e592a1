//! A topic that is a map: state whose only writer is its log.
//!
//! The commits of groups, the decisions of transactions and the leases of queues have one shape: an internal topic of
//! one partition whose records say how a map changed. This room keeps such maps: it appends, flushes, applies, answers,
//! loads, follows and shortens. What the records mean is up to a [`State`], which knows no file, no lock and no clock.
//!
//! # What a state promises
//!
//! * Only [`apply`](State::apply) and [`end`](State::end) change it, and only as the record or the marker says. So the
//!   same code serves the running handle, the next opening and a reader in another process.
//! * It sees all records, committed or not: a record that was written in a transaction comes with the producer, and the
//!   end of the transaction follows, with its marker or before that: as soon as the log knows the outcome. What such a
//!   record means until then is the state's own affair.
//! * [`snapshot`](State::snapshot) returns the records that make this state from an empty one. A record that it leaves
//!   out is lost when the log is rewritten, even one that `apply` skipped.
//! * A record or a range of the log that cannot be read is noted: a question about an entry that it may have changed
//!   gets an error, never the older value. While there are such notes, the state is not [whole](State::is_whole), and
//!   the log is neither rewritten nor given a sidecar.
//! * A sidecar that [`decode_sidecar`](State::decode_sidecar) accepts is whole: it carries a checksum of its own.
//!
//! # What a table promises
//!
//! * [`Table::update`] runs an operation, which looks at the state and returns records and an answer. The records
//!   become one batch (or several, where the operation says so); the batch is flushed; the state applies what it reads
//!   back from the log; then the answer is returned. No caller sees a state that a power cut could take back.
//! * [`Table::append_only`] is the first half of that: the records are appended, and become durable and visible with
//!   somebody's flush. [`Table::settle`] is the second half. A caller that has other logs to flush puts its flush between
//!   them, so that all go in one round.
//! * [`Table::append_of`] appends a batch that belongs to the transaction of a producer, not flushed either.
//! * Updates append one at a time, in the order in which their operations ran. They flush without the lock, so
//!   concurrent updates share a flush. An operation may therefore run before an earlier update is durable;
//!   [`View::is_current`] is then `false`, and the records of the operation come after the ones that it has not seen.
//! * After a failed update, a later opening finds all of its batch or nothing of it. The state of this handle shows the
//!   batch once a later update has flushed it, or never.
//! * [`Table::read`] first follows the log to its durable end, no matter what wrote it: this handle or, if this one is
//!   read-only, a writer in another process. A log that does not exist is an empty state.
//! * Damage of the log is skipped if its end can be found, and reported to the state. After any other read error the
//!   state is dropped: the next look loads it again, and meets the error again.
//!
//! # How the log stays short
//!
//! * A **sidecar** holds the state as of an offset, so that loading reads only the records after it. It is a hint: one
//!   that is damaged, of another log or ahead of this log counts as missing, and a failure to write one fails no call.
//! * **Rewriting**: when the log exceeds three times the size of its state, the snapshot is appended and flushed, and
//!   only then does the log start move to its first record. A crash before the flush leaves the old records, whose
//!   replay ends in the same state; a crash after it leaves both, and the snapshot comes last; a crash after the move
//!   leaves the snapshot. Appending is locked throughout, so no value in the snapshot replaces a newer one.
//!   Records that wait for the end of a transaction are in no snapshot: rewriting gives an end that is [to
//!   come](State::awaits_an_end) a moment, in which no other transaction begins here, and is put off, so that the log
//!   grows, if it does not come. What waits for an end that never comes is lost.
//!   What other logs must have durable before a record may go is up to the hook
//!   [`before_rewriting`](Table::before_rewriting); if it fails, rewriting waits.
//! * A reader whose position was removed begins again at the new start with an empty state: the removed records may
//!   have deleted an entry.
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

pub use runtime::{Place, Table};

use crate::{
    codec::{DecodeError, record::Record},
    error::Error,
    types::{Offset, ProducerEpoch, Timestamp, TopicId},
};
use std::{borrow::Cow, fmt};

/// A map that is the sum of its records.
pub trait State: Default + Send + fmt::Debug {
    /// The internal topic whose records they are.
    const TOPIC: &'static str;
    /// The sidecar's file name, in the partition's directory.
    const SIDECAR: &'static str;

    /// Applies the next record of the log, which was written inside a transaction if it is `by` a producer. Records of
    /// unknown kinds are skipped. For one that cannot be read, `unreadable` makes the error with file and position, and
    /// notes the damage.
    fn apply(
        &mut self,
        record: &Record<'_>,
        by: Option<ProducerEpoch>,
        unreadable: &dyn Fn(DecodeError) -> Error,
    );

    /// The transaction of `by`, or of an earlier epoch of that producer, has ended: what was written in it counts from
    /// now on if it was `commit`ted, and never otherwise. Called more than once for one end, by its outcome and by its
    /// marker, and for producers that wrote nothing.
    fn end(&mut self, by: ProducerEpoch, commit: bool) {
        let _ = (by, commit);
    }

    /// The log cannot be read between the last record and `until`, and may say anything there.
    fn pass_over(&mut self, until: Offset, error: Error);

    /// Whether it is the sum of all its records: no unreadable record is still in question.
    fn is_whole(&self) -> bool;

    /// Whether records in it wait for the end of a transaction that is to come. The log is not rewritten until then.
    fn awaits_an_end(&self) -> bool {
        false
    }

    /// The records that make this state from an empty one.
    fn snapshot(&self) -> Vec<TableRecord>;

    /// The bytes of a sidecar.
    fn encode_sidecar(&self, at: SidecarPoint) -> Vec<u8>;

    /// What a sidecar holds.
    fn decode_sidecar(bytes: &[u8]) -> Result<(SidecarPoint, Self), DecodeError>;
}

/// What a sidecar was made from: a log in one incarnation, up to an offset.
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
    /// The entry that it changes.
    pub key: Vec<u8>,
    /// The new value; `None` deletes the entry.
    pub value: Option<Vec<u8>>,
    /// Facts that the value's format has no field for.
    pub headers: Vec<(Cow<'static, str>, Option<Vec<u8>>)>,
}

impl TableRecord {
    /// The record that deletes the entry of `key`.
    pub fn tombstone(key: Vec<u8>) -> Self {
        TableRecord { key, value: None, headers: Vec::new() }
    }
}

/// What an operation sees.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, S> {
    /// The state as of the durable end of the log.
    pub state: &'a S,
    /// Whether that is everything that was appended. If not, an update is still in flight, and the records of this
    /// operation come after its records.
    pub is_current: bool,
    /// The timestamp that the records get.
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

    /// The same in batches of moderate size, the first of which may stay if the update fails. For operations with any
    /// number of records, such as the tombstones of everything that belongs to a topic.
    pub fn in_pieces(records: Vec<TableRecord>, answer: A) -> Self {
        Update { records, answer, in_pieces: true }
    }
}

/// A batch of a snapshot, or of an update in pieces, ends beyond this size.
const CHUNK_BYTES: usize = 256 << 10;

/// When the log's upkeep is due.
#[derive(Clone, Copy, Debug)]
pub struct CompactionThresholds {
    /// The sidecar is renewed after this many bytes of log.
    pub snapshot_every: u64,
    /// The log is rewritten when it is larger than this many bytes, and than three times the size of its state.
    pub rewrite_above: u64,
    /// The size of the log's segments in bytes, and so of its largest batch.
    pub segment_bytes: u64,
    /// The snapshot is appended in batches of about this many bytes.
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
