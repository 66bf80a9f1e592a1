//! The kinds of failures: what happened, what to do next, and whether to call again.
//!
//! They stand in one list, each with its words and whether it passes by itself; everything else with a line for each kind is
//! made from that list.

use super::Error;
use std::fmt;

/// The one list of kinds. Each is a variant of [`Error`] of the same name.
macro_rules! kinds {
    (
        $(#[$of_all:meta])*
        pub enum ErrorKind {
            $($(#[$of_one:meta])* $kind:ident = $words:literal, retriable: $retriable:literal;)*
        }
    ) => {
        $(#[$of_all])*
        pub enum ErrorKind {
            $($(#[$of_one])* $kind,)*
        }

        impl ErrorKind {
            #[cfg(test)]
            const ALL: &[ErrorKind] = &[$(ErrorKind::$kind),*];

            const fn words(self) -> &'static str {
                match self {
                    $(ErrorKind::$kind => $words,)*
                }
            }

            const fn passes_by_itself(self) -> bool {
                match self {
                    $(ErrorKind::$kind => $retriable,)*
                }
            }
        }

        impl Error {
            /// The kind of this failure.
            pub fn kind(&self) -> ErrorKind {
                match self {
                    $(Error::$kind { .. } => ErrorKind::$kind,)*
                }
            }
        }
    };
}

kinds! {
    /// The kinds of [`Error`](crate::Error), for programs that branch on them.
    ///
    /// Each says what happened and what to do next. [`is_retriable`](Self::is_retriable) names the ones that pass by
    /// themselves. `Display` gives each a few words, for log lines and metrics.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[non_exhaustive]
    pub enum ErrorKind {
        /// The operating system refused an operation on a file or directory. The text names both: look there (permissions, a
        /// failing medium, descriptors), then call again, or reopen if the log is poisoned.
        Io = "I/O error", retriable: false;
        /// The directory to open does not exist, and the opening was not allowed to create it. Check the path; a reader that
        /// may start before its writer waits and opens again.
        NotFound = "not found", retriable: false;
        /// The medium, or the quota on it, is full. Free some space and call again: nothing of the refused call was kept, and
        /// everything acknowledged before is safe.
        DiskFull = "disk full", retriable: true;
        /// A limit on the size of files, of the process or the file system, was reached. Raise it, or choose smaller
        /// segments or batches: nothing of the refused call was kept.
        FileTooLarge = "file too large", retriable: false;
        /// Another handle has the directory open for writing. Close it there, wait until its process has ended, or open
        /// read-only. If it is a handle of the same process, which the error says, use clones of it.
        AlreadyOpen = "already open", retriable: true;
        /// The offset lies below the log start, where retention removed it, or past the end. Seek to an offset that exists,
        /// or choose an `auto_offset_reset`.
        OffsetOutOfRange = "offset out of range", retriable: false;
        /// The group has no committed offset here, and its policy is `None`. Seek, or choose another `auto_offset_reset`.
        NoOffset = "no offset", retriable: false;
        /// A record, or a batch that must stay whole, is larger than a limit. Split the data, or raise the limit that the text
        /// names.
        RecordTooLarge = "record too large", retriable: false;
        /// Records that were enqueued earlier and accepted were not acknowledged, and are not tried again. Take them back
        /// with [`Producer::take_undelivered`](crate::Producer::take_undelivered), and keep them elsewhere; the cause says
        /// why they failed.
        Undelivered = "undelivered", retriable: false;
        /// Records of the call are in the log, and the call failed after that, for the reason that its text gives.
        /// [`Error::outcome`](crate::Error::outcome) says which records: send the others alone, and flush those.
        Unacknowledged = "unacknowledged", retriable: false;
        /// The producer's buffer is full, and the call was not to wait; the record was not taken. Wait for deliveries, slow
        /// down, or enlarge the buffer.
        QueueFull = "queue full", retriable: true;
        /// The given time ran out. The awaited event may still come: wait again. A record that found no room in the
        /// producer's buffer was not taken.
        Timeout = "timeout", retriable: true;
        /// A wake-up handle ended the poll. Do what it stands for, usually leaving the loop; a loop that polls again without
        /// looking swallows it.
        Wakeup = "wake-up", retriable: false;
        /// A newer instance with the same identity took over. Stop this one.
        Fenced = "fenced", retriable: false;
        /// A batch of an idempotent producer does not follow its last one: one is missing, or this one is old. Find out what
        /// was lost before sending anything else under this identity.
        OutOfOrderSequence = "out of order sequence", retriable: false;
        /// A transactional call came in a state that does not allow it. Correct the order of the calls.
        InvalidTransactionState = "invalid transaction state", retriable: false;
        /// A partition does not end where the transaction required it: somebody else has appended. The transaction was aborted.
        /// Read what came, decide anew, and run the transaction again.
        Conflict = "conflict", retriable: false;
        /// The transaction could not be committed, and was aborted; the cause says why. Nothing of it counts. Run it again once
        /// the cause is gone.
        Aborted = "aborted", retriable: false;
        /// Bytes on disk are not what was written, or are unreadable, or something other than a file, such as a symbolic
        /// link, is in the place of one. Nothing was removed. Keep the files, compare them with a copy, and read on past the
        /// damage where [`Error::next_offset`](crate::Error::next_offset) names a place.
        Corrupt = "corrupt", retriable: false;
        /// A file has a version, or a feature, that this release does not know. Open it with a newer one.
        UnsupportedFormat = "unsupported format", retriable: false;
        /// A batch needs a codec that this build does not contain. Enable the cargo feature of its name.
        CodecUnavailable = "codec unavailable", retriable: false;
        /// A setting has a value that is not allowed. The text says which values are.
        InvalidConfig = "invalid configuration", retriable: false;
        /// The name cannot be a topic's, here and in Kafka. Choose another.
        InvalidTopic = "invalid topic", retriable: false;
        /// The topic does not accept the record. Correct the record: nothing of its batch was written.
        InvalidRecord = "invalid record", retriable: false;
        /// The record's timestamp lies outside the topic's limits. Correct the timestamp, or the limits.
        InvalidTimestamp = "invalid timestamp", retriable: false;
        /// The call cannot use an argument. This is a mistake in the program; the text says which.
        InvalidArgument = "invalid argument", retriable: false;
        /// The topic to create exists. Use it, or choose another name.
        TopicExists = "topic exists", retriable: false;
        /// The topic has another number of partitions than its configuration asks for. Ask for as many as there are, leave the
        /// number out, or add partitions, knowing that keys move.
        PartitionsDiffer = "partitions differ", retriable: false;
        /// There is no such topic. Create it; a reader waits until the writer has.
        UnknownTopic = "unknown topic", retriable: false;
        /// The topic has fewer partitions. They are numbered from 0.
        UnknownPartition = "unknown partition", retriable: false;
        /// No group of this name has committed anything. Check the name, or commit first.
        UnknownGroup = "unknown group", retriable: false;
        /// After an earlier failure, usually of a flush, nobody knows what is on the medium. Close the log and open it
        /// again: the opening finds out. Durable records can still be read.
        Poisoned = "poisoned", retriable: false;
        /// Nobody can say that the key is gone: the text names the file that may still have it. Where that is a quarantined
        /// file, look at it, remove it by hand, and purge again.
        NotPurged = "not purged", retriable: false;
        /// The handle, or the partition, can only be read. Write through the handle that has the log open for writing.
        ReadOnly = "read-only", retriable: false;
        /// The handle came from a parent process through `fork`. The call did nothing. Drop the handle, and open the log in
        /// this process.
        Forked = "forked", retriable: false;
        /// The log was closed, or the topic deleted. Open the log again, or look the topic up.
        Closed = "closed", retriable: false;
        /// The program's own callback asked to stop. The next call starts the work again.
        Cancelled = "cancelled", retriable: false;
    }
}

impl ErrorKind {
    /// Whether the same call may succeed later, after waiting or making room.
    ///
    /// These are, and no others:
    ///
    /// | kind | what to wait for |
    /// |---|---|
    /// | [`DiskFull`](Self::DiskFull) | space on the medium |
    /// | [`AlreadyOpen`](Self::AlreadyOpen) | the end of the other writer; nothing where that is this process, see [`Error::is_retriable`](crate::Error::is_retriable) |
    /// | [`QueueFull`](Self::QueueFull) | deliveries |
    /// | [`Timeout`](Self::Timeout) | what was waited for before |
    ///
    /// A retriable failure has lost nothing: the call did nothing, or its work continues. [`Wakeup`](Self::Wakeup) is not
    /// retriable, although the next poll would succeed: a loop that polled again immediately would swallow the one signal
    /// that was meant to end it. Kafka's `WakeupException` is not a `RetriableException` either.
    pub const fn is_retriable(self) -> bool {
        self.passes_by_itself()
    }
}

/// A few words, each kind its own: "disk full", "offset out of range".
impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

/// As the text of `Display`.
#[cfg(feature = "serde")]
impl serde::Serialize for ErrorKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorKind;
    use std::collections::BTreeSet;

    /// The documentation above the first line that begins with `item`.
    fn docs_of(item: &str) -> String {
        let lines: Vec<_> = include_str!("kind.rs").lines().map(str::trim).collect();
        let at = lines.iter().position(|line| line.starts_with(item)).unwrap();
        let docs = lines[..at].iter().rev().take_while(|line| line.starts_with("///"));
        docs.copied().collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: BTreeSet<_> = ErrorKind::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len());
        assert_eq!(format!("{:<12}|", ErrorKind::DiskFull), "disk full   |");
    }

    #[test]
    fn the_documentation_lists_the_retriable_kinds_and_no_others() {
        let docs = docs_of("pub const fn is_retriable");
        for kind in ErrorKind::ALL {
            assert_eq!(docs.contains(&format!("/// | [`{kind:?}`]")), kind.is_retriable(), "{kind:?}");
        }
    }

    #[test]
    fn a_wake_up_and_what_waiting_does_not_mend_are_not_retriable() {
        use ErrorKind::*;
        for kind in [
            Wakeup,
            Io,
            FileTooLarge,
            Poisoned,
            Corrupt,
            OutOfOrderSequence,
            Fenced,
            Undelivered,
            Unacknowledged,
            Closed,
            Forked,
            Cancelled,
        ] {
            assert!(!kind.is_retriable(), "{kind:?}");
        }
    }
}
