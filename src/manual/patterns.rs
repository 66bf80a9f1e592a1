//! Whole programs around a log, as services, devices and tests need them.
//!
//! * [An edge buffer](#an-edge-buffer): a device that collects while its line is down
//! * [Clocks that begin in 1970](#clocks-that-begin-in-1970)
//! * [A projection with exact positions](#a-projection-with-exact-positions)
//! * [A snapshot of the state](#a-snapshot-of-the-state): a start that does not replay everything
//! * [Optimistic concurrency](#optimistic-concurrency)
//! * [Retries and dead letters](#retries-and-dead-letters)
//! * [Long polling](#long-polling): readers behind HTTP
//! * [Following in another process](#following-in-another-process)
//! * [Shutting down several consumers](#shutting-down-several-consumers)
//! * [Metrics to export](#metrics-to-export)
//! * [How many partitions, how large segments](#how-many-partitions-how-large-segments)
//! * [Which errors to retry](#which-errors-to-retry)
//! * [Which record type comes from where](#which-record-type-comes-from-where)
//!
//! [`how_to`](super::how_to) has the smaller steps.
//!
//! # An edge buffer
//!
//! A device appends readings all the time and ships them while its line is up. Retention bounds the log, the group remembers
//! how far shipping has come, and the lag says how much is left. A batch that could not be shipped is not committed:
//! [`seek`](crate::Consumer::seek) goes back to it, and a restart begins with it.
//!
//! ```
//! use std::time::Duration;
//! use streamlog::{Consumer, ConsumerRecords, Durability, ProducerRecord, Result, Streamlog, TopicConfig};
//!
//! /// Ships the records of one poll. If that fails, the next poll returns them again.
//! fn ship(consumer: &mut Consumer, line: &mut impl FnMut(&ConsumerRecords) -> bool) -> Result<usize> {
//!     let records = consumer.poll(Duration::from_millis(100))?;
//!     for reset in records.resets() {
//!         eprintln!("{reset}"); // the line was down for longer than the buffer lasts
//!     }
//!     if records.is_empty() {
//!         return Ok(0);
//!     }
//!     if line(&records) {
//!         consumer.commit_sync()?;
//!         return Ok(records.len());
//!     }
//!     for partition in records.partitions() {
//!         if let Some(first) = records.records(partition).next() {
//!             consumer.seek(partition, first.offset)?;
//!         }
//!     }
//!     Ok(0)
//! }
//!
//! /// Frees shipped records: now and then, and when the disk is full.
//! fn free(log: &Streamlog, consumer: &mut Consumer) -> Result<()> {
//!     for partition in consumer.assignment() {
//!         let shipped = consumer.position(&partition)?;
//!         log.delete_records(&partition.topic, partition.partition, shipped)?;
//!     }
//!     Ok(())
//! }
//!
//! let log = Streamlog::in_memory()?; // on a device: Streamlog::open("/var/lib/readings")
//! let config = TopicConfig::default()
//!     .durability(Durability::Interval(Duration::from_secs(1)))
//!     .retention_bytes(50 << 20)
//!     .retention_time(Duration::from_secs(24 * 60 * 60));
//! log.create_topic("readings", config)?;
//! let producer = log.producer()?;
//! for reading in 0..100 {
//!     producer.enqueue(ProducerRecord::new("readings", &format!("{reading}")))?;
//! }
//! producer.flush()?;
//!
//! let mut uplink = log.consumer("uplink")?;
//! uplink.subscribe(["readings"])?;
//! let mut tries = 0;
//! let mut flaky = |_: &ConsumerRecords| {
//!     tries += 1;
//!     tries > 2
//! };
//! assert_eq!(ship(&mut uplink, &mut flaky)?, 0); // wait a little longer each time
//! assert_eq!(ship(&mut uplink, &mut flaky)?, 0);
//! assert_eq!(ship(&mut uplink, &mut flaky)?, 100);
//! assert_eq!(log.describe_group("uplink")?.lag(), 0);
//! free(&log, &mut uplink)?;
//! assert_eq!(log.topic("readings")?.partition(0)?.log_start_offset(), 100);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! **When the disk is full**, readings that were accepted wait, and come back if it stays full: [pipelined, and nothing
//! lost](super::how_to#pipelined-and-nothing-lost) has the producer's side. A commit is an append too. Without space it
//! fails with [`DiskFull`](crate::Error::DiskFull), which is retriable; after a restart the records it was to cover are
//! shipped again. Removing needs no space: retention and [`delete_records`](crate::Streamlog::delete_records) work on a full
//! disk. Retention helps only if the limits of all topics, with the indexes, fit on the medium. A
//! [disk budget](super::operating#a-disk-budget) bounds them together, and can drop the oldest of all.
//!
//! # Clocks that begin in 1970
//!
//! A device without a battery for its clock begins in 1970, until it gets the time from the network. Records without a
//! timestamp of their own get the time of the device. Two things follow.
//! [`retention_time`](crate::TopicConfig::retention_time) goes by the timestamps: once the clock is right, the readings of
//! the first minutes are fifty years old, and the next retention check removes their segment, shipped or not. And [searching
//! by time](crate::Partition::offset_for_timestamp) finds them under 1970. Offsets, order, commits and durability do not
//! depend on the clock.
//!
//! So begin with a size limit alone, and add the age limit once the clock is right and the first minutes are shipped:
//!
//! ```
//! use std::time::Duration;
//! use streamlog::{Offset, Result, Streamlog, Timestamp, TopicConfig};
//!
//! /// Whether the clock was set: this program did not exist before 2026.
//! fn is_right(now: Timestamp) -> bool {
//!     now > Timestamp::from_millis(1_767_225_600_000)
//! }
//!
//! fn open_readings(log: &Streamlog) -> Result<TopicConfig> {
//!     let by_size = TopicConfig::default().retention_bytes(50_000_000).retention_time(None);
//!     log.topic_or_create("readings", by_size.clone())?;
//!     Ok(by_size)
//! }
//!
//! /// `unsure` is the end of the log when the clock was found to be right.
//! fn limit_age(log: &Streamlog, by_size: TopicConfig, unsure: Offset, shipped: Offset) -> Result<bool> {
//!     if shipped < unsure {
//!         return Ok(false);
//!     }
//!     log.topic_or_create("readings", by_size.retention_time(Duration::from_secs(24 * 60 * 60)))?;
//!     Ok(true)
//! }
//!
//! let log = Streamlog::in_memory()?;
//! let by_size = open_readings(&log)?; // at each start: the last run may have left an age limit
//! assert!(is_right(Timestamp::now()));
//! let end = log.topic("readings")?.partition(0)?.log_end_offset();
//! assert!(limit_age(&log, by_size, end, end)?);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! A device that knows its uptime can do better: it holds the first readings until the clock is right, and computes their
//! [timestamps](crate::ProducerRecord::timestamp) back from there.
//!
//! # A projection with exact positions
//!
//! A projection is a state that a consumer computes from records. Store state and position together, in one transaction of
//! the database that keeps the state, and each record takes effect once, whichever process dies when. The consumer needs no
//! group: the database has the position.
//!
//! ```
//! use std::{collections::BTreeMap, time::Duration};
//! use streamlog::{Offset, ProducerRecord, Result, Streamlog, TopicConfig, TopicPartition};
//!
//! /// Stands for a database: an assignment stands for a transaction.
//! #[derive(Clone, Default)]
//! struct Projection {
//!     balances: BTreeMap<String, i64>,
//!     positions: BTreeMap<TopicPartition, Offset>,
//! }
//!
//! fn catch_up(log: &Streamlog, stored: &mut Projection) -> Result<()> {
//!     let mut consumer = log.consumer_builder_without_group().build()?;
//!     consumer.subscribe(["transfers"])?;
//!     for (partition, offset) in &stored.positions {
//!         consumer.seek(partition, *offset)?;
//!     }
//!     loop {
//!         let records = consumer.poll(Duration::ZERO)?;
//!         if records.is_empty() {
//!             return Ok(());
//!         }
//!         let mut next = stored.clone();
//!         for record in &records {
//!             let amount: i64 = record.value_text().parse().unwrap_or(0);
//!             *next.balances.entry(record.key_text().into_owned()).or_default() += amount;
//!         }
//!         next.positions.extend(records.next_offsets());
//!         *stored = next; // the transaction
//!     }
//! }
//!
//! let log = Streamlog::in_memory()?;
//! log.create_topic("transfers", TopicConfig::default().partitions(3))?;
//! let producer = log.producer()?;
//! producer.send(ProducerRecord::new("transfers", "100").key("ada"))?;
//!
//! let mut stored = Projection::default();
//! catch_up(&log, &mut stored)?;
//! producer.send(ProducerRecord::new("transfers", "-30").key("ada"))?;
//! catch_up(&log, &mut stored)?; // after a restart
//! assert_eq!(stored.balances["ada"], 70);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! Text forms help if the database has no type for a position: `parse` reads a [`TopicPartition`](crate::TopicPartition) or
//! an [`Offset`](crate::Offset) back, and the feature `serde` makes JSON of the whole map.
//!
//! # A snapshot of the state
//!
//! A program whose state is the sum of its events replays them at each start. A snapshot shortens that: it holds the state,
//! and the offset of the first event that is not in it. It is built from what readers see, so it never contains an event
//! that a power cut can take back. It may be a record in a topic of its own, of which only the newest counts.
//!
//! ```
//! use std::collections::BTreeMap;
//! use streamlog::{Offset, Partition, RecordData, Result, Streamlog, TopicConfig};
//!
//! #[derive(Default)]
//! struct State {
//!     /// Every event below it is in the balances.
//!     as_of: Offset,
//!     balances: BTreeMap<String, i64>,
//! }
//!
//! impl State {
//!     /// The newest snapshot, and the events after it.
//!     fn load(events: &Partition, snapshots: &Partition) -> Result<State> {
//!         let mut state = State::default();
//!         if let Some(newest) = snapshots.last(1)?.pop() {
//!             let text = newest.value_text();
//!             let mut lines = text.lines();
//!             state.as_of = lines.next().unwrap_or_default().parse()?;
//!             let pairs = lines.filter_map(|line| line.split_once(' '));
//!             state.balances = pairs.map(|(name, sum)| (name.to_string(), sum.parse().unwrap_or(0))).collect();
//!         }
//!         state.catch_up(events)?;
//!         Ok(state)
//!     }
//!
//!     fn catch_up(&mut self, events: &Partition) -> Result<()> {
//!         for event in events.records(self.as_of) {
//!             let event = event?;
//!             let amount: i64 = event.value_text().parse().unwrap_or(0);
//!             *self.balances.entry(event.key_text().into_owned()).or_default() += amount;
//!             self.as_of = event.offset + 1;
//!         }
//!         Ok(())
//!     }
//!
//!     fn save(&self, snapshots: &Partition) -> Result<()> {
//!         let balances: String = self.balances.iter().map(|(name, sum)| format!("\n{name} {sum}")).collect();
//!         snapshots.append(&[RecordData::new(format!("{}{balances}", self.as_of))])?;
//!         Ok(())
//!     }
//! }
//!
//! let log = Streamlog::in_memory()?;
//! let events = log.create_topic("transfers", TopicConfig::default())?.partition(0)?;
//! let few = TopicConfig::default().retention_bytes(8 << 20);
//! let snapshots = log.create_topic("snapshots", few)?.partition(0)?;
//!
//! events.append(&[RecordData::new("100").key("ada"), RecordData::new("50").key("grace")])?;
//! let mut state = State::load(&events, &snapshots)?;
//! state.save(&snapshots)?;
//! events.append(&[RecordData::new("-30").key("ada")])?;
//!
//! let again = State::load(&events, &snapshots)?; // replays one event
//! assert_eq!((again.as_of, again.balances["ada"]), (Offset::new(3), 70));
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! A snapshot is one record, so at most [`max_message_bytes`](crate::TopicConfig::max_message_bytes) long; put a larger one
//! into a file beside the log.
//!
//! # Optimistic concurrency
//!
//! "Append this event if nothing was appended since I looked" takes a lock in the program, under which it compares versions
//! and decides the order. No thread holds that lock while it waits for the medium: [`enqueue`](crate::Producer::enqueue)
//! fixes the place of the event, and threads that [`wait`](crate::Delivery::wait) at the same time share a flush.
//!
//! ```
//! use std::{collections::HashMap, sync::Mutex};
//! use streamlog::{Partition, Producer, ProducerRecord, Result, Streamlog, TopicConfig};
//!
//! struct Accounts {
//!     producer: Producer,
//!     versions: Mutex<HashMap<String, u64>>,
//! }
//!
//! impl Accounts {
//!     fn load(producer: Producer, events: &Partition) -> Result<Accounts> {
//!         let mut versions = HashMap::new();
//!         for event in events.records(events.log_start_offset()) {
//!             *versions.entry(event?.key_text().into_owned()).or_default() += 1;
//!         }
//!         Ok(Accounts { producer, versions: Mutex::new(versions) })
//!     }
//!
//!     /// Whether the event was appended, and is durable: `false` if the account has left this version.
//!     fn append(&self, account: &str, expected: u64, event: &str) -> Result<bool> {
//!         let delivery = {
//!             let mut versions = self.versions.lock().unwrap();
//!             if versions.get(account).copied().unwrap_or(0) != expected {
//!                 return Ok(false);
//!             }
//!             let delivery = self.producer.enqueue(ProducerRecord::new("accounts", event).key(account))?;
//!             versions.insert(account.to_string(), expected + 1);
//!             delivery
//!         };
//!         delivery.wait()?;
//!         Ok(true)
//!     }
//! }
//!
//! let log = Streamlog::in_memory()?;
//! let events = log.create_topic("accounts", TopicConfig::default())?.partition(0)?;
//! let accounts = Accounts::load(log.producer()?, &events)?;
//! assert!(accounts.append("ada", 0, "opened")?);
//! assert!(accounts.append("ada", 1, "paid 100")?);
//! assert!(!accounts.append("ada", 1, "paid 50")?); // another was faster: look, decide again
//! assert!(Accounts::load(log.producer()?, &events)?.append("ada", 2, "paid 50")?);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! The versions run ahead of the medium. That is safe within one partition: after a crash an event is there only if all
//! events enqueued before it are. It is not safe across partitions, so decisions that depend on each other belong in one.
//! After an error of `wait` the versions stay ahead: [`flush`](crate::Producer::flush), and load them again.
//!
//! # Retries and dead letters
//!
//! A record that cannot be processed must not hold up its successors for long, and must not be lost. Try it a few times,
//! then send it to a topic for dead letters, with the reason, and continue. The dead letter is durable before the commit. A
//! crash in between duplicates it; none is ever missing.
//!
//! ```
//! use std::{thread, time::Duration};
//! use streamlog::{Consumer, ConsumerRecord, Producer, ProducerRecord, Result, Streamlog, TopicConfig};
//!
//! const ATTEMPTS: u32 = 3;
//!
//! /// Processes the records of one poll.
//! fn work(
//!     consumer: &mut Consumer,
//!     producer: &Producer,
//!     job: &mut impl FnMut(&ConsumerRecord) -> std::result::Result<(), String>,
//! ) -> Result<()> {
//!     for record in &consumer.poll(Duration::from_millis(100))? {
//!         for attempt in 1..=ATTEMPTS {
//!             let Err(reason) = job(&record) else { break };
//!             if attempt == ATTEMPTS {
//!                 let from = format!("{}@{}", record.topic_partition(), record.offset);
//!                 let dead = ProducerRecord::copy_of("jobs.dead", &record); // key, value, headers and timestamp
//!                 producer.send(dead.header("reason", reason).header("from", from))?;
//!             } else {
//!                 thread::sleep(Duration::from_millis(10 << attempt));
//!             }
//!         }
//!     }
//!     consumer.commit_sync()
//! }
//!
//! let log = Streamlog::in_memory()?;
//! log.create_topic("jobs", TopicConfig::default())?;
//! let dead = log.create_topic("jobs.dead", TopicConfig::default())?.partition(0)?;
//! let producer = log.producer()?;
//! for job in ["1", "two", "3"] {
//!     producer.send(ProducerRecord::new("jobs", job))?;
//! }
//!
//! let mut consumer = log.consumer("workers")?;
//! consumer.subscribe(["jobs"])?;
//! let mut job = |record: &ConsumerRecord| {
//!     record.value_text().parse::<u32>().map(drop).map_err(|error| error.to_string())
//! };
//! work(&mut consumer, &producer, &mut job)?;
//!
//! let letters = dead.last(10)?;
//! assert_eq!(letters.len(), 1);
//! assert_eq!(letters[0].value_str(), Some("two"));
//!
//! // A consumer finds a header's value by name.
//! let mut reader = log.consumer("post office")?;
//! reader.subscribe(["jobs.dead"])?;
//! for letter in &reader.poll(Duration::from_secs(1))? {
//!     assert_eq!(letter.headers.get("from"), Some(&b"jobs-0@1"[..]));
//! }
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! If a retry has to wait for minutes, send the copy to a topic `jobs.retry` with the attempt and the due time in headers,
//! and let a second consumer sleep until then.
//!
//! # Long polling
//!
//! A reader at the other end of a network asks for the records from an offset on, and waits a while if there are none yet. A
//! consumer without a group serves one such request and keeps nothing for the next: the answer contains the offset to
//! continue from.
//!
//! ```
//! use std::time::Duration;
//! use streamlog::{
//!     ErrorKind, Offset, ProducerRecord, Result, Streamlog, TopicConfig, TopicPartition, clients::AutoOffsetReset,
//! };
//!
//! /// The answer to `GET /events?from=42`: records, and the offset to ask for next.
//! fn events(log: &Streamlog, from: Offset, patience: Duration) -> Result<(Vec<String>, Offset)> {
//!     let partition = TopicPartition::new("events", 0);
//!     let none = AutoOffsetReset::None;
//!     let mut consumer = log.consumer_builder_without_group().auto_offset_reset(none).build()?;
//!     consumer.assign([partition.clone()])?;
//!     consumer.seek(&partition, from)?;
//!     let records = consumer.poll(patience)?;
//!     let next = records.next_offsets().get(&partition).copied().unwrap_or(from);
//!     Ok((records.iter().map(|record| record.value_text().into_owned()).collect(), next))
//! }
//!
//! let log = Streamlog::in_memory()?;
//! log.create_topic("events", TopicConfig::default())?;
//! log.producer()?.send(ProducerRecord::new("events", "hello"))?;
//!
//! let patience = Duration::from_millis(10);
//! assert_eq!(events(&log, Offset::ZERO, patience)?, (vec!["hello".to_string()], Offset::new(1)));
//! assert_eq!(events(&log, Offset::new(1), patience)?, (vec![], Offset::new(1)));
//! // Removed by retention, or never there: the error text has the range that exists. In HTTP: 416.
//! assert_eq!(events(&log, Offset::new(7), patience).unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! Each waiting reader takes a thread. A [wake-up handle](crate::Consumer::wakeup_handle) ends one wait; closing the log
//! ends them all, with [`Closed`](crate::ErrorKind::Closed).
//!
//! # Following in another process
//!
//! A follower opens the directory [read-only](crate::Streamlog::open_read_only). It may start before the writer, so it waits
//! for the directory and for the topic. It cannot commit, because a commit is a record: `commit_sync` fails with
//! [`ReadOnly`](crate::ErrorKind::ReadOnly). A follower that resumes keeps its place in a file of its own, or beside its
//! results.
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! # let dir = dir.path().join("log");
//! # let place = dir.with_extension("place");
//! use std::{fs, thread, time::Duration};
//! use streamlog::{ErrorKind, Offset, ProducerRecord, Result, Streamlog, TopicConfig};
//!
//! /// Waits for something that the writer has yet to create.
//! fn when_there<T>(mut look: impl FnMut() -> Result<T>) -> Result<T> {
//!     loop {
//!         match look() {
//!             Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnknownTopic) => {
//!                 thread::sleep(Duration::from_millis(10));
//!             }
//!             other => return other,
//!         }
//!     }
//! }
//!
//! # let writing = dir.clone();
//! # let writer = thread::spawn(move || -> Result<Streamlog> {
//! #     let log = Streamlog::open(&writing)?;
//! #     log.create_topic("ticks", TopicConfig::default())?;
//! #     log.producer()?.send(ProducerRecord::new("ticks", "tick"))?;
//! #     Ok(log)
//! # });
//! let log = when_there(|| Streamlog::open_read_only(&dir))?;
//! let ticks = when_there(|| {
//!     log.refresh()?;
//!     log.topic("ticks")
//! })?
//! .partition(0)?;
//!
//! let mut consumer = log.consumer_builder_without_group().build()?;
//! consumer.assign([ticks.topic_partition().clone()])?;
//! if let Ok(text) = fs::read_to_string(&place) {
//!     consumer.seek(ticks.topic_partition(), text.parse::<Offset>()?)?;
//! }
//! let records = consumer.poll(Duration::from_secs(60))?;
//! assert_eq!(records.iter().map(|record| record.value_text()).collect::<Vec<_>>(), ["tick"]);
//! for (_, next) in records.next_offsets() {
//!     fs::write(&place, next.to_string()).expect("a place to keep the position");
//! }
//! # writer.join().unwrap()?.close()?;
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! # Shutting down several consumers
//!
//! A consumer belongs to one thread at a time, and may sleep in `poll`. Take a [wake-up
//! handle](crate::Consumer::wakeup_handle) of each before its thread starts. A wake-up ends the running poll or the next
//! one, so none comes too early. `Wakeup` is not [retriable](crate::Error::is_retriable): the loop ends.
//!
//! ```
//! use std::{thread, time::Duration};
//! use streamlog::{Error, ProducerRecord, Result, Streamlog, TopicConfig};
//!
//! let log = Streamlog::in_memory()?;
//! log.create_topic("jobs", TopicConfig::default())?;
//! log.producer()?.send(ProducerRecord::new("jobs", "a job"))?;
//!
//! let mut wakeups = Vec::new();
//! let mut threads = Vec::new();
//! for group in ["billing", "search", "audit"] {
//!     let mut consumer = log.consumer(group)?;
//!     consumer.subscribe(["jobs"])?;
//!     wakeups.push(consumer.wakeup_handle());
//!     threads.push(thread::spawn(move || -> Result<()> {
//!         loop {
//!             match consumer.poll(Duration::from_secs(60)) {
//!                 Ok(records) => {
//!                     for _record in &records { /* the processing */ }
//!                     consumer.commit_sync()?;
//!                 }
//!                 Err(Error::Wakeup) => return consumer.close(),
//!                 Err(error) => return Err(error),
//!             }
//!         }
//!     }));
//! }
//!
//! // On Ctrl-C, or another end of the program:
//! for wakeup in &wakeups {
//!     wakeup.wakeup();
//! }
//! for thread in threads {
//!     thread.join().expect("no panic")?;
//! }
//! log.close()?; // after the last consumer: its commits are in
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! If there is nothing to finish or commit, [`close`](crate::Streamlog::close) alone is enough: it ends every poll with
//! [`Closed`](crate::ErrorKind::Closed).
//!
//! # Metrics to export
//!
//! | figure | from | watch for |
//! |---|---|---|
//! | partitions that refuse appends, damage, failed background work | [`health`](crate::Streamlog::health) | anything but `is_good()` |
//! | lag of each group, in records | [`describe_group`](crate::Streamlog::describe_group), [`current_lag`](crate::Consumer::current_lag) | growth |
//! | resets | [`ConsumerRecords::resets`](crate::ConsumerRecords::resets) | any: records were skipped, or come again |
//! | bytes on disk | [`disk_usage`](crate::Streamlog::disk_usage) (it reads every file's size: once a minute, not once a second) | the medium's size |
//! | topics, partitions, segments, bytes, descriptors, mappings | [`stats`](crate::Streamlog::stats) | `open_files` near `max_open_files` all the time |
//! | cuts and findings of the last opening | [`recovery_report`](crate::Streamlog::recovery_report) | `Damage` |
//! | failed calls by kind | [`Error::kind`](crate::Error::kind), whose `Display` is a label | `disk full`, `poisoned`, `corrupt` |
//!
//! # How many partitions, how large segments
//!
//! **Partitions** are the unit of order and of parallel reading. Within one process a partition takes hundreds of thousands
//! of records a second, so begin with one, and take more to process keys in parallel: about as many as there will ever be
//! consumers. Adding partitions later moves keys to other partitions, and the order of a key across the change is lost. Each
//! partition costs a directory, a few files and an index in memory.
//!
//! **Segments** are the unit of removal. Retention removes a segment when all of it may go, so a limit holds to within one
//! segment. With `retention_bytes` leave `segment_bytes` alone: it is then an eighth of the limit, and the limit is the most
//! that a partition holds; set by hand, it makes the limit the least that is kept, as in Kafka. With `retention_time`, the
//! data of a tenth of that time is a good size. Larger segments mean fewer files; segments of less than a few megabytes mean
//! many.
//!
//! # Which errors to retry
//!
//! [`Error::is_retriable`](crate::Error::is_retriable) has the answer, and
//! [`ErrorKind::is_retriable`](crate::ErrorKind::is_retriable) the list: a full disk, a second writer, a full buffer, a
//! timeout. A retriable error has lost nothing. Every other error asks for something first, named in the text of its
//! [`ErrorKind`](crate::ErrorKind):
//!
//! | after | do |
//! |---|---|
//! | a mistake of the program (`Invalid...`, `Unknown...`, `RecordTooLarge`, `TopicExists`) | correct the program or its input |
//! | `Poisoned` | close, open again: the opening finds what is there |
//! | `Corrupt` | keep the files; [read past it](crate::Error::next_offset) |
//! | `OffsetOutOfRange`, `NoOffset` | seek |
//! | `Wakeup`, `Cancelled`, `Closed` | end, as requested |
//! | `Io` | look at the path in its text |
//!
//! # Which record type comes from where
//!
//! Two types are for writing, four for reading, and one comes back. Borrowed records cost nothing and live as long as their
//! batch or poll; owned ones share the bytes of their batch ([`Bytes`](crate::Bytes)) and can be kept and sent to other
//! threads.
//!
//! | type | comes from | holds | becomes |
//! |---|---|---|---|
//! | [`ProducerRecord`](crate::ProducerRecord) | the program, for [`Producer`](crate::Producer) | topic, and partition if chosen | |
//! | [`RecordData`](crate::RecordData) | the program, for [`Partition::append`](crate::Partition::append) | no topic, no partition | |
//! | [`Record`](crate::Record) | iterating over `&Batch` | borrowed from the batch | |
//! | [`OwnedRecord`](crate::records::OwnedRecord) | [`Partition::records`](crate::Partition::records), [`last`](crate::Partition::last), iterating over a `Batch` | owned, no topic | |
//! | [`ConsumerRecord`](crate::ConsumerRecord) | iterating over `&ConsumerRecords` | borrowed from the poll, with its partition | `OwnedConsumerRecord` by `to_owned` |
//! | [`OwnedConsumerRecord`](crate::clients::OwnedConsumerRecord) | `to_owned`, iterating over `ConsumerRecords` | owned, with its partition | |
//! | [`UndeliveredRecord`](crate::clients::UndeliveredRecord) | [`take_undelivered`](crate::Producer::take_undelivered) | owned, with its partition | `ProducerRecord` by `to_record`, for the same partition |
//!
//! Every record that was read becomes `RecordData` by `from`, to be appended again, and `ProducerRecord` by
//! [`copy_of`](crate::ProducerRecord::copy_of), to be sent to any topic.
