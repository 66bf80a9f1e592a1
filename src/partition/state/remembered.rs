//! What a log remembers of its producers, as a cleaner must know it: whose headers stay though no record of theirs lives.
//!
//! The state must come out of the batches alone, where every snapshot is lost. So the last batches of each producer that
//! is known stay, emptied if need be: all that a retry may be of, where Kafka keeps the last. A producer without batches
//! is known by its markers, which say its epoch.

use crate::{codec::batch::BatchHeader, types::Offset};
use std::collections::HashMap;

/// The producers of a log at one time.
#[derive(Debug, Default)]
pub struct Remembered {
    producers: HashMap<i64, Last>,
}

/// What is to stay of a producer.
#[derive(Debug)]
pub struct Last {
    /// Its epoch.
    pub epoch: i16,
    /// The last offsets of its last batches.
    pub batches: Vec<Offset>,
}

impl FromIterator<(i64, Last)> for Remembered {
    fn from_iter<I: IntoIterator<Item = (i64, Last)>>(producers: I) -> Self {
        Remembered { producers: producers.into_iter().collect() }
    }
}

impl Remembered {
    /// Whether something of a batch is to stay, whatever lives of it.
    pub fn keeps(&self, header: &BatchHeader) -> bool {
        let Some(last) = self.producers.get(&header.producer_id) else { return false };
        match last.batches.is_empty() {
            true => header.is_control() && header.producer_epoch == last.epoch,
            false => !header.is_control() && last.batches.contains(&header.last_offset()),
        }
    }
}
