//! Which records of a segment belong to aborted transactions: they supersede nothing, and do not live.
//!
//! Their segment may have been sealed before anybody knew how their transaction ends, so its file of keys has them. Which
//! they are, the transaction indexes and a walk over the segment's batches tell, where an aborted transaction reaches into
//! it: no other segment is read. What is read is checked, for records of other segments go by what it says.

use crate::{
    codec::index::AbortedTransaction,
    error::Result,
    partition::{
        read::hidden::Hidden,
        write::cleanable::{Cleanable, CleaningTurn},
    },
    storage::scan::Scanner,
};

/// Ranges of offsets, counted from the base of their segment, in order. Batches in a row make one.
#[derive(Clone, Debug, Default)]
pub struct Aborted {
    ranges: Vec<(u32, u32)>,
}

impl Aborted {
    /// Those of a segment, where these transactions were aborted, in the order of their markers.
    pub fn of(turn: &CleaningTurn, one: &Cleanable, transactions: &[AbortedTransaction]) -> Result<Self> {
        planted!(aborted_records_live => return Ok(Aborted::default()));
        let (segment, base, next) = (&one.segment, one.segment.base(), one.seal.next_offset);
        let ended_before = transactions.partition_point(|transaction| transaction.last_offset < base);
        let reach = transactions.get(ended_before..).unwrap_or_default();
        let reach: Vec<_> = reach.iter().filter(|one| one.first_offset < next).copied().collect();
        let mut found = Aborted::default();
        if reach.is_empty() {
            return Ok(found);
        }
        let mut hidden = Hidden::new(reach);
        let mut scanner = Scanner::new(segment.source(), one.seal.bytes, 0, base, true)
            .of_epoch(segment.leader_epoch())
            .checking(segment.known_pages()?);
        let (mut goes_on, mut asked) = (false, 0);
        while let Some((batch, position)) = scanner.next_sealed()? {
            let header = batch.header();
            if header.is_control() || header.record_count == 0 {
                continue;
            }
            let is_aborted = hidden.is_aborted(header);
            if is_aborted {
                let [first, last] = [header.base_offset, header.last_offset()]
                    .map(|offset| offset.distance_from(base).min(u64::from(u32::MAX)) as u32);
                match found.ranges.last_mut().filter(|_| goes_on) {
                    Some(range) => range.1 = last,
                    None => found.ranges.push((first, last)),
                }
            }
            goes_on = is_aborted;
            if position - asked >= 1 << 20 {
                turn.check()?;
                asked = position;
            }
        }
        Ok(found)
    }

    /// Whether a record at this offset is one of them.
    #[inline]
    pub fn contains(&self, relative: u32) -> bool {
        if self.ranges.is_empty() {
            return false;
        }
        let at = self.ranges.partition_point(|(_, last)| *last < relative);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= relative)
    }

    /// How many bytes it takes.
    pub fn bytes(&self) -> u64 {
        (self.ranges.capacity() * size_of::<(u32, u32)>()) as u64
    }
}
