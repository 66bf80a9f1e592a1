//! A file of keys while it is written: entries by bucket, then where each bucket starts, then page checksums.

use crate::{
    codec::keys::{ENTRY_LEN, HEADER_LEN, KeySummer, KeysFlags, KeysHeader, place_of},
    env::{Env, File, Open, write_all_at},
    error::{Error, Result},
    storage::foreign_files::{beside, remove_if_there},
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The entries that are put in order at a time.
pub(super) const ORDERED: u32 = (2 << 20) / ENTRY_LEN as u32;
/// The bytes that are written at a time.
const PIECE: usize = 256 << 10;

/// See the head of the file.
pub(super) struct Output<'a> {
    file: Arc<dyn File>,
    path: &'a Path,
    header: KeysHeader,
    summer: KeySummer,
    starts: Vec<u32>,
    pushed: u32,
    buffer: Vec<u8>,
    position: u64,
}

impl<'a> Output<'a> {
    /// Writes a file with this header beside the name `path`, flushed; `write` pushes its entries. Returns where it lies.
    pub(super) fn write(
        env: &dyn Env,
        path: &Path,
        header: KeysHeader,
        write: impl FnOnce(&mut Output<'_>) -> Result<()>,
    ) -> Result<PathBuf> {
        let beside = beside(path);
        remove_if_there(env, &beside)?;
        let file = env.open(&beside, Open::CreateNew).map_err(|e| Error::io("create", &beside, e))?;
        let mut output = Output::new(file, &beside, header);
        let written = write(&mut output).and_then(|()| output.finish());
        if written.is_err() {
            let _ = env.remove_file(&beside);
        }
        written.map(|()| beside)
    }

    fn new(file: Arc<dyn File>, path: &'a Path, header: KeysHeader) -> Self {
        let (summer, buffer) = (KeySummer::default(), Vec::with_capacity(PIECE + ENTRY_LEN));
        let position = HEADER_LEN as u64;
        Output { file, path, header, summer, starts: Vec::new(), pushed: 0, buffer, position }
    }

    /// What the file is to say of itself.
    pub(super) fn header(&self) -> KeysHeader {
        self.header
    }

    /// The next entries, which are in order.
    pub(super) fn push(&mut self, entries: &[[u8; ENTRY_LEN]]) -> Result<()> {
        for (number, entry) in (self.pushed..).zip(entries) {
            let bucket = self.header.bucket_of(entry) as usize;
            if self.starts.len() <= bucket {
                self.starts.resize(bucket + 1, number);
            }
            if place_of(entry).1 {
                self.header.flags.add(KeysFlags::TOMBSTONES);
            }
        }
        self.pushed += entries.len() as u32;
        self.write_bytes(entries.as_flattened())
    }

    /// The next entries, which are those of these buckets, in any order.
    pub(super) fn push_in_order(
        &mut self,
        buckets: Range<u32>,
        entries: &mut Vec<[u8; ENTRY_LEN]>,
    ) -> Result<()> {
        put_in_order(&self.header, buckets, entries);
        self.push(entries)
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < PIECE { Ok(()) } else { self.put() }
    }

    fn put(&mut self) -> Result<()> {
        self.summer.update(&self.buffer);
        self.put_unsummed()
    }

    fn put_unsummed(&mut self) -> Result<()> {
        write_all_at(&*self.file, &self.buffer, self.position)
            .map_err(|e| Error::io("write", self.path, e))?;
        self.position += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        if self.pushed != self.header.count {
            let reason = format!("{} keys where {} were announced", self.pushed, self.header.count);
            return Err(Error::corrupt(self.path, 0, reason));
        }
        let mut starts = std::mem::take(&mut self.starts);
        starts.resize(self.header.buckets() as usize, self.pushed);
        starts.iter().try_for_each(|start| self.write_bytes(&start.to_be_bytes()))?;
        self.summer.update(&self.buffer);
        let sums = std::mem::take(&mut self.summer).finish();
        self.buffer.extend_from_slice(&sums);
        self.put_unsummed()?;
        write_all_at(&*self.file, &self.header.encode(), 0).map_err(|e| Error::io("write", self.path, e))?;
        self.file.sync_data().map_err(|e| Error::io("flush", self.path, e))
    }
}

/// Puts entries of these buckets in order: by bucket, and those of one by offset.
fn put_in_order(header: &KeysHeader, buckets: Range<u32>, entries: &mut Vec<[u8; ENTRY_LEN]>) {
    let order = |entry: &[u8; ENTRY_LEN]| (header.bucket_of(entry), place_of(entry).0);
    if entries.is_sorted_by_key(order) {
        return;
    }
    let of = |entry: &[u8; ENTRY_LEN]| header.bucket_of(entry).wrapping_sub(buckets.start) as usize;
    let mut places = vec![0u32; buckets.len()];
    for entry in entries.iter() {
        if let Some(count) = places.get_mut(of(entry)) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for place in &mut places {
        sum += std::mem::replace(place, sum);
    }
    let mut ordered = vec![[0; ENTRY_LEN]; entries.len()];
    for entry in entries.iter() {
        // Each place moves on to where its bucket ends.
        if let Some(place) = places.get_mut(of(entry)) {
            if let Some(to) = ordered.get_mut(*place as usize) {
                *to = *entry;
            }
            *place += 1;
        }
    }
    let mut begin = 0;
    for end in places {
        let here = ordered.get_mut(begin as usize..end as usize).unwrap_or_default();
        if !here.is_sorted_by_key(|entry| place_of(entry).0) {
            here.sort_unstable_by_key(|entry| place_of(entry).0);
        }
        begin = end;
    }
    *entries = ordered;
}
