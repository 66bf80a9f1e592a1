//! What an opening found of a partition, as users see it.

use crate::{
    error::{Error, ErrorKind},
    partition::open::damaged_range::DamagedRange,
    storage::manifest::PartitionState,
    types::{Offset, TopicPartition},
};
use std::{fmt, ops::Range, path::PathBuf};

/// What recovery found of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PartitionRecovery {
    /// The partition.
    pub partition: TopicPartition,
    /// How many bytes were read.
    pub bytes_read: u64,
    /// Where the log ends now.
    pub log_end: Offset,
    /// What was found.
    pub verdict: RecoveryVerdict,
    /// Quarantined files: segments that the manifest does not name, or that lay past a cut, and what was cut off a log that
    /// had been closed. They are renamed with `.aside`, not removed.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::types::shown::paths"))]
    pub quarantined: Vec<PathBuf>,
    /// The offsets of batches that another writer, for example a broker, has appended since the log was closed. They are
    /// part of the log from now on.
    pub adopted: Option<Range<Offset>>,
    /// The offsets that another writer has removed from the beginning of the log since it was closed.
    pub removed: Option<Range<Offset>>,
    /// Files that do not belong to the log and are still where they were, because nothing may be written.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::types::shown::paths"))]
    pub left_in_place: Vec<PathBuf>,
    /// Batches that are whole and cannot be read, among those that the opening read: of a codec that this build does
    /// not contain, or malformed. Everything around them can be read. Of compressed batches it checked as many as
    /// decompress to 32 MiB and eight times their own size.
    pub unreadable: Vec<DamagedRange>,
}

impl PartitionRecovery {
    /// The report about a partition that could not be opened.
    pub(crate) fn not_opened(partition: &TopicPartition, state: &PartitionState, error: &Error) -> Self {
        let end = state.closed.as_ref().map_or(state.log_start, |closed| closed.next_offset);
        let verdict = RecoveryVerdict::NotOpened { kind: error.kind(), reason: error.to_string() };
        PartitionRecovery { verdict, ..Self::whole(partition, end) }
    }

    /// A partition that is whole, with nothing else to report.
    pub(in crate::partition) fn whole(partition: &TopicPartition, log_end: Offset) -> Self {
        PartitionRecovery {
            partition: partition.clone(),
            bytes_read: 0,
            log_end,
            verdict: RecoveryVerdict::Whole,
            quarantined: Vec::new(),
            adopted: None,
            removed: None,
            left_in_place: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Whether there is nothing to report but where the log ends.
    pub(crate) fn is_unremarkable(&self) -> bool {
        let other_files = !self.quarantined.is_empty() || !self.left_in_place.is_empty();
        self.verdict == RecoveryVerdict::Whole
            && self.adopted.is_none()
            && self.removed.is_none()
            && !other_files
            && self.unreadable.is_empty()
    }
}

/// The verdicts on the end of a log that was not closed, or was changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case", tag = "verdict"))]
#[non_exhaustive]
pub enum RecoveryVerdict {
    /// Every batch up to the end is there.
    Whole,
    /// What followed the last whole batch was never acknowledged as durable, and was cut off.
    #[non_exhaustive]
    TornTail {
        /// The file.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::types::shown::path"))]
        path: PathBuf,
        /// Where it was cut, in bytes.
        position: u64,
        /// How many bytes were dropped, in this segment and later ones. Where the log had been closed, they were put
        /// aside.
        dropped_bytes: u64,
        /// What was found there.
        reason: String,
        /// Whole batches past the cut: appended, but their predecessor did not reach the medium.
        whole_batches_beyond: u64,
    },
    /// Bytes that were durable are not what was written. Nothing was removed; the partition accepts no appends.
    #[non_exhaustive]
    Damage {
        /// The file.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::types::shown::path"))]
        path: PathBuf,
        /// Where, in bytes.
        position: u64,
        /// What was expected and found.
        reason: String,
    },
    /// The partition could not be opened, and every call on it answers with this error; the others can be used. The next
    /// opening of the log tries again.
    #[non_exhaustive]
    NotOpened {
        /// The kind of the error.
        kind: ErrorKind,
        /// Its text.
        reason: String,
    },
}

/// A sentence for log lines.
impl fmt::Display for RecoveryVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoveryVerdict::Whole => f.pad("whole"),
            RecoveryVerdict::TornTail { path, position, dropped_bytes, reason, .. } => write!(
                f,
                "torn tail: {dropped_bytes} bytes cut off {} at byte {position}: {reason}",
                path.display()
            ),
            RecoveryVerdict::Damage { path, position, reason, .. } => {
                write!(f, "damage in {} at byte {position}: {reason}", path.display())
            }
            RecoveryVerdict::NotOpened { reason, .. } => write!(f, "not opened: {reason}"),
        }
    }
}
