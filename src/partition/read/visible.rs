//! The door to the contents of a log: the batches that a reader may see, decoded.
//!
//! [`VisibleBatches`] is a place in a log and an isolation. Iterators, consumers, tables and look-ups by time read
//! through it; walks towards the beginning take the same decision from [`Hidden`] and [`decode`](decode::decode). None of
//! them looks at a header to decide who may see a batch.
//!
//! * **What is seen.** Readers stop at the bound of their isolation (`Offsets::bound`): the high watermark, or the last
//!   stable offset. Below it they see every batch with records in the order of offsets, except control batches and, for
//!   read-committed readers, those of aborted transactions. Each comes once.
//! * **From where.** A batch that begins before the reader's position is given whole; [`VisibleBatch::from`] says which of
//!   its records count.
//! * **Position.** It moves past a batch when the batch is given, or passed over as hidden, and never because of an
//!   error.
//! * **At the end** the answer is `None`, and the next call looks again. It takes no lock and waits for nobody.
//! * **After an error** the reader stands where it stood: the next call meets the same error, unless it was moved by
//!   [`seek`](VisibleBatches::seek). The error of a batch that cannot be read, whether its bytes are not what was
//!   written or its content is malformed, names the file, the position in it and the offset where reading continues,
//!   and the log's health reports it. `OffsetOutOfRange` says that the position is not in the log, or not any more.
//! * **Cost.** A batch of records that are not compressed is a slice of its segment: nothing is copied. Steps are small at
//!   first and double, unless the caller chose one.
//!
//! A place belongs to one thread at a time; any number of them read one log, beside its writer.

use crate::{
    codec::{
        DecodeError,
        batch::{BatchHeader, RecordBatch},
        record::ValidRecords,
    },
    error::{Error, Result},
    partition::{
        log::Log,
        read::{
            decode,
            hidden::Hidden,
            reader::{LogReader, Step},
        },
    },
    types::{IsolationLevel, Offset},
};
use std::{collections::VecDeque, sync::Arc};

/// A batch that a reader may see.
#[derive(Clone, Debug)]
pub struct VisibleBatch {
    /// Its header.
    pub header: BatchHeader,
    /// Its records, checked.
    pub records: ValidRecords,
    /// Records below this offset were given before, or not asked for.
    pub from: Offset,
    /// Where it begins in its file, in bytes.
    pub position: u64,
}

/// A place in a log, from which the batches that a reader may see are taken one after the other.
#[derive(Clone, Debug)]
pub struct VisibleBatches {
    reader: LogReader,
    step: Step,
    /// Whether batches are hidden from this reader at all.
    hides: bool,
    /// Everything below was given, or is hidden.
    position: Offset,
    /// The batches of the last fetch that were not reached yet, and which of them are hidden.
    fetched: VecDeque<RecordBatch>,
    hidden: Hidden,
    /// Where the next of them begins in its file.
    at: u64,
}

impl VisibleBatches {
    /// The batches from offset `from` on. The first call finds out whether that can be read.
    pub fn new(log: Arc<Log>, isolation: IsolationLevel, from: Offset) -> Self {
        VisibleBatches {
            reader: LogReader::new(log, isolation, from),
            step: Step::default(),
            hides: true,
            position: from,
            fetched: VecDeque::new(),
            hidden: Hidden::default(),
            at: 0,
        }
    }

    /// Hides nothing below the bound: for callers that ask about batches, as look-ups by time do in Kafka.
    #[must_use]
    pub fn with_hidden_ones(self) -> Self {
        VisibleBatches { hides: false, ..self }
    }

    /// Asks for this many bytes with each fetch.
    #[must_use]
    pub fn in_steps_of(self, bytes: u64) -> Self {
        VisibleBatches { step: Step::always(bytes), ..self }
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        self.reader.log()
    }

    /// The next offset: everything below was given, or is hidden.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Whether the next call has to fetch.
    pub fn holds_none(&self) -> bool {
        self.fetched.is_empty()
    }

    /// Moves to `offset`.
    pub fn seek(&mut self, offset: Offset) {
        self.reader.seek(offset);
        self.step = self.step.again();
        self.position = offset;
        unless_planted!(a_seek_keeps_what_was_fetched => self.fetched.clear());
    }

    /// The header of the next batch, which stays the next one.
    pub fn peek(&mut self) -> Result<Option<&BatchHeader>> {
        loop {
            let Some(batch) = self.fetched.front() else {
                if !self.fetch()? {
                    return Ok(None);
                }
                continue;
            };
            if !self.hides || !self.hidden.hides(batch.header()) {
                break;
            }
            self.pass();
        }
        Ok(self.fetched.front().map(RecordBatch::header))
    }

    /// Goes past the next batch.
    pub fn pass(&mut self) {
        if let Some(batch) = self.fetched.pop_front() {
            self.position = self.position.max(batch.header().next_offset());
            self.at += batch.header().size();
        }
    }

    /// The next batch; `None` at the end.
    #[inline(always)]
    pub fn next(&mut self) -> Result<Option<VisibleBatch>> {
        self.peek()?;
        let Some(batch) = self.fetched.front() else { return Ok(None) };
        let header = *batch.header();
        let records = decode::decode(self.log(), batch, || self.reader.path(), self.at)?;
        let visible = VisibleBatch { header, records, from: self.position, position: self.at };
        self.pass();
        Ok(Some(visible))
    }

    /// The error about the content of a batch that this reader has just given. The positions of `error` count from the
    /// first byte of the batch.
    #[cold]
    pub fn unreadable(&self, batch: &VisibleBatch, error: DecodeError) -> Error {
        decode::unreadable(self.log(), &batch.header, error, self.reader.path(), batch.position)
    }

    #[inline]
    fn fetch(&mut self) -> Result<bool> {
        self.reader.reuse(std::mem::take(&mut self.fetched));
        let fetched = self.reader.fetch(self.step.take())?;
        self.fetched = fetched.batches;
        self.hidden = Hidden::new(fetched.aborted);
        self.at = fetched.position;
        if self.fetched.is_empty() {
            // A cleaner may have left nothing up to there.
            self.position = self.position.max(fetched.next_offset);
        }
        Ok(!self.fetched.is_empty())
    }

    /// The bytes of the batches that are held.
    #[cfg(test)]
    pub fn held(&self) -> u64 {
        self.fetched.iter().map(|batch| batch.header().size()).sum()
    }
}
