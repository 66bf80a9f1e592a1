//! Files that belong to no log and may have the key: segments that were put aside, and whatever else has batches beside a log.
//!
//! Such a file is written anew without the key, under its own name, or removed where nothing else is in it. One that cannot be
//! read to its end may have the key where nobody sees it: that is an error, and what becomes of the file is not ours to decide.

use super::{
    Pace, Purge,
    erase::{Left, count_in, without},
    goes_on, still_there,
};
use crate::{
    codec::batch::RecordBatch,
    env::{Open, write_all_at},
    error::{Error, Result},
    partition::write::{cleanable::CleaningTurn, quarantine::may_have_batches},
    storage::{
        files::PooledFile,
        foreign_files::{beside, entries_of, remove_if_there, sync_parent},
        scan::{ScanItem, Scanner},
        segment::source::only_zeros,
    },
    topic::name::{is_stray_dir, parse_dir_name},
    types::Offset,
};
use std::path::{Path, PathBuf};

impl Purge {
    /// Purges all that lies beside a log, and with the first partition what was in the way of the topic's creation. One file
    /// that fails keeps no other from being purged.
    pub(super) fn beside(&mut self, turn: &CleaningTurn) -> Result<()> {
        planted!(a_purge_forgets_what_was_put_aside => return Ok(()));
        let mut files = turn.batches_beside()?;
        if turn.log().identity.name.partition == 0 {
            files.extend(in_stray_dirs(turn)?);
        }
        let mut result = Ok(());
        for path in files {
            goes_on(turn)?;
            result = result.and(self.stray(turn, &path));
        }
        result
    }

    fn stray(&mut self, turn: &CleaningTurn, path: &Path) -> Result<()> {
        let Some(before) = self.search(turn, path)?.filter(|found| found.records > 0) else { return Ok(()) };
        let env = &**turn.env();
        let new = beside(path);
        remove_if_there(env, &new)?;
        let written = self.write_stray(turn, path, &new);
        if !matches!(written, Ok(1..)) {
            // The first error is reported; the next attempt removes what is left.
            let _ = remove_if_there(env, &new);
        }
        match written? {
            0 => remove_if_there(env, path).map(|()| turn.forget_quarantined(path))?,
            _ => env.rename(&new, path).map_err(|e| Error::io("rename", &new, e))?,
        }
        sync_parent(env, path)?;
        let after = self.search(turn, path)?.unwrap_or_default();
        self.records += before.records;
        self.bytes += before.bytes - after.bytes.min(before.bytes);
        self.strays += 1;
        after.first.map_or(Ok(()), |position| Err(still_there(path, position)))
    }

    /// Looks through a file; `None` where it is gone by now.
    fn search(&self, turn: &CleaningTurn, path: &Path) -> Result<Option<Found>> {
        let file = turn.file(path);
        let bytes = match file.len() {
            Err(error) if error.says_no_such_file() => return Ok(None),
            len => len?,
        };
        let mut found = Found { bytes, ..Found::default() };
        each_batch(turn, &file, bytes, |batch, position| {
            let records = count_in(batch, &self.key).map_err(|error| error.in_file(path, position))?;
            found.records += records;
            if records > 0 {
                found.first.get_or_insert(position);
            }
            Ok(())
        })?;
        Ok(Some(found))
    }

    /// Writes a file without the key, flushed, and returns its length.
    fn write_stray(&self, turn: &CleaningTurn, path: &Path, new: &Path) -> Result<u64> {
        let file = turn.file(path);
        let target = turn.env().open(new, Open::CreateNew).map_err(|e| Error::io("create", new, e))?;
        let mut written = 0;
        each_batch(turn, &file, file.len()?, |batch, position| {
            let left = match without(batch, &self.key, (path, position))? {
                Left::All => batch.bytes().clone(),
                Left::Fewer(left, _) => left.bytes().clone(),
                Left::Nothing(_) => return Ok(()),
            };
            write_all_at(&*target, &left, written).map_err(|e| Error::io("write", new, e))?;
            written += left.len() as u64;
            Ok(())
        })?;
        target.sync_data().map_err(|e| Error::io("flush", new, e))?;
        Ok(written)
    }
}

/// What was found in a file.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// Its length.
    bytes: u64,
    /// How many records have the key, and where the first batch with one lies.
    records: u64,
    first: Option<u64>,
}

/// Visits the batches of a file, which are all that is in it.
fn each_batch(
    turn: &CleaningTurn,
    file: &PooledFile,
    len: u64,
    mut visit: impl FnMut(&RecordBatch, u64) -> Result<()>,
) -> Result<()> {
    let mut scanner = Scanner::new(file, len, 0, Offset::ZERO, true).of_epoch(None);
    let mut pace = Pace::of(turn);
    loop {
        let reason = match scanner.next()? {
            ScanItem::Batch(batch, position) => {
                visit(&batch, position)?;
                pace.at(position)?;
                continue;
            }
            ScanItem::End if only_zeros(file, scanner.position(), len)? => return Ok(()),
            ScanItem::End => "bytes follow the last batch".to_string(),
            ScanItem::Bad(reason) => reason,
            ScanItem::Unsupported(error) => error.to_string(),
        };
        let reason = format!(
            "{reason}. The file belongs to no log and cannot be read to its end: look at it, remove it, and purge again"
        );
        return Err(Error::NotPurged {
            path: file.path().to_path_buf(),
            position: scanner.position(),
            reason,
        });
    }
}

/// Files with batches in directories that were in the way of the topic.
fn in_stray_dirs(turn: &CleaningTurn) -> Result<Vec<PathBuf>> {
    let env = &**turn.env();
    let Some(dir) = turn.dir().parent() else { return Ok(Vec::new()) };
    let topic = &*turn.log().identity.name.topic;
    let is_of_topic = |name: &str| {
        let own = name.rsplit_once('.').and_then(|(own, _)| parse_dir_name(own));
        is_stray_dir(name) && own.is_some_and(|(of, _)| of == topic)
    };
    let strays = entries_of(env, dir)?.into_iter().filter(|entry| entry.is_dir() && is_of_topic(&entry.name));
    let mut files = Vec::new();
    for stray in strays.map(|entry| dir.join(entry.name)) {
        let inside = entries_of(env, &stray)?.into_iter();
        let inside = inside.filter(|entry| entry.is_file() && may_have_batches(&entry.name));
        files.extend(inside.map(|entry| stray.join(entry.name)));
    }
    Ok(files)
}
