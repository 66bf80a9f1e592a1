//! The headers of a record, borrowed.
//!
//! They lie one behind the other at the record's end; finding one means stepping over those before it. Names may
//! repeat, and their order is the producer's.

use crate::codec::varint::read_varint;
use std::fmt;

/// A name and a value, which may be null.
type Header<'a> = (&'a str, Option<&'a [u8]>);

/// Headers of a record: pairs of a name and a value, which may be null.
#[derive(Clone, Copy, Default)]
pub struct Headers<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Headers<'a> {
    /// `left` headers at the front of `rest`.
    #[inline(always)]
    pub(super) fn new(rest: &'a [u8], left: u32) -> Self {
        Headers { rest, left }
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.left as usize
    }

    /// Whether none are left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The bytes behind the headers that were taken.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The header at the front, and what is behind it.
    fn split(&self) -> Option<(Header<'a>, &'a [u8])> {
        let mut rest = self.rest;
        let length = usize::try_from(read_varint(&mut rest)?).ok()?;
        let (name, mut rest) = rest.split_at_checked(length)?;
        let name = std::str::from_utf8(name).ok()?;
        let value = super::nullable(&mut rest)?;
        Some(((name, value), rest))
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        match self.split() {
            Some((header, rest)) => {
                self.left -= 1;
                self.rest = rest;
                Some(header)
            }
            None => {
                self.left = 0;
                None
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left as usize))
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}
