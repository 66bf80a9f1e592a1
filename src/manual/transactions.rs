//! Transactions: what counts together, what a power cut leaves of it, and what others see meanwhile.
//!
//! A transaction is a set of records, for any topics, and of committed offsets, that count all or not at all. A program that reads
//! one topic, writes another and commits its position does all three in one: each record that it reads then has its effect
//! exactly once, however often the program dies.
//!
//! ```
//! # use std::time::Duration;
//! use streamlog::{ProducerRecord, Streamlog, TopicConfig, clients::IsolationLevel};
//!
//! let log = Streamlog::in_memory()?;
//! log.create_topic("orders", TopicConfig::default())?;
//! log.create_topic("invoices", TopicConfig::default().partitions(3))?;
//! log.producer()?.send(ProducerRecord::new("orders", "a loom").key("ada"))?;
//!
//! let producer = log.producer()?;
//! let mut consumer = log.consumer("billing")?;
//! consumer.subscribe(["orders"])?;
//! let orders = consumer.poll(Duration::from_secs(1))?;
//! let mut transaction = producer.begin_transaction()?;
//! for order in &orders {
//!     let invoice = format!("invoice for {}", order.value_str().unwrap_or_default());
//!     transaction.send(ProducerRecord::new("invoices", &invoice).key(order.key.unwrap_or_default()))?;
//! }
//! transaction.send_offsets(&consumer)?;
//! transaction.commit()?;
//!
//! let mut reader = log.consumer_builder("printer").isolation_level(IsolationLevel::ReadCommitted).build()?;
//! reader.subscribe(["invoices"])?;
//! assert_eq!(reader.poll(Duration::from_secs(1))?.len(), 1);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! # What is atomic
//!
//! * **All records and offsets of a transaction count, or none.** That holds over topics and partitions, over kills and power cuts at
//!   any moment, and over failures of the disk.
//! * **[`commit`](crate::Transaction::commit) returns when it is durable**, whatever the durability of the topics: if less were
//!   flushed, a power cut could tear the transaction.
//! * **What one opening showed, every later one shows.** A transaction that an opening found undecided is aborted then, and stays so.
//! * **Order.** Within a partition, records are in the order in which they were sent. Records of other producers may lie between
//!   those of a transaction that was larger than the [buffer](crate::clients::ProducerBuilder::transaction_buffer).
//! * A record that is refused is not part of the transaction, which goes on.
//!
//! A transaction ends with its commit, its abort, or its handle: dropping one aborts it. A producer has one open at a time; other
//! calls that send with it fail with [`InvalidTransactionState`](crate::Error::InvalidTransactionState) meanwhile. Its time is
//! [`transaction_timeout`](crate::clients::ProducerBuilder::transaction_timeout), one minute unless told otherwise: one that takes
//! longer is aborted, by whoever notices first.
//!
//! # What it costs
//!
//! Records are buffered, and written with the commit: no call of `send` touches a file, and an abort costs nothing. The commit
//! appends a batch to each partition and a decision to the internal topic `__transaction_state`, and flushes all of them at the
//! same time: one round of flushes, whatever their number. The markers that end a transaction in each partition, as Kafka has
//! them, are written after the decision, and nobody waits for them.
//!
//! ```text
//!  send, send, send      commit                                              returns
//!  (memory)              │                                                   │
//!  ──────────────────────┼─ append a, b, decision ─┬─ flush a ────────┬──────┼───────▶
//!                        │  (no flush)             ├─ flush b ────────┤      markers to a and b,
//!                        │                         └─ flush decision ─┘      with the next flush
//! ```
//!
//! A transaction of one batch in one partition, without offsets, is that batch: one flush, no marker, no decision. For a batch
//! is there wholly or not at all.
//!
//! # What a power cut leaves
//!
//! The decision may reach the medium before the data does. So it says how far each partition must have come, and in which
//! [incarnation](super::durability). An opening after a crash holds each decision against the partitions: if all have come that
//! far, the transaction is committed; if the end of one was lost, the decision is void, for good. A transaction without a decision
//! is aborted. All that is found out in memory; the markers follow with each partition's next append.
//!
//! Where a flush fails during a commit, an abort is decided over it, and the call returns [`Aborted`](crate::Error::Aborted).
//! Where the decision itself cannot be flushed, nobody knows what the medium has: readers of `read_committed` keep waiting at the
//! transaction, [`Error::outcome`](crate::Error::outcome) says `Unknown`, and the next opening finds out. On a full disk a transaction is
//! not committed, or it is and its marker waits for space: never half.
//!
//! # What others see meanwhile
//!
//! | reader | sees of an open transaction | after the commit | after an abort |
//! |---|---|---|---|
//! | `read_uncommitted`, the default as in Kafka | what was written before the commit: nothing, unless it was larger than the buffer | everything | what had been written stays visible |
//! | `read_committed` | nothing, and nothing of others behind it in the same partition | everything at once | nothing |
//! | a committed offset | the one before | the new one | the one before |
//!
//! Choose [`IsolationLevel::ReadCommitted`](crate::clients::IsolationLevel) where aborted records must not be seen. A reader in
//! another process waits for the markers, which are flushed within a second of the commit.
//!
//! # When somebody else has written
//!
//! [`expect_end`](crate::Transaction::expect_end) makes a commit depend on what was read: if anything was appended to the partition
//! since, it fails with [`Conflict`](crate::Error::Conflict). [`Streamlog::transaction`](crate::Streamlog::transaction) runs a closure again
//! where that happens. Expect the end that readers see, not the log end offset, which is ahead of it while a record is being flushed:
//!
//! ```
//! use streamlog::{ProducerRecord, Streamlog, TopicConfig, clients::IsolationLevel};
//!
//! let log = Streamlog::in_memory()?;
//! let stock = log.create_topic("stock", TopicConfig::default())?.partition(0)?;
//! let left = log.transaction(|transaction| {
//!     let end = stock.last_stable_offset();
//!     let taken = stock.records_with(0, IsolationLevel::ReadCommitted).count();
//!     transaction.expect_end(stock.topic_partition(), end)?;
//!     transaction.send(ProducerRecord::new("stock", "one taken"))?;
//!     Ok(9 - taken)
//! })?;
//! assert_eq!(left, 9);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! # Into a database of your own
//!
//! Effects in another store cannot be part of a transaction here. But the position can be part of a transaction there: store
//! [`Consumer::positions`](crate::Consumer::positions) beside the results, in the same transaction of the database, and continue with
//! [`seek_to_positions`](crate::Consumer::seek_to_positions). A position is refused if a power cut took the records before it, so
//! that it never stands for other data than was read.
//!
//! # From Kafka's transactions to these
//!
//! | Kafka | here |
//! |---|---|
//! | `initTransactions`, `transactional.id` | a transaction needs no name. [`named`](crate::clients::ProducerBuilder::named) gives a producer one, which fences whoever had it before, and makes repeated sends recognizable |
//! | `beginTransaction`, `commitTransaction`, `abortTransaction` | [`begin_transaction`](crate::Producer::begin_transaction) returns the transaction, which has `send`, `commit` and `abort` |
//! | `sendOffsetsToTransaction(offsets, groupMetadata)` | [`send_offsets`](crate::Transaction::send_offsets) takes the consumer |
//! | sent records are in the log before the commit | buffered up to `transaction_buffer`: aborts leave nothing, and the last stable offset does not wait for the program |
//! | data, then the decision, then markers: three rounds | data and decision in one round; the markers are not waited for |
//! | a transaction is stable once its marker is below the high watermark | once its decision is durable |
//! | `ProducerFencedException`, `InvalidProducerEpochException` | [`Fenced`](crate::Error::Fenced), which names the winner |
//! | `transaction.timeout.ms`, the coordinator aborts | [`transaction_timeout`](crate::clients::ProducerBuilder::transaction_timeout); whoever notices aborts |
//! | `transaction.two.phase.commit.enable` (KIP-939) | not in this release |
//! | one coordinator per transactional id, 50 partitions | the process that has the log open; one partition |
//!
//! The bytes are Kafka's: batches with producer id, epoch and sequence, markers, transaction indexes, and `__transaction_state`.
//! Producer ids are drawn at random above 2^40, so that they never meet those of a broker, which counts from 0. Transactions that a
//! broker left open in a directory stay open, as its own consumers see them, until somebody ends them with
//! [`abort_transaction`](crate::Streamlog::abort_transaction).
