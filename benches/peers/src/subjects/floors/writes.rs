//! Floor: the plain bytes of the records, written positionally. No format, no checksum.

use super::{
    file::{Grown, path},
    followed::Followed,
};
use crate::{
    records::{Records, touch},
    subject::{Appending, Flushing, Mark, Result, Scanning, Seen, Sending, Spreading, Subject},
};
use memmap2::Mmap;
use std::{fs::File, ops::Range, path::PathBuf, sync::Mutex};

pub const SUBJECT: Subject = Subject {
    name: "raw writes",
    marks: &[Mark::Floor, Mark::NoChecksum],
    append: Some(|place| Ok(Box::new(Raw { file: Grown::open(place)?, buffer: Vec::new() }))),
    send: Some(|place| Ok(Box::new(Raw { file: Grown::open(place)?, buffer: Vec::new() }))),
    flush: Some(|place| {
        let file = Grown::open(place)?.with_blocks_written(16 << 20)?;
        Ok(Box::new(Mutex::new(Raw { file, buffer: Vec::new() })))
    }),
    spread: Some(|place| Ok(Box::new(Spread { dir: place.dir.to_path_buf(), files: Vec::new() }))),
    scan: Some(|place| Ok(Box::new(Mapped(path(place.dir))))),
    hop: Some(|place| Ok(Box::new(Followed::at(path(place.dir))))),
    ..Subject::NONE
};

struct Raw {
    file: Grown,
    buffer: Vec<u8>,
}

/// So many bytes go out at once.
const CHUNK: usize = 64 << 10;

impl Appending for Raw {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        records.range(numbers).try_for_each(|record| self.file.append(record))
    }

    /// The same bytes, 64 KiB a write, out of a buffer that was filled before.
    fn batched(&mut self, records: &Records, numbers: Range<usize>, _: usize) -> Result<()> {
        self.buffer.resize(CHUNK, 7);
        let mut left = numbers.len() * records.len();
        while left > 0 {
            let part = left.min(CHUNK);
            self.file.append(&self.buffer[..part])?;
            left -= part;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.file.file.sync_data()?)
    }
}

impl Sending for Raw {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.file.append(record)
    }
}

impl Flushing for Mutex<Raw> {
    fn send_flushed(&self, record: &[u8]) -> Result<()> {
        let mut raw = self.lock().map_err(|e| e.to_string())?;
        raw.file.append(record)?;
        Ok(raw.file.file.sync_data()?)
    }
}

/// Several files, flushed by one thread each.
struct Spread {
    dir: PathBuf,
    files: Vec<Grown>,
}

impl Spreading for Spread {
    fn spread(&mut self, record: &[u8], partitions: usize) -> Result<()> {
        while self.files.len() < partitions {
            let path = self.dir.join(self.files.len().to_string());
            self.files.push(Grown::at(&path)?.with_blocks_written(4 << 20)?);
        }
        for file in &mut self.files[..partitions] {
            file.append(record)?;
        }
        if let [only] = &self.files[..partitions] {
            return Ok(only.file.sync_data()?);
        }
        std::thread::scope(|scope| {
            let flushes: Vec<_> =
                self.files[..partitions].iter().map(|file| scope.spawn(|| file.file.sync_data())).collect();
            flushes.into_iter().try_for_each(|flush| Ok(flush.join().map_err(|_| "a flush panicked")??))
        })
    }
}

/// A plain pass over a mapping.
struct Mapped(PathBuf);

impl Scanning for Mapped {
    #[allow(unsafe_code, reason = "the file is this process's own, and nobody truncates it")]
    fn scan(&mut self, _: u64) -> Result<Seen> {
        let file = File::open(&self.0)?;
        // SAFETY: nothing changes the file while it is mapped.
        let map = unsafe { Mmap::map(&file)? };
        let mut seen = Seen::default();
        for chunk in map.chunks(CHUNK) {
            seen.sum = seen.sum.wrapping_add(touch(chunk));
        }
        Ok(seen)
    }
}
