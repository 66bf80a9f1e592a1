//! The manual: what the crate does, and why it may be believed.
//!
//! The item docs say how to call a function. These pages say what happens when it is called: what is on the disk, what a
//! crash leaves of it, where the limits are. Programs in them are compiled and run with the tests.
//!
//! | page | answers |
//! |---|---|
//! | [`how_to`] | how to do the usual things: produce, consume, tail, replay, bound a buffer, test |
//! | [`operating`] | backing up, moving to Kafka, daemons and forks, and what to do when something is wrong |
//! | [`patterns`] | whole programs: an edge buffer, projections, snapshots, optimistic concurrency, dead letters, long polling, shutdown, metrics |
//! | [`from_async_code`] | what blocks, and how to call it from a runtime |
//! | [`configuration`] | which settings exist, what they are by default, and why |
//! | [`durability`] | what an acknowledgement promises, operation by operation, and why that holds |
//! | [`on_disk`] | which files there are, byte by byte, and what happens when one is lost |
//! | [`coming_from_kafka`] | what is the same, what differs, what is missing |
//! | [`limits`] | sizes, counts, platforms |
//! | [`architecture`] | how the crate is built, for those who read or change it |
//! | [`cost`] | where the time goes, and what did not help |
//!
//! # The shape of it
//!
//! A **log directory** is opened by one process for writing, as a [`Streamlog`](crate::Streamlog), and by any number of
//! processes for reading. It holds **topics**; a topic has one or more **partitions**; a partition is one ordered log.
//! Records are appended to a partition in **record batches** and get **offsets**, 0, 1, 2, and so on. A batch is the
//! unit of everything that happens to bytes: it is written with one write, it has one checksum, and after a crash it
//! is there wholly or not at all.
//!
//! A partition is a directory of **segments**. A segment is a file of batches, `.log`, and a few sidecars that make
//! finding things faster. The newest segment is the **active** one and grows; the others are **sealed** and never
//! change. Old data goes by removing whole segments from the front.
//!
//! Four offsets say where a partition stands, and they are always in this order:
//!
//! | offset | what it is | method |
//! |---|---|---|
//! | log start | the first that can be read | [`log_start_offset`](crate::Partition::log_start_offset) |
//! | last stable | where read-committed readers stop | [`last_stable_offset`](crate::Partition::last_stable_offset) |
//! | high watermark | where every reader stops | [`high_watermark`](crate::Partition::high_watermark) |
//! | log end | the offset that the next record gets | [`log_end_offset`](crate::Partition::log_end_offset) |
//!
//! In a topic whose durability is [`Flushed`](crate::Durability::Flushed), the default, the high watermark is where
//! durable data ends. A reader therefore never sees what a power cut could take back.
//!
//! ```
//! use streamlog::{RecordData, Streamlog, TopicConfig};
//!
//! let log = Streamlog::in_memory()?;
//! let topic = log.create_topic("orders", TopicConfig::default())?;
//! let partition = topic.partition(0)?;
//!
//! let offsets = partition.append(&[RecordData::new("a loom").key("ada")])?;
//! assert_eq!(offsets.start, 0);
//! assert_eq!(partition.high_watermark(), 1);
//!
//! for batch in partition.read(0) {
//!     for record in &batch? {
//!         assert_eq!(record.value, Some(&b"a loom"[..]));
//!     }
//! }
//! log.close()?;
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! # Words
//!
//! The words are Kafka's. A few are used with care, because Kafka uses them in two ways or because they are ours:
//!
//! | word | means |
//! |---|---|
//! | written | the operating system has it; it survives the process |
//! | flushed, durable | the medium has it; it survives the power |
//! | checkpoint | a point below which recovery reads nothing: everything before it is durable and known to be whole |
//! | mark | our note, per partition, of how far data is durable; see [`on_disk`] |
//! | torn tail | bytes at the end that no flush covered; they are cut |
//! | damage | bytes that were durable and are not what was written; they are named and kept |
//! | poisoned | nothing is written any more, because nobody knows what the medium has |
//! | sticky | records without a key stay with one partition until a batch's worth of bytes went there |
//! | incarnation | a life of a partition, from one unclean opening to the next; see [`durability`] |
//! | aside | of a file that belongs to no log and was in the way: renamed, kept, and reported; see [`operating`](operating#when-something-is-wrong) |
//! | undelivered | of a record that `enqueue` accepted and that finally could not be written; it is handed back |
//! | clean | of a close or an opening: everything was flushed and noted, so that the next opening reads no records |

pub mod architecture;
pub mod coming_from_kafka;
pub mod configuration;
pub mod cost;
pub mod durability;
pub mod from_async_code;
pub mod how_to;
pub mod limits;
pub mod on_disk;
pub mod operating;
pub mod patterns;
