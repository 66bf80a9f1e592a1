//! Floor: length, record, one CRC-32C a batch, written positionally; read back through one buffer.

use super::{
    direct::Direct,
    file::{Grown, path},
};
use crate::{
    records::Records,
    subject::{Appending, Mark, Place, Result, Scanning, Seen, Sending, Subject},
};
use std::{any::Any, fs::File, ops::Range, os::unix::fs::FileExt, path::PathBuf};

pub const SUBJECT: Subject = Subject {
    name: "raw writes + checksum",
    marks: &[Mark::Floor],
    append: Some(|place| Ok(Box::new(Checked::open(place)?))),
    send: Some(|place| Ok(Box::new(Checked::open(place)?))),
    scan: Some(|place| Ok(Box::new(Read(path(place.dir))))),
    open: Some(|place| {
        recover(place, |file| {
            let file = file.try_clone()?;
            Ok(Box::new(move |buffer, position| file.read_at(buffer, position)))
        })
    }),
    open_past_cache: Some(|place| {
        recover(place, |_| {
            let mut file = Direct::open(&path(place.dir))?;
            Ok(Box::new(move |buffer, position| file.read_at(buffer, position)))
        })
    }),
    ..Subject::NONE
};

/// A batch: its length, its checksum, and then length and bytes of each record.
const HEAD: usize = 8;

struct Checked {
    file: Grown,
    batch: Vec<u8>,
    dir: PathBuf,
}

impl Checked {
    fn open(place: &Place) -> Result<Self> {
        Ok(Checked { file: Grown::open(place)?, batch: Vec::new(), dir: place.dir.to_path_buf() })
    }

    #[inline]
    fn write<'a>(&mut self, records: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        self.batch.clear();
        self.batch.extend_from_slice(&[0; HEAD]);
        for record in records {
            self.batch.extend_from_slice(&(record.len() as u32).to_le_bytes());
            self.batch.extend_from_slice(record);
        }
        let crc = crc_fast::crc32_iscsi(&self.batch[HEAD..]);
        let length = (self.batch.len() - HEAD) as u32;
        self.batch[..4].copy_from_slice(&length.to_le_bytes());
        self.batch[4..HEAD].copy_from_slice(&crc.to_le_bytes());
        self.file.append(&self.batch)
    }
}

impl Appending for Checked {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        records.range(numbers).try_for_each(|record| self.write(std::iter::once(record)))
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()> {
        let end = numbers.end;
        numbers.step_by(batch).try_for_each(|at| self.write(records.range(at..end.min(at + batch))))
    }

    fn flush(&mut self) -> Result<()> {
        self.file.file.sync_data()?;
        Ok(std::fs::write(self.dir.join("flushed"), self.file.end.to_le_bytes())?)
    }
}

impl Sending for Checked {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.write(std::iter::once(record))
    }
}

struct Read(PathBuf);

impl Scanning for Read {
    fn scan(&mut self, _: u64) -> Result<Seen> {
        let mut seen = Seen::default();
        let file = File::open(&self.0)?;
        scan(&mut |buffer, position| file.read_at(buffer, position), 0, |record| seen.see(record))?;
        Ok(seen)
    }
}

/// Fills a buffer from a position of a file, as far as there is something.
type ReadAt = Box<dyn FnMut(&mut [u8], u64) -> std::io::Result<usize>>;

/// What recovering by hand takes: flush, read and verify what was not flushed before.
fn recover(place: &Place, reader: impl FnOnce(&File) -> Result<ReadAt>) -> Result<Box<dyn Any>> {
    let log = Checked::open(place)?;
    log.file.file.sync_data()?;
    let flushed = std::fs::read(place.dir.join("flushed")).ok();
    let from = flushed.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?))).unwrap_or(0);
    scan(&mut *reader(&log.file.file)?, from, |_| {})?;
    Ok(Box::new(log))
}

fn scan(
    read_at: &mut dyn FnMut(&mut [u8], u64) -> std::io::Result<usize>,
    mut position: u64,
    mut see: impl FnMut(&[u8]),
) -> Result<()> {
    let mut buffer = vec![0; 4 << 20];
    let mut filled = 0;
    loop {
        let read = read_at(&mut buffer[filled..], position)?;
        position += read as u64;
        filled += read;
        let mut rest = &buffer[..filled];
        while let Some((head, body)) = rest.split_first_chunk::<HEAD>() {
            let [a, b, c, d, crc @ ..] = *head;
            let length = u32::from_le_bytes([a, b, c, d]) as usize;
            let Some((mut batch, after)) = body.split_at_checked(length) else { break };
            if crc_fast::crc32_iscsi(batch) != u32::from_le_bytes(crc) {
                return Err("a checksum does not fit".into());
            }
            while let Some((length, tail)) = batch.split_first_chunk::<4>() {
                let (record, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
                see(record);
                batch = tail;
            }
            rest = after;
        }
        let left = rest.len();
        if read == 0 {
            return if left == 0 { Ok(()) } else { Err("the file ends within a batch".into()) };
        }
        buffer.copy_within(filled - left..filled, 0);
        filled = left;
    }
}
