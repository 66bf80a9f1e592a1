//! What retention would do with a segment, and why: values for people who ask.

use crate::types::{Offset, Timestamp};
use std::fmt;

/// What retention would do with a segment now. As text: `goes by age`, or `stays: 12 more bytes are kept than ..`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetentionVerdict {
    /// The next pass removes it.
    Goes {
        /// The first rule that removes it.
        rule: RetentionRule,
    },
    /// It stays.
    Stays {
        /// Everything that keeps it, at least one reason.
        why: Vec<StaysBecause>,
    },
}

/// A rule that removes segments, in the order in which the rules are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetentionRule {
    /// The log begins after it: [`Streamlog::delete_records`](crate::Streamlog::delete_records) was called. It holds
    /// under every cleanup policy.
    LogStart,
    /// The partition is larger than `retention.bytes` says.
    Size,
    /// Its newest record is older than `retention.ms` says.
    Age,
    /// It is the oldest of all topics, and more is used than [`disk_budget`](crate::config::Builder::disk_budget) allows, with
    /// [`WhenFull::DropOldest`](crate::config::WhenFull::DropOldest).
    DiskBudget,
}

/// A reason for which a segment stays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StaysBecause {
    /// The topic's `cleanup.policy` does not delete.
    Policy,
    /// Neither `retention.ms` nor `retention.bytes` is set, and no disk budget drops it.
    NoLimit,
    /// It is younger than `retention.ms`.
    Young {
        /// When it is too old.
        until: Timestamp,
    },
    /// The partition does not hold too much for `retention.bytes`.
    WithinSize {
        /// How many bytes must be appended before it goes.
        missing: u64,
    },
    /// The disk budget has room, or older segments of other topics, that go first.
    WithinDiskBudget {
        /// How many more bytes must be used before it goes.
        missing: u64,
        /// How many segments of all topics go before it.
        older: u64,
    },
    /// A group of `streamlog.retention.hold.groups` has not read all of it.
    Held {
        /// The group that is the furthest behind.
        group: String,
        /// What it has committed; `None` where that is nothing.
        committed: Option<Offset>,
    },
    /// It is active and empty.
    Active,
    /// Some of it is not known to be on the medium yet.
    NotDurable,
    /// Some of it can be read by nobody yet.
    AboveHighWatermark,
    /// It reaches into a transaction that has not ended, or whose end is not durable yet.
    Transaction {
        /// Where the transaction begins.
        first_offset: Offset,
    },
    /// One before it stays, and only the oldest segments go.
    Follows {
        /// The base offset of the oldest one that stays.
        kept: Offset,
    },
    /// What decides about it cannot be read, or its partition is not written to any more.
    Unknown {
        /// The error.
        reason: String,
    },
}

impl RetentionVerdict {
    /// Whether the next pass removes the segment.
    pub fn goes(&self) -> bool {
        matches!(self, RetentionVerdict::Goes { .. })
    }
}

impl fmt::Display for RetentionVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RetentionVerdict::Goes { rule } => write!(f, "goes: {rule}"),
            RetentionVerdict::Stays { why } => {
                f.write_str("stays: ")?;
                for (i, because) in why.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", and " })?;
                    because.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for RetentionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RetentionRule::LogStart => "the log begins after it",
            RetentionRule::Size => "the partition is larger than retention.bytes",
            RetentionRule::Age => "it is older than retention.ms",
            RetentionRule::DiskBudget => {
                "more is used than disk_budget allows, and it is the oldest that may go"
            }
        })
    }
}

impl fmt::Display for StaysBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StaysBecause::Policy => f.write_str("the cleanup.policy does not delete"),
            StaysBecause::NoLimit => f.write_str("neither retention.ms nor retention.bytes is set"),
            StaysBecause::Young { until } => write!(f, "younger than retention.ms until {until}"),
            StaysBecause::WithinSize { missing } => {
                write!(f, "within retention.bytes until {missing} more bytes are appended")
            }
            StaysBecause::WithinDiskBudget { missing, older } => {
                write!(f, "within disk_budget until {missing} more bytes are used, ")?;
                match older {
                    0 => f.write_str("and then the next to go"),
                    1 => f.write_str("and one older segment goes before it"),
                    older => write!(f, "and {older} older segments go before it"),
                }
            }
            StaysBecause::Held { group, committed: Some(offset) } => {
                write!(f, "held by group {group}, which has committed offset {offset}")
            }
            StaysBecause::Held { group, committed: None } => {
                write!(f, "held by group {group}, which has committed nothing")
            }
            StaysBecause::Active => f.write_str("it is active and empty"),
            StaysBecause::NotDurable => f.write_str("not all of it is flushed yet"),
            StaysBecause::AboveHighWatermark => f.write_str("not all of it can be read yet"),
            StaysBecause::Transaction { first_offset } => {
                write!(f, "it reaches into the transaction that begins at offset {first_offset}")
            }
            StaysBecause::Follows { kept } => write!(f, "the segment at offset {kept} stays before it"),
            StaysBecause::Unknown { reason } => f.write_str(reason),
        }
    }
}
