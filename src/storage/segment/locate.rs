//! Finding a batch in a segment: by the index to a place before it, then from header to header.
//!
//! Nothing is believed that a neighbour contradicts: a header that leads on is checked against the one that follows, and
//! where a page did not pass, what lies in it says nothing.

use super::{PagesVerdict, Segment};
use crate::{
    codec::{
        DecodeError,
        batch::{BatchHeader, HEADER_LEN},
    },
    error::{Error, Result},
    storage::scan::{ScanItem, VERSION_CHECK_MAX, is_of_another_version},
    types::Offset,
};
use std::ops::Range;

/// Where a batch lies in its segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Located {
    /// Its first byte.
    pub position: u64,
    /// Its header.
    pub header: BatchHeader,
}

impl Segment {
    /// What is wrong with the batch at `position`, which begins at `expected`, in the light of what lies around it.
    #[cold]
    pub fn fault_of(&self, position: u64, expected: Offset) -> Result<Option<String>> {
        match self.scanner(self.readable(), position, expected).next()? {
            ScanItem::Bad(reason) => Ok(Some(reason)),
            ScanItem::Batch(..) | ScanItem::End | ScanItem::Unsupported(_) => Ok(None),
        }
    }

    /// The header of the batch that starts at `position`; `None` at the end.
    pub fn header_at(&self, position: u64) -> Result<Option<BatchHeader>> {
        let readable = self.readable();
        if position >= readable {
            return Ok(None);
        }
        self.check_damage(position)?;
        let head = self.bytes(position..(position + HEADER_LEN as u64).min(readable))?;
        let header = match BatchHeader::parse(&head) {
            Ok(header) => header,
            Err(error) => {
                // Where the page did not pass, an unknown version is damage like any other.
                self.check_good(position..position + head.len() as u64)?;
                return Err(self.fault(error, position, &head));
            }
        };
        if position + header.size() > readable {
            let reason = format!("a batch of {} bytes where {} are left", header.size(), readable - position);
            return Err(Error::corrupt(self.path(), position, reason));
        }
        Ok(Some(header))
    }

    /// As [`Segment::header_at`], for a batch that must begin at `expected`, or not before it where there may be gaps.
    pub fn header_in_place(&self, position: u64, expected: Offset) -> Result<Option<BatchHeader>> {
        let header = match self.header_at(position) {
            // What is not even in its place says nothing of versions.
            Err(Error::UnsupportedFormat { found, .. }) if !self.is_in_place(position, expected) => {
                let reason = format!("{found}, out of its place");
                return Err(Error::corrupt(self.path(), position, reason));
            }
            other => other?,
        };
        match header.and_then(|header| self.out_of_place(&header, expected)) {
            None => Ok(header),
            Some(reason) => Err(Error::corrupt(self.path(), position, reason)),
        }
    }

    /// Whether the first field at `position`, which is the base offset in every version, fits.
    fn is_in_place(&self, position: u64, expected: Offset) -> bool {
        let field = self.bytes(position..position + 8).ok();
        let base = field.and_then(|b| b.first_chunk().copied()).map(i64::from_be_bytes);
        let base = base.and_then(Offset::from_i64);
        base.is_some_and(|base| if self.may_have_gaps() { base >= expected } else { base == expected })
    }

    /// What a header at `position`, with the bytes of `head`, that could not be read means.
    pub fn fault(&self, error: DecodeError, position: u64, head: &[u8]) -> Error {
        if matches!(error, DecodeError::Unsupported { .. }) {
            let size = BatchHeader::size_of_prefix(head).and_then(|size| u64::try_from(size).ok());
            let end = position.saturating_add(size.unwrap_or(0)).min(self.readable());
            let is_foreign = || {
                end.saturating_sub(position) > VERSION_CHECK_MAX as u64
                    || self.bytes(position..end.max(position)).is_ok_and(|b| is_of_another_version(&b))
            };
            if !self.order.may_be_of_another_version() {
                return Error::corrupt(self.path(), position, error.to_string());
            }
            if !is_foreign() {
                let reason = format!("{error}, but its checksum is of no other version");
                return Error::corrupt(self.path(), position, reason);
            }
        }
        error.in_file(self.path(), position)
    }

    /// Where a batch starts that ends at or before `offset`, as near as the index knows; 0 where it knows none.
    pub fn floor_position(&self, offset: Offset) -> Result<u64> {
        self.search(|i| self.checked_floor(i, offset))
    }

    /// Where a walk to `offset` begins: a position, and the offset expected there.
    pub fn walk_from(&self, offset: Offset) -> Result<(u64, Offset)> {
        let position = self.floor_position(offset)?;
        // What the index points at was checked.
        let header = if position == 0 { None } else { self.header_at(position)? };
        Ok((position, header.map_or(self.base, |h| h.base_offset)))
    }

    /// The first batch that ends at or after `offset`; `None` when all end before it. Only headers are looked at.
    pub fn locate(&self, offset: Offset) -> Result<Option<Located>> {
        let (start, mut expected) = self.walk_from(offset)?;
        let mut position = start;
        loop {
            if let Some(damage) = self.damage_before(position, offset) {
                (position, expected) = (damage.bytes.end, damage.offsets.end);
            }
            let Some(header) = self.header_in_place(position, expected)? else { return Ok(None) };
            if header.last_offset() >= offset {
                self.check_end(position, &header)?;
                if header.base_offset > offset {
                    // Either the offset is really not there, or a header on the way says what it did not.
                    self.check_good(start..position + HEADER_LEN as u64)?;
                }
                return Ok(Some(Located { position, header }));
            }
            position += header.size();
            expected = header.next_offset();
        }
    }

    /// An error where what follows the batch at `position` does not begin where that ends. The headers that led to it
    /// may have been damaged, for nothing but their order was checked.
    fn check_end(&self, position: u64, header: &BatchHeader) -> Result<()> {
        let behind = position + header.size();
        let follows = match self.header_at(behind) {
            Ok(Some(next)) => Some(next.base_offset),
            Ok(None) => self.known_positions().at(behind),
            Err(_) => None,
        };
        let (end, gaps) = (header.next_offset(), self.may_have_gaps());
        match follows.filter(|base| *base < end || (*base > end && !gaps)) {
            Some(base) => {
                let reason = format!("the batch before offset {end} is followed by offset {base}");
                Err(Error::corrupt(self.path(), position, reason))
            }
            None => Ok(()),
        }
    }

    /// As [`Segment::locate`], past damage: every batch on the way is checked, and what is damaged is an error only if
    /// it may be where `offset` was.
    pub fn locate_past_damage(&self, offset: Offset) -> Result<Option<Located>> {
        if let Some(damage) = self.damage.over(offset) {
            let error = Error::corrupt(self.path(), damage.bytes.start, damage.reason);
            return Err(error.going_on_at(damage.offsets.end));
        }
        let (start, expected) = self.walk_from(offset)?;
        let limit = self.readable();
        let mut scanner = self.scanner(limit, start, expected);
        let mut damage: Option<Error> = None;
        let path = self.path();
        loop {
            let reason = match self.or_missing(scanner.next())? {
                ScanItem::Batch(batch, position) if batch.header().last_offset() >= offset => {
                    let header = *batch.header();
                    if header.base_offset > offset {
                        damage.map_or(Ok(()), Err)?;
                        self.check_good(start..position + HEADER_LEN as u64)?;
                    }
                    return Ok(Some(Located { position, header }));
                }
                ScanItem::Batch(..) => continue,
                ScanItem::End if scanner.position() >= limit => return damage.map_or(Ok(None), Err),
                ScanItem::End => "no batch, though data follows".to_string(),
                ScanItem::Bad(reason) => reason,
                ScanItem::Unsupported(error) => return Err(error.in_file(path, scanner.position())),
            };
            let damage = damage.insert(Error::corrupt(path, scanner.position(), reason));
            if scanner.resync()?.is_none() {
                return Err(damage.clone());
            }
        }
    }

    /// An error where the page checksums say that `range` is not what was written.
    fn check_good(&self, range: Range<u64>) -> Result<()> {
        match self.check_pages(range)? {
            PagesVerdict::Bad(page) => {
                let reason = "a page is not what was written when the segment was sealed";
                Err(Error::corrupt(self.path(), page.start, reason))
            }
            PagesVerdict::Good | PagesVerdict::Unknown => Ok(()),
        }
    }
}
