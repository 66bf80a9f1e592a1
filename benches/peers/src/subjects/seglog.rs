//! seglog: one preallocated file, CRC-32C each record, a buffer in the process until it commits.
//!
//! Its unit is a file of fixed size; rolling to the next is its user's, done here as its documentation shows.

use crate::{
    records::Records,
    subject::{Appending, Flushing, Mark, Place, Result, Scanning, Seen, Sending, Subject},
};
use seglog::{
    read::Reader,
    write::{WriteError, Writer},
};
use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Mutex,
};

pub const SUBJECT: Subject = Subject {
    name: "seglog",
    marks: &[Mark::Buffers, Mark::FlushesAtRoll],
    append: Some(|place| Ok(Box::new(Rolling::open(place)?))),
    send: Some(|place| Ok(Box::new(Rolling::open(place)?))),
    flush: Some(|place| Ok(Box::new(Mutex::new(Rolling::open(place)?)))),
    scan: Some(|place| Ok(Box::new(Files(place.dir.to_path_buf())))),
    open: Some(|place| Ok(Box::new(Rolling::open(place)?))),
    ..Subject::NONE
};

/// A row of segments, the last of which is written.
struct Rolling {
    dir: PathBuf,
    segment: usize,
    writer: Writer<0>,
    files: usize,
    sealed: u64,
}

impl Rolling {
    fn open(place: &Place) -> Result<Self> {
        let dir = place.dir.to_path_buf();
        let segment = place.segment.min(place.room + place.room / 4 + 4096) as usize;
        let files = files(&dir)?;
        let writer = match files.last() {
            Some(last) => Writer::open(last, segment, 0)?,
            None => Writer::create(path(&dir, 0), segment, 0)?,
        };
        Ok(Rolling { dir, segment, writer, files: files.len().max(1), sealed: 0 })
    }

    #[inline]
    fn append(&mut self, record: &[u8]) -> Result<()> {
        match self.writer.append(&[], record) {
            Ok(_) => Ok(()),
            Err(WriteError::SegmentFull { .. }) => {
                self.roll()?;
                self.writer.append(&[], record)?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    #[cold]
    fn roll(&mut self) -> Result<()> {
        self.commit()?;
        self.sealed += self.writer.write_offset();
        self.writer = Writer::create(path(&self.dir, self.files), self.segment, 0)?;
        self.files += 1;
        Ok(())
    }

    /// Since version 0.3 a record counts from its commit on; what follows the last one is rolled back at opening.
    fn commit(&mut self) -> Result<()> {
        match self.writer.commit(0) {
            Ok(_) | Err(WriteError::SegmentFull { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Appending for Rolling {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        for record in records.range(numbers) {
            self.append(record)?;
        }
        Ok(self.writer.flush_writer()?)
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()> {
        for start in numbers.clone().step_by(batch) {
            for record in records.range(start..numbers.end.min(start + batch)) {
                self.append(record)?;
            }
            self.writer.flush_writer()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.commit()
    }

    fn bytes_used(&self) -> Option<u64> {
        Some(self.sealed + self.writer.write_offset())
    }
}

impl Sending for Rolling {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.append(record)?;
        Ok(self.writer.flush_writer()?)
    }

    fn files(&self) -> Option<usize> {
        Some(self.files)
    }
}

impl Flushing for Mutex<Rolling> {
    fn send_flushed(&self, record: &[u8]) -> Result<()> {
        let mut log = self.lock().map_err(|e| e.to_string())?;
        log.append(record)?;
        log.commit()
    }
}

/// The files of a directory, to be read.
struct Files(PathBuf);

impl Scanning for Files {
    fn scan(&mut self, most: u64) -> Result<Seen> {
        let mut seen = Seen::default();
        for file in files(&self.0)? {
            let mut reader = Reader::<0>::open_read_only(file, None)?;
            let mut iter = reader.iter(0);
            while let Some(record) = iter.next_record()? {
                seen.see(&record.data);
                if seen.records == most {
                    return Ok(seen);
                }
            }
        }
        Ok(seen)
    }
}

fn path(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("{number:08}.seg"))
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}
