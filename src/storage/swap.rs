//! The steps by which rewritten segments take the names of those that they replace.
//!
//! They are Kafka's own: `.cleaned` becomes `.swap`, what is superseded is removed, `.swap` becomes the name. The manifest
//! has decided before the first of them, and from then on every step leads forward, those of the next opening too. Each is
//! durable before the next, so that no crash leaves a superseded file beside the name of its successor. A broker that loads
//! the directory in between abandons a swap of which something at a lower offset is still `.cleaned`, and completes any
//! other: so the last segment of several is the first to become `.swap`.
//!
//! How far a swap had come, its files tell. A `.swap` file belongs to one that was decided. So does a `.cleaned` one beside
//! page checksums of the generation that the manifest has: they are the last to leave that name, and the first to get
//! their own. Page checksums can be lost; then the file that still has the name shows by its size, or by its own, that it
//! is not what the manifest has.

use super::{
    files::PooledFile,
    foreign_files::{is_no_file, make_way, remove_if_there, sync_dir},
    layout::{CLEANED, SWAP, SegmentFile},
    manifest::PartitionState,
    sidecar::{read_hint, remove_segment_files_but},
};
use crate::{
    codec::{manifest::Seal, pages::PageSums},
    env::{DirEntry, Env},
    error::{Error, Result},
    types::Offset,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a rewritten segment has, in the order in which names are taken.
const KINDS: [SegmentFile; 6] = [
    SegmentFile::Pages,
    SegmentFile::Keys,
    SegmentFile::TransactionIndex,
    SegmentFile::TimeIndex,
    SegmentFile::OffsetIndex,
    SegmentFile::Log,
];

/// A swap that the manifest has decided.
#[derive(Debug)]
pub struct Swap {
    /// The partition's directory.
    pub dir: PathBuf,
    /// The base offsets of the segments that are to have their names, each with the file of its batches where that may be
    /// in use.
    pub outputs: Vec<(Offset, Option<Arc<PooledFile>>)>,
    /// The base offsets of those whose names no segment has any more.
    pub superseded: Vec<Offset>,
    /// Where the last checkpoint lies, whose snapshot stays.
    pub checkpointed: Offset,
}

impl Swap {
    /// Goes on from wherever it has come to, up to its end.
    pub fn finish(&self, env: &dyn Env) -> Result<()> {
        let mut last_first: Vec<_> = self.outputs.iter().rev().collect();
        planted!(the_first_of_a_swap_goes_first => last_first.reverse());
        for (base, file) in last_first {
            for kind in KINDS.into_iter().rev() {
                let names = (kind.cleaned_path(&self.dir, *base), kind.swap_path(&self.dir, *base));
                rename(env, file.as_deref().filter(|_| kind == SegmentFile::Log), names)?;
            }
        }
        sync_dir(env, &self.dir)?;
        self.remove_superseded(env)?;
        sync_dir(env, &self.dir)?;
        for (base, file) in &self.outputs {
            for kind in KINDS {
                let names = (kind.swap_path(&self.dir, *base), kind.path(&self.dir, *base));
                rename(env, file.as_deref().filter(|_| kind == SegmentFile::Log), names)?;
            }
        }
        sync_dir(env, &self.dir)
    }

    fn remove_superseded(&self, env: &dyn Env) -> Result<()> {
        for base in &self.superseded {
            remove_segment_files_but(env, &self.dir, *base, self.checkpointed)?;
        }
        for (base, _) in &self.outputs {
            // Its predecessor may have had what it does not have.
            let is_first = exists(env, &SegmentFile::Pages.swap_path(&self.dir, *base))?;
            for kind in [SegmentFile::TransactionIndex, SegmentFile::Keys] {
                let [next, now] =
                    [SegmentFile::swap_path, SegmentFile::path].map(|name| name(kind, &self.dir, *base));
                if is_first && !exists(env, &next)? {
                    remove_if_there(env, &now)?;
                }
            }
        }
        Ok(())
    }
}

/// Gives the file of the first name the second one, unless that was done before. A directory that has it makes way.
fn rename(env: &dyn Env, in_use: Option<&PooledFile>, (from, to): (PathBuf, PathBuf)) -> Result<()> {
    let rename = || match in_use {
        Some(file) => file.rename(&from, &to),
        None => env.rename(&from, &to),
    };
    match rename() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) if env.metadata(&to).is_ok_and(|found| found.is_dir) => {
            make_way(env, &to)?;
            rename().map_err(|e| Error::io("rename", &from, e))
        }
        renamed => renamed.map_err(|e| Error::io("rename", &from, e)),
    }
}

/// What the files of a partition's directory say of swaps.
#[derive(Debug, Default)]
pub struct SwapFiles {
    /// The base offsets of the segments whose swap was decided and has not come to its end.
    pub decided: BTreeSet<Offset>,
    /// Files of segments that were being written when their process died.
    pub abandoned: Vec<PathBuf>,
}

impl SwapFiles {
    /// Looks at `entries`, those of `dir`, in the light of what the manifest says.
    pub fn among(env: &dyn Env, dir: &Path, entries: &[DirEntry], state: &PartitionState) -> Result<Self> {
        let mut found = SwapFiles::default();
        let mut cleaned: BTreeMap<Offset, Vec<PathBuf>> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.is_file()) {
            let Some((name, suffix)) = entry.name.rsplit_once('.') else { continue };
            let Some((_, base)) = SegmentFile::of_name(name) else { continue };
            let rewritten = state.sealed_at(base).filter(|sealed| sealed.generation > 0);
            match suffix {
                SWAP if rewritten.is_some() => drop(found.decided.insert(base)),
                CLEANED => cleaned.entry(base).or_default().push(dir.join(&entry.name)),
                _ => {}
            }
        }
        for (base, files) in cleaned {
            let sealed = state.sealed_at(base).filter(|sealed| sealed.generation > 0);
            if found.decided.contains(&base) {
                continue;
            }
            match sealed {
                Some(sealed) if is_of(env, dir, base, &sealed)? => drop(found.decided.insert(base)),
                _ => found.abandoned.extend(files),
            }
        }
        // A file of any other size is nobody's work: what has the name stays.
        let mut decided = BTreeSet::new();
        for base in found.decided {
            if let Some(sealed) = state.sealed_at(base)
                && has_its_size(env, dir, base, &sealed)?
            {
                decided.insert(base);
            }
        }
        Ok(SwapFiles { decided, ..found })
    }

    /// The swap that is to be finished, of which `entries` has what is superseded; `None` where there is none.
    pub fn unfinished(
        &self,
        dir: &Path,
        entries: &[DirEntry],
        state: &PartitionState,
        checkpointed: Offset,
    ) -> Option<Swap> {
        let outputs: Vec<_> = self.decided.iter().map(|base| (*base, None)).collect();
        let is_superseded =
            |base: &Offset| state.superseding(*base).is_some_and(|(by, _)| self.decided.contains(&by));
        let bases = entries.iter().filter_map(|entry| SegmentFile::Log.parse(&entry.name));
        let superseded = bases.filter(is_superseded).collect();
        (!outputs.is_empty()).then(|| Swap { dir: dir.to_path_buf(), outputs, superseded, checkpointed })
    }

    /// Where the batches of the segment at `base` lie, if not under its name.
    pub fn place_of(&self, env: &dyn Env, dir: &Path, base: Offset) -> Option<PathBuf> {
        if !self.decided.contains(&base) {
            return None;
        }
        let places =
            [SegmentFile::swap_path, SegmentFile::cleaned_path].map(|name| name(SegmentFile::Log, dir, base));
        places.into_iter().find(|path| exists(env, path).unwrap_or(false))
    }
}

/// Whether the batches that are to be those of the segment at `base`, where they do not have their name yet, are as many
/// bytes as the manifest says.
fn has_its_size(env: &dyn Env, dir: &Path, base: Offset, sealed: &Seal) -> Result<bool> {
    for name in [SegmentFile::swap_path, SegmentFile::cleaned_path] {
        let path = name(SegmentFile::Log, dir, base);
        match env.metadata(&path) {
            Ok(found) if !found.is_dir && found.len == sealed.bytes => {}
            Ok(_) => return Ok(false),
            // A link, say, which belongs to no swap.
            Err(e) if is_no_file(&e) => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("measure", &path, e)),
        }
    }
    Ok(true)
}

/// Whether what was written for the segment at `base` is the generation that the manifest has. Where its page checksums are
/// lost, it is unless the file that still has the name is.
fn is_of(env: &dyn Env, dir: &Path, base: Offset, sealed: &Seal) -> Result<bool> {
    let sums_at = |path: PathBuf| -> Result<Option<PageSums>> {
        let bytes = read_hint(env, &path, PageSums::encoded_len(sealed.bytes))?;
        Ok(bytes.and_then(|bytes| PageSums::decode(&bytes).ok()))
    };
    let says_so = |sums: PageSums| sums.generation == sealed.generation && sums.size == sealed.bytes;
    if let Some(sums) = sums_at(SegmentFile::Pages.cleaned_path(dir, base))? {
        return Ok(says_so(sums));
    }
    planted!(page_checksums_alone_decide => return Ok(false));
    if size_at(env, &SegmentFile::Log.path(dir, base))? != Some(sealed.bytes) {
        return Ok(true);
    }
    let under_its_name = sums_at(SegmentFile::Pages.path(dir, base))?;
    Ok(under_its_name.is_some_and(|sums| !says_so(sums)))
}

/// The size of a file, if it is there.
fn size_at(env: &dyn Env, path: &Path) -> Result<Option<u64>> {
    match env.metadata(path) {
        Ok(found) => Ok((!found.is_dir).then_some(found.len)),
        Err(e) if e.kind() == io::ErrorKind::NotFound || is_no_file(&e) => Ok(None),
        Err(e) => Err(Error::io("measure", path, e)),
    }
}

fn exists(env: &dyn Env, path: &Path) -> Result<bool> {
    match env.metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        found => found.map(|_| true).map_err(|e| Error::io("measure", path, e)),
    }
}
