//! Settings, their defaults, and the reasons for them.
//!
//! Defaults are chosen so that nobody loses data by not reading this page: retention is unlimited, acknowledged means
//! durable, consumers begin at the beginning, and offsets are committed when the program says so. Every other default is
//! Kafka's, unless the last column gives a reason.
//!
//! # Topics
//!
//! A topic has a number of partitions, and settings under Kafka's keys. Settings can be given as text, in Kafka's units, or
//! with typed setters.
//!
//! ```
//! use std::time::Duration;
//! use streamlog::TopicConfig;
//!
//! let typed = TopicConfig::default().retention_time(Duration::from_secs(86_400)).segment_bytes(64 << 20);
//! let text = TopicConfig::from_kafka_properties([("retention.ms", "86400000"), ("segment.bytes", "67108864")])?;
//! assert_eq!(typed, text);
//!
//! // An unknown key is refused, and the error names the nearest one.
//! let error = TopicConfig::from_kafka_properties([("retention.mz", "1")]).unwrap_err();
//! assert!(error.to_string().contains("retention.ms"));
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! Every key of Kafka's topics is either honoured or refused with a reason; none is ignored, except as the table says. A key
//! always accepts the one value that asks for nothing, so the output of `kafka-configs --describe --all` for an ordinary
//! topic can be used as it is.
//!
//! | key | ours | Kafka's | why ours differs, or what is special |
//! |---|---|---|---|
//! | streamlog.durability | flushed | – | Kafka flushes rarely and trusts its replicas; here there is one disk |
//! | segment.bytes | 268435456 | 1073741824 | if not set, an eighth of `retention.bytes` where that is smaller, and at least `max.message.bytes`; retention removes whole segments, and a directory here is smaller than a broker's; 512 is the least (Kafka 4: 1048576) |
//! | segment.ms | 604800000 | 604800000 | |
//! | segment.jitter.ms | 0 | 0 | |
//! | segment.index.bytes | 10485760 | 10485760 | at least 24 (Kafka: 4, which rolls at every batch) |
//! | index.interval.bytes | 4096 | 4096 | |
//! | max.message.bytes | 1048588 | 1048588 | if not set, `segment.bytes` where that is smaller |
//! | retention.ms | -1 | 604800000 | nobody loses data by not reading this table |
//! | retention.bytes | -1 | -1 | without `segment.bytes`, the most that is kept; with it, the least, as in Kafka |
//! | streamlog.retention.hold.groups | | – | groups that must have read a record before a limit removes it: see [operating](super::operating#what-retention-removes) |
//! | message.timestamp.type | CreateTime | CreateTime | |
//! | message.timestamp.before.max.ms | 9223372036854775807 | 9223372036854775807 | |
//! | message.timestamp.after.max.ms | 9223372036854775807 | 3600000 | Kafka's default before 4.0: a wrong clock must not stop the embedding program |
//! | compression.type | producer | producer | |
//! | compression.gzip.level | -1 | -1 | |
//! | compression.lz4.level | 9 | 9 | no other value: the LZ4 in here has no levels |
//! | compression.zstd.level | 3 | 3 | |
//! | flush.messages | 9223372036854775807 | 9223372036854775807 | |
//! | flush.ms | 9223372036854775807 | 9223372036854775807 | |
//! | cleanup.policy | delete | delete | if empty, nothing is removed, whatever the retention (as in Kafka 4.2); `compact` and `compact,delete` refuse records without a key, as in Kafka |
//! | file.delete.delay.ms | 60000 | 60000 | 0 and 60000 are accepted and mean the same: a file goes with its last reader, which is the purpose of the delay |
//! | preallocate | false | false | `true` reserves all of `segment.bytes` with the first append to a segment |
//! | min.cleanable.dirty.ratio | 0.5 | 0.5 | |
//! | min.compaction.lag.ms | 0 | 0 | |
//! | max.compaction.lag.ms | 9223372036854775807 | 9223372036854775807 | |
//! | delete.retention.ms | 86400000 | 86400000 | |
//! | streamlog.compaction.versions | 1 | – | how many of the newest records of a key compaction keeps |
//! | min.insync.replicas | 1 | 1 | no other value: there is one copy |
//! | unclean.leader.election.enable | false | false | no other value: there is one copy |
//! | leader.replication.throttled.replicas | | | no other value: there is one copy |
//! | follower.replication.throttled.replicas | | | no other value: there is one copy |
//! | remote.storage.enable | false | false | no other value: this release does not tier |
//! | remote.log.copy.disable | false | false | no other value: this release does not tier |
//! | remote.log.delete.on.disable | false | false | no other value: this release does not tier |
//! | remote.copy.lag.ms | 0 | 0 | no other value: this release does not tier |
//! | remote.copy.lag.bytes | 0 | 0 | no other value: this release does not tier |
//! | local.retention.ms | -2 | -2 | no other value: this release does not tier |
//! | local.retention.bytes | -2 | -2 | no other value: this release does not tier |
//! | message.downconversion.enable | false | true (gone in 4.0) | no other value: there is format v2 alone |
//!
//! `streamlog.durability` is `flushed`, `written` or `interval:<milliseconds>`. In a `flushed` topic `flush.messages` and
//! `flush.ms` have no effect.
//!
//! Only retention bounds a topic's size on disk. It removes whole segments: by time, when the *newest* record of a segment
//! is older than `retention.ms`, or by size. If `segment.bytes` is not set, `retention.bytes` is the most that a partition
//! holds: its oldest segment goes before the newest gets its first batch. If it is set, Kafka's rule holds, and
//! `retention.bytes` is the least: a segment goes when the partition would still hold that much without it. When the active
//! segment's turn comes, an empty one is rolled first. Retention by size runs in the append that makes a partition too
//! large. Retention by time runs soon after an opening, every five minutes from then on, and with each checkpoint: in the
//! background, or where threads are forbidden, inside `send`, `enqueue`, `append`, `poll` and
//! [`maintain`](crate::Streamlog::maintain). A handle closed before that applies it when it is closed.
//! [Operating](super::operating#what-retention-removes) has the rules one by one.
//!
//! # Opening
//!
//! [`Streamlog::builder`](crate::Streamlog::builder) has these settings. They belong to the handle and are not stored.
//!
//! | setting | default | |
//! |---|---|---|
//! | [`read_only`](crate::config::Builder::read_only) | no | no lock is taken and nothing is changed |
//! | [`create`](crate::config::Builder::create) | yes | the directory is created if it does not exist |
//! | [`background_thread`](crate::config::Builder::background_thread) | allowed | one thread for lingering records and interval flushes, one for checkpoints, retention and compaction, up to seven for flushes at the same time; none with `false` |
//! | [`read_mode`](crate::config::Builder::read_mode) | mapped | `Pread` for network file systems and hostile neighbours |
//! | [`max_open_files`](crate::config::Builder::max_open_files) | a quarter of `ulimit -n`, at most 240 | descriptors, and as many mappings, which may hold one each: in all about half of a small `ulimit`, below 512 of a large one |
//! | [`min_free_space`](crate::config::Builder::min_free_space) | 0 | bytes of the medium that appends leave free; committed offsets may use half of them |
//! | [`disk_budget`](crate::config::Builder::disk_budget) | none | bytes that the files may take, over all topics, and whether an append beyond them is refused or [drops the oldest](super::operating#a-disk-budget) |
//! | [`compaction_rate`](crate::config::Builder::compaction_rate) | as long at rest as at work | bytes per second that compaction in the background reads at most |
//! | [`retention_check_interval`](crate::config::Builder::retention_check_interval) | five minutes | as Kafka's `log.retention.check.interval.ms` |
//! | [`wait_for_lock`](crate::config::Builder::wait_for_lock) | not at all | how long an opening waits for the current writer |
//! | [`on_recovery_progress`](crate::config::Builder::on_recovery_progress) | | called about once per mebibyte after a crash; may cancel |
//!
//! # Producers
//!
//! | setting | Kafka's key | ours | Kafka's | |
//! |---|---|---|---|---|
//! | [`batch_size`](crate::clients::ProducerBuilder::batch_size) | `batch.size` | 64 KiB | 16 KiB | before compression; at least 512 bytes. A larger record gets a batch of its own |
//! | [`linger`](crate::clients::ProducerBuilder::linger) | `linger.ms` | 1 ms | 5 ms | for `enqueue`; `send` never lingers |
//! | [`buffer_memory`](crate::clients::ProducerBuilder::buffer_memory) | `buffer.memory` | 8 MiB | 32 MiB | accepted records, over all partitions; there is no network delay to hide |
//! | [`max_block`](crate::clients::ProducerBuilder::max_block) | `max.block.ms` | 1 minute | 1 minute | how long `enqueue` waits for room (zero: `QueueFull` immediately), and a batch for space on a full disk (Kafka's `delivery.timeout.ms`, 2 minutes) |
//! | | `max.request.size` | | 1 MiB | does not exist: a topic's `max.message.bytes` and the segment size limit a batch, and `buffer_memory` a single record |
//! | [`compression`](crate::clients::ProducerBuilder::compression) | `compression.type` | none | none | in topics that leave it to the producer |
//! | [`partitioner`](crate::clients::ProducerBuilder::partitioner) | `partitioner.class` | Kafka's | Kafka's | [`DefaultPartitioner`](crate::clients::DefaultPartitioner), [`RoundRobin`](crate::clients::RoundRobin), or a [`Partitioner`](crate::clients::Partitioner) of your own |
//!
//! # Consumers
//!
//! | setting | Kafka's key | ours | Kafka's | |
//! |---|---|---|---|---|
//! | [`auto_offset_reset`](crate::clients::ConsumerBuilder::auto_offset_reset) | `auto.offset.reset` | earliest | latest | nobody misses records by not reading this table |
//! | [`isolation_level`](crate::clients::ConsumerBuilder::isolation_level) | `isolation.level` | read uncommitted | the same | |
//! | [`max_poll_records`](crate::clients::ConsumerBuilder::max_poll_records) | `max.poll.records` | 500 | 500 | |
//! | [`max_poll_bytes`](crate::clients::ConsumerBuilder::max_poll_bytes) | `fetch.max.bytes` | 50 MiB | 50 MiB | of decompressed records |
//! | [`auto_commit`](crate::clients::ConsumerBuilder::auto_commit) | `enable.auto.commit`, `auto.commit.interval.ms` | off | every 5 s | only the program knows when a record is done |
//!
//! # Features
//!
//! All are off by default, and the default build is pure Rust.
//!
//! | feature | brings |
//! |---|---|
//! | `gzip`, `snappy`, `lz4`, `zstd` | reading and writing with that codec. `zstd` builds C code |
//! | `tracing` | events for a `tracing` subscriber |
//! | `serde` | offsets, timestamps, ids, figures and reports can be serialized: see [the front page](crate#features) |
//! | `sim` | the simulated machine, to test applications with |
