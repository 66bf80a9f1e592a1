//! The producers of a log as of an offset, as its files have them: `.snapshot` and `.producers`.
//!
//! Inside a log a snapshot saves time: without it the batches before it are read again. At its first segment it is the only
//! trace of what was removed. So the manifest has its checksum. Where the files are others, or are gone, what producers did is
//! *lost*, which is not the same as that nobody is known: a batch might be there already.
//! The state remembers that, in memory and in every snapshot after it, until all that was lost would have expired.

use crate::{
    codec::snapshot::{
        ProducerBatches, ProducerEntry, decode_producers, decode_snapshot, encoded_producers_max,
        snapshot_checksum,
    },
    env::Env,
    error::Result,
    partition::state::producers::{ProducerState, is_ours},
    storage::{
        layout::SegmentFile,
        manifest::ProducersAtStart,
        sidecar::{SNAPSHOT_MAX, read_hint},
    },
    types::Offset,
};
use std::path::Path;

/// A snapshot as it lies in its files.
pub(in crate::partition) struct KeptProducers {
    entries: Vec<ProducerEntry>,
    /// The last batches of each; `None` beside a broker's snapshot, which has one of each.
    batches: Option<Vec<ProducerBatches>>,
    checksum: u32,
}

impl KeptProducers {
    /// What the files say of the producers as of `offset`; `None` where they are missing or damaged.
    pub fn read(env: &dyn Env, dir: &Path, offset: Offset) -> Result<Option<KeptProducers>> {
        let Some(bytes) = read_hint(env, &SegmentFile::Snapshot.path(dir, offset), SNAPSHOT_MAX)? else {
            return Ok(None);
        };
        let Ok(entries) = decode_snapshot(&bytes) else { return Ok(None) };
        let most = encoded_producers_max(entries.len() + 1);
        let longer = read_hint(env, &SegmentFile::Producers.path(dir, offset), most)?;
        let checksum = snapshot_checksum(&bytes, longer.as_deref().unwrap_or_default());
        let batches = longer.and_then(|bytes| decode_producers(&bytes).ok());
        Ok(Some(KeptProducers { entries, batches, checksum }))
    }

    /// Whether all that is remembered of a producer is there. Kafka's snapshot keeps one batch of each, and a retry may be
    /// of any of the last five; nor does it keep the sequences of those with a name.
    pub fn is_complete(&self) -> bool {
        self.batches.is_some()
            || self.entries.iter().all(|entry| entry.last_offset < 0 && !is_ours(entry.producer_id))
    }

    /// The checksum that the manifest has of it where the log begins; 0 where nobody is known.
    pub fn checksum(&self) -> u32 {
        if self.entries.is_empty() && self.batches.is_none() { 0 } else { self.checksum }
    }

    /// The state that it describes. With fewer batches than were remembered, an old retry is out of order, not a duplicate.
    fn state(&self, env: &dyn Env) -> ProducerState {
        let mut state =
            ProducerState::from_snapshot(&self.entries, self.batches.as_deref().unwrap_or_default());
        state.at_time(env.now());
        state
    }
}

/// The producers as of `offset`, after the beginning of the first segment; `None` without a valid, complete snapshot.
pub(in crate::partition) fn producers_at(
    env: &dyn Env,
    dir: &Path,
    offset: Offset,
) -> Result<Option<ProducerState>> {
    let kept = KeptProducers::read(env, dir, offset)?.filter(KeptProducers::is_complete);
    Ok(kept.map(|kept| kept.state(env)))
}

/// The producers as of `base`, where the first segment begins.
pub(in crate::partition) fn producers_at_start(
    env: &dyn Env,
    dir: &Path,
    base: Offset,
    known: Option<ProducersAtStart>,
) -> Result<ProducerState> {
    let nobody = ProducerState::as_of(env.now());
    let known = known.filter(|known| known.base == base).map(|known| known.checksum);
    if known == Some(0) {
        return Ok(nobody);
    }
    let kept = KeptProducers::read(env, dir, base)?;
    let Some(checksum) = known else {
        // Another writer has removed what came before, or an older release, and left what it knew.
        return Ok(kept.map_or(nobody, |kept| kept.state(env)));
    };
    planted!(lost_producers_are_nobody => return Ok(kept.map_or(nobody, |kept| kept.state(env))));
    Ok(match kept.filter(|kept| kept.checksum == checksum) {
        Some(kept) => kept.state(env),
        None => nobody.without_those_below(base),
    })
}
