//! SQLite in WAL mode through rusqlite: the offset is the row's number, a transaction a batch.

use crate::{
    records::Records,
    subject::{Appending, Flushing, Mark, Place, Result, Scanning, Seen, Sending, Subject},
};
use rusqlite::Connection;
use std::{ops::Range, sync::Mutex};

pub const SUBJECT: Subject = Subject {
    name: "rusqlite",
    marks: &[Mark::Tree, Mark::NoChecksum],
    append: Some(|place| Ok(Box::new(open(place, "NORMAL")?))),
    send: Some(|place| Ok(Box::new(open(place, "NORMAL")?))),
    flush: Some(|place| Ok(Box::new(Mutex::new(open(place, "FULL")?)))),
    scan: Some(|place| Ok(Box::new(open(place, "NORMAL")?))),
    open: Some(|place| Ok(Box::new(open(place, "NORMAL")?))),
    ..Subject::NONE
};

fn open(place: &Place, synchronous: &str) -> Result<Connection> {
    let connection = Connection::open(place.dir.join("log.sqlite"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.execute("CREATE TABLE IF NOT EXISTS log (number INTEGER PRIMARY KEY, value BLOB)", ())?;
    Ok(connection)
}

fn insert(connection: &Connection, record: &[u8]) -> Result<()> {
    connection.prepare_cached("INSERT INTO log (value) VALUES (?1)")?.execute([record])?;
    Ok(())
}

impl Appending for Connection {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        records.range(numbers).try_for_each(|record| insert(self, record))
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()> {
        for start in numbers.clone().step_by(batch) {
            let transaction = self.transaction()?;
            for record in records.range(start..numbers.end.min(start + batch)) {
                insert(&transaction, record)?;
            }
            transaction.commit()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.query_row("PRAGMA wal_checkpoint(FULL)", (), |_| Ok(()))?;
        Ok(())
    }
}

impl Sending for Connection {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        insert(self, record)
    }
}

impl Flushing for Mutex<Connection> {
    fn send_flushed(&self, record: &[u8]) -> Result<()> {
        let connection = self.lock().map_err(|e| e.to_string())?;
        insert(&connection, record)
    }
}

impl Scanning for Connection {
    fn scan(&mut self, most: u64) -> Result<Seen> {
        let mut seen = Seen::default();
        let mut statement = self.prepare_cached("SELECT value FROM log ORDER BY number LIMIT ?1")?;
        let mut rows = statement.query([most.min(i64::MAX as u64) as i64])?;
        while let Some(row) = rows.next()? {
            seen.see(row.get_ref(0)?.as_blob()?);
        }
        Ok(seen)
    }
}
