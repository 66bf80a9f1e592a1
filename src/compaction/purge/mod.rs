//! Purging: every record of one key goes, from all that is sealed and all that was put aside, and that it has gone is proven.
//!
//! No horizon is asked and no newest record spared: tombstones of the key go as its values do. Segments are gone through from
//! the oldest on, each is swapped before the next is begun, and one that fails ends it: what a table shows of the key is what
//! it showed before, until the last of its records is gone. Whatever ended a purge early, another one goes on.
//!
//! Which segments have the key, their files of keys say where there are such; others are read. What is compared then, and
//! in the proof, is the bytes of keys.

mod erase;
mod rewrite;
mod strays;
#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;

use crate::{
    codec::keys::{KeysFlags, siphash128},
    error::{Error, Result},
    partition::write::cleanable::{Cleanable, CleaningTurn, cleanable},
    storage::{
        scan::Scanner,
        segment::{Held, Segment},
    },
    types::Offset,
};
use erase::count_in;
use std::path::Path;

/// A key on its way out of a topic, and what was done to that end.
#[derive(Debug, Default)]
pub struct Purge {
    key: Vec<u8>,
    /// Records that were removed, and the bytes that went with them.
    pub records: u64,
    pub bytes: u64,
    /// Segments, and files that belong to no segment, which were written anew.
    pub segments: u64,
    pub strays: u64,
    held: Vec<Held>,
}

impl Purge {
    /// Of this key.
    pub fn of(key: &[u8]) -> Self {
        Purge { key: key.to_vec(), ..Purge::default() }
    }

    /// How many bytes of the segments that were replaced are still with readers of this process.
    pub fn held_bytes(&self) -> u64 {
        self.held.iter().map(Held::bytes).sum()
    }

    /// Purges a log, and all that lies beside it.
    ///
    /// # Errors
    /// The first one. What is beside the log is purged all the same.
    pub fn log(&mut self, turn: &CleaningTurn) -> Result<()> {
        goes_on(turn)?;
        let sealed = self.sealed(turn);
        // What a crash, or a failure, has left is no part of the log, and has the key as well.
        let removed = turn.end_removals();
        sealed.and(removed).and(self.beside(turn))
    }

    fn sealed(&mut self, turn: &CleaningTurn) -> Result<()> {
        let end = turn.seal_all()?;
        turn.begin()?;
        let mut segments = cleanable(turn.log(), true);
        let first = turn.log().first_base().unwrap_or_default();
        let covered = segments.last().map_or(first, |last| last.seal.next_offset);
        if covered < end {
            return Err(refusal(turn, "records that are not stable yet: a transaction has not ended"));
        }
        planted!(a_purge_spares_the_newest_segment => drop(segments.pop()));
        planted!(a_purge_begins_with_the_newest => segments.reverse());
        let mut suspects = Vec::new();
        for one in segments {
            goes_on(turn)?;
            if self.may_be_in(turn, &one)? {
                suspects.push(one.segment.base());
                self.rewrite(turn, &one)?;
            }
        }
        suspects.into_iter().try_for_each(|base| self.prove(turn, base))
    }

    /// Whether a segment can have the key.
    fn may_be_in(&self, turn: &CleaningTurn, one: &Cleanable) -> Result<bool> {
        let (segment, size) = (&one.segment, one.seal.bytes);
        segment.without_surplus(segment.source().len()?, size);
        if let Some(Error::Corrupt { path, position, reason, .. }) = segment.surplus() {
            return Err(Error::NotPurged { path, position, reason });
        }
        let keys = segment.known_keys(one.seal.next_offset)?;
        // Batches whose records are out of order are not among them.
        if let Some(keys) = keys.filter(|keys| !keys.flags().say(KeysFlags::OUT_OF_ORDER)) {
            match keys.has(siphash128(keys.seed(), &self.key)) {
                Err(Error::Corrupt { .. }) => {}
                known => return known,
            }
        }
        self.find(turn, one.segment.base(), &one.segment, size).map(|found| found.is_some())
    }

    /// The position of the first batch of a segment that has a record of the key.
    fn find(&self, turn: &CleaningTurn, base: Offset, segment: &Segment, size: u64) -> Result<Option<u64>> {
        let mut scanner =
            Scanner::new(segment.source(), size, 0, base, true).of_epoch(segment.leader_epoch());
        let mut pace = Pace::of(turn);
        while let Some((batch, position)) = scanner.next_sealed()? {
            if count_in(&batch, &self.key).map_err(|error| error.in_file(segment.path(), position))? > 0 {
                return Ok(Some(position));
            }
            pace.at(position)?;
        }
        Ok(None)
    }

    /// Reads a segment that had the key, as the log has it by now, and fails where the key is in it.
    fn prove(&self, turn: &CleaningTurn, base: Offset) -> Result<()> {
        // Retention may have removed it by now, or a later swap of this purge's: each is proven by its own name.
        let Some(segment) = turn.segment_at(base) else { return Ok(()) };
        let Some(size) = segment.sealed_size() else { return Ok(()) };
        match self.find(turn, base, &segment, size)? {
            None => Ok(()),
            Some(position) => Err(still_there(segment.path(), position)),
        }
    }
}

/// Sees about once a mebibyte whether the purge is to stop.
struct Pace<'a> {
    turn: &'a CleaningTurn,
    asked: u64,
}

impl<'a> Pace<'a> {
    fn of(turn: &'a CleaningTurn) -> Self {
        Pace { turn, asked: 0 }
    }

    /// The reading of a file has come to `position`.
    fn at(&mut self, position: u64) -> Result<()> {
        if position - self.asked >= 1 << 20 {
            goes_on(self.turn)?;
            self.asked = position;
        }
        Ok(())
    }
}

/// The error of a purge that is to stop.
fn goes_on(turn: &CleaningTurn) -> Result<()> {
    turn.check().map_err(|error| match error {
        Error::Cancelled { .. } => Error::Cancelled { during: "purging a key" },
        error => error,
    })
}

/// The error of a proof that has failed.
fn still_there(path: &Path, position: u64) -> Error {
    let reason = "a record of it is there after it was purged: purge it again".to_string();
    Error::NotPurged { path: path.to_path_buf(), position, reason }
}

/// The error of a log that is not purged, for this reason.
fn refusal(turn: &CleaningTurn, found: &str) -> Error {
    Error::UnsupportedFormat {
        path: turn.dir().to_path_buf(),
        found: found.to_string(),
        supported: "a purge once every transaction has ended: commit or abort it, and purge again"
            .to_string(),
    }
}
