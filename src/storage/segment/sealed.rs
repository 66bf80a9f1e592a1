//! A segment that takes no more appends.
//!
//! Its bytes are final, so every page of it can have a checksum, and a file that takes its name is another segment. What a
//! seal leaves for later (flushing, sidecars, page checksums) is done through this type.

use super::{Sealed, Segment, checked_pages::CheckedPages};
use crate::{
    codec::{keys::HashSeed, pages::PageSummer},
    error::{Error, Result},
    storage::{
        keys::{KeyBuilder, KeyFile, KeysOf},
        layout::SegmentFile,
        scan::{ScanItem, Scanner},
        sidecar::{take_name, write_file},
    },
    types::Offset,
};
use std::{ops::Deref, sync::Arc};

/// A sealed segment. There is no way back to one that takes appends.
#[derive(Clone, Debug)]
pub struct SealedSegment(Arc<Segment>);

impl Deref for SealedSegment {
    type Target = Arc<Segment>;

    fn deref(&self) -> &Arc<Segment> {
        &self.0
    }
}

impl SealedSegment {
    /// The segment, where it is sealed.
    pub fn of(segment: &Arc<Segment>) -> Option<Self> {
        segment.sealed_size().map(|_| SealedSegment(Arc::clone(segment)))
    }

    /// The caller has just sealed it.
    pub(super) fn new(segment: Arc<Segment>) -> Self {
        debug_assert!(segment.sealed_size().is_some());
        SealedSegment(segment)
    }

    /// Sums up the pages of a sealed segment, each of whose batches is checked on the way, and writes and flushes them; in
    /// the same pass, where a seed is given, the keys of its records, which end before `next`. Where a batch is not valid
    /// there is nothing to vouch for, and nothing is written. A lost file of keys is built again when it is needed: that one
    /// could not be written is no failure.
    pub fn write_sidecars(&self, next: Offset, seed: Option<HashSeed>) -> Result<()> {
        let Some(Sealed { generation, size, .. }) = self.0.sealed.get().copied() else { return Ok(()) };
        let mut scanner = Scanner::new(self.source(), size, 0, self.base(), true);
        let mut summer = PageSummer::new();
        let mut keys = seed.map(|seed| self.key_builder(seed));
        while let ScanItem::Batch(batch, _) = scanner.next()? {
            summer.update(batch.bytes());
            keys = keys.and_then(|mut keys| keys.add(&batch).is_ok_and(|read| read.is_ok()).then_some(keys));
        }
        planted!(vouch_for_what_was_not_checked => summer.update(&self.bytes(summer.size()..size)?));
        if summer.size() != size {
            return Ok(());
        }
        let sums = summer.finish(generation);
        write_file(&**self.pool.env(), &SegmentFile::Pages.path(&self.dir, self.base), &sums.encode())?;
        self.pages.hold(CheckedPages::new(sums));
        if let Some(keys) = keys {
            let _ = self.name_keys(keys, KeysOf { generation, size, base: self.base, next });
        }
        Ok(())
    }

    /// The keys of its records, which end before `next`: out of their file, where that has this seed, or out of the data.
    ///
    /// # Errors
    /// `Corrupt` where a batch is not valid.
    pub fn keys(&self, next: Offset, seed: HashSeed) -> Result<KeyFile> {
        let Some(Sealed { generation, size, .. }) = self.0.sealed.get().copied() else {
            return Err(Error::corrupt(self.path(), 0, "only a sealed segment has a file of keys"));
        };
        let of = KeysOf { generation, size, base: self.base, next };
        let path = SegmentFile::Keys.path(&self.dir, self.base);
        let open = || KeyFile::open(&self.pool, path.clone(), of);
        match open()?.filter(|keys| keys.seed() == seed) {
            Some(keys) => {
                self.measure_keys(&path);
                Ok(keys)
            }
            None => {
                self.build_keys(of, seed)?;
                let lost = || Error::corrupt(&path, 0, "the file of keys is not what was just written");
                open()?.ok_or_else(lost)
            }
        }
    }

    /// Its file of keys as it is, whatever its seed; `None` where there is none that is about these records.
    pub fn known_keys(&self, next: Offset) -> Result<Option<KeyFile>> {
        let Some(Sealed { generation, size, .. }) = self.0.sealed.get().copied() else { return Ok(None) };
        let of = KeysOf { generation, size, base: self.base, next };
        KeyFile::open(&self.pool, SegmentFile::Keys.path(&self.dir, self.base), of)
    }

    fn build_keys(&self, of: KeysOf, seed: HashSeed) -> Result<()> {
        let mut scanner = Scanner::new(self.source(), of.size, 0, self.base(), true);
        let mut keys = self.key_builder(seed);
        while let Some((batch, position)) = scanner.next_sealed()? {
            keys.add(&batch)?.map_err(|error| error.in_file(self.path(), position))?;
        }
        self.name_keys(keys, of)
    }

    fn key_builder(&self, seed: HashSeed) -> KeyBuilder<'_> {
        KeyBuilder::new(&**self.pool.env(), SegmentFile::Keys.path(&self.dir, self.base), self.base, seed)
    }

    /// Gives a file of keys its name.
    fn name_keys(&self, keys: KeyBuilder<'_>, of: KeysOf) -> Result<()> {
        let beside = keys.finish(of.generation, of.size, of.next)?;
        let path = SegmentFile::Keys.path(&self.dir, self.base);
        take_name(&**self.pool.env(), &beside, &path)?;
        self.measure_keys(&path);
        Ok(())
    }

    /// The seed of its file of keys, where there is one.
    pub fn seed(&self) -> Option<HashSeed> {
        KeyFile::seed_at(&self.pool, SegmentFile::Keys.path(&self.dir, self.base))
    }
}
