//! A segment that is about to take the place of others.
//!
//! Its files have the names that a cleaner gave them. So that it can be read while they change, its sidecars are read before
//! it is shown to anybody, and checked: what the manifest is about to vouch for is there.

use super::{Indexes, Segment, checked_pages::CheckedPages};
use crate::{
    codec::{manifest::Seal, pages::PageSums},
    error::{Error, Result},
    storage::{files::FilePool, index::IndexBytes, layout::SegmentFile, sidecar::read_hint},
    types::Offset,
};
use std::{path::Path, sync::Arc};

/// The segment at `base` that was written in `dir` under the names of a cleaner.
///
/// # Errors
/// `Corrupt` where its files are not what `seal` says.
pub fn open_rewritten(
    pool: &Arc<FilePool>,
    dir: &Path,
    (base, seal): (Offset, &Seal),
    index_interval: u64,
) -> Result<Arc<Segment>> {
    let file = pool.existing(SegmentFile::Log.path(dir, base), true);
    let lies_at = SegmentFile::Log.cleaned_path(dir, base);
    file.lies_at(lies_at.clone());
    let wrong = |what: &str| Err(Error::corrupt(&lies_at, 0, format!("what was written lacks {what}")));
    let len = file.len()?;
    if len != seal.bytes {
        return wrong(&format!("bytes: it has {len}, and should have {}", seal.bytes));
    }
    let segment = Segment::over_file(pool, dir, base, file, seal.bytes, index_interval, Indexes::OnDisk);
    segment.expect_no_other_version();
    segment.set_sealed(seal);
    let files = segment.read_sidecars_at(|kind| kind.cleaned_path(dir, base))?;
    let is_as_written = files.checksum() == Some(seal.index_checksum);
    let (Some(offsets), Some(times), Some(aborted)) = (files.offsets, files.times, files.aborted) else {
        return wrong("indexes");
    };
    if !is_as_written {
        return wrong("its indexes");
    }
    segment.hold_index(IndexBytes::as_written(offsets.bytes.into(), times.bytes.into()));
    segment.set_aborted(aborted);
    segment.measure_keys(&SegmentFile::Keys.cleaned_path(dir, base));
    let path = SegmentFile::Pages.cleaned_path(dir, base);
    let sums = read_hint(&**pool.env(), &path, PageSums::encoded_len(seal.bytes))?;
    let sums = sums.and_then(|bytes| PageSums::decode(&bytes).ok());
    match sums.filter(|sums| sums.generation == seal.generation && sums.size == seal.bytes) {
        Some(sums) => segment.pages.hold(CheckedPages::new(sums)),
        None => return wrong("page checksums"),
    }
    Ok(Arc::new(segment))
}
