//! Everything that can go wrong, as one type whose variants say what to do next.
//!
//! An [`Error`] is cheap to clone, because one failed flush answers many waiting callers with the same error. Its
//! [`kind`](Error::kind) is for programs, its text for people: it names the path, the position, what was expected and what
//! was found. [`is_retriable`](Error::is_retriable) says whether the same call may succeed later by itself, and
//! [`ErrorKind`] what to do about each kind.

mod display;
mod kind;
pub(crate) mod memory;
pub(crate) mod outcome;
pub(crate) mod wrong_kind;

pub use kind::ErrorKind;
pub use outcome::Outcome;

use crate::types::{Compression, Offset, ParseError, Timestamp, TopicPartition};
use std::{borrow::Cow, fmt, io, path::Path, path::PathBuf, sync::Arc};

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure. After it the log is unchanged, or reports that it is poisoned.
///
/// Variants may get more fields: a pattern ends with `..`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file or directory.
    #[non_exhaustive]
    Io {
        /// What was tried: "open", "read", "write", "flush", ...
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The directory to open does not exist, and was not to be created.
    #[non_exhaustive]
    NotFound {
        /// The directory.
        path: PathBuf,
    },
    /// The medium, or the quota on it, is full, or as full as a setting lets it become. Nothing of the refused call was
    /// kept; appends resume when space is back.
    #[non_exhaustive]
    DiskFull {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The setting that was in the way; `None` if the system itself had no space.
        limit: Option<SpaceLimit>,
    },
    /// A file may not become as large as it would: by the limit of the process, or that of its file system. Nothing of the
    /// refused call was kept.
    FileTooLarge {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Another handle, in this process or another, has this directory open for writing.
    #[non_exhaustive]
    AlreadyOpen {
        /// The log's directory.
        dir: PathBuf,
        /// The process that holds it, where it could be read.
        pid: Option<u32>,
        /// Whether that is certainly this process. Waiting is then pointless, and the error is not
        /// [retriable](Error::is_retriable): open it once and hand out clones, or close it first, in all of its handles.
        by_this_process: bool,
    },
    /// An offset outside what the partition holds.
    #[non_exhaustive]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset asked for.
        requested: Offset,
        /// The log start offset.
        earliest: Offset,
        /// The first offset that cannot be read yet.
        latest: Offset,
    },
    /// A position has neither a committed offset nor a policy that says where to begin.
    #[non_exhaustive]
    NoOffset {
        /// The partition.
        partition: TopicPartition,
        /// The group.
        group: String,
    },
    /// A record, or a batch that must stay whole, is larger than its topic or the segment size allows. Nothing was written
    /// of the batch.
    #[non_exhaustive]
    RecordTooLarge {
        /// The size it would have, in bytes.
        size: u64,
        /// The largest size allowed, in bytes.
        max: u64,
        /// What allows no more: "the topic's max.message.bytes", "the producer's buffer_memory", ...
        limit: &'static str,
        /// The index, from 0, of the record that is too large by itself, where a call had several; `None` where it had
        /// one, or where only all of them together are too large.
        index: Option<usize>,
    },
    /// Records that [`Producer::enqueue`](crate::Producer::enqueue) had accepted were not acknowledged, and are not tried
    /// again. The record of a call that reports this was not taken either.
    ///
    /// [`Producer::take_undelivered`](crate::Producer::take_undelivered) hands the records back, in their order; `forgotten`
    /// says how many it cannot.
    Undelivered {
        /// The partition.
        partition: TopicPartition,
        /// How many records.
        records: u64,
        /// How many records of this producer, of these and of those before them, are not kept for
        /// [`Producer::take_undelivered`](crate::Producer::take_undelivered): nobody took those that failed before, and all
        /// of them together take more than its `buffer_memory`. Those that failed first are forgotten first.
        forgotten: u64,
        /// What kept them out. Where that could have passed, it did not within the producer's `max_block`.
        cause: Arc<Error>,
        /// What became of the records of the call that returns this.
        outcome: Outcome,
    },
    /// Records of the call are in the log, and the call failed after that: they could not be made durable now, or another
    /// partition did not take its part. Calling again would add them twice.
    #[non_exhaustive]
    Unacknowledged {
        /// Which records are in the log.
        outcome: Outcome,
        /// The failure.
        cause: Arc<Error>,
    },
    /// The producer's buffer is full and the call may not wait.
    QueueFull,
    /// Time ran out. The work may still complete later where it had begun.
    #[non_exhaustive]
    Timeout {
        /// What was awaited.
        what: &'static str,
        /// For how long.
        after: std::time::Duration,
    },
    /// The consumer was woken by its wake-up handle.
    Wakeup,
    /// A newer instance with the same identity took over; this one must stop.
    #[non_exhaustive]
    Fenced {
        /// What took over, and how that was noticed.
        reason: String,
    },
    /// A producer's batch does not follow its last one.
    #[non_exhaustive]
    OutOfOrderSequence {
        /// The partition.
        partition: TopicPartition,
        /// The producer.
        producer_id: i64,
        /// The sequence expected next.
        expected: i32,
        /// The sequence that came.
        found: i32,
    },
    /// A transactional call came in a state that does not allow it.
    #[non_exhaustive]
    InvalidTransactionState {
        /// What was asked and what the state is.
        reason: String,
    },
    /// A transaction required that a partition ends at an offset, and it does not.
    #[non_exhaustive]
    Conflict {
        /// The partition.
        partition: TopicPartition,
        /// Where it was to end.
        expected: Offset,
        /// Where it ends.
        found: Offset,
    },
    /// A transaction could not be committed, and was aborted: nothing of it counts, now or later.
    Aborted {
        /// What kept it from being committed.
        cause: Arc<Error>,
    },
    /// Bytes on disk are not what was written there, or not readable by this library. They were not returned as data, and
    /// nothing was removed.
    ///
    /// If a partition continues after the damage, `next_offset` says where: [`Partition::read`](crate::Partition::read) from
    /// there, or [`Consumer::skip_damage`](crate::Consumer::skip_damage), goes past it.
    #[non_exhaustive]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes from its start.
        position: u64,
        /// What was expected and what was found.
        reason: String,
        /// The first offset past the damage of a partition, where reading can continue: that of the next whole batch, or the
        /// log end if there is none. `None` if the damage is not in records.
        next_offset: Option<Offset>,
    },
    /// A file of a version, or with a feature, that this release does not know. Nothing was changed.
    #[non_exhaustive]
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// What the file claims to be.
        found: String,
        /// What this release reads, and after a colon what to do where a newer release is not the answer.
        supported: String,
    },
    /// A batch is compressed, or should be, with a codec that this build does not contain.
    #[non_exhaustive]
    CodecUnavailable {
        /// The codec.
        codec: Compression,
        /// The file and the byte where the batch lies, where one is to be read.
        place: Option<(PathBuf, u64)>,
        /// Where reading can continue past the batch.
        next_offset: Option<Offset>,
    },
    /// A setting has a value that is not allowed.
    #[non_exhaustive]
    InvalidConfig {
        /// The setting.
        key: String,
        /// Why the value is not allowed.
        reason: String,
    },
    /// A topic name that Kafka would refuse too.
    #[non_exhaustive]
    InvalidTopic {
        /// The name.
        name: String,
        /// The rule it breaks.
        reason: String,
    },
    /// A record that its topic does not accept. Nothing of its batch was written.
    #[non_exhaustive]
    InvalidRecord {
        /// Its index in the batch, from 0.
        index: usize,
        /// The rule it breaks.
        reason: String,
    },
    /// A record's timestamp lies outside what its topic accepts.
    #[non_exhaustive]
    InvalidTimestamp {
        /// The timestamp.
        timestamp: Timestamp,
        /// The rule it breaks.
        reason: String,
    },
    /// An argument that the call cannot use.
    #[non_exhaustive]
    InvalidArgument {
        /// What is wrong with it.
        reason: String,
    },
    /// The topic to create exists.
    #[non_exhaustive]
    TopicExists {
        /// The topic.
        name: String,
    },
    /// The topic exists with another number of partitions than asked for. Nothing was changed.
    PartitionsDiffer {
        /// The topic.
        topic: String,
        /// How many there are.
        found: u32,
        /// How many were asked for.
        requested: u32,
    },
    /// No such topic.
    #[non_exhaustive]
    UnknownTopic {
        /// The topic.
        name: String,
        /// Whether the handle can only read, and so cannot create it.
        read_only: bool,
    },
    /// No such partition.
    #[non_exhaustive]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: u32,
        /// How many there are.
        count: u32,
    },
    /// No such group.
    #[non_exhaustive]
    UnknownGroup {
        /// The group.
        name: String,
    },
    /// After an earlier failure nobody knows what is on the medium: nothing is written any more, and durable records can be
    /// read.
    #[non_exhaustive]
    Poisoned {
        /// The partition's or the log's directory.
        path: PathBuf,
        /// The failure.
        cause: Arc<Error>,
        /// What became of the records of the call that returns this: [`Outcome::Unknown`] where it was their flush that
        /// failed.
        outcome: Outcome,
    },
    /// A purge of a key did not come to its end: the key may still be in this file.
    #[non_exhaustive]
    NotPurged {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes from its start.
        position: u64,
        /// What is there.
        reason: String,
    },
    /// The handle, or the partition for the reason given, can only be read.
    #[non_exhaustive]
    ReadOnly {
        /// Why.
        reason: String,
    },
    /// The handle was opened by another process, which forked this one. The call did nothing: a child would write where its
    /// parent writes next.
    #[non_exhaustive]
    Forked {
        /// The log's directory.
        dir: PathBuf,
        /// The process that opened it.
        opened_by: u32,
    },
    /// The handle was closed, or its topic deleted.
    #[non_exhaustive]
    Closed {
        /// What was closed: "the log", "the deleted topic 'orders'", ...
        what: Cow<'static, str>,
    },
    /// The caller's progress callback asked to stop.
    #[non_exhaustive]
    Cancelled {
        /// What was in progress.
        during: &'static str,
    },
}

/// A setting by which a medium counts as full before it is, in [`Error::DiskFull`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpaceLimit {
    /// [`Builder::min_free_space`](crate::config::Builder::min_free_space).
    #[non_exhaustive]
    MinFreeSpace {
        /// How many bytes were to stay free: for committed offsets half of the setting.
        bytes: u64,
        /// How many were free.
        free: u64,
    },
    /// [`Builder::disk_budget`](crate::config::Builder::disk_budget).
    #[non_exhaustive]
    DiskBudget {
        /// The setting.
        bytes: u64,
        /// How many bytes were used.
        used: u64,
        /// How many more were needed.
        needed: u64,
    },
}

impl Error {
    /// The file or directory that it is about, if any.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Error::Io { path, .. }
            | Error::DiskFull { path, .. }
            | Error::Corrupt { path, .. }
            | Error::NotPurged { path, .. }
            | Error::UnsupportedFormat { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Where reading can continue past the unreadable bytes: the `next_offset` of [`Error::Corrupt`] and
    /// [`Error::CodecUnavailable`]; `None` for everything else.
    pub fn next_offset(&self) -> Option<Offset> {
        match self {
            Error::Corrupt { next_offset, .. } | Error::CodecUnavailable { next_offset, .. } => *next_offset,
            _ => None,
        }
    }

    /// Whether the same call may succeed later, after waiting or making room: [`ErrorKind::is_retriable`] has the list.
    /// `AlreadyOpen` is not retriable if this process itself has the log open.
    ///
    /// ```
    /// use std::time::Duration;
    /// use streamlog::{ProducerRecord, Streamlog, TopicConfig};
    ///
    /// let log = Streamlog::in_memory()?;
    /// log.create_topic("orders", TopicConfig::default())?;
    /// let producer = log.producer()?;
    /// loop {
    ///     match producer.send(ProducerRecord::new("orders", "a loom")) {
    ///         Err(error) if error.is_retriable() => std::thread::sleep(Duration::from_millis(100)),
    ///         other => break other,
    ///     }
    /// }?;
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    pub fn is_retriable(&self) -> bool {
        let waits_for_itself = matches!(self, Error::AlreadyOpen { by_this_process: true, .. });
        self.kind().is_retriable() && !waits_for_itself
    }

    /// After an earlier failure nothing is written in `path` any more.
    pub(crate) fn poisoned(path: impl AsRef<Path>, cause: impl Into<Arc<Error>>) -> Self {
        let path = path.as_ref().to_path_buf();
        Error::Poisoned { path, cause: cause.into(), outcome: Outcome::NotAppended }
    }

    /// More than `limit` allows.
    pub(crate) fn too_large(size: u64, max: u64, limit: &'static str) -> Self {
        Error::RecordTooLarge { size, max, limit, index: None }
    }

    /// Counts the records of another failure of this partition that was not reported yet.
    pub(crate) fn counts_also(&mut self, later: &Error) {
        if let (
            Error::Undelivered { partition, records, forgotten, outcome, .. },
            Error::Undelivered { partition: of, records: more, forgotten: all, outcome: theirs, .. },
        ) = (self, later)
        {
            *forgotten = (*forgotten).max(*all);
            *outcome = std::mem::take(outcome).and(theirs.clone());
            if partition == of {
                *records += *more;
            }
        }
    }

    /// Whether the failed call left no trace, and may succeed later by itself: space or descriptors come back.
    pub(crate) fn can_pass(&self) -> bool {
        match self {
            Error::DiskFull { .. } => true,
            Error::Io { source, .. } => source.get_ref().is_some_and(|inner| inner.is::<OutOfDescriptors>()),
            _ => false,
        }
    }

    /// What the operating system said of `operation` on `path`; a full medium becomes [`Error::DiskFull`], a limit on file
    /// sizes [`Error::FileTooLarge`], a link or a FIFO in the place of a file [`Error::Corrupt`].
    pub(crate) fn io(operation: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        let source = if is_out_of_descriptors(&source) {
            io::Error::new(source.kind(), OutOfDescriptors { source })
        } else {
            source
        };
        if let Some(wrong) = wrong_kind::WrongKind::of(&source) {
            return Error::corrupt(wrong.place(&path), 0, wrong.to_string());
        }
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::DiskFull { operation, path, limit: None }
            }
            io::ErrorKind::FileTooLarge => Error::FileTooLarge { operation, path },
            _ => Error::Io { operation, path, source: Arc::new(source) },
        }
    }

    /// The end of what `what` names.
    pub(crate) fn closed(what: &'static str) -> Self {
        Error::Closed { what: what.into() }
    }

    /// The end of a topic.
    pub(crate) fn deleted(topic: &str) -> Self {
        Error::Closed { what: format!("the deleted topic '{topic}'").into() }
    }

    /// Damage at `position` of `path`.
    pub(crate) fn corrupt(path: impl AsRef<Path>, position: u64, reason: impl Into<String>) -> Self {
        let path = path.as_ref().to_path_buf();
        Error::Corrupt { path, position, reason: reason.into(), next_offset: None }
    }

    /// Whether the system said that there is no file of the name.
    pub(crate) fn says_no_such_file(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// A codec that was asked for and is not there.
    pub(crate) fn no_codec(codec: Compression) -> Self {
        Error::CodecUnavailable { codec, place: None, next_offset: None }
    }

    /// The same damage, for a caller that knows that nothing before `whole` is damaged.
    pub(crate) fn not_before(self, whole: u64) -> Self {
        match self {
            Error::Corrupt { path, position, reason, next_offset } => {
                Error::Corrupt { path, position: position.max(whole), reason, next_offset }
            }
            other => other,
        }
    }

    /// The same damage, past which reading continues at `next`.
    pub(crate) fn going_on_at(self, next: Offset) -> Self {
        match self {
            Error::Corrupt { path, position, reason, .. } => {
                Error::Corrupt { path, position, reason, next_offset: Some(next) }
            }
            Error::CodecUnavailable { codec, place, .. } => {
                Error::CodecUnavailable { codec, place, next_offset: Some(next) }
            }
            other => other,
        }
    }
}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        Error::InvalidArgument { reason: error.to_string() }
    }
}

/// Whether an operation failed because the process, or the system, has no file descriptor left.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    // ENFILE and EMFILE, everywhere.
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// What the operating system said, and which limits there are.
#[derive(Debug)]
struct OutOfDescriptors {
    source: io::Error,
}

impl fmt::Display for OutOfDescriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OutOfDescriptors { source } = self;
        write!(
            f,
            "{source}: no idle file was left to close; lower max_open_files of the builder, or raise the limit of the process (ulimit -n)"
        )
    }
}

impl std::error::Error for OutOfDescriptors {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
