//! For readers who know Kafka: what is the same, what differs and why, and what is missing.
//!
//! # The same
//!
//! * **The model.** Topics, partitions, offsets, keys, headers, tombstones, timestamps of two types, consumer groups with
//!   committed offsets, idempotent producers with epochs and sequence numbers.
//! * **The bytes.** Segments of record batches v2, offset and time indexes, transaction indexes, producer snapshots, leader
//!   epochs. See [`on_disk`](super::on_disk).
//! * **The partition of a key.** [`partition_for_key`](crate::clients::partition_for_key) is murmur2 as in the Java client.
//!   Records without a key go to one partition until it has received a batch's worth of bytes
//!   ([KIP-794](https://cwiki.apache.org/confluence/display/KAFKA/KIP-794%3A+Strictly+Uniform+Sticky+Partitioner)).
//! * **Topic settings**: their keys, units and meaning. See [`configuration`](super::configuration).
//! * **Rolling and retention.** By the same conditions, except for records from the future.
//! * **Searching by time.** As `ListOffsets` does, in one segment: the first whose largest timestamp is late enough.
//! * **Topic names**, valid and invalid.
//!
//! ```
//! use streamlog::clients::partition_for_key;
//! // As Kafka's own client chooses among 12 partitions.
//! assert_eq!(partition_for_key(b"foobar", 12), 6);
//! assert_eq!(partition_for_key(b"", 12), 9); // an empty key is a key
//! ```
//!
//! # Different, and why
//!
//! | Kafka | here | why |
//! |---|---|---|
//! | acknowledged means: in the memory of the replicas | on the medium, by default | there is one copy. `Written` is Kafka's way, without the replicas |
//! | the high watermark is what all replicas have | what is durable, in a `Flushed` topic; else what is written | the same promise: nobody reads what may be lost |
//! | a directory listing says what exists | the manifest does | a missing or foreign segment is noticed |
//! | recovery cuts at the first bad batch | a torn tail is cut, damage is reported and kept | one copy: there is no leader to fetch from again |
//! | `retention.ms` is seven days | unlimited | an embedded log is often the only copy |
//! | `auto.offset.reset` is latest | earliest | nobody misses records by not reading this |
//! | `latest` is determined by the first poll, and again for a partition added later | it is the end at the time of the subscription; a partition added later is read from its beginning | no record in between is skipped |
//! | auto-commit is on | off | only the program knows when a record is done |
//! | `message.timestamp.after.max.ms` is an hour | unlimited | a wrong clock must not stop the program around the log |
//! | a record from the future holds its segment until then | it expires with those of its day: a segment is at least as old as its sealing | one wrong clock must not fill the disk |
//! | nothing reports why a segment stays | [`explain_retention`](crate::Streamlog::explain_retention) does | the program's users ask |
//! | segments of 1 GiB | 256 MiB | retention follows its limit more closely |
//! | topics are created on first use | only by [`create_topic`](crate::Streamlog::create_topic) | a misspelled name is an error |
//! | any offset can be committed | one beyond the end is `OffsetOutOfRange` | no consumer could resume from it |
//! | a reset position is a line in a log file | [`resets`](crate::ConsumerRecords::resets) come with the records of the poll | the program can act on it |
//! | `subscribe` waits for a missing topic | `UnknownTopic` | the program can act on it |
//! | a new leader means a new leader epoch | the epoch stays 0, or the last one that a broker left | there are no elections, and a follower that copied a foreign epoch would not start |
//! | epochs reveal an unclean leader election | incarnations do, in the manifest | they distinguish an offset that returns after a crash: [`durability`](super::durability) |
//! | a removed file waits `file.delete.delay.ms` | it goes with its last reader | the operating system counts them |
//! | `acks`, `retries`, `request.timeout.ms` | do not exist | there is no network |
//! | `delivery.timeout.ms` | [`max_block`](crate::clients::ProducerBuilder::max_block) | an enqueued record waits for nothing but a full disk |
//! | a record that times out fails in its own callback or future | [`Undelivered`](crate::Error::Undelivered): from its delivery, once from the partition's next call, and from the next flush | a program that keeps no delivery learns of it, too, and [gets the records back](crate::Producer::take_undelivered) |
//! | `send` is asynchronous, with futures and callbacks | `send` returns when acknowledged; `enqueue` is pipelined | blocking is the simple case in a library |
//! | heartbeats, `max.poll.interval.ms` | none | a group has no members yet |
//! | committed offsets expire after seven days without a member | they never expire | a program that runs once a month finds its place |
//! | `__consumer_offsets` has 50 partitions and is compacted | one, whose front is removed | one process writes it |
//! | all settings are text | typed builders; text for topics | Rust |
//!
//! # Missing
//!
//! A setting that asks for one of these is refused with a reason; a file that shows traces of one is read.
//!
//! | Kafka has | here |
//! |---|---|
//! | transactions | Kafka's bytes and guarantees; read-committed readers skip aborted records. The order of flushes is another: see [`transactions`](super::transactions#from-kafkas-transactions-to-these) |
//! | tiered storage | not in this release |
//! | groups of many members, rebalancing | not in this release. A group is a name under which offsets are committed; each of its consumers reads all partitions that it subscribes to |
//! | a wire protocol, replication, authentication, quotas | not planned: that is a server |
//! | Streams, Connect | not in this release |
//! | messages before v2 (magic 0 and 1) | refused with `UnsupportedFormat`: let a broker that reads them serve the topic, and copy it with a consumer and a producer |
//!
//! # Going back
//!
//! Nothing needs to be converted, and groups can keep their places. [`operating`](super::operating#moving-data-to-kafka) has
//! the steps.
//!
//! For the way back, open the directory. Records that a broker appended to a partition that was closed here, in the same
//! segment or in new ones, are part of the log; [`RecoveryReport`](crate::admin::RecoveryReport) lists them, and later
//! appends carry the broker's last leader epoch. Segments that its retention removed are gone here too. Segments that its
//! log cleaner rewrote are damage, because nothing distinguishes them from shortened ones.
