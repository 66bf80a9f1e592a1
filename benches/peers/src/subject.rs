//! What a subject can be asked to do: one small trait per kind of work, and the table of which it does.
//!
//! A trait's method holds the whole loop wherever a single step would be as cheap as a call through a table, so that
//! every subject is compiled as its user would write it.

use crate::records::Records;
use std::{any::Any, ops::Range, path::Path};

/// Whatever went wrong.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Something that is compared: this crate, a peer, or a floor.
pub struct Subject {
    pub name: &'static str,
    pub marks: &'static [Mark],
    /// Whether its reader takes so long that some dozen records must do, and long scans are not asked of it.
    pub crawls: bool,
    /// Appending by one thread, nothing flushed.
    pub append: Option<Make<dyn Appending>>,
    /// One record at a time, each acknowledged when it survives the process.
    pub send: Option<Make<dyn Sending>>,
    /// One record at a time by many threads, each acknowledged when it survives a power cut.
    pub flush: Option<Make<dyn Flushing>>,
    /// One record to each of several partitions, flushed.
    pub spread: Option<Make<dyn Spreading>>,
    /// Reading what `append` wrote, from the start.
    pub scan: Option<Make<dyn Scanning>>,
    /// From one thread to another.
    pub hop: Option<Make<dyn Hopping>>,
    /// Opening what `append` wrote.
    pub open: Option<Open>,
    /// The same after a death during a flush, which may have failed unheard: the system's cache is not to be believed.
    pub open_past_cache: Option<Open>,
    /// Making a store with so many partitions and nothing in them.
    pub idle: Option<fn(&Place, usize) -> Result<()>>,
    /// Opening such a store.
    pub open_idle: Option<Open>,
}

/// Makes a subject's side of a kind of work.
pub type Make<T> = fn(&Place) -> Result<Box<T>>;
/// Opens a directory; what comes back keeps it open.
pub type Open = fn(&Place) -> Result<Box<dyn Any>>;

impl Subject {
    /// One that does nothing yet.
    pub const NONE: Subject = Subject {
        name: "",
        marks: &[],
        crawls: false,
        append: None,
        send: None,
        flush: None,
        spread: None,
        scan: None,
        hop: None,
        open: None,
        open_past_cache: None,
        idle: None,
        open_idle: None,
    };

    /// Whether it is a floor: what the hardware and the kernel ask for, with nothing around it.
    pub fn is_floor(&self) -> bool {
        self.marks.contains(&Mark::Floor)
    }
}

/// What has to be known about a subject to read its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Floor,
    AllInMemory,
    Buffers,
    NoChecksum,
    ChecksumUnread,
    UnflushedAcknowledged,
    FlushesAtRoll,
    Tree,
    Jvm,
    Socket,
}

impl Mark {
    /// A letter for the tables.
    pub fn letter(self) -> char {
        match self {
            Mark::Floor => 'f',
            Mark::AllInMemory => 'm',
            Mark::Buffers => 'b',
            Mark::NoChecksum => 'c',
            Mark::ChecksumUnread => 'r',
            Mark::UnflushedAcknowledged => 'u',
            Mark::FlushesAtRoll => 's',
            Mark::Tree => 't',
            Mark::Jvm => 'j',
            Mark::Socket => 'k',
        }
    }

    /// What the letter says.
    pub fn meaning(self) -> &'static str {
        match self {
            Mark::Floor => "a bound: the same bytes by hand, with no log around them",
            Mark::AllInMemory => "keeps all data in memory as well",
            Mark::Buffers => {
                "keeps appended records in a buffer of the process until told otherwise: a kill loses them"
            }
            Mark::NoChecksum => "has no checksum over records",
            Mark::ChecksumUnread => "has a checksum but its reader does not look at it unasked (we ask)",
            Mark::UnflushedAcknowledged => "has no call that flushes the records",
            Mark::FlushesAtRoll => "flushes, and waits, when a file is full",
            Mark::Tree => "is a table or a tree with the offset as its key",
            Mark::Jvm => "in a JVM that has warmed up, measured by kafka/measure.py in a run of its own",
            Mark::Socket => {
                "a broker: answers over a socket, serves many clients; flushes nothing here; its hop is a mean"
            }
        }
    }

    /// The same in a word or two, for charts. `None`: it changes no figure.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Mark::Floor => Some("a bound, by hand: no log"),
            Mark::AllInMemory => Some("keeps all in memory"),
            Mark::Buffers => Some("buffers: a kill loses records"),
            Mark::NoChecksum => Some("no checksum"),
            Mark::ChecksumUnread => None,
            Mark::UnflushedAcknowledged => Some("cannot flush"),
            Mark::FlushesAtRoll => Some("flushes at a roll"),
            Mark::Tree => Some("a tree or table"),
            Mark::Jvm => Some("JVM"),
            Mark::Socket => Some("a broker, over a socket"),
        }
    }

    /// All of them, in the order of a legend.
    pub const ALL: [Mark; 10] = [
        Mark::Floor,
        Mark::AllInMemory,
        Mark::Buffers,
        Mark::NoChecksum,
        Mark::ChecksumUnread,
        Mark::UnflushedAcknowledged,
        Mark::FlushesAtRoll,
        Mark::Tree,
        Mark::Jvm,
        Mark::Socket,
    ];
}

/// Where a subject works, and what is coming.
pub struct Place<'a> {
    /// A directory of its own, which exists and is empty before the first call.
    pub dir: &'a Path,
    /// How many bytes of records it must hold at most.
    pub room: u64,
    /// How large a file of it may be, for those who roll.
    pub segment: u64,
}

/// Appends, one thread. On return all of it is with the operating system.
pub trait Appending {
    /// One record per call.
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()>;
    /// So many records per call.
    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()>;
    /// Makes all of it durable.
    fn flush(&mut self) -> Result<()>;
    /// How many bytes hold the records, where the sizes of the files do not tell.
    fn bytes_used(&self) -> Option<u64> {
        None
    }
}

/// Appends one record; on return it survives the process.
pub trait Sending {
    fn send(&mut self, record: &[u8]) -> Result<()>;
    /// How many files there are by now, where that is known.
    fn files(&self) -> Option<usize> {
        None
    }
}

/// Appends one record; on return it survives a power cut.
pub trait Flushing: Sync {
    fn send_flushed(&self, record: &[u8]) -> Result<()>;
}

/// Appends one record to each of so many partitions; on return all survive a power cut.
pub trait Spreading {
    fn spread(&mut self, record: &[u8], partitions: usize) -> Result<()>;
}

/// Reads from the start, verifies every checksum there is, and touches every byte.
pub trait Scanning {
    /// Reads to the end, or until it has met so many records: those of the last step may be more.
    fn scan(&mut self, most: u64) -> Result<Seen>;
}

/// What a scan met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub records: u64,
    pub sum: u64,
}

impl Seen {
    /// One record more.
    #[inline]
    pub fn see(&mut self, record: &[u8]) {
        self.records += 1;
        self.sum = self.sum.wrapping_add(crate::records::touch(record));
    }
}

/// A log with a thread at each end.
pub trait Hopping {
    fn sender(&self) -> Result<Box<dyn Sending + Send>>;
    fn receiver(&self) -> Result<Box<dyn Receiving + Send>>;
    /// Whether its receiver can look without waiting.
    fn can_look(&self) -> bool {
        true
    }
    /// Whether its receiver can sleep.
    fn can_sleep(&self) -> bool;
}

/// The far end of a hop. A record's first eight bytes are what it gives back.
pub trait Receiving {
    /// What is there, without waiting.
    fn look(&mut self) -> Result<Option<u64>>;
    /// The next one, asleep until then.
    fn wait(&mut self) -> Result<u64>;
}

/// The first eight bytes of a record.
pub fn stamp(record: &[u8]) -> Result<u64> {
    let bytes = record.first_chunk::<8>().ok_or("a record without a stamp")?;
    Ok(u64::from_le_bytes(*bytes))
}
