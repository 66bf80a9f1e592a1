//! Kafka's log as a library.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, unreachable_pub, reason = "the rooms are built one after the other")]

mod codec;
mod consumer;
mod env;
pub mod error;
mod group;
pub mod manual;
mod partition;
mod producer;
mod storage;
mod streamlog;
mod topic;
pub mod types;

pub use codec::{
    index::AbortedTransaction,
    record::{Headers, Record},
    snapshot::ProducerEntry,
};
pub use consumer::{
    AutoOffsetReset, CommittedOffset, Consumer, ConsumerBuilder, ConsumerRecord, ConsumerRecords,
    OffsetAndMetadata, OffsetReset, OwnedConsumerRecord, RecordIter, ResetReason, WakeupHandle,
};
#[cfg(feature = "sim")]
pub use env::sim;
pub use error::{Error, ErrorKind, Result};
pub use group::{GroupDescription, GroupReset, ResetTo};
pub use partition::stray::PartitionDir;
pub use partition::{
    encode::RecordData,
    recover::{PartitionRecovery, RecoveryVerdict},
    stray::{ProducerSnapshot, TransactionIndex},
    survey::{DamagedRange, PartitionDirReport, TornEnd},
    time::OffsetAndTimestamp,
    view::{BackwardBatches, Batch, Batches, OwnedRecord, Partition, RecordsOf},
};
pub use producer::{
    Delivery, Producer, ProducerBuilder, ProducerRecord, RecordMetadata, SendAllError, TopicRef,
    TryEnqueueError,
};
pub use storage::files::ReadMode;
pub use streamlog::{Builder, DiskUsage, Health, ListedOffset, OffsetSpec, Stats, Streamlog, TopicUsage};
pub use topic::{
    Topic,
    catalog::{AddedPartitions, RecoveryProgress, RecoveryReport},
    config::{CleanupPolicy, ConfigChange, ConfigEntry, ConfigSource, TopicCompression, TopicConfig},
    partitioner::{DefaultPartitioner, PartitionContext, Partitioner, RoundRobin, partition_for_key},
};
pub use types::{
    Compression, Durability, IsolationLevel, Offset, Timestamp, TimestampType, TopicId, TopicPartition,
};
