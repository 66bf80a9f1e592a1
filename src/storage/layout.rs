//! Where things lie: the names of files in a log's directory and in a partition's.

use crate::types::Offset;
use std::path::{Path, PathBuf};

/// The lock file, in the log's directory.
pub const LOCK: &str = "LOCK";
/// Kafka's mark of a clean stop.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// What a close of ours writes into it. A broker writes its own epoch.
pub const CLEAN_SHUTDOWN_CONTENT: &[u8] = br#"{"version":0,"brokerEpoch":-1}"#;
/// Kafka's identity of a data directory.
pub const META_PROPERTIES: &str = "meta.properties";
/// Kafka's checkpoint of recovery points.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Kafka's checkpoint of high watermarks.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// Kafka's checkpoint of log start offsets.
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// Kafka's checkpoint of up to where logs are clean.
pub const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
/// Kafka's leader epochs of a partition.
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// Kafka's topic id of a partition.
pub const PARTITION_METADATA: &str = "partition.metadata";
/// Ours: which partition of which topic a directory is.
pub const PARTITION_IDENTITY: &str = "partition.identity";
/// What is appended to the name of a file that recovery put aside.
pub const ASIDE: &str = "aside";
/// What is appended to the name of a file that takes the place of others, while it is written. It is Kafka's.
pub const CLEANED: &str = "cleaned";
/// What is appended to its name once that was decided, until it has the name. It is Kafka's.
pub const SWAP: &str = "swap";
/// What a broker appends to the name of a file that it is about to delete.
pub const DELETED: &str = "deleted";
/// The extension of what is written before it takes another file's name.
pub const TMP: &str = "tmp";

/// The name that a segment file had before it was put aside; `None` where this is no such name.
pub fn put_aside_from(name: &str) -> Option<&str> {
    let (own, extension) = name.rsplit_once('.')?;
    let number = extension.strip_prefix(ASIDE)?;
    let is_segment = SegmentFile::Log.parse(own).is_some();
    (is_segment && number.bytes().all(|b| b.is_ascii_digit())).then_some(own)
}

/// The kinds of files that a segment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentFile {
    /// The record batches.
    Log,
    /// The offset index.
    OffsetIndex,
    /// The time index.
    TimeIndex,
    /// The aborted transactions.
    TransactionIndex,
    /// Kafka's producer snapshot, as of the base offset.
    Snapshot,
    /// Our longer producer state, as of the base offset.
    Producers,
    /// The checksums of the pages of a sealed segment.
    Pages,
    /// The keys of a sealed segment of a topic that is compacted.
    Keys,
}

impl SegmentFile {
    /// Every kind, the data last: removing in this order never leaves an index of missing data.
    pub const ALL: [SegmentFile; 8] = [
        SegmentFile::Keys,
        SegmentFile::Pages,
        SegmentFile::Producers,
        SegmentFile::Snapshot,
        SegmentFile::TransactionIndex,
        SegmentFile::TimeIndex,
        SegmentFile::OffsetIndex,
        SegmentFile::Log,
    ];

    /// The extension of the file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            SegmentFile::Log => "log",
            SegmentFile::OffsetIndex => "index",
            SegmentFile::TimeIndex => "timeindex",
            SegmentFile::TransactionIndex => "txnindex",
            SegmentFile::Snapshot => "snapshot",
            SegmentFile::Producers => "producers",
            SegmentFile::Pages => "pages",
            SegmentFile::Keys => "keys",
        }
    }

    /// The file of this kind that belongs to `base` in `dir`.
    pub fn path(self, dir: &Path, base: Offset) -> PathBuf {
        dir.join(self.name(base, ""))
    }

    /// The file of this kind of a segment that is written to take the place of others.
    pub fn cleaned_path(self, dir: &Path, base: Offset) -> PathBuf {
        dir.join(self.name(base, CLEANED))
    }

    /// The same file once that was decided, until it has its name.
    pub fn swap_path(self, dir: &Path, base: Offset) -> PathBuf {
        dir.join(self.name(base, SWAP))
    }

    /// Twenty digits, the extension, and what is appended to it. Put together by hand: an opening names every segment.
    fn name(self, base: Offset, suffix: &str) -> String {
        const ZEROS: &str = "00000000000000000000";
        let digits = base.value().to_string();
        let zeros = ZEROS.get(digits.len()..).unwrap_or_default();
        let dot = if suffix.is_empty() { "" } else { "." };
        [zeros, &digits, ".", self.extension(), dot, suffix].concat()
    }

    /// Which file of a segment has this name, and the offset that it carries; `None` for any other name.
    pub fn of_name(name: &str) -> Option<(SegmentFile, Offset)> {
        Self::ALL.iter().find_map(|kind| Some((*kind, kind.parse(name)?)))
    }

    /// The base offset that a file name of this kind carries; `None` for any other name.
    pub fn parse(self, name: &str) -> Option<Offset> {
        let digits = name.strip_suffix(self.extension())?.strip_suffix('.')?;
        if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits.parse::<i64>().ok().and_then(Offset::from_i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_file_is_named_by_twenty_digits_and_read_back() {
        let path = SegmentFile::OffsetIndex.path(Path::new("d"), Offset::new(42));
        assert_eq!(path, Path::new("d/00000000000000000042.index"));
        assert_eq!(SegmentFile::OffsetIndex.parse("00000000000000000042.index"), Some(Offset::new(42)));
        for foreign in ["42.index", "00000000000000000042.timeindex", "00000000000000000042.index.aside", "x"]
        {
            assert_eq!(SegmentFile::OffsetIndex.parse(foreign), None, "{foreign}");
        }
        assert_eq!(SegmentFile::Log.parse("99999999999999999999.log"), None);
        let found = SegmentFile::of_name("00000000000000000042.snapshot");
        assert_eq!(found, Some((SegmentFile::Snapshot, Offset::new(42))));
    }

    #[test]
    fn what_was_put_aside_tells_what_it_was() {
        let own = "00000000000000000042.log";
        for number in ["", "1", "17"] {
            assert_eq!(put_aside_from(&format!("{own}.aside{number}")), Some(own));
        }
        for foreign in [own, "notes.aside", "00000000000000000042.log.aside-of-mine", "42.log.aside"] {
            assert_eq!(put_aside_from(foreign), None, "{foreign}");
        }
    }
}
