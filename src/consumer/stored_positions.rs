//! Positions for somebody else to keep: a program that stores its results in a database of its own stores these in the same
//! transaction, and continues from them.

use crate::{
    error::{Error, Result},
    partition::{log::Log, write::end_transaction::has_reached},
    types::{Offset, ParseError, TopicId, TopicPartition, canonical},
};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Where a consumer stands, in every partition that it reads: for exactly-once into a store that is not this log.
///
/// As text it is a line for each partition: its name, the id of its topic, its incarnation and the next offset. `FromStr`
/// reads that back, so a column or a file of text keeps it.
///
/// ```
/// # use std::time::Duration;
/// # use streamlog::{ProducerRecord, Streamlog, TopicConfig, clients::Positions};
/// # let log = Streamlog::in_memory()?;
/// # log.create_topic("orders", TopicConfig::default())?;
/// # log.producer()?.send(ProducerRecord::new("orders", "a loom"))?;
/// # let mut consumer = log.consumer("billing")?;
/// # consumer.subscribe(["orders"])?;
/// # while consumer.poll(Duration::ZERO)?.is_empty() {}
/// let stored = consumer.positions().to_string();
/// // Later, perhaps after a crash: what the database has says where to go on.
/// # let mut consumer = log.consumer("billing")?;
/// # consumer.subscribe(["orders"])?;
/// consumer.seek_to_positions(&stored.parse::<Positions>()?)?;
/// # assert!(consumer.poll(Duration::ZERO)?.is_empty());
/// # Ok::<(), streamlog::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    pub(super) places: BTreeMap<TopicPartition, StoredPosition>,
}

/// The next offset to read, and the life of the log that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredPosition {
    topic_id: TopicId,
    incarnation: u32,
    pub(super) offset: Offset,
}

impl Positions {
    /// The partitions, and the next offset to read in each.
    pub fn offsets(&self) -> impl Iterator<Item = (&TopicPartition, Offset)> {
        self.places.iter().map(|(partition, place)| (partition, place.offset))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

impl StoredPosition {
    /// The place before `offset` in `log`, as that is now.
    pub(super) fn of(log: &Log, offset: Offset) -> Self {
        let (topic_id, incarnation) = (log.identity.topic_id, log.incarnation_of(Offset::MAX));
        StoredPosition { topic_id, incarnation, offset }
    }

    /// An error where `log` has not, or has no more, what lay below it.
    pub(super) fn check(&self, log: &Log) -> Result<()> {
        if log.identity.topic_id != self.topic_id {
            return Err(Error::deleted(&log.identity.name.topic));
        }
        planted!(a_position_of_another_life_is_taken => return Ok(()));
        if has_reached(log, self.incarnation, self.offset)? {
            return Ok(());
        }
        let ended = log.incarnation_end(self.incarnation);
        Err(Error::OffsetOutOfRange {
            partition: log.identity.name.clone(),
            requested: self.offset,
            earliest: log.offsets().log_start(),
            latest: ended.unwrap_or(log.offsets().log_end()),
        })
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (partition, StoredPosition { topic_id, incarnation, offset }) in &self.places {
            writeln!(f, "{partition} {topic_id} {incarnation} {offset}")?;
        }
        Ok(())
    }
}

impl FromStr for Positions {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refused = |line| {
            ParseError::new("a position", line, "a partition, a topic's id, an incarnation and an offset")
        };
        let mut places = BTreeMap::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [partition, topic_id, incarnation, offset] = fields[..] else { return Err(refused(line)) };
            let place = StoredPosition {
                topic_id: topic_id.parse()?,
                incarnation: canonical(incarnation).ok_or_else(|| refused(line))?,
                offset: offset.parse()?,
            };
            if places.insert(partition.parse::<TopicPartition>()?, place).is_some() {
                return Err(refused(line));
            }
        }
        Ok(Positions { places })
    }
}
