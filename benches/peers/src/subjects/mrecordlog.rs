//! mrecordlog: Quickwit's log of many queues in one row of files. All records stay in memory, and reads come from there.
//!
//! What it calls a sync empties its buffer into the file and does not flush the file, so it is not asked to.

use super::runtime::block_on;
use crate::{
    records::Records,
    subject::{Appending, Mark, Place, Result, Scanning, Seen, Sending, Subject},
};
use mrecordlog::{MultiRecordLog, SyncPolicy};
use std::ops::Range;

pub const SUBJECT: Subject = Subject {
    name: "mrecordlog",
    marks: &[Mark::AllInMemory, Mark::UnflushedAcknowledged],
    append: Some(|place| Ok(Box::new(open(place)?))),
    send: Some(|place| Ok(Box::new(open(place)?))),
    scan: Some(|place| Ok(Box::new(open(place)?))),
    open: Some(|place| Ok(Box::new(open(place)?))),
    idle: Some(|place, count| {
        let mut log = block_on(MultiRecordLog::open(place.dir))?;
        for number in 0..count {
            block_on(log.create_queue(&number.to_string()))?;
        }
        Ok(())
    }),
    open_idle: Some(|place| Ok(Box::new(block_on(MultiRecordLog::open(place.dir))?))),
    ..Subject::NONE
};

const QUEUE: &str = "q";

fn open(place: &Place) -> Result<MultiRecordLog> {
    let mut log = block_on(MultiRecordLog::open_with_prefs(place.dir, SyncPolicy::OnAppend))?;
    if !log.queue_exists(QUEUE) {
        block_on(log.create_queue(QUEUE))?;
    }
    Ok(log)
}

impl Appending for MultiRecordLog {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        block_on(async {
            for record in records.range(numbers) {
                self.append_record(QUEUE, None, record).await?;
            }
            Ok(())
        })
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()> {
        block_on(async {
            for start in numbers.clone().step_by(batch) {
                let values = records.range(start..numbers.end.min(start + batch));
                self.append_records(QUEUE, None, values).await?;
            }
            Ok(())
        })
    }

    fn flush(&mut self) -> Result<()> {
        Ok(block_on(self.sync())?)
    }
}

impl Sending for MultiRecordLog {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        block_on(self.append_record(QUEUE, None, record))?;
        Ok(())
    }
}

impl Scanning for MultiRecordLog {
    fn scan(&mut self, most: u64) -> Result<Seen> {
        let mut seen = Seen::default();
        let records = self.range(QUEUE, ..).map_err(|_| "its queue is gone")?;
        records.take(most as usize).for_each(|(_, record)| seen.see(&record));
        Ok(seen)
    }
}
