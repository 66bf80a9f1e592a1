//! Recipes: small programs that run to the end and check themselves.
//!
//! * [Producing and consuming](#producing-and-consuming)
//! * [Pipelined, and nothing lost](#pipelined-and-nothing-lost)
//! * [Sending each record once](#sending-each-record-once)
//! * [Exactly once](#exactly-once)
//! * [Deciding on what is there](#deciding-on-what-is-there)
//! * [Tailing](#tailing)
//! * [Event sourcing](#event-sourcing)
//! * [Replaying by time](#replaying-by-time)
//! * [Choosing what survives](#choosing-what-survives)
//! * [A buffer bounded in bytes and time](#a-buffer-bounded-in-bytes-and-time)
//! * [Testing](#testing)
//!
//! [`patterns`](super::patterns) has whole programs, the directory `examples/` longer ones, and
//! [`operating`](super::operating) covers a log in production.
//!
//! # Producing and consuming
//!
//! A producer chooses the partition by the key and gathers records into batches. A consumer reads partitions and commits its
//! progress for its group. Process first, then commit: after a crash the records since the last commit come again, and none
//! is missed. That is *at least once*, and processing must allow for it.
//!
//! ```
//! use std::time::Duration;
//! use streamlog::{ProducerRecord, Streamlog, TopicConfig};
//!
//! let log = Streamlog::in_memory()?;
//! log.create_topic("orders", TopicConfig::default().partitions(3))?;
//!
//! let producer = log.producer()?;
//! // One record, on the medium when `send` returns.
//! let placed = producer.send(ProducerRecord::new("orders", "a loom").key("ada"))?;
//! // Many records: `enqueue` returns immediately, and they share batches and flushes.
//! let deliveries = (0..100)
//!     .map(|i| producer.enqueue(ProducerRecord::new("orders", &format!("card {i}")).key("ada")))
//!     .collect::<Result<Vec<_>, _>>()?;
//! for delivery in deliveries {
//!     // The same key, the same partition, in the order of sending.
//!     assert_eq!(delivery.wait()?.partition(), placed.partition());
//! }
//!
//! let mut billing = log.consumer("billing")?;
//! billing.subscribe(["orders"])?;
//! let mut seen = 0;
//! while seen < 101 {
//!     let records = billing.poll(Duration::from_secs(1))?;
//!     for record in &records {
//!         assert_eq!(record.key, Some(&b"ada"[..])); // the processing
//!         seen += 1;
//!     }
//!     billing.commit_sync()?;
//! }
//!
//! // Another consumer of the group, perhaps after a restart, continues after what was committed.
//! let mut again = log.consumer("billing")?;
//! again.subscribe(["orders"])?;
//! assert!(again.poll(Duration::ZERO)?.is_empty());
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! If a database keeps the results of processing, keep the positions there too, in the same transaction:
//! [`next_offsets`](crate::ConsumerRecords::next_offsets) has them. [`seek`](crate::Consumer::seek) to them at the start,
//! and each record takes effect once.
//!
//! # Pipelined, and nothing lost
//!
//! [`enqueue`](crate::Producer::enqueue) accepts a record before it is in the log. A program need not keep every
//! [`Delivery`](crate::Delivery) to learn the outcome: it ends each batch of input with a [`flush`](crate::Producer::flush).
//! If the flush succeeds, everything accepted before is acknowledged, and the program can store its place in the input. A
//! full disk is not a failure yet: records wait in order and are tried again for
//! [`max_block`](crate::clients::ProducerBuilder::max_block). Records that fail for good come back.
//!
//! ```
//! use std::time::Duration;
//! use streamlog::{Error, Producer, ProducerRecord, Result, Streamlog, TopicConfig, clients::UndeliveredRecord};
//!
//! /// Every line is in the log when this returns, or in `left`.
//! fn ship(producer: &Producer, lines: &[&str], left: &mut Vec<UndeliveredRecord>) -> Result<()> {
//!     for line in lines {
//!         loop {
//!             match producer.enqueue(ProducerRecord::new("lines", line)) {
//!                 Ok(_) => break,
//!                 // Earlier records failed, and this one was not accepted: it comes after them.
//!                 Err(Error::Undelivered { .. }) => left.extend(producer.take_undelivered()),
//!                 // The buffer stayed full for `max_block`: nothing is lost, and this record is tried again.
//!                 Err(error) if error.is_retriable() => eprintln!("{error}"),
//!                 Err(error) => return Err(error),
//!             }
//!         }
//!     }
//!     match producer.flush() {
//!         Err(Error::Undelivered { .. }) => left.extend(producer.take_undelivered()),
//!         other => other?,
//!     }
//!     Ok(())
//! }
//!
//! let log = Streamlog::in_memory()?;
//! let topic = log.create_topic("lines", TopicConfig::default())?;
//! let producer = log.producer_builder().max_block(Duration::from_secs(10)).build()?;
//!
//! let mut left = Vec::new();
//! ship(&producer, &["a", "b", "c"], &mut left)?;
//! assert_eq!(topic.partition(0)?.high_watermark(), 3);
//! // The rest is sent again, put into a file, or counted: the program decides.
//! for record in &left {
//!     producer.send(record.to_record())?;
//! }
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! A program that accepts input while `left` grows holds in memory what the disk has no space for. Stop accepting, or count
//! the refused input, until everything in `left` is written.
//!
//! After a failed flush a record may be in the log all the same, and [reports
//! that](crate::clients::UndeliveredRecord::may_be_in_log); sent again, it may be there twice. A process that dies loses its
//! unacknowledged records, so keep the input until it is flushed, or use [`send`](crate::Producer::send).
//!
//! # Sending each record once
//!
//! A source that may die between sending and noting that it has sent gives its producer a name and its records the numbers that
//! they have at the source. What was sent before is not written again, and the log says where to go on:
//!
//! ```
//! use streamlog::{ProducerRecord, Streamlog, TopicConfig, TopicPartition};
//!
//! # let log = Streamlog::in_memory()?;
//! log.create_topic("lines", TopicConfig::default())?;
//! let lines = ["one", "two", "three"];
//! for attempt in 0..2 {
//!     // The second attempt stands for a program that was started again.
//!     let producer = log.producer_builder().named("reader").build()?;
//!     let partition = TopicPartition::new("lines", 0);
//!     let next = producer.last_sequence(&partition)?.map_or(0, |last| last + 1);
//!     assert_eq!(next, attempt * 3);
//!     for (number, line) in (0u64..).zip(lines).skip(next as usize) {
//!         producer.send(ProducerRecord::new("lines", line).partition(0).sequence(number))?;
//!     }
//! }
//! assert_eq!(log.topic("lines")?.partition(0)?.log_end_offset(), 3);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! # Exactly once
//!
//! A program that reads one topic and writes another does both in a [transaction](super::transactions): what it writes and how
//! far it has read count together or not at all. [`begin_transaction`](crate::Producer::begin_transaction) begins one,
//! [`send_offsets`](crate::Transaction::send_offsets) adds the position. A transaction that is dropped, by an error or with the
//! process, is aborted.
//!
//! ```
//! use std::time::Duration;
//! use streamlog::{ProducerRecord, Result, Streamlog, TopicConfig, clients::IsolationLevel};
//!
//! /// Bills what is ordered. After an error it is called again: a new consumer begins where the group has committed.
//! fn bill(log: &Streamlog) -> Result<()> {
//!     let producer = log.producer()?;
//!     let mut consumer = log.consumer("billing")?;
//!     consumer.subscribe(["orders"])?;
//!     loop {
//!         let orders = consumer.poll(Duration::from_millis(100))?;
//!         if orders.is_empty() {
//!             return Ok(());
//!         }
//!         let mut transaction = producer.begin_transaction()?;
//!         for order in &orders {
//!             let invoice = format!("invoice for {}", order.value_text());
//!             transaction.send(ProducerRecord::new("invoices", &invoice).key(order.key.unwrap_or_default()))?;
//!         }
//!         transaction.send_offsets(&consumer)?;
//!         transaction.commit()?;
//!     }
//! }
//!
//! let log = Streamlog::in_memory()?;
//! log.create_topic("orders", TopicConfig::default())?;
//! let invoices = log.create_topic("invoices", TopicConfig::default())?.partition(0)?;
//! let producer = log.producer()?;
//! for order in ["a loom", "a compiler"] {
//!     producer.send(ProducerRecord::new("orders", order).key("ada"))?;
//! }
//! bill(&log)?;
//!
//! let mut forgotten = producer.begin_transaction()?;
//! forgotten.send(ProducerRecord::new("invoices", "invoice for nothing").key("ada"))?;
//! drop(forgotten);
//! bill(&log)?; // nothing is billed twice
//! assert_eq!(invoices.records_with(0, IsolationLevel::ReadCommitted).count(), 2);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! Larger transactions are faster: each commit is a flush. `examples/exactly_once.rs` is a whole program that may be killed at any
//! moment.
//!
//! # Deciding on what is there
//!
//! [`Streamlog::transaction`](crate::Streamlog::transaction) runs a closure in a transaction and commits it.
//! [`expect_end`](crate::Transaction::expect_end) makes the commit depend on what the closure has read: where somebody else has
//! appended meanwhile, it is run again.
//!
//! ```
//! use streamlog::{ProducerRecord, Result, Streamlog, TopicConfig, clients::IsolationLevel};
//!
//! /// Books a seat, unless somebody has it.
//! fn book(log: &Streamlog, seat: &str, name: &str) -> Result<bool> {
//!     let bookings = log.topic("bookings")?.partition(0)?;
//!     log.transaction(|transaction| {
//!         // Asked before reading: what comes in between is a conflict.
//!         let end = bookings.last_stable_offset();
//!         for booking in bookings.records_with(0, IsolationLevel::ReadCommitted) {
//!             if booking?.key_text() == seat {
//!                 return Ok(false);
//!             }
//!         }
//!         transaction.expect_end(bookings.topic_partition(), end)?;
//!         transaction.send(ProducerRecord::new("bookings", name).key(seat))?;
//!         Ok(true)
//!     })
//! }
//!
//! let log = Streamlog::in_memory()?;
//! log.create_topic("bookings", TopicConfig::default())?;
//! let booked = std::thread::scope(|scope| {
//!     let clerks = ["ada", "charles"].map(|name| scope.spawn(|| book(&log, "17 A", name)));
//!     clerks.map(|clerk| clerk.join().unwrap())
//! });
//! let [ada, charles] = booked;
//! assert!(ada? != charles?, "one of them has it");
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! # Tailing
//!
//! [`poll`](crate::Consumer::poll) sleeps until there are records, and never spins. A [wake-up
//! handle](crate::Consumer::wakeup_handle) ends the sleep from another thread. To read only new records,
//! [`seek_to_end`](crate::Consumer::seek_to_end).
//!
//! ```
//! use std::{thread, time::Duration};
//! use streamlog::{Error, ProducerRecord, Streamlog, TopicConfig};
//!
//! let log = Streamlog::in_memory()?;
//! log.create_topic("ticks", TopicConfig::default())?;
//! let producer = log.producer()?;
//! producer.send(ProducerRecord::new("ticks", "old news"))?;
//!
//! let mut consumer = log.consumer_builder_without_group().build()?;
//! consumer.subscribe(["ticks"])?;
//! consumer.seek_to_end(&[])?;
//! let wakeup = consumer.wakeup_handle();
//!
//! let tail = thread::spawn(move || -> Result<Vec<String>, Error> {
//!     let mut seen = Vec::new();
//!     loop {
//!         match consumer.poll(Duration::from_secs(60)) {
//!             Ok(records) => seen.extend(records.iter().map(|record| record.value_text().into_owned())),
//!             Err(Error::Wakeup) => return Ok(seen),
//!             Err(error) => return Err(error),
//!         }
//!         if seen.len() == 2 {
//!             return Ok(seen);
//!         }
//!     }
//! });
//! producer.send(ProducerRecord::new("ticks", "tick"))?;
//! producer.send(ProducerRecord::new("ticks", "tock"))?;
//! assert_eq!(tail.join().unwrap()?, ["tick", "tock"]);
//!
//! wakeup.wakeup(); // from any thread, at any time; here it comes too late to have an effect
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! Another process tails the same way, through [`open_read_only`](crate::Streamlog::open_read_only); its consumers look for
//! new records every ten milliseconds. It cannot commit, and [keeps its place
//! itself](super::patterns#following-in-another-process).
//!
//! # Event sourcing
//!
//! The log is the truth; replaying it gives the state. Append the event first, then change the state. When
//! [`append`](crate::Partition::append) has returned, the event survives a power cut, so the state can always be rebuilt.
//! The records of one `append` are one batch: after a crash all of them are there, or none.
//!
//! ```
//! use std::collections::BTreeMap;
//! use streamlog::{Offset, Partition, RecordData, Result, Streamlog, TopicConfig};
//!
//! type Stock = BTreeMap<String, i64>;
//!
//! /// The state as of `until`: every event below it, in order.
//! fn replay(events: &Partition, until: Offset) -> Result<Stock> {
//!     let mut stock = Stock::new();
//!     for event in events.records(events.log_start_offset()) {
//!         let event = event?;
//!         if event.offset >= until {
//!             break;
//!         }
//!         let change: i64 = event.value_text().parse().unwrap_or(0);
//!         *stock.entry(event.key_text().into_owned()).or_default() += change;
//!     }
//!     Ok(stock)
//! }
//!
//! let log = Streamlog::in_memory()?;
//! let events = log.create_topic("stock", TopicConfig::default())?.partition(0)?;
//! events.append(&[RecordData::new("100").key("bolt")])?;
//! // Two events that belong together are one batch.
//! events.append(&[RecordData::new("-30").key("bolt"), RecordData::new("30").key("kit")])?;
//!
//! let now = replay(&events, events.high_watermark())?;
//! assert_eq!((now["bolt"], now["kit"]), (70, 30));
//! assert_eq!(replay(&events, Offset::new(1))?["bolt"], 100);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! With several partitions, only events of the same key are in order. Replaying a long log takes time: store [a snapshot of
//! the state](super::patterns#a-snapshot-of-the-state) with its offset, and replay from there.
//!
//! # Replaying by time
//!
//! [`offset_for_timestamp`](crate::Partition::offset_for_timestamp) finds the first record whose timestamp is at or after a
//! moment. It reads an index and a few batches. Timestamps need not be in order; "first" then means first by offset, as in
//! Kafka. If that record may lie in damage, the answer is [`Corrupt`](crate::Error::Corrupt), not a later record.
//!
//! ```
//! use streamlog::{RecordData, Streamlog, Timestamp, TopicConfig};
//!
//! let log = Streamlog::in_memory()?;
//! let readings = log.create_topic("readings", TopicConfig::default())?.partition(0)?;
//! for minute in 0..60 {
//!     let at = Timestamp::from_millis(1_767_225_600_000 + minute * 60_000);
//!     readings.append(&[RecordData::new("21.5").timestamp(at)])?;
//! }
//!
//! let half_past = Timestamp::from_millis(1_767_225_600_000 + 30 * 60_000);
//! let found = readings.offset_for_timestamp(half_past)?.expect("there are later records");
//! assert_eq!(found.offset, 30);
//! assert_eq!(readings.records(found.offset).count(), 30);
//!
//! // The newest records.
//! let newest = readings.last(2)?;
//! assert_eq!(newest.iter().map(|r| r.offset.value()).collect::<Vec<_>>(), [58, 59]);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! # Choosing what survives
//!
//! Durability is set per topic, in one word. [`durability`](super::durability) states exactly what each word gives up.
//!
//! ```
//! use std::time::Duration;
//! use streamlog::{Durability, RecordData, Streamlog, TopicConfig, config::ConfigChange};
//!
//! let log = Streamlog::in_memory()?;
//! // An order is on the medium when `append` returns.
//! let orders = log.create_topic("orders", TopicConfig::default())?.partition(0)?;
//! // A click survives the process immediately, and a power cut after 200 ms.
//! let clicks = TopicConfig::default().durability(Durability::Interval(Duration::from_millis(200)));
//! let clicks = log.create_topic("clicks", clicks)?.partition(0)?;
//!
//! orders.append(&[RecordData::new("a loom")])?;
//! clicks.append(&[RecordData::new("home")])?;
//! clicks.append(&[RecordData::new("cart")])?;
//! // When it matters after all: everything so far becomes durable.
//! clicks.flush()?;
//!
//! // It can be changed later. Existing records are flushed first.
//! log.alter_topic("clicks", &[ConfigChange::set("streamlog.durability", "flushed")])?;
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! A flush costs the same for one record as for a thousand. Put records that arrive together into one `append`; threads that
//! append at the same time share flushes automatically.
//!
//! # A buffer bounded in bytes and time
//!
//! ```
//! use std::time::Duration;
//! use streamlog::{Streamlog, TopicConfig};
//!
//! # let dir = tempfile::tempdir().unwrap();
//! # let dir = dir.path().join("log");
//! let log = Streamlog::open(&dir)?;
//! let config = TopicConfig::default()
//!     .retention_bytes(50_000_000)
//!     .retention_time(Duration::from_secs(24 * 60 * 60))
//!     .segment_time(Duration::from_secs(60 * 60));
//! let readings = log.topic_or_create("readings", config)?;
//! # drop(readings);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! A partition never holds more than 50 MB of records, and takes about half a percent more on disk for indexes. The oldest
//! records go first, read or not: a slower consumer gets [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange), or continues
//! by its reset policy. The default of `segment_bytes` follows the limit. Retention removes whole segments: one that is
//! rolled each hour holds no record for more than a day, an hour and the five minutes between two checks.
//!
//! # Testing
//!
//! [`Streamlog::in_memory`](crate::Streamlog::in_memory) runs the same engine on a file system in memory; the log is gone
//! with its last handle. [`Streamlog::temporary`](crate::Streamlog::temporary) is on disk, in a directory that is removed
//! with it.
//!
//! ```
//! use streamlog::{Error, ErrorKind, RecordData, Streamlog, TopicConfig};
//!
//! fn record_order(log: &Streamlog, what: &str) -> Result<u64, Error> {
//!     let orders = log.topic_or_create("orders", TopicConfig::default())?;
//!     Ok(orders.partition(0)?.append(&[RecordData::new(what)])?.start.value())
//! }
//!
//! let log = Streamlog::in_memory()?;
//! assert_eq!(record_order(&log, "a loom")?, 0);
//! assert_eq!(record_order(&log, "a compiler")?, 1);
//! let too_large = "x".repeat(2 << 20);
//! assert_eq!(record_order(&log, &too_large).unwrap_err().kind(), ErrorKind::RecordTooLarge);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! With the feature `sim` a test can go further: cut the power at any operation, fill the disk, let a flush lie, and open
//! what is left. Only the tests need the feature:
//!
//! ```toml
//! [dev-dependencies]
//! streamlog = { path = "../streamlog", features = ["sim"] }
//! ```
//!
//! [`durability`](super::durability#how-to-check-this) has a program, and the page of `streamlog::sim` has one that stops
//! the machine after every operation.
