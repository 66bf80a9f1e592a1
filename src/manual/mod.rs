//! The manual: what the crate does, and why you can rely on it.
//!
//! The item docs say how to call a function. These pages say what the call does: what it puts on the disk, what a crash
//! leaves of it, and where the limits are. The programs in them are compiled and run with the tests.
//!
//! | page | answers |
//! |---|---|
//! | [`how_to`] | how to do the usual things: produce, consume, tail, replay, bound a buffer, test |
//! | [`operating`] | backups, moving to Kafka, daemons and forks, and what to do when something is wrong |
//! | [`patterns`] | whole programs: an edge buffer, projections, snapshots, optimistic concurrency, dead letters, long polling, shutdown, metrics |
//! | [`from_async_code`] | what blocks, and how to call it from a runtime |
//! | [`configuration`] | which settings exist, their defaults, and the reasons for them |
//! | [`transactions`] | what counts together, what a power cut leaves of it, what others see meanwhile |
//! | [`compaction`] | what stays of a topic that is a table, when the rest goes, how a deletion travels |
//! | [`durability`] | what an acknowledgement promises, operation by operation, and why that holds |
//! | [`on_disk`] | which files there are, byte by byte, and what happens when one is lost |
//! | [`coming_from_kafka`] | what is the same, what differs, what is missing |
//! | [`limits`] | sizes, counts, platforms |
//! | [`architecture`] | how the crate is built, for readers of the source |
//! | [`cost`] | where the time goes, and what did not help |
//!
//! # The shape of it
//!
//! A **log directory** is opened by one process for writing, as a [`Streamlog`](crate::Streamlog), and by any number of
//! processes for reading. It holds **topics**; a topic has one or more **partitions**; a partition is one ordered log.
//! Records are appended to a partition in **record batches** and get **offsets**, 0, 1, 2, and so on. A batch is the unit of
//! I/O: it is written with one write, has one checksum, and after a crash is there wholly or not at all.
//!
//! A partition is a directory of **segments**. A segment is a file of batches, `.log`, and a few sidecars that speed up
//! searching. The newest segment is the **active** one and grows; the others are **sealed** and never change. Retention
//! removes whole segments from the front.
//!
//! Four offsets describe a partition, always in this order:
//!
//! | offset | what it is | method |
//! |---|---|---|
//! | log start | the first that can be read | [`log_start_offset`](crate::Partition::log_start_offset) |
//! | last stable | where read-committed readers stop | [`last_stable_offset`](crate::Partition::last_stable_offset) |
//! | high watermark | where every reader stops | [`high_watermark`](crate::Partition::high_watermark) |
//! | log end | the offset that the next record gets | [`log_end_offset`](crate::Partition::log_end_offset) |
//!
//! In a [`Flushed`](crate::Durability::Flushed) topic, the default, the high watermark is the end of durable data, so a
//! reader never sees what a power cut could take back.
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
//! The words are Kafka's. These need a definition, because Kafka uses them in two ways or because they are ours:
//!
//! | word | means |
//! |---|---|
//! | written | the operating system has it; it survives the process |
//! | flushed, durable | the medium has it; it survives the power |
//! | checkpoint | a point below which recovery reads nothing, because everything before it is durable and known to be whole |
//! | mark | our note, per partition, of how far data is durable; see [`on_disk`] |
//! | torn tail | bytes at the end that no flush covered; they are cut |
//! | damage | bytes that were durable and are not what was written; they are named and kept |
//! | poisoned | closed to writes, because nobody knows what the medium has |
//! | sticky | of records without a key: they go to one partition until it has received a batch's worth of bytes |
//! | incarnation | a life of a partition, from one unclean opening to the next; see [`durability`] |
//! | aside | of a file that belongs to no log and was in the way: it is renamed, kept and reported; see [`operating`](operating#when-something-is-wrong) |
//! | undelivered | of a record that `enqueue` accepted and that could not be written; it is handed back |
//! | clean | of a close or an opening: everything was flushed and noted, so the next opening reads no records |

pub mod architecture;
pub mod coming_from_kafka;
pub mod compaction;
pub mod configuration;
pub mod cost;
pub mod durability;
pub mod from_async_code;
pub mod how_to;
pub mod limits;
pub mod on_disk;
pub mod operating;
pub mod patterns;
pub mod transactions;
