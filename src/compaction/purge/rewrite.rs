//! A segment without the key takes the place of one with it.
//!
//! It has the same base and one output, whatever its size: nothing grows but by what a codec makes of fewer records. A batch
//! that has no record left is dropped; the one that ends the segment stays, emptied, and so does each of a producer with an
//! id, whose sequence goes on from it. Markers stay, and so does the transaction index.

use super::{
    Pace, Purge,
    erase::{Left, emptied, without},
};
use crate::{
    codec::{batch::RecordBatch, keys::HashSeed, manifest::Seal},
    error::{Error, Result},
    partition::write::cleanable::{Cleanable, CleaningTurn},
    storage::{
        budget::Charge,
        keys::KeyBuilder,
        layout::SegmentFile,
        scan::Scanner,
        segment::{
            Held,
            output::{SegmentWriter, remove_cleaned},
        },
        sidecar::take_name,
    },
};
use std::{path::Path, sync::Arc};

/// Where a batch lies.
type Place<'a> = (&'a Path, u64);

/// A segment that is being written, with its file of keys where the topic has such.
struct Output<'a> {
    writer: SegmentWriter,
    keys: Option<KeyBuilder<'a>>,
}

impl Output<'_> {
    /// Adds what is left of the batch at a place.
    fn push(&mut self, batch: &RecordBatch, (path, position): Place<'_>) -> Result<()> {
        if let Some(keys) = &mut self.keys {
            keys.add(batch)?.map_err(|error| error.in_file(path, position))?;
        }
        self.writer.push(batch.header(), batch.bytes())
    }
}

impl Purge {
    /// Rewrites a segment, unless nothing in it has the key.
    pub(super) fn rewrite(&mut self, turn: &CleaningTurn, one: &Cleanable) -> Result<()> {
        let (env, dir, base) = (turn.env(), turn.dir(), one.segment.base());
        let written = self.write_without(turn, one);
        let Ok(Some((seal, records, counted))) = written else {
            if turn.is_of_the_log() {
                // The first error is reported; the next writing, or opening, removes what is left.
                let _ = remove_cleaned(&**env, dir, base);
            }
            return written.map(drop);
        };
        if !turn.swap(vec![Arc::clone(&one.segment)], vec![(base, seal)], vec![counted], None)? {
            let _ = remove_cleaned(&**env, dir, base);
            return self.is_gone(turn, one);
        }
        self.records += records;
        self.bytes += one.seal.bytes - seal.bytes.min(one.seal.bytes);
        self.segments += 1;
        self.held.push(Held::of(&one.segment));
        Ok(())
    }

    /// Retention may have removed a segment meanwhile, and with it the key.
    fn is_gone(&self, turn: &CleaningTurn, one: &Cleanable) -> Result<()> {
        match turn.segment_at(one.segment.base()) {
            Some(_) => Err(Error::Cancelled { during: "purging a segment that was changed meanwhile" }),
            None => Ok(()),
        }
    }

    /// Writes the segment without the key, and says how many records it lacks; `None` where nothing has the key.
    fn write_without(&self, turn: &CleaningTurn, one: &Cleanable) -> Result<Option<(Seal, u64, Charge)>> {
        let (segment, Seal { bytes: size, next_offset, .. }) = (&one.segment, one.seal);
        let (base, seed) = (segment.base(), turn.seed_to_write());
        let mut output = self.begin(turn, one, seed)?;
        let mut scanner = Scanner::new(segment.source(), size, 0, base, true)
            .of_epoch(segment.leader_epoch())
            .checking(segment.known_pages()?);
        let (mut gone, mut pace) = (0, Pace::of(turn));
        while let Some((batch, position)) = scanner.next_sealed()? {
            gone += self.copy(&batch, (segment.path(), position), scanner.position() == size, &mut output)?;
            pace.at(position)?;
        }
        if gone == 0 {
            return Ok(None);
        }
        turn.aborted_in(segment)?.iter().for_each(|aborted| output.writer.add_aborted(*aborted));
        let (written, counted) = output.writer.finish()?;
        if let Some(keys) = output.keys {
            let path = SegmentFile::Keys.cleaned_path(turn.dir(), base);
            let beside = keys.finish(written.generation, written.bytes, next_offset)?;
            take_name(&**turn.env(), &beside, &path)?;
        }
        Ok(Some((written.seal(next_offset, one.seal.sealed_at), gone, counted)))
    }

    fn begin<'a>(
        &self,
        turn: &'a CleaningTurn,
        one: &Cleanable,
        seed: Option<HashSeed>,
    ) -> Result<Output<'a>> {
        let (env, dir, base) = (turn.env(), turn.dir(), one.segment.base());
        let (generation, interval) =
            (one.seal.generation.saturating_add(1), turn.log().config().index_interval_bytes);
        let path = SegmentFile::Keys.cleaned_path(dir, base);
        Ok(Output {
            writer: SegmentWriter::begin(env, turn.budget(), dir, base, generation, interval, false)?,
            keys: seed.map(|seed| KeyBuilder::new(&**env, path, base, seed)),
        })
    }

    /// Writes what is left of a batch, and returns how many records are not.
    fn copy(
        &self,
        batch: &RecordBatch,
        place: Place<'_>,
        ends: bool,
        output: &mut Output<'_>,
    ) -> Result<u64> {
        match without(batch, &self.key, place)? {
            Left::All => output.push(batch, place).map(|()| 0),
            Left::Fewer(left, gone) => output.push(&left, place).map(|()| gone),
            Left::Nothing(gone) => {
                let header = batch.header();
                if ends || header.has_producer_id() {
                    let empty = emptied(header).map_err(|error| error.in_file(place.0, place.1))?;
                    output.push(&empty, place)?;
                }
                Ok(gone)
            }
        }
    }
}
