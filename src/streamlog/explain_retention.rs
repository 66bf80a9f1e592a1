//! What retention would do with a topic, to answer why a record is still there, or how long it will stay.

use super::Streamlog;
use crate::{
    error::Result,
    partition::{
        log::Log,
        state::retention_verdict::RetentionVerdict,
        write::{
            drop_oldest::outlook,
            retention_plan::{Turn, plan_retention},
        },
    },
    storage::budget::WhenFull,
    topic::config::CleanupPolicy,
    types::{Offset, Timestamp, TopicPartition},
};
use std::{fmt, sync::Arc, time::Duration};

/// What retention would do with the segments of a topic, as [`Streamlog::explain_retention`] finds it. As text it is a line
/// for the topic, one for the disk budget if there is one, one for each partition and one for each segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicRetention {
    /// The topic.
    pub topic: String,
    /// When it was looked at.
    pub now: Timestamp,
    /// Whether segments are removed at all (`cleanup.policy`).
    pub cleanup_policy: CleanupPolicy,
    /// How old records may become (`retention.ms`).
    pub retention_time: Option<Duration>,
    /// How large a partition may become (`retention.bytes`).
    pub retention_bytes: Option<u64>,
    /// What the files of all topics may take, if that is limited.
    pub disk_budget: Option<BudgetRetention>,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionRetention>,
}

/// How much of the [`disk_budget`](crate::config::Builder::disk_budget) is used, and what it drops next, of all topics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetRetention {
    /// How many bytes may be used.
    pub bytes: u64,
    /// How many are used.
    pub used: u64,
    /// What is done with an append that needs more.
    pub when_full: WhenFull,
    /// What is dropped first; `None` where nothing is, or nothing may be.
    pub next: Option<NextDropped>,
}

/// The segment that the disk budget drops first: of all that may go, the one with the oldest records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NextDropped {
    /// Its partition.
    pub partition: TopicPartition,
    /// The offset of its first record.
    pub base_offset: Offset,
    /// How many more bytes must be used before; 0 where the next pass drops it.
    pub missing: u64,
}

/// What retention would do with the segments of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionRetention {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset that can be read.
    pub log_start_offset: Offset,
    /// The offset that the next record gets.
    pub log_end_offset: Offset,
    /// Its segments, oldest first. The last one takes appends.
    pub segments: Vec<SegmentRetention>,
}

/// What retention would do with a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentRetention {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub next_offset: Offset,
    /// The bytes of its batches.
    pub bytes: u64,
    /// What would become of it, and why.
    pub verdict: RetentionVerdict,
}

impl Streamlog {
    /// Why each segment of a topic stays, or which rule removes it next: what the next pass of retention decides, decided
    /// now, with nothing removed. The [manual](crate::manual::operating#what-retention-removes) shows what it prints.
    ///
    /// ```
    /// # use streamlog::{RecordData, Streamlog, TopicConfig};
    /// # use std::time::Duration;
    /// # let log = Streamlog::in_memory()?;
    /// let config = TopicConfig::default().retention_time(Duration::from_secs(60));
    /// let clicks = log.create_topic("clicks", config)?.partition(0)?;
    /// clicks.append(&[RecordData::new("home")])?;
    /// let retention = log.explain_retention("clicks")?;
    /// assert!(retention.to_string().contains("stays: younger than retention.ms until "));
    /// assert!(!retention.partitions[0].segments[0].verdict.goes());
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `UnknownTopic`, and `Io` if the time of a file is needed and cannot be read.
    pub fn explain_retention(&self, topic: &str) -> Result<TopicRetention> {
        self.inner.check_open()?;
        self.follow()?;
        let topic = self.inner.catalog.topic(topic)?;
        let config = topic.config();
        let values = config.values();
        let budget = &self.inner.catalog.data_dir().space.budget;
        let logs = if budget.drops_oldest() { self.inner.catalog.logs() } else { Vec::new() };
        let turns = Turns { turns: outlook(&logs, budget), logs };
        Ok(TopicRetention {
            topic: topic.name().to_string(),
            now: self.inner.catalog.data_dir().env.now(),
            cleanup_policy: values.cleanup_policy,
            retention_time: values.retention_time,
            retention_bytes: values.retention_bytes,
            disk_budget: self.explain_budget(&turns),
            partitions: topic.logs().iter().map(|log| explain(log, turns.of(log))).collect::<Result<_>>()?,
        })
    }

    fn explain_budget(&self, turns: &Turns) -> Option<BudgetRetention> {
        let budget = &self.inner.catalog.data_dir().space.budget;
        Some(BudgetRetention {
            bytes: budget.limit()?,
            used: budget.used(),
            when_full: if budget.drops_oldest() { WhenFull::DropOldest } else { WhenFull::Refuse },
            next: turns.next(),
        })
    }
}

/// When the disk budget drops which segments: that depends on what all logs have.
struct Turns {
    logs: Vec<Arc<Log>>,
    turns: Vec<Vec<Turn>>,
}

impl Turns {
    fn of(&self, log: &Arc<Log>) -> Vec<Turn> {
        let at = self.logs.iter().position(|other| Arc::ptr_eq(other, log));
        at.and_then(|i| self.turns.get(i)).cloned().unwrap_or_default()
    }

    fn next(&self) -> Option<NextDropped> {
        let mut firsts =
            self.logs.iter().zip(&self.turns).filter_map(|(log, turns)| Some((log, turns.first()?)));
        let (log, first) = firsts.find(|(_, first)| first.older == 0)?;
        let partition = log.identity.name.clone();
        Some(NextDropped { partition, base_offset: first.base, missing: first.missing })
    }
}

fn explain(log: &Arc<Log>, outlook: Vec<Turn>) -> Result<PartitionRetention> {
    let planned = plan_retention(log, outlook)?;
    let log_end_offset = log.offsets().log_end();
    let bases: Vec<Offset> = planned.iter().map(|(segment, _)| segment.base()).collect();
    let ends = bases.iter().copied().skip(1).chain([log_end_offset]);
    let segments = planned.into_iter().zip(ends).map(|((segment, verdict), next_offset)| SegmentRetention {
        base_offset: segment.base(),
        next_offset,
        bytes: segment.readable(),
        verdict,
    });
    Ok(PartitionRetention {
        partition: log.identity.name.clone(),
        log_start_offset: log.offsets().log_start(),
        log_end_offset,
        segments: segments.collect(),
    })
}

impl fmt::Display for TopicRetention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: cleanup.policy={}", self.topic, self.now, self.cleanup_policy)?;
        if let Some(time) = self.retention_time {
            write!(f, ", retention.ms={}", time.as_millis())?;
        }
        if let Some(bytes) = self.retention_bytes {
            write!(f, ", retention.bytes={bytes}")?;
        }
        if let Some(budget) = &self.disk_budget {
            write!(f, "\n{budget}")?;
        }
        self.partitions.iter().try_for_each(|partition| write!(f, "\n{partition}"))
    }
}

impl fmt::Display for BudgetRetention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk_budget: {} of {} bytes are used by all topics; ", self.used, self.bytes)?;
        match (&self.next, self.when_full) {
            (_, WhenFull::Refuse) => f.write_str("an append beyond them is refused, and nothing is dropped"),
            (None, WhenFull::DropOldest) => {
                f.write_str("nothing may be dropped, and an append beyond them is refused")
            }
            (Some(next), WhenFull::DropOldest) => {
                let NextDropped { partition, base_offset, missing } = next;
                write!(
                    f,
                    "the oldest segment that may go is that at offset {base_offset} of {partition}, and it goes "
                )?;
                match missing {
                    0 => f.write_str("now"),
                    missing => write!(f, "once {missing} more are used"),
                }
            }
        }
    }
}

impl fmt::Display for PartitionRetention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let (start, end) = (self.log_start_offset, self.log_end_offset);
        write!(f, "{}: offsets {start}..{end}, {bytes} bytes", self.partition)?;
        self.segments.iter().try_for_each(|segment| write!(f, "\n  {segment}"))
    }
}

impl fmt::Display for SegmentRetention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}, {} bytes, {}", self.base_offset, self.next_offset, self.bytes, self.verdict)
    }
}
