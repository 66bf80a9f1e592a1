//! Finding the next whole batch after damage.
//!
//! Hostile bytes may claim one huge batch after the other, so the work of one scan is bounded by a multiple of what is
//! there.

use super::{CHUNK, ReadPath, Scanner, is_zeros, known_positions::Claim, reading::unread_from};
use crate::{
    codec::{
        batch::{BatchHeader, CRC_START, HEADER_LEN},
        crc::{crc32c_append, crc32c_over_zeros},
    },
    error::Result,
};

/// How much of a file is searched for whole batches after damage, beside [`SEARCHED_TIMES`] its stored size.
pub(super) const SEARCHED_LEAST: u64 = 64 << 20;
pub(super) const SEARCHED_TIMES: u64 = 4;

impl Scanner<'_> {
    /// Moves to the next whole, valid batch after the scan's position, and returns where that is; in a log without gaps, to
    /// one whose place something else confirms. Shows what follows damage; nothing found this way is believed to follow
    /// without a gap.
    ///
    /// Hostile bytes may claim one huge batch after the other, and lie in a file of a tebibyte that has nothing else. So
    /// holes are passed over, the work of one scan is bounded by a multiple of what is there, and nothing more is found
    /// after that.
    pub fn resync(&mut self) -> Result<Option<u64>> {
        let mut at = self.position + 1;
        if at.saturating_add(HEADER_LEN as u64) > self.limit {
            return Ok(None);
        }
        let mut claim = Some(Claim::new(self.position, self.expected));
        if self.search.is_none() {
            let there = self.file.data_behind(at)?.min(self.limit.saturating_sub(at));
            self.search = Some(there.saturating_mul(SEARCHED_TIMES).saturating_add(SEARCHED_LEAST));
        }
        while at + HEADER_LEN as u64 <= self.limit {
            let window = self.window(at, CHUNK)?;
            let Some(last_start) = window.len().checked_sub(HEADER_LEN) else { break };
            let behind = at + last_start as u64 + 1;
            // The magic byte first: it rules out nearly every place; and reserved space holds nothing.
            let is_empty = is_zeros(&window);
            let places = if is_empty { None } else { window.get(16..=last_start + 16) };
            let magics = places.unwrap_or_default().iter();
            for (i, _) in magics.enumerate().filter(|(_, byte)| **byte == 2) {
                let Some(head) = window.get(i..i + HEADER_LEN) else { break };
                let Ok(header) = BatchHeader::parse(head) else { continue };
                if self.search == Some(0) {
                    return Ok(None);
                }
                let start = at + i as u64;
                if self.is_whole_and_in_place(start, &header, &mut claim)? {
                    self.position = start;
                    self.expected = header.base_offset;
                    return Ok(Some(start));
                }
            }
            let is_unread = self.zeros_from.is_some_and(|zeros| unread_from(zeros) <= behind);
            at = match is_empty {
                _ if is_unread => self.limit,
                // A header may begin with zeros.
                true => behind.max(self.data_from(behind)?.saturating_sub(HEADER_LEN as u64)),
                false => behind,
            };
        }
        Ok(None)
    }

    /// Whether what lies behind damage at `start` is a batch to go on at. Takes what that costs from what may still be
    /// looked at: all that was read, for its checksum and for what bears it out.
    fn is_whole_and_in_place(
        &mut self,
        start: u64,
        header: &BatchHeader,
        claim: &mut Option<Claim>,
    ) -> Result<bool> {
        let fits = header.base_offset >= self.expected && header.last_offset() < self.ceiling;
        if !fits || start + header.size() > self.limit {
            return Ok(false);
        }
        let before = self.bytes_read;
        let (holds, looked_at) = self.checksum_holds(start, header)?;
        let mut is_good = false;
        if holds {
            *claim = self.follow_claim(*claim, start)?;
            is_good = !self.is_out_of_its_place(start, header, *claim)?;
        }
        let cost = looked_at.max(self.bytes_read - before);
        self.search = self.search.map(|left| left.saturating_sub(cost));
        Ok(is_good)
    }

    /// Where something may follow a stretch of zeros that was read up to `position`.
    pub(super) fn data_from(&self, position: u64) -> Result<u64> {
        match self.source {
            // A report of holes is not a report of the medium.
            ReadPath::MediumFrom(_) => Ok(position),
            ReadPath::Cache | ReadPath::Flushed => Ok(self.file.data_from(position)?.min(self.limit)),
        }
    }

    /// Whether the checksum of the batch at `start` is that of its bytes, which are looked at piece by piece, and at how
    /// many of them.
    pub(super) fn checksum_holds(&mut self, start: u64, header: &BatchHeader) -> Result<(bool, u64)> {
        let (mut at, end) = (start + CRC_START as u64, start + header.size());
        let (mut crc, mut looked_at) = (0, 0);
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK);
            let bytes = self.view(at, wanted)?;
            let piece = bytes.get(..wanted).unwrap_or(bytes);
            if piece.is_empty() {
                return Ok((false, looked_at));
            }
            crc = crc32c_append(crc, piece);
            at += piece.len() as u64;
            looked_at += piece.len() as u64;
            let is_zeros = piece.len() == CHUNK && is_zeros(piece);
            if is_zeros {
                let data = self.data_from(at)?.clamp(at, end);
                crc = crc32c_over_zeros(crc, data - at);
                at = data;
            }
        }
        Ok((crc == header.crc, looked_at))
    }
}
