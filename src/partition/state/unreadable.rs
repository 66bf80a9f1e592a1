//! Whole batches that cannot be read, remembered: each is decompressed once, and not by every reader that comes to it.
//!
//! A batch of a few kilobytes can take a second to be found unreadable, and a reader that stands before it tries again
//! and again. What is remembered is its header and the error; a batch for which there was not enough memory is tried
//! again once there is.

use crate::{
    codec::{DecodeError, batch::BatchHeader},
    env::sync::{AtomicBool, Mutex, Ordering},
    error::memory::has_memory_for,
    types::Compression,
};
use std::collections::VecDeque;

/// How many are remembered.
const KEPT: usize = 64;

/// The compressed batches of one log that were found to be unreadable, the last [`KEPT`] of them.
#[derive(Debug, Default)]
pub(in crate::partition) struct Unreadable {
    /// Spares readers of sound logs the lock.
    any: AtomicBool,
    found: Mutex<VecDeque<(BatchHeader, DecodeError)>>,
}

impl Unreadable {
    /// Why the batch with `header` cannot be read, where that is known.
    #[inline]
    pub(in crate::partition) fn why(&self, header: &BatchHeader) -> Option<DecodeError> {
        let may_be_known = header.compression() != Compression::None && self.any.load(Ordering::Acquire);
        if !may_be_known {
            return None;
        }
        planted!(try_what_cannot_be_read_again => return None);
        self.look_up(header)
    }

    #[cold]
    fn look_up(&self, header: &BatchHeader) -> Option<DecodeError> {
        let known = self.found.lock().iter().find(|(known, _)| known == header).cloned()?;
        // Asked without the lock, which all readers take.
        if let (_, DecodeError::OutOfMemory(bytes)) = known
            && has_memory_for(bytes)
        {
            self.found.lock().retain(|other| *other != known);
            return None;
        }
        Some(known.1)
    }

    /// Remembers an unreadable batch, unless its error costs little to find again.
    #[cold]
    pub(in crate::partition) fn note(&self, header: &BatchHeader, error: &DecodeError) {
        if header.compression() == Compression::None || matches!(error, DecodeError::CodecUnavailable(_)) {
            return;
        }
        let mut found = self.found.lock();
        found.truncate(KEPT - 1);
        found.push_front((*header, error.clone()));
        self.any.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Offset, ProducerRecord, Streamlog, Timestamp, TopicConfig,
        codec::{
            batch::{CRC_START, HEADER_LEN},
            compress::is_available,
            crc::crc32c,
        },
        partition::{read::decode::DECODED, state::unreadable::*},
        planted,
    };
    use std::{
        fs,
        path::Path,
        sync::{Arc, mpsc},
        time::Duration,
    };

    /// Three batches, the second of which is no longer valid gzip, though its checksum is right.
    fn write(dir: &Path) {
        let log = Streamlog::open(dir).unwrap();
        log.create_topic("t", TopicConfig::default()).unwrap();
        let producer = log.producer_builder().compression(Compression::Gzip).build().unwrap();
        (0..3).for_each(|_| drop(producer.send(ProducerRecord::new("t", &[7; 1000])).unwrap()));
        drop(producer);
        log.close().unwrap();
        let path = dir.join("t-0/00000000000000000000.log");
        let mut bytes = fs::read(&path).unwrap();
        let size = bytes.len() / 3;
        let batch = &mut bytes[size..2 * size];
        assert_eq!(BatchHeader::parse(batch).unwrap().base_offset, 1);
        batch[HEADER_LEN] ^= 1;
        let crc = crc32c(&batch[CRC_START..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_batch_that_does_not_decompress_is_tried_once_by_all_readers_together() {
        if !is_available(Compression::Gzip) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        let log = Streamlog::open(dir.path()).unwrap();
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let tried = || DECODED.replace(0);
        tried();
        let mut consumer = log.consumer("g").unwrap();
        consumer.subscribe(["t"]).unwrap();
        let mut poll = || consumer.poll(Duration::ZERO);
        assert_eq!(poll().unwrap().len(), 1);
        let error = poll().unwrap_err();
        assert_eq!(error.next_offset(), Some(Offset::new(2)), "{error}");
        assert_eq!(tried(), 2);
        for _ in 0..5 {
            assert_eq!(poll().unwrap_err().to_string(), error.to_string());
            assert_eq!(partition.read(1).next().unwrap().unwrap_err().to_string(), error.to_string());
        }
        let again = || {
            assert!(partition.read(1).next().unwrap().is_err());
            assert_eq!(tried(), 0, "once is enough");
        };
        planted::hold(again, &["try_what_cannot_be_read_again"]);
        assert_eq!(partition.read(2).map(|batch| batch.unwrap().iter().count()).sum::<usize>(), 1);
    }

    #[test]
    fn what_there_was_no_memory_for_is_tried_again_once_there_is() {
        let header = header(0);
        let known = Unreadable::default();
        known.note(&header, &DecodeError::OutOfMemory(usize::MAX));
        assert_eq!(known.why(&header), Some(DecodeError::OutOfMemory(usize::MAX)));
        known.note(&header, &DecodeError::OutOfMemory(1));
        assert_eq!(known.why(&header), None);
    }

    /// That of a snappy batch of one record.
    fn header(offset: u64) -> BatchHeader {
        BatchHeader {
            crc: 0,
            base_offset: Offset::new(offset),
            batch_length: 49,
            leader_epoch: 0,
            attributes: 2,
            last_offset_delta: 0,
            base_timestamp: 0,
            max_timestamp: Timestamp::NONE,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 1,
        }
    }

    #[test]
    fn a_reader_of_batches_without_compression_never_waits() {
        let known = Arc::new(Unreadable::default());
        known.note(&header(0), &DecodeError::malformed(0u64, "bad"));
        let held = known.found.lock();
        let (tell, told) = mpsc::channel();
        let reader = Arc::clone(&known);
        let reader = std::thread::spawn(move || {
            let _ = tell.send(reader.why(&BatchHeader { attributes: 0, ..header(0) }));
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(None));
        drop(held);
        reader.join().unwrap();
    }

    #[test]
    fn few_are_remembered() {
        let known = Unreadable::default();
        (0..1000).for_each(|i| known.note(&header(i), &DecodeError::malformed(0u64, "bad")));
        assert!(known.why(&header(999)).is_some() && known.why(&header(0)).is_none());
        assert_eq!(known.found.lock().len(), KEPT);
    }
}
