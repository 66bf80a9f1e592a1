//! What became of the records of a call that failed.

use super::Error;
use crate::types::{Offset, TopicPartition};
use std::ops::Range;

/// What became of the records of a producing call that returned an error: [`Error::outcome`] has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// None of them is in the log, and no opening will show one. They may be sent again.
    #[default]
    NotAppended,
    /// Those at these offsets are in the log, and no others. They are not known to be durable yet: the next flush of their
    /// partition makes them so. Sending them again would add them twice.
    Appended(Vec<(TopicPartition, Range<Offset>)>),
    /// They were written, and the flush after that failed: nobody knows what the medium has. The next opening finds out, and
    /// shows what is there.
    Unknown,
    /// The call stopped waiting, and the record is still on its way: wait for its [`Delivery`](crate::Delivery) again.
    Pending,
}

impl Outcome {
    /// What became of these records and of those together.
    #[must_use]
    pub(crate) fn and(self, other: Outcome) -> Outcome {
        match (self, other) {
            (Outcome::Unknown, _) | (_, Outcome::Unknown) => Outcome::Unknown,
            (Outcome::Pending, _) | (_, Outcome::Pending) => Outcome::Pending,
            (Outcome::NotAppended, other) => other,
            (known, Outcome::NotAppended) => known,
            (Outcome::Appended(mut ranges), Outcome::Appended(more)) => {
                ranges.extend(more);
                Outcome::Appended(ranges)
            }
        }
    }
}

/// What a call waits for that waits for a record on its way.
pub(crate) const ACKNOWLEDGEMENT: &str = "a record to be acknowledged";

impl Error {
    /// What became of the records of the call that returned this error: of [`Partition::append`](crate::Partition::append),
    /// of a [`Producer`](crate::Producer)'s `send`, `send_with`, `send_batch`, `send_all` (the records after those that
    /// [`SendAllError`](crate::SendAllError) counts as acknowledged), `enqueue` and `try_enqueue`, and of a
    /// [`Delivery`](crate::Delivery). For [`Producer::flush`](crate::Producer::flush) and `close` it covers all records that
    /// were enqueued and failed since the last flush.
    ///
    /// It is [`Unknown`](Outcome::Unknown) only after a flush that failed (or after a panic in the middle of a write). A
    /// failed *write* is undone, and where even that fails, what is left is not a whole batch, which no opening shows: its
    /// records are [`NotAppended`](Outcome::NotAppended).
    ///
    /// An [`Undelivered`](Error::Undelivered) that another `enqueue` or `send` reports is about earlier records; its
    /// outcome is that of the record of the call, which was not taken. In a child of the process that opened the log, a
    /// record belongs to the parent, and [`Forked`](Error::Forked) says nothing about it.
    ///
    /// ```
    /// # use streamlog::{Outcome, ProducerRecord, Streamlog, TopicConfig};
    /// # let log = Streamlog::in_memory()?;
    /// # log.create_topic("orders", TopicConfig::default().max_message_bytes(200))?;
    /// # let producer = log.producer()?;
    /// if let Err(error) = producer.send(ProducerRecord::new("orders", "x".repeat(1000))) {
    ///     match error.outcome() {
    ///         Outcome::NotAppended => println!("send it again, or keep it: {error}"),
    ///         Outcome::Appended(places) => println!("it is in the log: {places:?}"),
    ///         _ => println!("open the log again and look"),
    ///     }
    /// }
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    pub fn outcome(&self) -> Outcome {
        match self {
            Error::Poisoned { outcome, .. }
            | Error::Undelivered { outcome, .. }
            | Error::Unacknowledged { outcome, .. } => outcome.clone(),
            Error::Timeout { what, .. } if *what == ACKNOWLEDGEMENT => Outcome::Pending,
            _ => Outcome::NotAppended,
        }
    }

    /// The same failure, of a call whose records became that.
    #[must_use]
    pub(crate) fn with_outcome(mut self, known: Outcome) -> Error {
        match &mut self {
            Error::Poisoned { outcome, .. } | Error::Undelivered { outcome, .. } => *outcome = known,
            _ => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_of_some_is_unknown_of_all_and_places_add_up() {
        let at = |partition, offsets: Range<u64>| {
            let offsets = Offset::new(offsets.start)..Offset::new(offsets.end);
            Outcome::Appended(vec![(TopicPartition::new("t", partition), offsets)])
        };
        assert_eq!(Outcome::NotAppended.and(at(0, 1..2)), at(0, 1..2).and(Outcome::NotAppended));
        assert_eq!(at(0, 1..2).and(Outcome::Unknown), Outcome::Unknown);
        assert_eq!(Outcome::NotAppended.and(Outcome::NotAppended), Outcome::NotAppended);
        let Outcome::Appended(both) = at(0, 1..2).and(at(1, 4..6)) else { panic!() };
        assert_eq!(
            both.iter().map(|(at, offsets)| (at.partition, offsets.end.value())).collect::<Vec<_>>(),
            [(0, 2), (1, 6)]
        );
    }
}
