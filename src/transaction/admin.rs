//! What is known of names, for people: Kafka's `listTransactions` and `describeTransactions`.

use super::{
    claims::Claims,
    entry::{TransactionStatus, holder},
};
use crate::{
    codec::coordinator::transactions::{TopicPartitions, TransactionValue},
    error::Result,
    types::{Timestamp, TopicPartition},
};
use std::{collections::BTreeMap, time::Duration};

/// A producer's name and where its last transaction stands (Kafka's `TransactionListing`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionListing {
    /// The name, Kafka's transactional id.
    pub name: String,
    /// Its producer id.
    pub producer_id: i64,
    /// Where its last transaction stands.
    pub status: TransactionStatus,
}

/// What is known of a producer's name (Kafka's `TransactionDescription`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionDescription {
    /// The name, Kafka's transactional id.
    pub name: String,
    /// Its producer id.
    pub producer_id: i64,
    /// The epoch in which the holder of the name writes its next transaction.
    pub producer_epoch: i16,
    /// Where its last transaction stands.
    pub status: TransactionStatus,
    /// How long a transaction may stay open.
    pub timeout: Duration,
    /// When the last transaction began; `None` before the first since the name was claimed.
    pub started: Option<Timestamp>,
    /// The partitions that the last transaction wrote to, until it is complete; sorted.
    pub partitions: Vec<TopicPartition>,
}

impl Claims {
    /// All names that are known, sorted. Where a record cannot be read, its name may be missing, or older than it is;
    /// [`health`](crate::Streamlog::health) then reports the damage.
    ///
    /// # Errors
    ///
    /// `Io`, `Closed`.
    pub(crate) fn list(&self) -> Result<Vec<TransactionListing>> {
        self.table.read(|state| {
            let mut entries: BTreeMap<&str, &TransactionValue> = state.entries().collect();
            let mut in_flight = self.in_flight.lock();
            in_flight.applied(state.next_offset);
            for (name, value) in in_flight.latest() {
                match value {
                    Some(value) => _ = entries.insert(name, value),
                    None => _ = entries.remove(name),
                }
            }
            let listing = |(name, value): (&str, &TransactionValue)| TransactionListing {
                name: name.to_string(),
                producer_id: holder(value).id,
                status: value.status,
            };
            entries.into_iter().map(listing).collect()
        })
    }

    /// What is known of `name`; `None` if that is nothing.
    ///
    /// # Errors
    ///
    /// As for [`list`](Self::list); `Corrupt` where a record that cannot be read may be the last one of this name.
    pub(crate) fn describe(&self, name: &str) -> Result<Option<TransactionDescription>> {
        self.table.read(|state| {
            let mut in_flight = self.in_flight.lock();
            in_flight.applied(state.next_offset);
            let value = match in_flight.last(name) {
                Some(value) => value.as_ref(),
                None => state.entry(name)?,
            };
            Ok(value.map(|value| describe(name, value)))
        })?
    }
}

fn describe(name: &str, value: &TransactionValue) -> TransactionDescription {
    let holder = holder(value);
    TransactionDescription {
        name: name.to_string(),
        producer_id: holder.id,
        producer_epoch: holder.epoch,
        status: value.status,
        timeout: Duration::from_millis(u64::try_from(value.timeout_ms).unwrap_or(0)),
        started: Some(value.started).filter(|started| !started.is_none()),
        partitions: partitions(value.partitions.as_deref().unwrap_or_default()),
    }
}

fn partitions(topics: &[TopicPartitions]) -> Vec<TopicPartition> {
    let of_topic = |topic: &TopicPartitions| {
        let numbers = topic.partitions.iter().filter_map(|number| u32::try_from(*number).ok());
        numbers.map(|number| TopicPartition::new(topic.topic.as_str(), number)).collect::<Vec<_>>()
    };
    let mut partitions: Vec<_> = topics.iter().flat_map(of_topic).collect();
    partitions.sort();
    partitions
}
