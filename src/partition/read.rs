//! Reading: whole record batches, without a copy and without waiting for the writer.
//!
//! A [`LogReader`] stands at an offset. Each fetch takes the segments as they are, finds its place (it remembers where the
//! last fetch ended), asks for a stretch of published bytes at once and hands out its batches as slices of it. Every
//! batch is checked before it is handed out: its shape, its place in the order, its checksum.

use super::log::{Log, floor};
use crate::{
    codec::{
        batch::{BatchHeader, HEADER_LEN, RecordBatch},
        index::AbortedTransaction,
    },
    error::{Error, Result},
    storage::segment::Segment,
    types::{IsolationLevel, Offset},
};
use bytes::Bytes;
use std::{collections::VecDeque, sync::Arc};

/// Batches out of one fetch.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The batches, in order. The first may begin before the offset that was asked for.
    pub batches: VecDeque<RecordBatch>,
    /// The transactions aborted in this stretch, for read-committed readers.
    pub aborted: Vec<AbortedTransaction>,
    /// The offset behind the last batch.
    pub next_offset: Offset,
    /// The bytes of the batches.
    pub bytes: u64,
}

/// A place in a log.
#[derive(Debug)]
pub struct LogReader {
    log: Arc<Log>,
    isolation: IsolationLevel,
    next_offset: Offset,
    /// Where `next_offset` lies, as the last fetch left it.
    place: Option<(Arc<Segment>, u64)>,
}

impl LogReader {
    /// A reader that begins at `offset`. Whether that can be read is found out by the first fetch.
    pub fn new(log: Arc<Log>, isolation: IsolationLevel, offset: Offset) -> Self {
        LogReader { log, isolation, next_offset: offset, place: None }
    }

    /// The offset that the next fetch begins with.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Goes elsewhere.
    pub fn seek(&mut self, offset: Offset) {
        self.next_offset = offset;
        self.place = None;
    }

    /// About `max_bytes` of whole batches from the reader's place on, at least one where there is one; nothing at the
    /// end. The reader then stands behind them.
    ///
    /// # Errors
    ///
    /// `OffsetOutOfRange` when the place is not in the log (any more), `Corrupt` when the bytes there are not what was
    /// written; the reader stays where it is.
    pub fn fetch(&mut self, max_bytes: u64) -> Result<Fetched> {
        self.log.shared.check_open()?;
        let offsets = self.log.offsets();
        let bound = offsets.bound(self.isolation);
        let log_start = offsets.log_start();
        if self.next_offset < log_start || self.next_offset > offsets.log_end() {
            return Err(Error::OffsetOutOfRange {
                partition: self.log.identity.name.clone(),
                requested: self.next_offset,
                earliest: log_start,
                latest: bound,
            });
        }
        if self.next_offset >= bound {
            return Ok(Fetched { next_offset: self.next_offset, ..Fetched::default() });
        }
        let from = self.next_offset;
        let mut fetched = self.fetch_below(bound, max_bytes)?;
        if self.isolation == IsolationLevel::ReadCommitted && !fetched.batches.is_empty() {
            fetched.aborted = self.log.aborted_between(from, fetched.next_offset)?;
        }
        Ok(fetched)
    }

    fn fetch_below(&mut self, bound: Offset, max_bytes: u64) -> Result<Fetched> {
        let segments = self.log.segments.snapshot();
        let mut at = match self.remembered(&segments) {
            Some(at) => at,
            None => match self.find(&segments)? {
                Some(at) => at,
                None => return Ok(Fetched { next_offset: self.next_offset, ..Fetched::default() }),
            },
        };
        loop {
            let Some(segment) = segments.get(at.0) else {
                return Ok(Fetched { next_offset: self.next_offset, ..Fetched::default() });
            };
            if at.1 < segment.readable() {
                let fetched = self.read_from(segment, at.1, bound, max_bytes)?;
                return Ok(fetched);
            }
            at = (at.0 + 1, 0);
        }
    }

    /// Where the last fetch ended, if that segment is still part of the log.
    fn remembered(&self, segments: &[Arc<Segment>]) -> Option<(usize, u64)> {
        let (segment, position) = self.place.as_ref()?;
        let i = floor(segments, segment.base())?;
        segments.get(i).filter(|s| Arc::ptr_eq(s, segment)).map(|_| (i, *position))
    }

    fn find(&self, segments: &[Arc<Segment>]) -> Result<Option<(usize, u64)>> {
        let Some(mut i) = floor(segments, self.next_offset) else {
            return Ok((!segments.is_empty()).then_some((0, 0)));
        };
        while let Some(segment) = segments.get(i) {
            if let Some(located) = segment.locate(self.next_offset)? {
                return Ok(Some((i, located.position)));
            }
            i += 1;
        }
        Ok(None)
    }

    fn read_from(
        &mut self,
        segment: &Arc<Segment>,
        position: u64,
        bound: Offset,
        max_bytes: u64,
    ) -> Result<Fetched> {
        segment.check_hole(position)?;
        let readable = segment.readable();
        let end = readable.min(position.saturating_add(max_bytes.max(HEADER_LEN as u64)));
        let mut stretch = segment.bytes(position..end)?;
        let mut fetched = Fetched { next_offset: self.next_offset, ..Fetched::default() };
        let mut at = 0;
        while let Some(head) = stretch.get(at..).filter(|rest| rest.len() >= HEADER_LEN) {
            let place = position + at as u64;
            if segment.check_hole(place).is_err() {
                // The first place was checked above: this one is for the next fetch to report.
                break;
            }
            let header = match BatchHeader::parse(head) {
                Ok(header) => header,
                Err(_) if !fetched.batches.is_empty() => break,
                Err(error) => return Err(error.in_file(segment.data().path(), place)),
            };
            if header.base_offset >= bound {
                break;
            }
            let size = usize::try_from(header.size()).unwrap_or(usize::MAX);
            if at.saturating_add(size) > stretch.len() {
                if !fetched.batches.is_empty() {
                    break;
                }
                // The first batch is larger than what was asked for: it comes alone.
                stretch = self.whole(segment, place, header.size(), readable)?;
                at = 0;
            }
            let Some(batch) = self.checked(segment, header, stretch.slice(at..at + size), place, &fetched)?
            else {
                break;
            };
            at += size;
            fetched.next_offset = header.next_offset();
            fetched.bytes += header.size();
            fetched.batches.push_back(batch);
        }
        self.next_offset = fetched.next_offset;
        self.place = Some((Arc::clone(segment), position + fetched.bytes));
        Ok(fetched)
    }

    fn whole(&self, segment: &Segment, place: u64, size: u64, readable: u64) -> Result<Bytes> {
        if place + size > readable {
            let reason = format!("a batch of {size} bytes where {} are left", readable - place);
            return Err(Error::corrupt(segment.data().path(), place, reason));
        }
        segment.bytes(place..place + size)
    }

    /// The batch, checked; `None` ends a fetch that has batches before the bad one, which the next fetch will report.
    fn checked(
        &self,
        segment: &Segment,
        header: BatchHeader,
        bytes: Bytes,
        place: u64,
        fetched: &Fetched,
    ) -> Result<Option<RecordBatch>> {
        let batch = RecordBatch::with_header(header, bytes);
        let in_place = header.last_offset() >= fetched.next_offset
            && header.base_offset >= segment.base()
            && (fetched.batches.is_empty() || header.base_offset >= fetched.next_offset);
        let problem = if in_place {
            batch.verify_crc().err().map(|e| e.in_file(segment.data().path(), place))
        } else {
            let reason =
                format!("a batch at offset {} behind offset {}", header.base_offset, fetched.next_offset);
            Some(Error::corrupt(segment.data().path(), place, reason))
        };
        match problem {
            None => Ok(Some(batch)),
            Some(_) if !fetched.batches.is_empty() => Ok(None),
            Some(error) => Err(error),
        }
    }
}

impl Log {
    /// The aborted transactions that a read-committed reader of `from..to` must know (KIP-98, `collectAbortedTxns`).
    pub fn aborted_between(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>> {
        let segments = self.segments.snapshot();
        let mut found = Vec::new();
        for segment in segments.iter().skip(floor(&segments, from).unwrap_or(0)) {
            for transaction in segment.aborted()?.iter() {
                if transaction.last_offset >= from && transaction.first_offset < to {
                    found.push(*transaction);
                }
                if transaction.last_stable_offset >= to {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}
