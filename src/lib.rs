//! Kafka's log as a library: what SQLite is to a database server, streamlog is to Kafka.
//!
//! A [`Streamlog`] is a directory opened by your process. In it are topics; a topic has partitions; a partition is an
//! ordered log of records that only grows at its end. Producers append; consumers read in order and remember how far
//! they have read. There is no server, no runtime and no network. The words are Kafka's; the [manual](manual#words)
//! explains the ones that need care.
//!
//! ```
//! use std::time::Duration;
//! use streamlog::{ProducerRecord, Streamlog, TopicConfig};
//!
//! let log = Streamlog::in_memory()?; // or Streamlog::open("./data")
//! log.create_topic("orders", TopicConfig::default().partitions(3))?;
//!
//! let producer = log.producer()?;
//! producer.send(ProducerRecord::new("orders", "a loom").key("ada"))?;
//! producer.send(ProducerRecord::new("orders", "punched cards").key("ada"))?;
//!
//! let mut consumer = log.consumer("billing")?;
//! consumer.subscribe(["orders"])?;
//! let mut orders = Vec::new();
//! for record in &consumer.poll(Duration::from_secs(1))? {
//!     orders.push(record.value_text().into_owned());
//! }
//! assert_eq!(orders, ["a loom", "punched cards"]);
//! consumer.commit_sync()?;
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! The manual has [recipes](manual::how_to), [whole programs](manual::patterns), a page for
//! [async code](manual::from_async_code), and one for readers who [come from Kafka](manual::coming_from_kafka).
//!
//! # What holds
//!
//! **Order.** Records of one key go to one partition, and a partition keeps the order in which they were appended. A
//! record's place is its [`Offset`]: 0, 1, 2, ... Between partitions there is no order.
//!
//! **Acknowledgement.** When [`Producer::send`] returns, the record is as durable as its topic says: by default it
//! survives a power cut ([`Durability`]). A reader of such a topic sees nothing that a power cut could take back.
//!
//! **Atomicity.** A batch ([`Producer::send_batch`], [`Partition::append`]) is in its partition wholly or not at all.
//!
//! **Resuming.** A group resumes at what it committed: never ahead of what the program said was done, and never silently
//! reset. [`ConsumerRecords::resets`] lists each reset that the policy made.
//!
//! **Honesty.** A torn tail is cut and reported ([`Streamlog::recovery_report`]). Damage is an [`Error::Corrupt`] that names
//! file and position. An error says what to do next ([`Error::kind`], [`Error::is_retriable`]).
//!
//! # Three ways in
//!
//! | to append | |
//! |---|---|
//! | [`Producer::send`] | one record, acknowledged when it returns |
//! | [`Producer::enqueue`] | a pipeline: records gather into batches, one flush serves many, a [`Delivery`] reports where each went |
//! | [`Partition::append`] | a batch, to a partition of your choice |
//!
//! | to read | |
//! |---|---|
//! | [`Consumer::poll`] | in order from where the group is, sleeping until there are records |
//! | [`Partition::records`], [`Partition::read_backwards`], [`Partition::last`] | from anywhere, in either direction |
//! | [`Partition::offset_for_timestamp`] | by time |
//!
//! | to open | |
//! |---|---|
//! | [`Streamlog::open`] | for reading and writing: one process at a time |
//! | [`Streamlog::open_read_only`] | beside a living writer, in any number of processes |
//! | [`Streamlog::in_memory`] | the same behaviour without a disk |
//! | [`PartitionDir::open_read_only`] | one partition's directory, ours or a Kafka broker's |
//!
//! # Where things are
//!
//! | module | holds |
//! |---|---|
//! | the root | what most programs name: the handle, topics, partitions, producers, consumers, records, errors |
//! | [`clients`] | builders, positions, resets, partitioners, what a producer could not write |
//! | [`config`] | builders and values of what can be set |
//! | [`records`] | batches, headers and iterators of reading a partition |
//! | [`admin`] | reports, figures, health, groups' offsets |
//! | [`dir`] | one partition's directory on its own |
//!
//! # Files
//!
//! A segment is a sequence of Kafka's record batches, its indexes are Kafka's, and Kafka's own tools read them. Our own
//! files lie beside them and can be rebuilt, except the manifest, which says what exists. The [`manual`] describes
//! every file, what each operation writes in which order, and why a crash at any point of it is survived.
//!
//! # Threads
//!
//! Everything is synchronous. A handle starts a thread when work is due without a call: one for lingering records and
//! interval flushes, one for checkpoints and retention, and up to seven more when a call flushes several partitions; these
//! end when they are idle. [`Streamlog::stats`] counts them, [`Streamlog::close`] joins them,
//! [`Builder::background_thread`] forbids them all. Handles are cheap clones; producers are shared by threads, a consumer
//! belongs to one at a time.
//!
//! # Features
//!
//! `gzip`, `snappy`, `lz4`, `zstd`: Kafka's codecs. `tracing`: events for a subscriber. `serde`: values can be serialized.
//! `sim`: a simulated machine whose disk loses what was not flushed, for tests of your own. All off by default.
//!
//! With `serde`, an [`Offset`] is a number, a [`Timestamp`] is Kafka's number of milliseconds, and a value with a text
//! form is that text: a [`TopicPartition`] (`"orders-3"`, also as the key of a map), a [`TopicId`], [`Durability`],
//! [`Compression`], [`IsolationLevel`], [`TimestampType`], [`AutoOffsetReset`], [`CleanupPolicy`],
//! [`TopicCompression`]. [`Stats`], [`DiskUsage`], [`TopicUsage`] and [`OffsetAndMetadata`] are maps of their fields; a
//! field that is missing is zero or empty. All of these can be read back. [`Health`], [`RecoveryReport`],
//! [`RecordMetadata`], [`GroupDescription`], [`CommittedOffset`], [`OffsetReset`], [`OffsetAndTimestamp`] and
//! [`ListedOffset`] can only be written, with errors and paths as text for people.
//!
//! [`AutoOffsetReset`]: clients::AutoOffsetReset
//! [`Builder::background_thread`]: config::Builder::background_thread
//! [`CleanupPolicy`]: config::CleanupPolicy
//! [`CommittedOffset`]: admin::CommittedOffset
//! [`Compression`]: config::Compression
//! [`DiskUsage`]: admin::DiskUsage
//! [`GroupDescription`]: admin::GroupDescription
//! [`Health`]: admin::Health
//! [`IsolationLevel`]: clients::IsolationLevel
//! [`ListedOffset`]: admin::ListedOffset
//! [`OffsetAndMetadata`]: clients::OffsetAndMetadata
//! [`OffsetAndTimestamp`]: records::OffsetAndTimestamp
//! [`OffsetReset`]: clients::OffsetReset
//! [`PartitionDir::open_read_only`]: dir::PartitionDir::open_read_only
//! [`RecoveryReport`]: admin::RecoveryReport
//! [`Stats`]: admin::Stats
//! [`TimestampType`]: config::TimestampType
//! [`TopicCompression`]: config::TopicCompression
//! [`TopicId`]: admin::TopicId
//! [`TopicUsage`]: admin::TopicUsage
#![warn(missing_debug_implementations, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Unit tests and the documentation's examples are compiled by the package in `tests/` alone, which has what they depend on.
#![cfg_attr(any(test, doctest), cfg(feature = "__unit_tests"))]

#[macro_use]
#[doc(hidden)]
pub mod planted;

mod codec;
mod compaction;
mod consumer;
mod env;
pub mod error;
#[cfg(any(test, feature = "__fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod group;
pub mod manual;
mod partition;
mod producer;
mod storage;
mod streamlog;
mod table;
mod topic;
mod transaction;
pub mod types;

/// Administration: what an opening found, health and figures, disk usage, and the committed offsets of groups.
pub mod admin {
    #[doc(inline)]
    pub use crate::{
        consumer::CommittedOffset,
        group::{GroupDescription, GroupReset, ResetTo},
        partition::{
            open::report::{PartitionRecovery, RecoveryVerdict},
            state::retention_verdict::{RetentionRule, RetentionVerdict, StaysBecause},
        },
        streamlog::{
            BudgetRetention, Compact, CompactProgress, Compacted, DiskUsage, HangingTransaction, Health,
            ListedOffset, NextDropped, OffsetSpec, PartitionRetention, Purged, SegmentRetention, Stats,
            TopicRetention, TopicUsage,
        },
        topic::catalog::{AddedPartitions, RecoveryProgress, RecoveryReport},
        transaction::{TransactionDescription, TransactionListing, TransactionStatus},
        types::TopicId,
    };
}

/// Around producers and consumers: their builders, the choice of partitions, and what their calls return.
pub mod clients {
    #[doc(inline)]
    pub use crate::{
        consumer::{
            AutoOffsetReset, ConsumerBuilder, OffsetAndMetadata, OffsetReset, OwnedConsumerRecord,
            OwnedRecordIter, PolledRecord, Positions, RecordIter, ResetReason, WakeupHandle,
        },
        producer::{ProducerBuilder, SendAllError, TopicRef, TryEnqueueError, UndeliveredRecord},
        topic::partitioner::{
            DefaultPartitioner, PartitionContext, Partitioner, RoundRobin, partition_for_key,
        },
        transaction::Committed,
        types::IsolationLevel,
    };
}

/// Settings of handles and topics, and where each value comes from.
pub mod config {
    #[doc(inline)]
    pub use crate::{
        storage::{budget::WhenFull, files::ReadMode},
        streamlog::Builder,
        topic::config::{CleanupPolicy, ConfigChange, ConfigEntry, ConfigSource, TopicCompression},
        types::{Compression, TimestampType},
    };
}

/// One partition's directory, read by itself: ours or a Kafka broker's, without a manifest.
pub mod dir {
    #[doc(inline)]
    pub use crate::{
        codec::{index::AbortedTransaction, snapshot::ProducerEntry},
        partition::open::{
            damaged_range::DamagedRange,
            partition_dir::{
                PartitionDir,
                dir_report::{PartitionDirReport, ProducerSnapshot, TornEnd, TransactionIndex},
            },
        },
    };
}

/// Records as a [`Partition`] gives and takes them: batches, headers, and the iterators over them.
pub mod records {
    #[doc(inline)]
    pub use crate::{
        codec::record::{Headers, RawHeaders},
        partition::{
            read::{
                batch::{Batch, OwnedRecordsOf, RecordsOf},
                batches::{BackwardBatches, Batches, Records},
                by_time::OffsetAndTimestamp,
                owned::OwnedRecord,
            },
            write::payload::Payload,
        },
    };
}

#[doc(inline)]
pub use crate::{
    codec::record::Record,
    consumer::{Consumer, ConsumerRecord, ConsumerRecords},
    error::{Error, ErrorKind, Outcome, Result, SpaceLimit},
    partition::{handle::Partition, write::encode::RecordData},
    producer::{Delivery, Producer, ProducerRecord, RecordMetadata},
    streamlog::Streamlog,
    topic::{Topic, config::TopicConfig},
    transaction::Transaction,
    types::{Durability, Offset, Timestamp, TopicPartition},
};
#[doc(no_inline)]
pub use bytes::Bytes;
#[cfg(feature = "sim")]
#[doc(inline)]
pub use env::sim;

/// Names that were at the root before they moved into a module, for programs written before the first release.
macro_rules! moved_to {
    ($home:ident, $note:literal: $($name:ident $(<$lifetime:lifetime>)?),+ $(,)?) => {$(
        #[doc(hidden)]
        #[deprecated(note = $note)]
        pub type $name $(<$lifetime>)? = $home::$name $(<$lifetime>)?;
    )+};
}

moved_to!(admin, "now in `streamlog::admin`":
    AddedPartitions, CommittedOffset, DiskUsage, GroupDescription, GroupReset, Health, ListedOffset, OffsetSpec,
    PartitionRecovery, RecoveryProgress, RecoveryReport, RecoveryVerdict, ResetTo, Stats, TopicId, TopicUsage);
moved_to!(clients, "now in `streamlog::clients`":
    AutoOffsetReset, ConsumerBuilder, DefaultPartitioner, IsolationLevel, OffsetAndMetadata, OffsetReset,
    OwnedConsumerRecord, OwnedRecordIter, PartitionContext<'a>, ProducerBuilder, RecordIter<'a>, ResetReason, RoundRobin,
    SendAllError, TopicRef<'a>, TryEnqueueError<'a>, UndeliveredRecord, WakeupHandle);
moved_to!(config, "now in `streamlog::config`":
    Builder, CleanupPolicy, Compression, ConfigChange, ConfigEntry, ConfigSource, ReadMode, TimestampType,
    TopicCompression);
moved_to!(dir, "now in `streamlog::dir`":
    AbortedTransaction, DamagedRange, PartitionDir, PartitionDirReport, ProducerEntry, ProducerSnapshot, TornEnd,
    TransactionIndex);
moved_to!(records, "now in `streamlog::records`":
    BackwardBatches, Batch, Batches, Headers<'a>, OffsetAndTimestamp, OwnedRecord, OwnedRecordsOf, Payload<'a>,
    RawHeaders<'a>, Records, RecordsOf<'a>);
moved_to!(types, "now in `streamlog::types`": ParseError);
// A trait and a function have no alias that could be deprecated.
#[doc(hidden)]
pub use clients::{Partitioner, PolledRecord, partition_for_key};

/// The README's programs are compiled and run with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
