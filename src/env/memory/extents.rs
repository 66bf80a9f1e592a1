//! What a file in memory holds: written extents and the holes between them, which read as zeros.
//!
//! * Extents never overlap, are never empty, and end within the length.
//! * Bytes once handed out never change: an extent that somebody shares is replaced, not written into.
//! * Memory stays near the data. Small extents that touch are merged up to [`BLOCK`], and what is left of a cut extent
//!   is copied out when most of its memory would be held for nothing.

use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::ops::Range;

/// Extents are merged up to this many bytes.
const BLOCK: usize = 64 << 10;
/// A write is split into extents of at most this many bytes, which bounds what a later cut has to copy.
const LARGEST: usize = 4 << 20;

#[derive(Debug, Default)]
pub(super) struct Extents {
    by_start: BTreeMap<u64, Extent>,
    len: u64,
}

#[derive(Debug)]
struct Extent {
    bytes: Bytes,
    /// How much memory `bytes` may hold on to.
    holds: usize,
}

impl Extent {
    fn new(bytes: Bytes) -> Self {
        Extent { holds: bytes.len(), bytes }
    }

    /// What is left of this extent when only `range` of it is kept.
    fn part(&self, range: Range<usize>) -> Self {
        let bytes = self.bytes.slice(range);
        if bytes.len() < self.holds / 2 {
            return Self::new(Bytes::copy_from_slice(&bytes));
        }
        Extent { bytes, holds: self.holds }
    }
}

impl Extents {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Cuts or lengthens; what is new is a hole.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.clear(len..self.len);
        }
        self.len = len;
    }

    /// Copies from `position` on, and says how much there was. Holes are zeros.
    pub(super) fn read(&self, buf: &mut [u8], position: u64) -> usize {
        let there = self.len.saturating_sub(position).min(buf.len() as u64) as usize;
        let buf = &mut buf[..there];
        let end = position + there as u64;
        // Everything up to here is filled.
        let mut done = 0;
        for (start, extent) in self.touching(position..end) {
            let from = start.max(position);
            let to = (start + extent.bytes.len() as u64).min(end);
            let source = &extent.bytes[(from - start) as usize..(to - start) as usize];
            let (into, after) = ((from - position) as usize, (to - position) as usize);
            buf[done..into].fill(0);
            buf[into..after].copy_from_slice(source);
            done = after;
        }
        buf[done..].fill(0);
        there
    }

    /// Where the last extent ends.
    pub(super) fn data_end(&self) -> u64 {
        self.by_start.last_key_value().map_or(0, |(start, extent)| start + extent.bytes.len() as u64)
    }

    /// The bytes of `range`, shared when one extent has them all. `None` where the file or the memory ends before.
    pub(super) fn share(&self, range: Range<u64>) -> Option<Bytes> {
        if range.end > self.len || range.start > range.end {
            return None;
        }
        if range.is_empty() {
            return Some(Bytes::new());
        }
        let first = self.touching(range.clone()).next();
        let whole = first.filter(|(start, extent)| {
            *start <= range.start && range.end <= start + extent.bytes.len() as u64
        });
        if let Some((start, extent)) = whole {
            return Some(extent.bytes.slice((range.start - start) as usize..(range.end - start) as usize));
        }
        let len = usize::try_from(range.end - range.start).ok()?;
        let mut copy = Vec::new();
        copy.try_reserve_exact(len).ok()?;
        copy.resize(len, 0);
        self.read(&mut copy, range.start);
        Some(copy.into())
    }

    /// Writes at `position`; the caller has made sure that the end is a number.
    pub(super) fn write(&mut self, buf: &[u8], position: u64) {
        let mut at = position;
        for part in buf.chunks(LARGEST) {
            let end = at + part.len() as u64;
            if !self.write_in_place(part, at) {
                self.clear(at..end);
                self.by_start.insert(at, Extent::new(Bytes::copy_from_slice(part)));
                self.merge_into_previous(at);
            }
            self.len = self.len.max(end);
            at = end;
        }
    }

    /// Writes into the extent that has all of the range, when nobody else shares it.
    fn write_in_place(&mut self, part: &[u8], at: u64) -> bool {
        let Some((start, extent)) = self.by_start.range_mut(..=at).next_back() else { return false };
        let skip = at - start;
        if skip + part.len() as u64 > extent.bytes.len() as u64 || !extent.bytes.is_unique() {
            return false;
        }
        let skip = skip as usize;
        match std::mem::take(&mut extent.bytes).try_into_mut() {
            Ok(mut own) => {
                own[skip..skip + part.len()].copy_from_slice(part);
                extent.bytes = own.freeze();
                true
            }
            Err(shared) => {
                extent.bytes = shared;
                false
            }
        }
    }

    /// The extents that have bytes of `range`, in order.
    fn touching(&self, range: Range<u64>) -> impl Iterator<Item = (u64, &Extent)> {
        let before = self.by_start.range(..=range.start).next_back();
        let first = before
            .filter(|(start, extent)| *start + extent.bytes.len() as u64 > range.start)
            .map_or(range.start, |(start, _)| *start);
        let end = range.end.max(first);
        self.by_start.range(first..end).map(|(start, extent)| (*start, extent))
    }

    /// Makes a hole of `range`.
    fn clear(&mut self, range: Range<u64>) {
        let touched: Vec<u64> = self.touching(range.clone()).map(|(start, _)| start).collect();
        for start in touched {
            let Some(extent) = self.by_start.remove(&start) else { continue };
            let end = start + extent.bytes.len() as u64;
            if start < range.start {
                self.by_start.insert(start, extent.part(0..(range.start - start) as usize));
            }
            if range.end < end {
                let rest = (range.end - start) as usize..extent.bytes.len();
                self.by_start.insert(range.end, extent.part(rest));
            }
        }
    }

    /// Merges the extent at `at` with those right before it, as long as each is at most twice as long as what follows.
    ///
    /// So the extents of a block shrink by half from one to the next: few are left, and a byte is copied a few times.
    fn merge_into_previous(&mut self, at: u64) {
        let Some(mut total) = self.by_start.get(&at).map(|extent| extent.bytes.len()) else { return };
        let mut first = at;
        for (start, extent) in self.by_start.range(..at).rev() {
            let len = extent.bytes.len();
            if start + len as u64 != first || len > 2 * total || total + len > BLOCK {
                break;
            }
            first = *start;
            total += len;
        }
        if first == at {
            return;
        }
        let mut block = BytesMut::with_capacity(total);
        let parts: Vec<u64> = self.by_start.range(first..=at).map(|(start, _)| *start).collect();
        for part in parts {
            if let Some(extent) = self.by_start.remove(&part) {
                block.extend_from_slice(&extent.bytes);
            }
        }
        self.by_start.insert(first, Extent::new(block.freeze()));
    }

    /// How many bytes of memory the content holds on to.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.by_start.values().map(|extent| extent.holds).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_write_is_shared_and_two_are_merged() {
        let mut file = Extents::default();
        file.write(&[1; 1000], 0);
        let (a, b) = (file.share(0..1000).unwrap(), file.share(10..20).unwrap());
        assert_eq!(a[10..].as_ptr(), b.as_ptr());
        file.write(&[2; 1000], 1000);
        assert_eq!(file.by_start.len(), 1);
        assert_eq!(file.share(999..1001).unwrap()[..], [1, 2]);
        assert_eq!(a[..], [1; 1000]);
    }

    #[test]
    fn bytes_handed_out_do_not_change() {
        let mut file = Extents::default();
        file.write(b"0123456789", 0);
        let before = file.share(2..6).unwrap();
        file.write(b"xx", 3);
        assert_eq!(before[..], *b"2345");
        assert_eq!(file.share(0..10).unwrap()[..], *b"012xx56789");
        file.set_len(1);
        assert_eq!(before[..], *b"2345");
    }

    #[test]
    fn small_appends_leave_few_extents_and_no_waste() {
        let mut file = Extents::default();
        let count = if cfg!(miri) { 300 } else { 20_000 };
        for i in 0..count {
            file.write(&[i as u8; 100], i * 100);
        }
        assert!(file.by_start.len() < 16 + count as usize * 100 / (BLOCK / 2), "{}", file.by_start.len());
        assert_eq!(file.held(), count as usize * 100);
    }

    #[test]
    fn a_cut_extent_does_not_keep_its_memory() {
        let mut file = Extents::default();
        file.write(&vec![7; 100_000], 0);
        file.set_len(10);
        assert_eq!(file.held(), 10);
        file.set_len(u64::MAX);
        assert_eq!(file.held(), 10);
        assert_eq!(file.share(9..12).unwrap()[..], [7, 0, 0]);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Write(usize, Vec<u8>),
        SetLen(usize),
        Share(usize, usize),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            4 => (0..300usize, prop::collection::vec(any::<u8>(), 1..80)).prop_map(|(at, b)| Op::Write(at, b)),
            1 => (0..400usize).prop_map(Op::SetLen),
            2 => (0..300usize, 0..100usize).prop_map(|(at, n)| Op::Share(at, n)),
        ];
        prop::collection::vec(op, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 4 } else { 256 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn extents_agree_with_a_vector(ops in ops()) {
            let mut model: Vec<u8> = Vec::new();
            let mut file = Extents::default();
            let mut shared: Vec<(Bytes, Vec<u8>)> = Vec::new();
            for op in ops {
                match op {
                    Op::Write(at, bytes) => {
                        model.resize(model.len().max(at + bytes.len()), 0);
                        model[at..at + bytes.len()].copy_from_slice(&bytes);
                        file.write(&bytes, at as u64);
                    }
                    Op::SetLen(len) => {
                        model.resize(len, 0);
                        file.set_len(len as u64);
                    }
                    Op::Share(at, n) => {
                        let found = file.share(at as u64..(at + n) as u64);
                        let expected = model.get(at..at + n);
                        prop_assert_eq!(found.as_deref(), expected);
                        shared.extend(found.zip(expected.map(<[u8]>::to_vec)));
                    }
                }
                prop_assert_eq!(file.len(), model.len() as u64);
                let mut all = vec![0xaa; model.len() + 10];
                prop_assert_eq!(file.read(&mut all, 0), model.len());
                prop_assert_eq!(&all[..model.len()], &model[..]);
                prop_assert!(file.held() <= 2 * model.len() + 1);
            }
            for (bytes, then) in shared {
                prop_assert_eq!(&bytes[..], &then[..]);
            }
        }
    }
}
