//! The page checksums of one sealed segment, and which of its pages passed.
//!
//! A page is checked when it is first touched and remembered, so that reading again costs nothing; batches that lie in
//! pages that passed need no checksum of their own. Sums are believed only when they are about this generation and size
//! of the segment: any others are as good as none.

use crate::{
    codec::pages::{PAGE_SIZE, PageSums},
    env::sync::{AtomicU64, Ordering, RwLock},
    error::Result,
};
use bytes::Bytes;
use std::{ops::Range, sync::Arc};

/// What the pages say about a stretch of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PagesVerdict {
    /// There are no sums to ask.
    Unknown,
    /// Every byte is what was written when the segment was sealed.
    Good,
    /// The first page that is not lies here.
    Bad(Range<u64>),
}

/// Sums, and a bit for each page that passed.
#[derive(Debug)]
pub struct CheckedPages {
    sums: PageSums,
    passed: Box<[AtomicU64]>,
}

impl CheckedPages {
    /// Nothing has passed yet.
    pub fn new(sums: PageSums) -> Self {
        let words = sums.page_count().div_ceil(64);
        CheckedPages { sums, passed: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Checks the pages that `range` touches and that have not passed before; `read` gives their bytes.
    pub fn check(
        &self,
        range: Range<u64>,
        read: impl Fn(Range<u64>) -> Result<Bytes>,
    ) -> Result<PagesVerdict> {
        if range.is_empty() {
            return Ok(PagesVerdict::Good);
        }
        for page in range.start / PAGE_SIZE..=(range.end - 1) / PAGE_SIZE {
            let index = usize::try_from(page).unwrap_or(usize::MAX);
            let Some(word) = self.passed.get(index / 64) else { return Ok(PagesVerdict::Unknown) };
            let bit = 1 << (index % 64);
            if word.load(Ordering::Relaxed) & bit != 0 {
                continue;
            }
            let covered = self.sums.page_range(index);
            if !self.sums.verify_page(index, &read(covered.clone())?) {
                return Ok(PagesVerdict::Bad(covered));
            }
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(PagesVerdict::Good)
    }

    /// The first page of those that `bytes`, which begin with a page at `position`, are, and are not what was written.
    pub fn first_bad(&self, position: u64, bytes: &[u8]) -> Option<Range<u64>> {
        let pages = (position / PAGE_SIZE..).zip(bytes.chunks(PAGE_SIZE as usize));
        let indexes = pages.map(|(page, bytes)| (usize::try_from(page).unwrap_or(usize::MAX), bytes));
        let mut bad = indexes.filter(|(index, bytes)| !self.sums.verify_page(*index, bytes));
        bad.next().map(|(index, _)| self.sums.page_range(index))
    }
}

/// What is known of a sealed segment's page checksums.
#[derive(Debug, Default)]
pub struct KnownPages(RwLock<Known>);

#[derive(Debug, Default)]
enum Known {
    /// Nobody asked yet.
    #[default]
    Unasked,
    /// This segment has none.
    None,
    Held(Arc<CheckedPages>),
}

impl KnownPages {
    /// The sums, which are loaded at the first question.
    pub fn get_or_load(
        &self,
        load: impl FnOnce() -> Result<Option<PageSums>>,
    ) -> Result<Option<Arc<CheckedPages>>> {
        match &*self.0.read() {
            Known::Held(pages) => return Ok(Some(Arc::clone(pages))),
            Known::None => return Ok(None),
            Known::Unasked => {}
        }
        let pages = load()?.map(|sums| Arc::new(CheckedPages::new(sums)));
        *self.0.write() = pages.clone().map_or(Known::None, Known::Held);
        Ok(pages)
    }

    /// From now on these are the sums.
    pub fn hold(&self, pages: CheckedPages) {
        *self.0.write() = Known::Held(Arc::new(pages));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::pages::PageSummer;

    #[test]
    fn a_page_is_read_once_and_a_bad_one_is_named() {
        let content = Bytes::from((0..200_000u32).map(|i| (i % 251) as u8).collect::<Vec<u8>>());
        let mut summer = PageSummer::new();
        summer.update(&content);
        let pages = CheckedPages::new(summer.finish(0));
        let reads = AtomicU64::new(0);
        let slice = |bytes: &Bytes, r: Range<u64>| bytes.slice(r.start as usize..r.end as usize);
        let read = |r: Range<u64>| {
            reads.fetch_add(1, Ordering::Relaxed);
            Ok(slice(&content, r))
        };
        assert_eq!(pages.check(10..70_000, read).unwrap(), PagesVerdict::Good);
        assert_eq!(pages.check(0..70_000, read).unwrap(), PagesVerdict::Good);
        assert_eq!(reads.load(Ordering::Relaxed), 2);
        let mut damaged = content.to_vec();
        damaged[199_999] ^= 1;
        let damaged = Bytes::from(damaged);
        let verdict = pages.check(0..200_000, |r| Ok(slice(&damaged, r))).unwrap();
        assert_eq!(verdict, PagesVerdict::Bad(196_608..200_000));
        assert_eq!(pages.check(0..200_000, read).unwrap(), PagesVerdict::Good);
    }
}
