//! What an append asks and gives a batch of a producer of this process, under the log's lock; and what the log answers of a
//! named producer between appends.

use crate::{
    codec::builder::SealedBatch,
    error::{Error, Result},
    partition::{
        log::Log,
        state::{
            append_as::{AppendAs, Claimed},
            append_state::Active,
            producers::named::Known,
        },
        write::load::ready,
    },
    storage::layout::SegmentFile,
    types::Offset,
};

/// Makes the batch one of this producer: the next of its epoch. Records that a named producer has sent before are found before
/// they join a batch; what is found only here was written by another handle since.
pub(in crate::partition) fn begin(
    log: &Log,
    active: &Active,
    batch: &mut SealedBatch,
    by: AppendAs,
) -> Result<()> {
    planted!(a_batch_keeps_its_first_sequence => if batch.header().has_producer_id() { return Ok(()) });
    let sequence = active.producers.sequence_after(by.producer);
    batch.set_producer(by.producer.id, by.producer.epoch, sequence);
    batch.set_transactional(by.transactional);
    if !by.named {
        return Ok(());
    }
    active.producers.check_claim(by.producer, &log.identity.name)?;
    let known = active.producers.known_of(by.producer, log.offsets.log_end());
    match (known, batch.sequences()) {
        (Known::LostBelow(below), _) => Err(lost(log, by.producer, below)),
        (Known::Last(last), Some(sequences)) if sequences.first <= last => Err(Error::Fenced {
            reason: format!(
                "sequence {} of producer {} is in {} already: another handle of its name has written it since",
                sequences.first, by.producer.id, log.identity.name
            ),
        }),
        _ => Ok(()),
    }
}

/// What a named producer has written cannot be determined.
#[cold]
fn lost(log: &Log, claimed: Claimed, below: Offset) -> Error {
    let reason = format!(
        "it said what named producers wrote to {} below offset {below}, and is missing, damaged, or cannot be read: which \
         sequences of producer {} are there cannot be determined. Restore the file and open the log again, or give up the \
         name with forget_producer; reading and appends without a name continue",
        log.identity.name, claimed.id
    );
    Error::corrupt(SegmentFile::Snapshot.path(&log.identity.dir, below), 0, reason)
}

/// The last sequence that a named producer has written to this log. From now on the log refuses an earlier epoch of it.
pub fn last_sequence(log: &Log, claimed: Claimed) -> Result<Option<u64>> {
    let mut writer = log.writer.lock();
    let active = ready(log, &mut writer)?;
    active.producers.claim(claimed);
    match active.producers.known_of(claimed, log.offsets.log_end()) {
        Known::Nothing => Ok(None),
        Known::Last(last) => Ok(Some(last)),
        Known::LostBelow(below) => Err(lost(log, claimed, below)),
    }
}

/// Where the record with this sequence of a named producer lies: `None` if its batch is not among the last ones, or has gaps.
pub fn offset_of_sequence(log: &Log, claimed: Claimed, sequence: u64) -> Result<Option<Offset>> {
    let mut writer = log.writer.lock();
    let active = ready(log, &mut writer)?;
    Ok(active.producers.offset_of(claimed.id, sequence))
}

/// Forgets a producer whose name was forgotten.
pub fn forget_producer(log: &Log, producer_id: i64) -> Result<()> {
    let mut writer = log.writer.lock();
    let active = ready(log, &mut writer)?;
    active.sidecars_dirty |= active.producers.forget(producer_id);
    Ok(())
}
