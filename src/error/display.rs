//! What each failure says to people: what happened, where, and what to do next.

use super::{Error, Outcome, SpaceLimit};
use crate::types::{Compression, Offset, TopicPartition};
use std::{
    fmt::{self, Formatter},
    path::{Path, PathBuf},
};

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Error::*;
        match self {
            Io { operation, path, source } => write!(f, "could not {operation} {}: {source}", path.display()),
            NotFound { path } => not_found(f, path),
            DiskFull { operation, path, limit } => disk_full(f, operation, path, limit.as_ref()),
            FileTooLarge { operation, path } => file_too_large(f, operation, path),
            AlreadyOpen { dir, pid, by_this_process } => already_open(f, dir, *pid, *by_this_process),
            OffsetOutOfRange { partition, requested, earliest, latest } => write!(
                f,
                "offset {requested} of {partition} is out of range: it holds {earliest} up to, not including, {latest}"
            ),
            NoOffset { partition, group } => no_offset(f, partition, group),
            RecordTooLarge { size, max, limit, index } => record_too_large(f, *size, *max, limit, *index),
            Undelivered { partition, records, forgotten, cause, .. } => {
                undelivered(f, partition, *records, *forgotten, cause)
            }
            QueueFull => write!(f, "the producer's buffer is full: wait for deliveries, or raise its size"),
            Timeout { what, after } => write!(f, "timed out after {after:?} waiting for {what}"),
            Wakeup => write!(f, "woken by the consumer's wake-up handle"),
            Fenced { reason } => write!(f, "fenced: {reason}"),
            OutOfOrderSequence { partition, producer_id, expected, found } => write!(
                f,
                "producer {producer_id} sent sequence {found} to {partition}, which expects {expected}: a batch is missing, or this one was sent long ago"
            ),
            InvalidTransactionState { reason } => write!(f, "invalid transaction state: {reason}"),
            Conflict { partition, expected, found } => {
                write!(
                    f,
                    "{partition} ends at offset {found}, and not at {expected} as the transaction requires"
                )
            }
            Aborted { cause } => write!(f, "the transaction was aborted: {cause}"),
            Corrupt { path, position, reason, next_offset } => {
                write!(f, "damage in {} at byte {position}: {reason}", path.display())?;
                goes_on_at(f, *next_offset)
            }
            UnsupportedFormat { path, found, supported } => unsupported(f, path, found, supported),
            CodecUnavailable { codec, place, next_offset } => {
                codec_unavailable(f, *codec, place.as_ref())?;
                goes_on_at(f, *next_offset)
            }
            InvalidConfig { key, reason } => write!(f, "invalid value for {key}: {reason}"),
            InvalidTopic { name, reason } => write!(f, "'{name}' cannot name a topic: {reason}"),
            InvalidRecord { index, reason } => write!(f, "record {index} of the batch was refused: {reason}"),
            InvalidTimestamp { timestamp, reason } => {
                write!(f, "timestamp {timestamp} was refused: {reason}")
            }
            InvalidArgument { reason } => write!(f, "invalid argument: {reason}"),
            TopicExists { name } => topic_exists(f, name),
            PartitionsDiffer { topic, found, requested } => partitions_differ(f, topic, *found, *requested),
            UnknownTopic { name, read_only } => unknown_topic(f, name, *read_only),
            UnknownPartition { topic, partition, count } => {
                write!(f, "topic '{topic}' has no partition {partition}: it has {count}, numbered from 0")
            }
            UnknownGroup { name } => write!(f, "there is no group '{name}'"),
            Poisoned { path, cause, outcome } => poisoned(f, path, cause, outcome),
            Unacknowledged { outcome, cause } => unacknowledged(f, outcome, cause),
            NotPurged { path, position, reason } => {
                write!(f, "the key may still be in {} at byte {position}: {reason}", path.display())
            }
            ReadOnly { reason } => write!(f, "read-only: {reason}"),
            Forked { dir, opened_by } => forked(f, dir, *opened_by),
            Closed { what } => write!(f, "{what} is closed"),
            Cancelled { during } => write!(f, "cancelled while {during}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Aborted { cause } => Some(cause),
            _ => None,
        }
    }
}

fn not_found(f: &mut Formatter<'_>, path: &Path) -> fmt::Result {
    write!(
        f,
        "there is no directory {}: Streamlog::open creates it, and a reader waits until a writer has",
        path.display()
    )
}

fn disk_full(f: &mut Formatter<'_>, operation: &str, path: &Path, limit: Option<&SpaceLimit>) -> fmt::Result {
    no_space(f, operation, path, limit)?;
    match limit {
        None => f.write_str(": free some space and call again; acknowledged records are safe"),
        Some(SpaceLimit::MinFreeSpace { .. }) => f.write_str(
            ": free some space or lower min_free_space, and call again; acknowledged records are safe",
        ),
        Some(SpaceLimit::DiskBudget { .. }) => f.write_str(
            ": delete records or topics, or raise disk_budget, and call again; acknowledged records are safe",
        ),
    }
}

fn no_space(f: &mut Formatter<'_>, operation: &str, path: &Path, limit: Option<&SpaceLimit>) -> fmt::Result {
    write!(f, "no space left to {operation} {}", path.display())?;
    match limit {
        None => Ok(()),
        Some(SpaceLimit::MinFreeSpace { bytes, free }) => {
            write!(f, " (min_free_space keeps {bytes} bytes free, of which {free} are left)")
        }
        Some(SpaceLimit::DiskBudget { bytes, used, needed }) => {
            write!(f, " (disk_budget allows {bytes} bytes; {used} are used, and {needed} more are needed)")
        }
    }
}

fn file_too_large(f: &mut Formatter<'_>, operation: &str, path: &Path) -> fmt::Result {
    write!(
        f,
        "{} cannot grow enough to {operation} it: raise the limit on file sizes (ulimit -f), or choose a smaller segment.bytes or batch",
        path.display()
    )
}

fn already_open(f: &mut Formatter<'_>, dir: &Path, pid: Option<u32>, by_this_process: bool) -> fmt::Result {
    write!(f, "{} is already open for writing", dir.display())?;
    if let Some(pid) = pid {
        write!(f, " by process {pid}")?;
    }
    f.write_str(match by_this_process {
        true => {
            ", which is this one: use clones of that Streamlog, or close it first; every producer, consumer, topic and partition of it keeps it open"
        }
        false => {
            ": a directory has one writer, which every producer, consumer, topic and partition of its log keeps open; close it there, or open it here with Streamlog::open_read_only"
        }
    })
}

fn no_offset(f: &mut Formatter<'_>, partition: &TopicPartition, group: &str) -> fmt::Result {
    write!(
        f,
        "{partition} has no committed offset for group '{group}', and auto_offset_reset is None: seek, or choose Earliest, Latest or ByDuration"
    )
}

fn record_too_large(
    f: &mut Formatter<'_>,
    size: u64,
    max: u64,
    limit: &str,
    index: Option<usize>,
) -> fmt::Result {
    if let Some(index) = index {
        write!(f, "the record at index {index}: ")?;
    }
    write!(
        f,
        "{size} bytes are more than the {max} of {limit}: split the data, or raise the limit where it can be"
    )
}

fn undelivered(
    f: &mut Formatter<'_>,
    partition: &TopicPartition,
    records: u64,
    forgotten: u64,
    cause: &Error,
) -> fmt::Result {
    write!(
        f,
        "{records} records of {partition} that were enqueued earlier were not acknowledged and are not tried again: "
    )?;
    match cause {
        // Its own text says to call again, which is not what helps here.
        Error::DiskFull { operation, path, limit } => no_space(f, operation, path, limit.as_ref())?,
        cause => write!(f, "{cause}")?,
    }
    f.write_str(". Producer::take_undelivered hands them back")?;
    match forgotten {
        0 => Ok(()),
        forgotten => write!(
            f,
            ", except for {forgotten} of all that failed: the first ones are not kept, because none were taken back and together they take more than buffer_memory"
        ),
    }
}

fn unsupported(f: &mut Formatter<'_>, path: &Path, found: &str, supported: &str) -> fmt::Result {
    // Where what is supported says what to do, a newer release is not the answer.
    let newer = if supported.contains(": ") { "" } else { ": open it with a newer one" };
    write!(f, "{} has {found}; this release of streamlog reads {supported}{newer}", path.display())
}

fn codec_unavailable(
    f: &mut Formatter<'_>,
    codec: Compression,
    place: Option<&(PathBuf, u64)>,
) -> fmt::Result {
    write!(f, "compression '{codec}' is not in this build")?;
    if let Some((path, position)) = place {
        write!(f, ", and the batch at byte {position} of {} needs it", path.display())?;
    }
    write!(f, ": enable the cargo feature `{codec}` of streamlog")
}

fn goes_on_at(f: &mut Formatter<'_>, next_offset: Option<Offset>) -> fmt::Result {
    next_offset.map_or(Ok(()), |next| write!(f, "; reading can continue at offset {next}"))
}

fn partitions_differ(f: &mut Formatter<'_>, topic: &str, found: u32, requested: u32) -> fmt::Result {
    let advice = match requested > found {
        true => "Streamlog::add_partitions adds some, after which keys go to other partitions",
        false => "partitions cannot be removed; ask for as many as there are",
    };
    write!(
        f,
        "topic '{topic}' has {found} partitions, and {requested} were asked for: {advice}, or leave the number out of the configuration to take the topic as it is"
    )
}

fn topic_exists(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    write!(
        f,
        "topic '{name}' already exists: Streamlog::topic returns it, Streamlog::topic_or_create brings it up to date"
    )
}

fn unknown_topic(f: &mut Formatter<'_>, name: &str, read_only: bool) -> fmt::Result {
    let advice = match read_only {
        true => "its writer creates it, and Streamlog::refresh shows it then",
        false => "create it with Streamlog::create_topic",
    };
    write!(f, "there is no topic '{name}': {advice}")
}

fn poisoned(f: &mut Formatter<'_>, path: &Path, cause: &Error, outcome: &Outcome) -> fmt::Result {
    write!(
        f,
        "{} was poisoned by an earlier failure and accepts no writes until it is reopened: {cause}",
        path.display()
    )?;
    match outcome {
        Outcome::Unknown => {
            f.write_str("; the records of this call were written, and the next opening shows whether they are on the medium")
        }
        _ => Ok(()),
    }
}

fn unacknowledged(f: &mut Formatter<'_>, outcome: &Outcome, cause: &Error) -> fmt::Result {
    f.write_str("records of this call are in the log, and the call failed after that")?;
    if let Outcome::Appended(places) = outcome {
        for (at, (partition, offsets)) in places.iter().enumerate() {
            let before = if at == 0 { " (" } else { ", " };
            write!(f, "{before}{partition} at {} up to, not including, {}", offsets.start, offsets.end)?;
        }
        f.write_str(")")?;
    }
    write!(f, ": do not send these again, a flush makes them durable; {cause}")
}

fn forked(f: &mut Formatter<'_>, dir: &Path, opened_by: u32) -> fmt::Result {
    write!(
        f,
        "the log in {} was opened by process {opened_by}, which forked this one: drop every inherited handle, then open the log here once it is closed there, or with Streamlog::open_read_only",
        dir.display()
    )
}
