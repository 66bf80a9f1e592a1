//! Resets: where a consumer continues when its committed offset or its position cannot be used, and how that is
//! reported.
//!
//! A reset is a move to an offset that was neither committed nor asked for by the program. Every reset is reported:
//! with the records of the poll that made it, or as an error where [`AutoOffsetReset::None`] forbids it. Beginning
//! where the policy says because nothing was ever committed is not a reset: the policy was chosen for that.

use super::coordinator::Committed;
use crate::{
    env::Env,
    error::{Error, Result},
    partition::{log::Log, read::by_time::offset_for_timestamp},
    types::{
        IsolationLevel, Offset, ParseError, Timestamp, TopicPartition, read_iso_duration, write_iso_duration,
    },
};
use std::{fmt, str::FromStr, sync::Arc, time::Duration};

/// Where a consumer begins in a partition for which its group has no usable committed offset, and where it continues
/// when its position is no longer in the log.
///
/// As text, Kafka's values of `auto.offset.reset`: `earliest`, `latest`, `none`, `by_duration:PT1H` with a duration of
/// ISO 8601 ([KIP-1106](https://cwiki.apache.org/confluence/display/KAFKA/KIP-1106%3A+Add+duration+based+offset+reset+option+for+consumer+clients)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AutoOffsetReset {
    /// At the log start, so that nothing is missed. The default, unlike Kafka's: nobody loses data by not reading this.
    #[default]
    Earliest,
    /// At the end, so that only records appended from now on are read. Kafka's default.
    ///
    /// "Now" is when the consumer [subscribes](super::Consumer::subscribe) or is [assigned](super::Consumer::assign)
    /// the partition, not its first poll: records that come in between are read. A partition that did not exist then
    /// (added since, or of a topic that was created again) is read from its beginning. Only a position that is no
    /// longer in the log moves to the end as it is at that moment, which [`resets`](super::ConsumerRecords::resets)
    /// reports.
    Latest,
    /// At the first record whose timestamp is at most this long before that same moment; like [`Latest`](Self::Latest)
    /// when there is none, and in partitions that did not exist then. Where that record may lie in damage, the poll
    /// fails with `Corrupt` until the program [seeks](super::Consumer::seek), for example to the error's
    /// [`next_offset`](crate::Error::next_offset), past the damage.
    ByDuration(Duration),
    /// Nowhere: the poll fails with `NoOffset` or `OffsetOutOfRange` until the program seeks.
    None,
}

impl fmt::Display for AutoOffsetReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AutoOffsetReset::Earliest => f.pad("earliest"),
            AutoOffsetReset::Latest => f.pad("latest"),
            AutoOffsetReset::ByDuration(age) => {
                f.write_str("by_duration:")?;
                write_iso_duration(f, *age)
            }
            AutoOffsetReset::None => f.pad("none"),
        }
    }
}

impl FromStr for AutoOffsetReset {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let age = || text.strip_prefix("by_duration:").and_then(read_iso_duration);
        match text {
            "earliest" => Ok(AutoOffsetReset::Earliest),
            "latest" => Ok(AutoOffsetReset::Latest),
            "none" => Ok(AutoOffsetReset::None),
            _ => age().map(AutoOffsetReset::ByDuration).ok_or_else(|| {
                let expected = "earliest, latest, none or by_duration:<duration>, like by_duration:PT1H";
                ParseError::new("a reset policy", text, expected)
            }),
        }
    }
}

crate::types::serde_as_text!(AutoOffsetReset);

/// Why a consumer did not continue at the committed offset, or at the offset that it was moved to. A group that has
/// committed nothing for a partition is not such a case: it begins where [`AutoOffsetReset`] says, and nothing is
/// reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ResetReason {
    /// The position was before the log start (retention, or deleted records) or beyond the end.
    OutOfRange,
    /// Records before the committed offset were lost in a crash: the offset lies beyond the end of its
    /// [incarnation](crate::manual#words) of the partition, or beyond the end of the log. The consumer continues where
    /// that incarnation ended, whatever the policy (other than [`AutoOffsetReset::None`]): everything before that was
    /// consumed, everything from there on is new.
    IncarnationEnded,
    /// The offset was committed for a topic of this name that has been deleted since.
    TopicRecreated,
}

impl fmt::Display for ResetReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ResetReason::OutOfRange => "it is out of range",
            ResetReason::IncarnationEnded => "what came before it was lost in a crash",
            ResetReason::TopicRecreated => "its topic was deleted and created again",
        })
    }
}

/// A move to an offset that was neither committed nor asked for by the program. As text, a sentence for log lines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OffsetReset {
    /// The partition.
    pub partition: TopicPartition,
    /// The committed offset, or the consumer's position before.
    pub from: Offset,
    /// Where the consumer continues.
    pub to: Offset,
    /// Why.
    pub reason: ResetReason,
}

impl fmt::Display for OffsetReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OffsetReset { partition, from, to, reason } = self;
        write!(f, "{partition} continues at offset {to}, not at {from}: {reason}")
    }
}

/// What decides where a consumer begins and where a reset moves it.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) env: Arc<dyn Env>,
    pub(super) auto: AutoOffsetReset,
    pub(super) isolation: IsolationLevel,
    pub(super) group: Option<Arc<str>>,
}

/// The moment at which a consumer chose a partition, which decides what the latest is for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    time: Timestamp,
    end: Offset,
}

/// Where reading a partition begins, and the reset that this is, if any.
pub(super) type Begin = (Offset, Option<OffsetReset>);

impl Policy {
    /// The present moment in `log`.
    pub(super) fn now(&self, log: &Log) -> Since {
        Since { time: self.env.now(), end: log.offsets().bound(self.isolation) }
    }

    /// Where to begin in `log`, given its committed offset and when the consumer chose it; `None` for `since` when
    /// `log` is younger than that choice.
    pub(super) fn begin(
        &self,
        log: &Arc<Log>,
        committed: Option<&Committed>,
        since: Option<Since>,
    ) -> Result<Begin> {
        let Some(committed) = committed else {
            let from = self.target(log, since)?.ok_or_else(|| self.no_offset(log))?;
            let to = from.max(log.offsets().log_start());
            // Records that came since and were removed before the first look are missed.
            let (partition, reason) = (log.identity.name.clone(), ResetReason::OutOfRange);
            return Ok((to, (from < to).then_some(OffsetReset { partition, from, to, reason })));
        };
        let offset = committed.value.offset;
        let mut is_another = committed.topic_id.is_some_and(|id| id != log.identity.topic_id);
        planted!(a_topic_is_its_name => is_another = false);
        if is_another {
            return self.reset_since(log, since, offset, ResetReason::TopicRecreated);
        }
        let end = committed.incarnation.and_then(|number| log.incarnation_end(number));
        // Before the first append after a crash there is no new incarnation yet, but the log ends where it does.
        let end = end.map_or(log.offsets().log_end(), |end| end.min(log.offsets().log_end()));
        if offset > end {
            return self.reset(log, offset, ResetReason::IncarnationEnded).map(|(_, reset)| {
                let to = end.max(log.offsets().log_start());
                (to, reset.map(|reset| OffsetReset { to, ..reset }))
            });
        }
        if offset < log.offsets().log_start() {
            let (to, mut reset) = self.reset_since(log, since, offset, ResetReason::OutOfRange)?;
            planted!(a_reset_is_not_reported => reset = None);
            return Ok((to, reset));
        }
        Ok((offset, None))
    }

    /// Where the policy moves a consumer in `log` now, or the error that it returns instead.
    pub(super) fn reset(&self, log: &Arc<Log>, from: Offset, reason: ResetReason) -> Result<Begin> {
        self.reset_since(log, Some(self.now(log)), from, reason)
    }

    fn reset_since(
        &self,
        log: &Arc<Log>,
        since: Option<Since>,
        from: Offset,
        reason: ResetReason,
    ) -> Result<Begin> {
        let to = self.target(log, since)?.ok_or_else(|| self.refusal(log, from, reason))?;
        let (partition, to) = (log.identity.name.clone(), to.max(log.offsets().log_start()));
        Ok((to, Some(OffsetReset { partition, from, to, reason })))
    }

    /// Where in `log` the policy begins, for a consumer that chose it at `since`; `None` where the policy names no
    /// offset.
    fn target(&self, log: &Arc<Log>, since: Option<Since>) -> Result<Option<Offset>> {
        let start = log.offsets().log_start();
        Ok(match (self.auto, since) {
            (AutoOffsetReset::None, _) => {
                planted!(none_is_the_earliest => return Ok(Some(start)));
                None
            }
            (AutoOffsetReset::Earliest, _) | (_, None) => Some(start),
            (AutoOffsetReset::Latest, Some(since)) => Some(since.end),
            (AutoOffsetReset::ByDuration(age), Some(since)) => {
                let mut oldest = since.time.minus(age);
                planted!(a_duration_without_its_edge => oldest = oldest.plus(Duration::from_millis(1)));
                let found = offset_for_timestamp(log, oldest, self.isolation)?;
                // Records that came since are not skipped, whatever their timestamps.
                let mut latest = since.end;
                planted!(what_came_since_is_passed_over => latest = Offset::MAX);
                Some(found.map_or(since.end, |found| found.offset.min(latest)))
            }
        })
    }

    fn refusal(&self, log: &Log, requested: Offset, reason: ResetReason) -> Error {
        match reason {
            ResetReason::OutOfRange | ResetReason::IncarnationEnded => Error::OffsetOutOfRange {
                partition: log.identity.name.clone(),
                requested,
                earliest: log.offsets().log_start(),
                latest: log.offsets().bound(self.isolation),
            },
            ResetReason::TopicRecreated => self.no_offset(log),
        }
    }

    fn no_offset(&self, log: &Log) -> Error {
        let group = self.group.as_deref().unwrap_or_default().to_string();
        Error::NoOffset { partition: log.identity.name.clone(), group }
    }
}
