//! What each failure says to people: what happened, where, and what to do next.

use super::Error;
use crate::types::Offset;
use std::fmt;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { operation, path, source } => {
                write!(f, "could not {operation} {}: {source}", path.display())
            }
            Error::NotFound { path } => write!(
                f,
                "there is no directory {}: Streamlog::open creates it, and a reader waits until a writer has",
                path.display()
            ),
            Error::DiskFull { operation, path } => write!(
                f,
                "no space left to {operation} {}: free some space and call again; what was acknowledged is safe",
                path.display()
            ),
            Error::FileTooLarge { operation, path } => write!(
                f,
                "{} may not grow as far as it must to {operation} it: raise the limit on file sizes (ulimit -f), or choose a smaller segment.bytes or batch",
                path.display()
            ),
            Error::AlreadyOpen { dir, pid, by_this_process: true } => write!(
                f,
                "{} is already open for writing{}, which is this one: use clones of that Streamlog, or close it first; every producer, consumer, topic and partition of it keeps it open",
                dir.display(),
                holder(pid)
            ),
            Error::AlreadyOpen { dir, pid, .. } => write!(
                f,
                "{} is already open for writing{}: a directory has one writer, which every producer, consumer, topic and partition of its log keeps open; close it there, or open it here with Streamlog::open_read_only",
                dir.display(),
                holder(pid)
            ),
            Error::OffsetOutOfRange { partition, requested, earliest, latest } => write!(
                f,
                "offset {requested} of {partition} is out of range: it holds {earliest} up to, not including, {latest}"
            ),
            Error::NoOffset { partition, group } => write!(
                f,
                "{partition} has no committed offset for group '{group}', and auto_offset_reset is None: seek, or choose Earliest, Latest or ByDuration"
            ),
            Error::RecordTooLarge { size, max, limit, index } => {
                if let Some(index) = index {
                    write!(f, "the record at index {index}: ")?;
                }
                write!(
                    f,
                    "{size} bytes are more than the {max} of {limit}: split the data, or raise the limit where it can be"
                )
            }
            Error::Undelivered { partition, records, forgotten, cause } => {
                write!(
                    f,
                    "{records} records of {partition} that were enqueued earlier were not acknowledged and are not tried again: "
                )?;
                match &**cause {
                    // Its own text says to call again, which is not what helps here.
                    Error::DiskFull { operation, path } => {
                        write!(f, "no space left to {operation} {}", path.display())?;
                    }
                    cause => write!(f, "{cause}")?,
                }
                write!(f, ". Producer::take_undelivered hands them back")?;
                match forgotten {
                    0 => Ok(()),
                    forgotten => write!(
                        f,
                        ", but {forgotten} of all that failed, the first ones, are not kept any more: nobody took them, and they take more than buffer_memory"
                    ),
                }
            }
            Error::QueueFull => {
                write!(f, "the producer's buffer is full: wait for deliveries, or raise its size")
            }
            Error::Timeout { what, after } => write!(f, "timed out after {after:?} waiting for {what}"),
            Error::Wakeup => write!(f, "woken by the consumer's wake-up handle"),
            Error::Fenced { reason } => write!(f, "fenced: {reason}"),
            Error::OutOfOrderSequence { partition, producer_id, expected, found } => write!(
                f,
                "producer {producer_id} sent sequence {found} to {partition}, which expects {expected}: a batch is missing, or this one was sent long ago"
            ),
            Error::InvalidTransactionState { reason } => write!(f, "invalid transaction state: {reason}"),
            Error::Corrupt { path, position, reason, next_offset } => write!(
                f,
                "damage in {} at byte {position}: {reason}{}",
                path.display(),
                goes_on_at(next_offset)
            ),
            Error::UnsupportedFormat { path, found, supported } => write!(
                f,
                "{} has {found}; this release of streamlog reads {supported}{}",
                path.display(),
                newer(supported)
            ),
            Error::CodecUnavailable { codec, place, next_offset } => {
                write!(f, "compression '{codec}' is not in this build")?;
                if let Some((path, position)) = place {
                    write!(f, ", and the batch at byte {position} of {} needs it", path.display())?;
                }
                write!(f, ": enable the cargo feature `{codec}` of streamlog{}", goes_on_at(next_offset))
            }
            Error::InvalidConfig { key, reason } => write!(f, "invalid value for {key}: {reason}"),
            Error::InvalidTopic { name, reason } => write!(f, "'{name}' cannot name a topic: {reason}"),
            Error::InvalidRecord { index, reason } => {
                write!(f, "record {index} of the batch was refused: {reason}")
            }
            Error::InvalidTimestamp { timestamp, reason } => {
                write!(f, "timestamp {timestamp} was refused: {reason}")
            }
            Error::InvalidArgument { reason } => write!(f, "invalid argument: {reason}"),
            Error::TopicExists { name } => write!(
                f,
                "topic '{name}' already exists: Streamlog::topic returns it, Streamlog::topic_or_create brings it up to date"
            ),
            Error::PartitionsDiffer { topic, found, requested } => write!(
                f,
                "topic '{topic}' has {found} partitions, and {requested} were asked for: {}, or leave the number out of the configuration to take the topic as it is",
                if requested > found {
                    "Streamlog::add_partitions adds some, after which keys go to other partitions"
                } else {
                    "partitions cannot be removed; ask for as many as there are"
                }
            ),
            Error::UnknownTopic { name, read_only } => write!(
                f,
                "there is no topic '{name}': {}",
                if *read_only {
                    "its writer creates it, and Streamlog::refresh shows it then"
                } else {
                    "create it with Streamlog::create_topic"
                }
            ),
            Error::UnknownPartition { topic, partition, count } => {
                write!(f, "topic '{topic}' has no partition {partition}: it has {count}, numbered from 0")
            }
            Error::UnknownGroup { name } => write!(f, "there is no group '{name}'"),
            Error::Poisoned { path, cause } => write!(
                f,
                "{} was poisoned by an earlier failure and accepts no writes until it is reopened: {cause}",
                path.display()
            ),
            Error::ReadOnly { reason } => write!(f, "read-only: {reason}"),
            Error::Forked { dir, opened_by } => write!(
                f,
                "the log in {} was opened by process {opened_by}, which forked this one: let go of every handle that was inherited and open the log here, once it is closed there, or with Streamlog::open_read_only",
                dir.display()
            ),
            Error::Closed { what } => write!(f, "{what} is closed"),
            Error::Cancelled { during } => write!(f, "cancelled while {during}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn goes_on_at(next_offset: &Option<Offset>) -> String {
    next_offset.map_or(String::new(), |next| format!("; reading can go on at offset {next}"))
}

/// What to do about a format that is not supported, where what is says nothing of that.
fn newer(supported: &str) -> &'static str {
    if supported.contains(": ") { "" } else { ": open it with a newer one" }
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or(String::new(), |pid| format!(" by process {pid}"))
}
