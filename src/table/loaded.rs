//! A state and how far its log was read: it begins with the sidecar if that can be used, and follows the log from
//! there.

use super::{SidecarPoint, State};
use crate::{
    codec::{DecodeError, batch::BatchHeader, control::ControlRecord},
    env::Env,
    error::{Error, Result},
    partition::{
        log::Log,
        read::visible::{VisibleBatch, VisibleBatches},
        write::end_transaction::{TransactionEnd, known_outcomes},
    },
    storage::sidecar::{SIDECAR_MAX, TEXT_MAX, read_hint, replace_file},
    types::{IsolationLevel, Offset, ProducerEpoch},
};
use std::{path::PathBuf, sync::Arc};

/// How much is read at a time.
const FETCH: u64 = 1 << 20;

/// The state of the log up to where it was read.
#[derive(Debug)]
pub(super) struct Loaded<S> {
    batches: VisibleBatches,
    pub(super) state: S,
    /// Bytes of the log that the sidecar does not cover.
    pub(super) since_sidecar: u64,
}

impl<S: State> Loaded<S> {
    /// The state of the sidecar of `log`, or an empty one if that cannot be used.
    pub(super) fn open(env: &dyn Env, log: &Arc<Log>) -> Self {
        let (from, state) =
            read_sidecar(env, log).unwrap_or_else(|| (log.offsets().log_start(), S::default()));
        // An open transaction holds nothing back, and markers are to be seen: the state decides what counts.
        let batches = VisibleBatches::new(Arc::clone(log), IsolationLevel::ReadUncommitted, from);
        Loaded { batches: batches.with_hidden_ones().in_steps_of(FETCH), state, since_sidecar: 0 }
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        self.batches.log()
    }

    /// Whether everything that was appended has been read.
    pub(super) fn is_current(&self) -> bool {
        self.batches.position() == self.log().offsets().log_end()
    }

    /// Reads up to the durable end.
    pub(super) fn follow(&mut self) -> Result<()> {
        loop {
            match self.batches.next() {
                Ok(Some(batch)) => {
                    self.since_sidecar += batch.header.size();
                    if batch.header.is_control() {
                        self.control(&batch);
                        continue;
                    }
                    let by = by(&batch.header);
                    for record in batch.records.iter().filter(|record| record.offset >= batch.from) {
                        let at = |error| self.batches.unreadable(&batch, in_record(record.offset, error));
                        self.state.apply(&record, by, &at);
                    }
                }
                Ok(None) => {
                    unless_planted!(an_outcome_is_only_its_marker => self.hear_outcomes());
                    return Ok(());
                }
                Err(Error::OffsetOutOfRange { .. }) => {
                    // The log was rewritten, by the writer in another process or since the sidecar was written. The
                    // removed records may have deleted entries.
                    unless_planted!(remember_what_was_forgotten => self.state = S::default());
                    self.batches.seek(self.log().offsets().log_start());
                }
                Err(error) => self.pass_over(error)?,
            }
        }
    }

    /// Applies a control batch.
    fn control(&mut self, batch: &VisibleBatch) {
        let control = batch.records.iter().next();
        let control = control.and_then(|record| ControlRecord::of_record(&batch.header, &record));
        if let (Some(by), Some(ControlRecord::Marker { commit, .. })) = (by(&batch.header), control) {
            // It ends whatever is open of its producer, as the log sees it.
            self.state.end(ProducerEpoch { epoch: i16::MAX, ..by }, commit);
        }
    }

    /// Applies the outcomes that no durable marker tells: they are durable elsewhere, and count.
    fn hear_outcomes(&mut self) {
        for TransactionEnd { producer_id, epoch, commit, .. } in known_outcomes(self.log()) {
            self.state.end(ProducerEpoch { id: producer_id, epoch }, commit);
        }
    }

    /// Continues after a range that cannot be read, if the error says where it ends.
    fn pass_over(&mut self, error: Error) -> Result<()> {
        let Some(next) = error.next_offset().filter(|next| *next > self.batches.position()) else {
            return Err(error);
        };
        self.state.pass_over(next, error);
        self.batches.seek(next);
        Ok(())
    }

    /// Loads the state anew from the log alone.
    pub(super) fn load_again(&mut self) -> Result<()> {
        self.state = S::default();
        self.batches.seek(self.log().offsets().log_start());
        self.follow()
    }

    /// Writes the sidecar anew.
    pub(super) fn write_sidecar(&mut self, env: &dyn Env) -> Result<()> {
        // Even if it fails, the next attempt is due after as much log again.
        self.since_sidecar = 0;
        let (log, mut next_offset) = (self.log(), self.batches.position());
        planted!(a_sidecar_says_more_than_it_has => next_offset += 1);
        let (topic_id, incarnation) = (log.identity.topic_id, log.incarnation_of(Offset::MAX));
        let at = SidecarPoint { topic_id, incarnation, next_offset };
        replace_file(env, &sidecar_path::<S>(log), &self.state.encode_sidecar(at))
    }
}

/// The producer in whose transaction a batch was written, or whose transaction it ends.
fn by(header: &BatchHeader) -> Option<ProducerEpoch> {
    let producer = ProducerEpoch { id: header.producer_id, epoch: header.producer_epoch };
    (header.is_transactional() && header.has_producer_id()).then_some(producer)
}

fn sidecar_path<S: State>(log: &Log) -> PathBuf {
    log.identity.dir.join(S::SIDECAR)
}

/// The state in the sidecar of `log` and where that ends, if the sidecar is whole, belongs to this log and does not
/// reach beyond it.
fn read_sidecar<S: State>(env: &dyn Env, log: &Log) -> Option<(Offset, S)> {
    // The log holds all that it holds, and takes more bytes for it.
    let most = log.size().saturating_add(TEXT_MAX).min(SIDECAR_MAX);
    let bytes = read_hint(env, &sidecar_path::<S>(log), most).ok().flatten()?;
    let (at, state) = S::decode_sidecar(&bytes).ok()?;
    let end = log.incarnation_end(at.incarnation).unwrap_or(Offset::MAX).min(log.offsets().log_end());
    // One that ends before the log start is noticed when the log is followed from there.
    let mut is_its_own = at.topic_id == log.identity.topic_id;
    planted!(believe_anothers_sidecar => is_its_own = true);
    (is_its_own && at.next_offset <= end).then_some((at.next_offset, state))
}

/// The error about the content of the record at `offset`, which may lie anywhere in its batch.
fn in_record(offset: Offset, error: DecodeError) -> DecodeError {
    DecodeError::malformed(0u64, format!("the record at offset {offset}: {error}"))
}
