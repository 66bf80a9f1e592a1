//! Whether what lies around a batch bears out its place, which no checksum covers.
//!
//! A batch that begins where a good one ended has its offset from there. Behind damage nothing of that kind is known, and
//! a base offset may be damaged like all else. So it is believed there only where something else says the same: a position
//! whose offset is known from the manifest, the marks or the appender; the batch that follows; or the header of the one
//! before, whose content alone may be what is damaged.
//!
//! The length in offsets is covered by the checksum, but a broken encoder may have got it wrong, so that a batch claims
//! offsets of those behind it. Then the ones behind it are right where they agree with one another.

use super::Scanner;
use crate::{
    codec::batch::{BatchHeader, RecordBatch},
    error::Result,
    types::Offset,
};

/// Positions of a segment's file, between two batches, of which it is known from elsewhere which offset comes there.
#[derive(Clone, Debug, Default)]
pub struct KnownPositions(Vec<(u64, Offset)>);

impl KnownPositions {
    /// Of more than so many, the oldest are forgotten.
    const MOST: usize = 8;

    /// The batch that ends at `position`, if one does, ends before `offset`. The beginning of a file is named by its
    /// name.
    pub fn add(&mut self, position: u64, offset: Offset) {
        if position == 0 || self.at(position) == Some(offset) {
            return;
        }
        self.0.retain(|(known, _)| *known != position);
        if self.0.len() == Self::MOST {
            self.0.remove(0);
        }
        self.0.push((position, offset));
    }

    /// The offset that comes at `position`.
    pub fn at(&self, position: u64) -> Option<Offset> {
        self.0.iter().find(|(known, _)| *known == position).map(|(_, offset)| *offset)
    }
}

/// Where a batch begins by what the header before it says, as far as that is to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    position: u64,
    offset: Offset,
}

impl Claim {
    pub(super) fn new(position: u64, offset: Offset) -> Claim {
        Claim { position, offset }
    }
}

impl Scanner<'_> {
    /// What the headers from `claim` on say of the batch at `start`; `None` where they do not lead there.
    pub(super) fn follow_claim(&mut self, claim: Option<Claim>, start: u64) -> Result<Option<Claim>> {
        let mut claim = claim;
        while let Some(Claim { position, offset }) = claim.filter(|claim| claim.position < start) {
            let header = self.header_at(position)?.ok();
            claim = header.map(|header| Claim {
                position: position.saturating_add(header.size()),
                offset: offset.saturating_add(header.next_offset().distance_from(header.base_offset)),
            });
        }
        Ok(claim)
    }

    /// Whether the batch at `start`, with damage before it, is not known to be where its base offset has it. `claim` is
    /// what the headers in the damage say.
    pub(super) fn is_out_of_its_place(
        &mut self,
        start: u64,
        header: &BatchHeader,
        claim: Option<Claim>,
    ) -> Result<bool> {
        let claimed = claim.filter(|claim| claim.position == start).map(|claim| claim.offset);
        let behind = start + header.size();
        planted!(believe_any_base_offset_after_damage => return Ok(false));
        if self.gaps {
            // Any place may be right; not that of one which fits between its neighbours only where they claim it.
            let len = header.next_offset().distance_from(header.base_offset);
            let would_fit = claimed.filter(|claimed| *claimed != header.base_offset).map(|at| at + len);
            let next = self.header_at(behind)?.ok();
            return Ok(would_fit.is_some() && next.map(|next| next.base_offset) == would_fit);
        }
        if let Some(is_right) = self.by_known_positions(start, header) {
            return Ok(!is_right);
        }
        if let Ok(next) = self.header_at(behind)? {
            if next.base_offset == header.next_offset() {
                return Ok(false);
            }
            if self.is_borne_out(behind, &next)? {
                return Ok(true);
            }
        }
        Ok(claimed != Some(header.base_offset))
    }

    /// Whether the batch at `start` is where its base offset has it, by what is known of its beginning and its end.
    fn by_known_positions(&self, start: u64, header: &BatchHeader) -> Option<bool> {
        let behind = start + header.size();
        let end_of_all = (behind >= self.limit && self.ceiling < Offset::MAX).then_some(self.ceiling);
        let begins = self.positions.at(start).map(|offset| offset == header.base_offset);
        let ends = self.positions.at(behind).or(end_of_all).map(|offset| offset == header.next_offset());
        let is_right = begins.or(ends)? && ends.unwrap_or(true);
        // Where offsets may be missing, they may be missing there.
        (is_right || !self.gaps).then_some(is_right)
    }

    /// Whether something other than the batch at `start` says that it is where its base offset has it.
    fn is_borne_out(&mut self, start: u64, header: &BatchHeader) -> Result<bool> {
        if let Some(is_right) = self.by_known_positions(start, header) {
            return Ok(is_right);
        }
        let next = self.header_at(start.saturating_add(header.size()))?;
        Ok(next.is_ok_and(|next| next.base_offset == header.next_offset()))
    }

    /// What is wrong with a batch, at the scan's position, that claims offsets which the batches behind it have, and has
    /// no records there. Nothing is, as far as this goes, with one that becomes more than may still be decompressed.
    pub(super) fn reaches_too_far(&mut self, batch: &RecordBatch) -> Result<Option<String>> {
        let header = batch.header();
        planted!(believe_a_batch_that_reaches_too_far => return Ok(None));
        let behind = self.position + header.size();
        let Ok(next) = self.header_at(behind)? else { return Ok(None) };
        let (base, last) = (next.base_offset, header.last_offset());
        if base <= header.base_offset || base > last || !self.is_borne_out(behind, &next)? {
            return Ok(None);
        }
        let Some(records) = self.unpacked.records(batch) else { return Ok(None) };
        if records.is_ok_and(|records| records.iter().any(|record| record.offset >= base)) {
            return Ok(None);
        }
        Ok(Some(format!(
            "a batch that claims the offsets up to {last}, and the next one begins at {base}, at byte {behind}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_a_place_counts_and_the_oldest_places_are_forgotten() {
        let mut positions = KnownPositions::default();
        positions.add(0, Offset::new(9));
        assert_eq!(positions.at(0), None, "a file's name says where it begins");
        let most = KnownPositions::MOST as u64;
        (1..=most).for_each(|at| positions.add(at * 10, Offset::new(at)));
        // Said again, or corrected, it takes no other's room.
        positions.add(20, Offset::new(2));
        positions.add(20, Offset::new(3));
        let known = |positions: &KnownPositions| {
            (1..=most + 1).map(|at| positions.at(at * 10).map(Offset::value)).collect::<Vec<_>>()
        };
        let expected = |first: u64| {
            let at = |at: u64| if at == 2 { Some(3) } else { Some(at).filter(|at| *at >= first) };
            (1..=most + 1).map(at).collect::<Vec<_>>()
        };
        assert_eq!(known(&positions)[..most as usize], expected(1)[..most as usize]);
        assert_eq!(positions.at((most + 1) * 10), None);
        positions.add((most + 1) * 10, Offset::new(most + 1));
        assert_eq!(known(&positions), expected(2), "the oldest went, and the corrected one is the youngest");
    }
}
