//! Positions: where a consumer is, moving it, and finding the offset to move it to.

use super::{
    Consumer,
    stored_positions::{Positions, StoredPosition},
    unstable::still_waits,
};
use crate::{
    error::{Error, Result},
    partition::{
        log::Log,
        read::by_time::{OffsetAndTimestamp, check_time, offset_for_timestamp},
    },
    types::{Offset, Timestamp, TopicPartition},
};
use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

impl Consumer {
    /// Moves to `offset`: the next poll returns records from there on. If the partition does not have that offset, that
    /// poll resets the position as [`auto_offset_reset`](super::ConsumerBuilder::auto_offset_reset) says.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the partition is not assigned.
    pub fn seek(&mut self, partition: &TopicPartition, offset: impl Into<Offset>) -> Result<()> {
        self.check_open()?;
        self.follow_catalog();
        self.place_mut(partition)?.seek(offset.into());
        Ok(())
    }

    /// Moves past the damage that [`poll`](Self::poll) has reported with `error`. Returns its partition and the offsets
    /// that are skipped: their records are not returned, and a commit from now on covers them. The next poll continues
    /// after them.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streamlog::{Consumer, Error, Result};
    /// # fn print(_: &streamlog::ConsumerRecords) {}
    /// /// Prints what can be read, and reports what cannot.
    /// fn print_what_is_left(consumer: &mut Consumer) -> Result<()> {
    ///     match consumer.poll(Duration::from_secs(1)) {
    ///         Ok(records) => print(&records),
    ///         Err(error @ Error::Corrupt { .. }) => {
    ///             let (partition, offsets) = consumer.skip_damage(&error)?;
    ///             eprintln!("{error}: {partition} lacks offsets {} to {}", offsets.start, offsets.end);
    ///         }
    ///         Err(error) => return Err(error),
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = print_what_is_left;
    /// ```
    ///
    /// # Errors
    ///
    /// A clone of `error` if it has no [`next_offset`](Error::next_offset): it is not damage, or the end of the damage
    /// is unknown. `InvalidArgument` if no partition of this consumer stands before this damage, because it was moved
    /// or unassigned since. No position is moved then.
    pub fn skip_damage(&mut self, error: &Error) -> Result<(TopicPartition, Range<Offset>)> {
        self.check_open()?;
        let (Error::Corrupt { path, .. }, Some(next)) = (error, error.next_offset()) else {
            return Err(error.clone());
        };
        let places = self.places.iter_mut().filter(|place| path.starts_with(&place.log().identity.dir));
        for place in places {
            if let Some(skipped) = place.skip_damage(next) {
                return Ok((place.name().clone(), skipped));
            }
        }
        let reason = format!("no partition that is assigned to this consumer stands before this: {error}");
        Err(Error::InvalidArgument { reason })
    }

    /// Moves to the log start of these partitions, or of all assigned partitions if none is named.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a partition is not assigned; none is moved then.
    pub fn seek_to_beginning(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.seek_each(partitions, |log, _| Ok(log.offsets().log_start()))
    }

    /// Moves to the end of these partitions, after the last record, or to that of all assigned partitions if none is
    /// named.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a partition is not assigned; none is moved then.
    pub fn seek_to_end(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.seek_each(partitions, |log, consumer| Ok(log.offsets().bound(consumer.policy.isolation)))
    }

    /// Moves to the first record of each of these partitions whose timestamp is `timestamp` or later, or to the end
    /// where there is none. If no partition is named, all that are assigned are moved.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a partition is not assigned, or for a negative time; `Corrupt` where the record may lie in
    /// damage. None is moved then.
    pub fn seek_to_timestamp(&mut self, partitions: &[TopicPartition], timestamp: Timestamp) -> Result<()> {
        check_time(timestamp)?;
        self.seek_each(partitions, |log, consumer| {
            let isolation = consumer.policy.isolation;
            let found = offset_for_timestamp(log, timestamp, isolation)?;
            let mut nowhere = log.offsets().bound(isolation);
            planted!(no_such_time_is_the_beginning => nowhere = log.offsets().log_start());
            Ok(found.map_or(nowhere, |found| found.offset))
        })
    }

    /// Where it stands: after the last record that a poll returned, in every partition in which it has a position.
    pub fn positions(&self) -> Positions {
        let places = self.places.iter().filter_map(|place| {
            Some((place.name().clone(), StoredPosition::of(place.log(), place.position()?)))
        });
        Positions { places: places.collect() }
    }

    /// Moves to positions that were taken from a consumer of this log, now or in an earlier life.
    ///
    /// # Errors
    ///
    /// Nothing is moved then. `InvalidArgument` when a partition is not assigned. `Closed` where its topic was deleted since,
    /// though another one has the name now. `OffsetOutOfRange` where a power cut took records below the position: the offsets
    /// that follow have, or will have, other records than those that were read.
    pub fn seek_to_positions(&mut self, positions: &Positions) -> Result<()> {
        self.check_open()?;
        self.follow_catalog();
        for (partition, stored) in &positions.places {
            stored.check(self.place(partition)?.log())?;
        }
        for (partition, stored) in &positions.places {
            self.place_mut(partition)?.seek(stored.offset);
        }
        Ok(())
    }

    fn seek_each(
        &mut self,
        partitions: &[TopicPartition],
        to: impl Fn(&Arc<Log>, &Consumer) -> Result<Offset>,
    ) -> Result<()> {
        self.check_open()?;
        self.follow_catalog();
        let all = if partitions.is_empty() { self.assignment() } else { partitions.to_vec() };
        let mut targets = Vec::new();
        for partition in &all {
            targets.push((partition, to(self.place(partition)?.log(), self)?));
        }
        targets.into_iter().try_for_each(|(partition, offset)| {
            self.place_mut(partition)?.seek(offset);
            Ok(())
        })
    }

    /// Stops returning records of these partitions. Their positions and the assignment stay.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a partition is not assigned; none is paused then.
    pub fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, true)
    }

    /// Returns records of these partitions again.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a partition is not assigned; none is resumed then.
    pub fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, false)
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<()> {
        self.check_open()?;
        self.follow_catalog();
        partitions.iter().try_for_each(|partition| self.place(partition).map(drop))?;
        for partition in partitions {
            self.place_mut(partition)?.pause(paused);
        }
        // The failure of a partition that was paused may be reported now.
        self.failing |= self.places.iter().any(|place| place.failure.is_some());
        Ok(())
    }

    /// The partitions that are paused, in their order.
    pub fn paused(&self) -> Vec<TopicPartition> {
        self.places.iter().filter(|p| p.is_paused()).map(|p| p.name().clone()).collect()
    }

    /// The offset of the next record that a poll returns. Before the first poll it is determined now, from the
    /// committed offset or the reset policy.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the partition is not assigned; `NoOffset` or `OffsetOutOfRange` when there is no usable
    /// committed offset and the policy is [`AutoOffsetReset::None`](super::AutoOffsetReset::None); `Timeout`, which
    /// passes by itself, while a transaction is about to commit that offset.
    pub fn position(&mut self, partition: &TopicPartition) -> Result<Offset> {
        self.check_open()?;
        self.follow_catalog();
        if self.place(partition)?.position().is_none() {
            self.begin()?;
        }
        let place = self.place_mut(partition)?;
        match (place.position(), place.failure.take()) {
            (Some(position), failure) => {
                place.failure = failure;
                Ok(position)
            }
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(still_waits(Duration::ZERO)),
        }
    }

    /// How many offsets lie between the position and the end.
    ///
    /// # Errors
    ///
    /// As for [`position`](Self::position).
    pub fn current_lag(&mut self, partition: &TopicPartition) -> Result<u64> {
        let position = self.position(partition)?;
        let end = self.place(partition)?.log().offsets().bound(self.policy.isolation);
        let mut lag = end.distance_from(position);
        planted!(the_last_record_is_no_lag => lag = lag.saturating_sub(1));
        Ok(lag)
    }

    /// The age of the next record that a poll returns, by its timestamp: how far the consumer is behind in time. `None`
    /// when there is no such record, or when it carries no timestamp; zero when its timestamp lies in the future.
    ///
    /// # Errors
    ///
    /// As for [`position`](Self::position), and those of reading.
    pub fn current_lag_time(&mut self, partition: &TopicPartition) -> Result<Option<Duration>> {
        self.position(partition)?;
        let now = self.policy.env.now().as_millis();
        let next = self.place(partition)?.next_timestamp()?.filter(|t| !t.is_none());
        Ok(next.map(|t| Duration::from_millis(u64::try_from(now.saturating_sub(t.as_millis())).unwrap_or(0))))
    }

    /// For each partition, assigned or not, the first record whose timestamp is the one given with it or later; `None`
    /// where there is none.
    ///
    /// # Errors
    ///
    /// `UnknownTopic`, `UnknownPartition`, `InvalidArgument` for a negative time, and `Corrupt` where the record may
    /// lie in damage.
    pub fn offsets_for_times(
        &self,
        times: impl IntoIterator<Item = (TopicPartition, Timestamp)>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>> {
        self.check_open()?;
        let find = |(partition, time): (TopicPartition, Timestamp)| {
            check_time(time)?;
            let found = offset_for_timestamp(&self.catalog.log(&partition)?, time, self.policy.isolation)?;
            Ok((partition, found))
        };
        times.into_iter().map(find).collect()
    }

    /// The log start of each of these partitions, assigned or not.
    ///
    /// # Errors
    ///
    /// `UnknownTopic`, `UnknownPartition`.
    pub fn beginning_offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.check_open()?;
        let start = |p: &TopicPartition| Ok((p.clone(), self.catalog.log(p)?.offsets().log_start()));
        partitions.iter().map(start).collect()
    }

    /// The offset after the last record of each of these partitions, assigned or not, that a consumer of this
    /// isolation level can read.
    ///
    /// # Errors
    ///
    /// `UnknownTopic`, `UnknownPartition`.
    pub fn end_offsets(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.check_open()?;
        let end = |p: &TopicPartition| {
            let log = self.catalog.log(p)?;
            let mut end = log.offsets().bound(self.policy.isolation);
            planted!(an_end_is_what_is_written => end = log.offsets().log_end());
            Ok((p.clone(), end))
        };
        partitions.iter().map(end).collect()
    }
}
