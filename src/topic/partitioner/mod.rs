//! From a record to its partition.
//!
//! A record with a key goes where Kafka's Java client would send it ([`partition_for_key`]); that path takes no lock
//! and allocates nothing. A record without a key stays with its topic's sticky partition until a batch's worth of bytes
//! went there (KIP-794), so that batches fill. What a partitioner remembers is a hint: losing it costs a smaller batch,
//! never order, which is promised for keys alone.

mod murmur2;
mod per_topic;

pub use murmur2::{murmur2, partition_for_key};

use crate::env::sync::{AtomicBool, Ordering};
use per_topic::PerTopic;
use std::fmt;

/// What is known of a record when its partition is chosen.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PartitionContext<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The record's key, if it has one. An empty key is a key.
    pub key: Option<&'a [u8]>,
    /// The record's value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// How many partitions the topic has: at least one.
    pub partitions: u32,
}

impl<'a> PartitionContext<'a> {
    /// The context of a record for a topic with this many partitions.
    pub fn new(topic: &'a str, key: Option<&'a [u8]>, value: Option<&'a [u8]>, partitions: u32) -> Self {
        PartitionContext { topic, key, value, partitions }
    }
}

/// Chooses the partition of each record that does not name one itself.
///
/// It is called by many threads at the same time, for every record and before the record is encoded, so it should neither
/// wait nor allocate. An answer that is not below `context.partitions` fails the record with an error.
pub trait Partitioner: Send + Sync {
    /// The partition for this record.
    fn partition(&self, context: &PartitionContext<'_>) -> u32;

    /// Called after a record without a key was appended to the partition that this partitioner chose: `bytes` is what
    /// the record added to its batch. Does nothing unless overridden.
    fn appended(&self, topic: &str, partition: u32, bytes: u64) {
        let _ = (topic, partition, bytes);
    }
}

/// Kafka's own choice: keys by murmur2, records without a key by the sticky rule of
/// [KIP-794](https://cwiki.apache.org/confluence/display/KAFKA/KIP-794%3A+Strictly+Uniform+Sticky+Partitioner).
///
/// The [sticky](crate::manual#words) partition of a topic is drawn at random, uniformly over all its partitions, and kept
/// until `batch_size` bytes were appended to it. The draws come from a seed: equal seeds and calls give equal partitions.
pub struct DefaultPartitioner {
    batch_size: u64,
    sticky: PerTopic<Sticky>,
    /// Whether a record without a key was ever seen: until then no lock is needed.
    sticks: AtomicBool,
    seed: u64,
}

/// Where one topic's records without a key go for now.
struct Sticky {
    /// `None` until the first draw, and when enough bytes went there.
    partition: Option<u32>,
    bytes: u64,
    random: SplitMix,
}

impl DefaultPartitioner {
    /// A partitioner that leaves a sticky partition after `batch_size` bytes and draws the next one out of `seed`.
    pub fn new(batch_size: u64, seed: u64) -> Self {
        DefaultPartitioner { batch_size, sticky: PerTopic::new(), sticks: AtomicBool::new(false), seed }
    }

    fn stick(&self, topic: &str, partitions: u32) -> u32 {
        self.sticks.store(true, Ordering::Relaxed);
        // Each topic draws for itself, so that topics do not affect each other.
        let start = || Sticky { partition: None, bytes: 0, random: SplitMix(self.seed ^ hash(topic)) };
        self.sticky.with(topic, start, |sticky| match sticky.partition {
            // A topic can return under its name with fewer partitions.
            Some(partition) if partition < partitions => partition,
            _ => {
                let drawn = sticky.random.below(partitions);
                sticky.partition = Some(drawn);
                sticky.bytes = 0;
                drawn
            }
        })
    }
}

impl Partitioner for DefaultPartitioner {
    fn partition(&self, context: &PartitionContext<'_>) -> u32 {
        let mut key = context.key;
        planted!(an_empty_key_is_none => key = key.filter(|key| !key.is_empty()));
        match key {
            Some(key) => partition_for_key(key, context.partitions),
            None => self.stick(context.topic, context.partitions),
        }
    }

    fn appended(&self, topic: &str, partition: u32, bytes: u64) {
        if !self.sticks.load(Ordering::Relaxed) {
            return;
        }
        self.sticky.with_known(topic, |sticky| {
            // A slower thread may report bytes for a partition that was left since.
            if sticky.partition == Some(partition) {
                sticky.bytes = sticky.bytes.saturating_add(bytes);
                if sticky.bytes >= self.batch_size {
                    unless_planted!(a_sticky_partition_is_kept_forever => sticky.partition = None);
                }
            }
        });
    }
}

impl fmt::Debug for DefaultPartitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DefaultPartitioner").field("batch_size", &self.batch_size).finish_non_exhaustive()
    }
}

/// Sends each record to the next partition in turn, whether it has a key or not: per topic, from partition 0.
///
/// Records of one key are then not ordered.
#[derive(Default)]
pub struct RoundRobin {
    next: PerTopic<u32>,
}

impl RoundRobin {
    /// A partitioner that begins every topic at partition 0.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Partitioner for RoundRobin {
    fn partition(&self, context: &PartitionContext<'_>) -> u32 {
        let mut first = 0;
        planted!(a_round_begins_at_one => first = 1);
        let start = || first;
        self.next.with(context.topic, start, |next| {
            // Kept inside the topic's range: a counter that wraps would skip partitions.
            let chosen = if *next < context.partitions { *next } else { 0 };
            *next = chosen + 1;
            chosen
        })
    }
}

impl fmt::Debug for RoundRobin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundRobin").finish_non_exhaustive()
    }
}

/// Steele, Lea and Flood's SplitMix64: small, and good enough to spread batches.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Uniform in `0..bound`; 0 when the bound is 0.
    fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }
}

/// A number for a topic's name that is the same in every run.
fn hash(topic: &str) -> u64 {
    u64::from(murmur2(topic.as_bytes()) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BATCH: u64 = 1000;

    fn unkeyed(topic: &str, partitions: u32) -> PartitionContext<'_> {
        PartitionContext::new(topic, None, Some(b"value"), partitions)
    }

    #[test]
    fn a_key_decides_alone_even_when_it_is_empty() {
        let partitioner = DefaultPartitioner::new(BATCH, 7);
        for key in [&b""[..], b"hello", b"foobar"] {
            for _ in 0..3 {
                let context = PartitionContext::new("t", Some(key), None, 10);
                let chosen = partitioner.partition(&context);
                partitioner.appended("t", chosen, BATCH);
                assert_eq!(chosen, partition_for_key(key, 10));
            }
        }
    }

    #[test]
    fn records_without_a_key_stay_together_until_a_batch_is_full() {
        let partitioner = DefaultPartitioner::new(BATCH, 7);
        let mut runs = Vec::new();
        for _ in 0..200 {
            let first = partitioner.partition(&unkeyed("t", 1000));
            for _ in 0..9 {
                partitioner.appended("t", first, 100);
                assert_eq!(partitioner.partition(&unkeyed("t", 1000)), first, "900 bytes fill no batch");
            }
            partitioner.appended("t", first, 100);
            runs.push(first);
        }
        runs.sort_unstable();
        runs.dedup();
        assert!(runs.len() > 150, "of 200 draws out of 1000 only {} differ", runs.len());
    }

    #[test]
    fn the_draws_reach_every_partition_about_equally() {
        let partitioner = DefaultPartitioner::new(1, 42);
        let mut hits = [0u32; 7];
        for _ in 0..7000 {
            let chosen = partitioner.partition(&unkeyed("t", 7));
            partitioner.appended("t", chosen, 1);
            hits[chosen as usize] += 1;
        }
        assert!(hits.iter().all(|hits| (850..1150).contains(hits)), "{hits:?}");
    }

    #[test]
    fn equal_seeds_repeat_and_topics_do_not_disturb_each_other() {
        let draw = |seed, also: bool| -> Vec<u32> {
            let partitioner = DefaultPartitioner::new(1, seed);
            (0..50)
                .map(|_| {
                    if also {
                        let other = partitioner.partition(&unkeyed("other", 100));
                        partitioner.appended("other", other, 1);
                    }
                    let chosen = partitioner.partition(&unkeyed("t", 100));
                    partitioner.appended("t", chosen, 1);
                    chosen
                })
                .collect()
        };
        assert_eq!(draw(1, false), draw(1, true));
        assert_ne!(draw(1, false), draw(2, false));
    }

    #[test]
    fn bytes_appended_elsewhere_do_not_count() {
        let partitioner = DefaultPartitioner::new(BATCH, 7);
        let chosen = partitioner.partition(&unkeyed("t", 1000));
        partitioner.appended("t", chosen + 1, 10 * BATCH);
        partitioner.appended("unheard of", chosen, 10 * BATCH);
        assert_eq!(partitioner.partition(&unkeyed("t", 1000)), chosen);
    }

    #[test]
    fn a_topic_that_returns_smaller_is_drawn_anew() {
        let partitioner = DefaultPartitioner::new(u64::MAX, 7);
        for partitions in (0..100).rev() {
            let chosen = partitioner.partition(&unkeyed("t", partitions));
            assert!(chosen < partitions.max(1));
        }
    }

    #[test]
    fn round_robin_visits_the_partitions_in_turn_for_each_topic() {
        let partitioner = RoundRobin::new();
        let next = |topic, partitions| partitioner.partition(&unkeyed(topic, partitions));
        assert_eq!([next("a", 3), next("a", 3), next("b", 2), next("a", 3), next("a", 3)], [0, 1, 0, 2, 0]);
        assert_eq!([next("b", 2), next("b", 2)], [1, 0]);
        assert_eq!([next("a", 1), next("a", 1)], [0, 0]);
        let keyed = PartitionContext::new("c", Some(b"k"), None, 2);
        assert_eq!([partitioner.partition(&keyed), partitioner.partition(&keyed)], [0, 1]);
    }

    #[test]
    fn threads_share_a_partitioner() {
        fn shared<T: Send + Sync>() {}
        shared::<DefaultPartitioner>();
        shared::<RoundRobin>();
        shared::<Box<dyn Partitioner>>();
    }

    proptest! {
        #[test]
        fn every_answer_lies_inside_the_topic(
            calls in proptest::collection::vec(("[a-c]", 1u32..20, 0u64..2000), 1..100), seed: u64,
        ) {
            let sticky = DefaultPartitioner::new(BATCH, seed);
            let robin = RoundRobin::new();
            for (topic, partitions, bytes) in calls {
                let chosen = sticky.partition(&unkeyed(&topic, partitions));
                prop_assert!(chosen < partitions);
                prop_assert!(robin.partition(&unkeyed(&topic, partitions)) < partitions);
                sticky.appended(&topic, chosen, bytes);
            }
        }
    }
}
