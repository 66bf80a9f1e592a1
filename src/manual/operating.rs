//! A log in use: backing it up, moving it, the processes around it, and what to do when something is wrong.
//!
//! * [Backing up](#backing-up)
//! * [Reading a broker's directory](#reading-a-brokers-directory)
//! * [Moving data to Kafka](#moving-data-to-kafka)
//! * [Running without a background thread](#running-without-a-background-thread)
//! * [Daemons, pre-forking servers, bindings](#daemons-pre-forking-servers-bindings)
//! * [When something is wrong](#when-something-is-wrong)
//!
//! # Backing up
//!
//! **A closed directory** is copied with any tool that copies files. Nothing else is needed; `LOCK` may be copied or left
//! out. The copy opens as the original would, and has the same identity: do not write to both and then mix their files.
//!
//! **A live directory** must not be copied file by file. The files would be of different moments: a manifest that names a
//! segment which the copy does not have is damage, and is reported as such when the copy is opened. There are two ways:
//!
//! * A snapshot of the file system (LVM, ZFS, Btrfs, a cloud volume) is one moment. It is what a power cut leaves, and
//!   opening it recovers: every acknowledged record of a `Flushed` topic is there.
//! * Read the records and write them elsewhere. A read-only handle does not disturb the writer. Offsets are kept when the
//!   copy begins at offset 0 and nothing was removed or compacted in between.
//!
//! ```
//! use streamlog::{RecordData, Streamlog, TopicConfig};
//!
//! let source = Streamlog::in_memory()?; // in earnest: Streamlog::open_read_only(dir)
//! let orders = source.create_topic("orders", TopicConfig::default())?.partition(0)?;
//! orders.append(&[RecordData::new("a loom").key("ada").header("by", "post"), RecordData::tombstone("grace")])?;
//! orders.append(&[RecordData::new("no key"), RecordData::null()])?;
//!
//! let copy = Streamlog::in_memory()?;
//! let backup = copy.create_topic("orders", TopicConfig::default())?.partition(0)?;
//! // Goes on where the last run ended.
//! for batch in orders.read(backup.log_end_offset()) {
//!     let batch = batch?;
//!     // Keys, values, headers and timestamps, null where they are null.
//!     let records: Vec<RecordData<'_>> = batch.iter().map(RecordData::from).collect();
//!     backup.append(&records)?;
//! }
//! assert_eq!(backup.log_end_offset(), orders.high_watermark());
//! assert_eq!(backup.last(9)?, orders.last(9)?);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! # Reading a broker's directory
//!
//! [`PartitionDir`](crate::dir::PartitionDir) opens one partition's directory on its own: one of ours without its
//! manifest, or one of a Kafka broker, stopped or killed, compacted or transactional. It checks every batch once and
//! changes nothing.
//!
//! ```no_run
//! use streamlog::{clients::IsolationLevel, dir::PartitionDir};
//!
//! let orders = PartitionDir::open_read_only("/var/lib/kafka/data/orders-0")?;
//! for range in &orders.report().damage {
//!     eprintln!("{}: bytes {:?} are damaged: {}", range.path.display(), range.bytes, range.reason);
//! }
//! for batch in orders.read_with(orders.log_start_offset(), IsolationLevel::ReadCommitted) {
//!     for record in &batch? {
//!         println!("{} {:?} {:?}", record.offset, record.key, record.value);
//!     }
//! }
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! To go on with such data here, create a topic and append what was read, as for a backup. Keys land on the partition where
//! Kafka had them if the number of partitions is the same.
//!
//! # Moving data to Kafka
//!
//! A broker takes the `.log` files as they are. It rebuilds everything else from them: indexes, transaction indexes,
//! producer snapshots, leader epochs. The same steps serve a cluster that you run yourself. Where the broker's disks are
//! out of reach, as with MSK, run a broker of your own over the files and mirror it (MirrorMaker 2), or read the topics
//! here and produce them there with any client.
//!
//! 1. Close the log: [`close`](crate::Streamlog::close) cuts every file to its data.
//! 2. Create the topic on the broker, with as many partitions, and with the settings that
//!    [`TopicConfig::to_properties`](crate::TopicConfig::to_properties) names, but for `streamlog.durability`. Mind
//!    retention: the broker's default is seven days.
//! 3. Stop the broker.
//! 4. In each partition's directory there, remove everything but `partition.metadata`, and copy the `.log` files from the
//!    directory of the same number here.
//! 5. In the broker's data directory, remove the `*-checkpoint` files and `.kafka_cleanshutdown`.
//! 6. Start the broker. It recovers every partition, and serves it.
//!
//! Committed offsets can come along, because they are Kafka's own records: a broker with `offsets.topic.num.partitions=1`
//! takes `__consumer_offsets-0` like any other partition, and its groups go on where they were. A broker with the usual 50
//! partitions looks for a group in the one that its name hashes to; commit there with Kafka's `kafka-consumer-groups
//! --reset-offsets`. The offsets are the same.
//!
//! Step 5 matters. A checkpoint that does not match what it finds takes the whole data directory offline. It also means
//! that a log start which [`delete_records`](crate::Streamlog::delete_records) put into the middle of a segment is not
//! carried over: the records before it in that segment are back.
//!
//! # Running without a background thread
//!
//! A handle starts one thread, `streamlog-work`, when something needs it: a `Written` topic with data to flush, a rolled
//! segment to finish, retention by time. One act over several partitions (`send_batch`, a lingering batch in each) flushes
//! them at the same time, in up to seven threads `streamlog-flush`. A program that wants no threads but its own forbids all
//! of them and calls [`maintain`](crate::Streamlog::maintain) now and then; several flushes run one after the other then.
//! Appending to a `Flushed` topic needs neither.
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! # let dir = dir.path().join("log");
//! use std::time::Duration;
//! use streamlog::{Durability, RecordData, Streamlog, TopicConfig};
//!
//! let log = Streamlog::builder(&dir).background_thread(false).open()?;
//! let config = TopicConfig::default()
//!     .durability(Durability::Interval(Duration::from_millis(50)))
//!     .retention_time(Duration::from_secs(24 * 60 * 60));
//! let clicks = log.create_topic("clicks", config)?.partition(0)?;
//!
//! for _ in 0..3 {
//!     clicks.append(&[RecordData::new("home")])?;
//!     log.maintain()?; // flushes what is due, takes checkpoints, applies retention
//! }
//! assert!(!log.stats().background_thread && log.stats().flush_threads == 0);
//! log.close()?;
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! The interval then holds as long as the program calls `maintain` often enough. Enqueued records are written inside later
//! calls of their producers, and inside `wait`, `flush` and `maintain`.
//!
//! # Daemons, pre-forking servers, bindings
//!
//! A log belongs to the process that opened it. A child made by `fork` has a copy of every handle, but neither the threads
//! nor the right to write: the parent would overwrite its records. Every call of an inherited handle therefore fails with
//! [`Forked`](crate::Error::Forked), also of handles that only read and of logs in memory, before it waits or writes.
//! Closing and dropping a handle in a child succeed and leave the log alone. Calls that cannot fail do nothing or answer
//! with nothing: `wakeup`, `stats`, `segment_count`; `health` reports the error.
//!
//! * **A daemon** forks first and opens the log after. One that cannot drops every inherited handle in the child, or closes
//!   the [`Streamlog`](crate::Streamlog), and opens the directory again once the parent has closed it or has ended.
//! * **A pre-forking server** has one writer: the parent, or one of the workers. The others open the log read-only, each
//!   for itself, after the fork.
//! * **A binding** for a language whose programs fork (Python's `multiprocessing`, Ruby's servers) opens lazily, once per
//!   process, or maps `Forked` to an exception that says so. Its finalizers may run in the child: they do no harm.
//!
//! As long as an inherited [`Streamlog`](crate::Streamlog) is held, the child also holds the directory's lock: when the
//! parent is killed, the next writer gets `AlreadyOpen` until the child has let go. `std::process::Command` is no concern:
//! the program it starts inherits nothing.
//!
//! # When something is wrong
//!
//! | what you see | what it means | what to do |
//! |---|---|---|
//! | [`AlreadyOpen`](crate::Error::AlreadyOpen) | another handle writes there; the error has its pid | open read-only, or close the other; [`wait_for_lock`](crate::config::Builder::wait_for_lock) where it is on its way out. Where the error says that it is this process: clones of that handle |
//! | [`Forked`](crate::Error::Forked) | the handle is a copy of one of the parent process | open the log in this process |
//! | `TornTail` in the [recovery report](crate::Streamlog::recovery_report) | a crash cut a write short; nothing acknowledged as durable was lost | nothing |
//! | `Damage` in the report, [`Corrupt`](crate::Error::Corrupt) from a read | the medium returned other bytes than were written, or a producer of another library wrote a batch that cannot be read | look at the disk; restore, or copy what can be read: the error's [`next_offset`](crate::Error::next_offset) and [`Consumer::skip_damage`](crate::Consumer::skip_damage) go past the damage. The record of a time that may lie in it, and newest records that do, are `Corrupt` too, and retention by age keeps a segment whose age it hides |
//! | [`Corrupt`](crate::Error::Corrupt) in `__consumer_offsets`, from a consumer or [`describe_group`](crate::Streamlog::describe_group) | a commit cannot be read, and may be the group's last one; groups that have committed since go on | [`seek`](crate::Consumer::seek) and commit, or [reset the group's offsets](crate::Streamlog::reset_group_offsets), or delete the group |
//! | [`Corrupt`](crate::Error::Corrupt) from every opening, naming `manifest` or `marks` | the two are not of one moment (one was restored or copied alone), one was cut short, or the name is a link or no file at all; nothing was changed | put back both, of one moment; without them [`PartitionDir`](crate::dir::PartitionDir) reads each partition |
//! | [`Poisoned`](crate::Error::Poisoned) | a flush failed, and nobody knows what the medium has | look at the disk; close and open again |
//! | [`DiskFull`](crate::Error::DiskFull) | nothing of the call was kept; a commit and a close need space, too | free space, perhaps with `delete_records`, which needs none; call again |
//! | [`Undelivered`](crate::Error::Undelivered) | records that were enqueued and accepted did not get in, and are not tried again | [take them back](crate::Producer::take_undelivered), after every such error, or the first ones are [forgotten](crate::Producer::forgotten_undelivered): see [how to](super::how_to#pipelined-and-nothing-lost) |
//! | [`UnsupportedFormat`](crate::Error::UnsupportedFormat) | a newer release wrote this, or a Kafka broker before 0.11 | open it with that one; the text says how to bring old formats up to date |
//! | [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange) | retention, or `delete_records`, was faster than the reader; the error has the range | go on from its beginning |
//! | `*.aside` files, `*-stray` directories | bytes that no manifest names were found, and kept | look at them with `PartitionDir` (an `.aside` file in a directory of its own, under its old name); remove them |
//!
//! [`health`](crate::Streamlog::health) says which partitions refuse appends, and why.
