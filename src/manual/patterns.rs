//! Whole programs around a log: what services, devices and tests build again and again.
//!
//! * [An edge buffer](#an-edge-buffer): a device that collects while its line is down
//! * [A projection with exact positions](#a-projection-with-exact-positions)
//! * [Optimistic concurrency](#optimistic-concurrency)
//! * [Following in another process](#following-in-another-process)
//! * [Shutting down several consumers](#shutting-down-several-consumers)
//! * [Metrics to export](#metrics-to-export)
//! * [How many partitions, how large segments](#how-many-partitions-how-large-segments)
//! * [Which errors to retry](#which-errors-to-retry)
//! * [Which record type comes from where](#which-record-type-comes-from-where)
//! * [Clocks that begin in 1970](#clocks-that-begin-in-1970)
//!
//! The smaller steps are in [`how_to`](super::how_to).
//!
//! # An edge buffer
//!
//! A device appends readings all the time and ships them when its line is up. The log bounds what it keeps, the group
//! remembers how far the shipping came, and the lag says how far it is behind. A batch that could not be shipped is not
//! committed: [`seek`](crate::Consumer::seek) goes back to it, and a restart begins with it.
//!
//! ```
//! use std::time::Duration;
//! use streamlog::{Consumer, ConsumerRecords, Durability, ProducerRecord, Result, Streamlog, TopicConfig};
//!
//! /// Ships one poll. What was not shipped comes again with the next one.
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
//!         return Ok(records.iter().count());
//!     }
//!     for partition in records.partitions() {
//!         if let Some(first) = records.records(partition).next() {
//!             consumer.seek(partition, first.offset)?;
//!         }
//!     }
//!     Ok(0)
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
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! A full disk is not lost data: [pipelined, and nothing lost](super::how_to#pipelined-and-nothing-lost) has the
//! producer's side.
//!
//! # A projection with exact positions
//!
//! A projection is a state that a consumer computes from records. Store the state and the position together, in one
//! transaction of whatever keeps the state, and each record takes effect once, whatever dies when. The consumer needs no
//! group: the position is the database's.
//!
//! ```
//! use std::{collections::BTreeMap, time::Duration};
//! use streamlog::{Offset, ProducerRecord, Result, Streamlog, TopicConfig, TopicPartition};
//!
//! /// Stands for a database: what one assignment replaces, one transaction would.
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
//! Text forms help where the database has no type for a position: a [`TopicPartition`](crate::TopicPartition) and an
//! [`Offset`](crate::Offset) are read back by `parse`, and the feature `serde` makes JSON of the whole map.
//!
//! # Optimistic concurrency
//!
//! "Append this event if nobody else appended since I looked" takes a lock of the program's own: it compares a version
//! and appends before anybody else does. The versions come from replaying.
//!
//! ```
//! use std::{collections::HashMap, sync::Mutex};
//! use streamlog::{Partition, RecordData, Result, Streamlog, TopicConfig};
//!
//! struct Accounts {
//!     events: Partition,
//!     versions: Mutex<HashMap<String, u64>>,
//! }
//!
//! impl Accounts {
//!     fn load(events: Partition) -> Result<Accounts> {
//!         let mut versions = HashMap::new();
//!         for event in events.records(events.log_start_offset()) {
//!             *versions.entry(event?.key_text().into_owned()).or_default() += 1;
//!         }
//!         Ok(Accounts { events, versions: Mutex::new(versions) })
//!     }
//!
//!     /// Whether the event was appended: `false` when the account is not at this version any more.
//!     fn append(&self, account: &str, expected: u64, event: &str) -> Result<bool> {
//!         let mut versions = self.versions.lock().unwrap();
//!         if versions.get(account).copied().unwrap_or(0) != expected {
//!             return Ok(false);
//!         }
//!         self.events.append(&[RecordData::new(event).key(account)])?;
//!         versions.insert(account.to_string(), expected + 1);
//!         Ok(true)
//!     }
//! }
//!
//! let log = Streamlog::in_memory()?;
//! let accounts = Accounts::load(log.create_topic("accounts", TopicConfig::default())?.partition(0)?)?;
//! assert!(accounts.append("ada", 0, "opened")?);
//! assert!(accounts.append("ada", 1, "paid 100")?);
//! assert!(!accounts.append("ada", 1, "paid 50")?); // somebody was faster: load, decide again
//! assert!(Accounts::load(accounts.events.clone())?.append("ada", 2, "paid 50")?);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! Under the lock appends do not share a flush. One lock and one partition for each shard of the accounts let as many
//! appends go on at the same time.
//!
//! # Following in another process
//!
//! A follower opens the directory [read-only](crate::Streamlog::open_read_only). It may start before the writer, so it
//! waits for the directory and for the topic. It cannot commit, because a commit is a record: `commit_sync` answers
//! [`ReadOnly`](crate::ErrorKind::ReadOnly). A follower that resumes keeps its place in a file of its own, or where it
//! keeps its results.
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! # let dir = dir.path().join("log");
//! # let place = dir.with_extension("place");
//! use std::{fs, thread, time::Duration};
//! use streamlog::{ErrorKind, Offset, ProducerRecord, Result, Streamlog, TopicConfig};
//!
//! /// Waits for what the writer has yet to make.
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
//! A consumer belongs to one thread at a time, and may sleep in `poll`. Take a
//! [wake-up handle](crate::Consumer::wakeup_handle) of each before its thread starts. A wake-up ends the poll that runs,
//! or the next one, so none comes too early. `Wakeup` is not [retriable](crate::Error::is_retriable): the loop leaves.
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
//! // On Ctrl-C, or whatever ends the program:
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
//! # Metrics to export
//!
//! | figure | from | watch for |
//! |---|---|---|
//! | partitions that refuse appends, damage, failed background work | [`health`](crate::Streamlog::health) | anything but `is_good()` |
//! | lag of each group, in records | [`describe_group`](crate::Streamlog::describe_group), [`current_lag`](crate::Consumer::current_lag) | growth |
//! | resets | [`ConsumerRecords::resets`](crate::ConsumerRecords::resets) | any: records were passed over, or come again |
//! | bytes on disk | [`disk_usage`](crate::Streamlog::disk_usage) (looks at every file: once a minute, not once a second) | the medium's size |
//! | topics, partitions, segments, bytes, descriptors, mappings | [`stats`](crate::Streamlog::stats) | `open_files` near `max_open_files` all the time |
//! | what the last opening cut or found | [`recovery_report`](crate::Streamlog::recovery_report) | `Damage` |
//! | failed calls by kind | [`Error::kind`](crate::Error::kind), whose `Display` is a label | `disk full`, `poisoned`, `corrupt` |
//!
//! # How many partitions, how large segments
//!
//! **Partitions** are the unit of order, and of what one consumer reads at a time. Within one process one partition takes
//! hundreds of thousands of records a second, so begin with one, and take more for keys that are to be processed side by
//! side: about as many as there will ever be consumers. Adding partitions later moves keys to other partitions, and the
//! order of a key across the change is lost. Each partition costs a directory, a few files and an index in memory.
//!
//! **Segments** are the unit of removal. Retention removes a segment when all of it may go, so a limit is followed to within
//! one segment. With `retention_bytes` leave `segment_bytes` alone: it is then an eighth of the limit, and the limit is the
//! most that a partition holds; set by hand, it makes the limit the least that is kept, as in Kafka. With `retention_time`,
//! what comes in a tenth of that time is a good size. Larger segments mean fewer files; ones of less than a few megabytes
//! mean many.
//!
//! # Which errors to retry
//!
//! [`Error::is_retriable`](crate::Error::is_retriable) has the answer, and
//! [`ErrorKind::is_retriable`](crate::ErrorKind::is_retriable) the list: a full disk, a second writer, a full buffer, a
//! time that ran out. A retriable error has lost nothing. Everything else needs something done first, which the text of
//! each [`ErrorKind`](crate::ErrorKind) names:
//!
//! | after | do |
//! |---|---|
//! | a mistake of the program (`Invalid...`, `Unknown...`, `RecordTooLarge`, `TopicExists`) | mend the program or its input |
//! | `Poisoned` | close, open again: the opening finds out what is there |
//! | `Corrupt` | keep the files; [read past it](crate::Error::next_offset) |
//! | `OffsetOutOfRange`, `NoOffset` | seek |
//! | `Wakeup`, `Cancelled`, `Closed` | end: somebody asked for it |
//! | `Io` | look at the path in its text |
//!
//! # Which record type comes from where
//!
//! Two types are written, four are read. The borrowed ones cost nothing and live as long as what they came from; the owned
//! ones share the bytes of their batch ([`Bytes`](crate::Bytes)) and can be kept and sent to other threads.
//!
//! | type | comes from | holds | becomes |
//! |---|---|---|---|
//! | [`ProducerRecord`](crate::ProducerRecord) | the program, for [`Producer`](crate::Producer) | topic, and partition if chosen | |
//! | [`RecordData`](crate::RecordData) | the program, for [`Partition::append`](crate::Partition::append) | no topic, no partition | |
//! | [`Record`](crate::Record) | iterating over `&Batch` | borrowed from the batch | `RecordData` by `from`, to be written again |
//! | [`OwnedRecord`](crate::records::OwnedRecord) | [`Partition::records`](crate::Partition::records), [`last`](crate::Partition::last), iterating over a `Batch` | owned, no topic | |
//! | [`ConsumerRecord`](crate::ConsumerRecord) | iterating over `&ConsumerRecords` | borrowed from the poll, with its partition | `OwnedConsumerRecord` by `to_owned` |
//! | [`OwnedConsumerRecord`](crate::clients::OwnedConsumerRecord) | `to_owned`; [`commit_record`](crate::Consumer::commit_record) takes it | owned, with its partition | |
//!
//! # Clocks that begin in 1970
//!
//! A device without a battery for its clock begins in 1970 until the network tells the time. Records without a timestamp of
//! their own get that time. Two things follow. [`retention_time`](crate::TopicConfig::retention_time) goes by the
//! timestamps: once the clock is right, records of the first minutes are fifty years old, and their segment is removed at
//! the next look. And [finding by time](crate::Partition::offset_for_timestamp) finds them under 1970. Wait for the clock
//! before the first record, give records timestamps of your own, or bound such a topic by
//! [`retention_bytes`](crate::TopicConfig::retention_bytes) alone. Offsets, order, commits and durability do not depend
//! on the clock.
