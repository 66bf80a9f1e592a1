//! Running a log: backups, moving it, the processes around it, and what to do when something is wrong.
//!
//! * [Backing up](#backing-up)
//! * [Reading a broker's directory](#reading-a-brokers-directory)
//! * [Moving data to Kafka](#moving-data-to-kafka)
//! * [What retention removes](#what-retention-removes)
//! * [A disk budget](#a-disk-budget)
//! * [Threads, and running without](#threads-and-running-without)
//! * [Daemons, pre-forking servers, bindings](#daemons-pre-forking-servers-bindings)
//! * [When something is wrong](#when-something-is-wrong)
//!
//! # Backing up
//!
//! **A closed directory** can be copied with any tool. Nothing else is needed; `LOCK` may be copied or left out. The copy
//! opens as the original would, and has the same identity: do not write to both and then mix their files.
//!
//! **A live directory** must not be copied file by file. The files would be of different moments, and a manifest that names
//! a segment which the copy lacks is damage, reported when the copy is opened. There are two ways:
//!
//! * A snapshot of the file system (LVM, ZFS, Btrfs, a cloud volume) shows one moment, as a power cut would leave it.
//!   Opening the snapshot recovers it: every acknowledged record of a `Flushed` topic is there.
//! * Read the records and write them elsewhere. A read-only handle does not disturb the writer. The copy has the same
//!   offsets if it begins at offset 0 and nothing was removed or compacted in between.
//!
//! ```
//! use streamlog::{RecordData, Streamlog, TopicConfig};
//!
//! let source = Streamlog::in_memory()?; // in a program: Streamlog::open_read_only(dir)
//! let orders = source.create_topic("orders", TopicConfig::default())?.partition(0)?;
//! orders.append(&[RecordData::new("a loom").key("ada").header("by", "post"), RecordData::tombstone("grace")])?;
//! orders.append(&[RecordData::new("no key"), RecordData::null()])?;
//!
//! let copy = Streamlog::in_memory()?;
//! let backup = copy.create_topic("orders", TopicConfig::default())?.partition(0)?;
//! // Continues where the last run ended.
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
//! To continue with such data here, create a topic and append the records, as for a backup. With the same number of
//! partitions, keys land where Kafka had them.
//!
//! # Moving data to Kafka
//!
//! A broker takes the `.log` files as they are and rebuilds everything else from them: indexes, transaction indexes,
//! producer snapshots, leader epochs. If you cannot reach the broker's disks, as with MSK, run a broker of your own over the
//! files and mirror it (MirrorMaker 2), or read the topics here and produce them there with any client.
//!
//! 1. Close the log: [`close`](crate::Streamlog::close) cuts every file to its data.
//! 2. Create the topic on the broker, with as many partitions, and with the settings that
//!    [`TopicConfig::to_properties`](crate::TopicConfig::to_properties) names, but for `streamlog.durability`. Mind
//!    retention: the broker's default is seven days.
//! 3. Stop the broker.
//! 4. In each partition's directory there, remove everything but `partition.metadata`, and copy the `.log` files from the
//!    directory of the same number here.
//! 5. In the broker's data directory, remove the `*-checkpoint` files and `.kafka_cleanshutdown`.
//! 6. Start the broker. It recovers and serves every partition.
//!
//! Committed offsets can move too, because they are Kafka's own records: a broker with `offsets.topic.num.partitions=1`
//! takes `__consumer_offsets-0` like any other partition, and its groups continue where they were. A broker with the usual
//! 50 partitions looks for a group in the partition that its name hashes to; commit there with Kafka's
//! `kafka-consumer-groups --reset-offsets`. The offsets are the same.
//!
//! Step 5 matters: a checkpoint that does not match the files takes the whole data directory offline. One consequence: a log
//! start that [`delete_records`](crate::Streamlog::delete_records) put into the middle of a segment is lost, and the records
//! before it in that segment are back.
//!
//! # What retention removes
//!
//! Whole segments, oldest first, by four rules in this order. Each stops at the first segment that it keeps:
//!
//! 1. **The log start**: segments below the offset that [`delete_records`](crate::Streamlog::delete_records) was given.
//! 2. **The size**: `retention.bytes`, the most that a partition holds, or, where `segment.bytes` is set, the least.
//! 3. **The age**: `retention.ms`. A segment is as old as its newest record, or as its sealing where that came earlier.
//! 4. **The disk budget**, where it [drops the oldest](#a-disk-budget).
//!
//! The rules 2 to 4 hold where `cleanup.policy` has `delete`. Nothing goes that is not on the medium or cannot be read yet,
//! and never an active segment that is empty. [`explain_retention`](crate::Streamlog::explain_retention) reports what the
//! next pass does with each segment, and why:
//!
//! ```
//! use std::time::Duration;
//! use streamlog::{RecordData, Streamlog, TopicConfig, admin::RetentionRule};
//!
//! let log = Streamlog::in_memory()?;
//! let config = TopicConfig::default().segment_bytes(600).retention_time(Duration::from_secs(7 * 86_400));
//! let clicks = log.create_topic("clicks", config)?.partition(0)?;
//! for time in ["2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"] {
//!     clicks.append(&[RecordData::new(&[7; 400]).timestamp(time.parse()?)])?;
//! }
//! clicks.append(&[RecordData::new("home")])?;
//!
//! let retention = log.explain_retention("clicks")?;
//! println!("{retention}");
//! let going = |rule| streamlog::admin::RetentionVerdict::Goes { rule };
//! assert_eq!(retention.partitions[0].segments[0].verdict, going(RetentionRule::Age));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It prints:
//!
//! ```text
//! clicks at 2026-03-01T12:00:00.000Z: cleanup.policy=delete, retention.ms=604800000
//! clicks-0: offsets 0..3, 1014 bytes
//!   0..1, 470 bytes, goes: it is older than retention.ms
//!   1..3, 544 bytes, stays: younger than retention.ms until 2026-03-08T12:00:00.000Z
//! ```
//!
//! **Groups that must have read it**: with `streamlog.retention.hold.groups = billing,search`
//! ([`retention_hold_groups`](crate::TopicConfig::retention_hold_groups)) size, age and the budget stop at the least offset that
//! one of these groups has committed. A group that never committed holds everything. So nothing goes unread, and the disk fills up
//! while a group stands still; the explanation names it:
//!
//! ```text
//!   0..1, 470 bytes, stays: held by group search, which has committed nothing
//! ```
//!
//! `delete_records` asks no group.
//!
//! # A disk budget
//!
//! [`disk_budget`](crate::config::Builder::disk_budget) bounds what the files of a handle take, over all topics. What an
//! append beyond it meets is a choice:
//!
//! * [`Refuse`](crate::config::WhenFull::Refuse): it fails as on a full disk, and is refused as long as nothing is deleted.
//! * [`DropOldest`](crate::config::WhenFull::DropOldest): first what the other rules remove anyway, then the oldest sealed
//!   segments of all topics go, until it fits. A spool, or the memory of a device, that keeps the newest of everything.
//!
//! ```
//! use streamlog::{RecordData, Streamlog, TopicConfig, config::WhenFull};
//!
//! let dir = tempfile::tempdir()?;
//! let log = Streamlog::builder(dir.path()).disk_budget(1 << 20, WhenFull::DropOldest).open()?;
//! let frames = log.create_topic("frames", TopicConfig::default())?.partition(0)?;
//! for _ in 0..50 {
//!     frames.append(&[RecordData::new(&[7; 50_000])])?;
//! }
//! assert!(frames.log_start_offset() > 0 && log.stats().disk_used <= 1 << 20);
//! println!("{}", log.explain_retention("frames")?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The explanation says which segment goes next, of all topics, and of each how far away its turn is, in bytes used by any
//! topic:
//!
//! ```text
//! frames at 2026-03-01T12:00:00.000Z: cleanup.policy=delete, retention.ms=604800000
//! disk_budget: 1022304 of 1048576 bytes are used by all topics; the oldest segment that may go is that at offset 30 of frames-0, and it goes once 26273 more are used
//! frames-0: offsets 30..50, 1001440 bytes
//!   30..31, 50072 bytes, stays: within disk_budget until 26273 more bytes are used, and then the next to go
//!   31..32, 50072 bytes, stays: within disk_budget until 77385 more bytes are used, and one older segment goes before it
//! ```
//!
//! Segments stay that retention keeps for another reason, such as a group that has not read them; so a budget that drops can
//! still refuse. As long as a file cannot be removed, nothing more is dropped. Where the files have more than the budget, as
//! after an opening with a smaller one, [`maintain`](crate::Streamlog::maintain) and the background task drop down to it.
//!
//! [`Stats`](crate::admin::Stats) has what is used, as the budget counts it: the record files with their preallocated space
//! exactly, their page checksums and indexes at the largest size that they can have, files of keys once they were written or
//! read. What compaction writes counts while it is written and is not refused. Nothing is measured at an opening, so opening stays
//! quick; the manifest and other small files are left out. So leave the medium a little more than the budget:
//! [`min_free_space`](crate::config::Builder::min_free_space) does that, and the two go together.
//!
//! # Threads, and running without
//!
//! A handle has two background threads, each started by the first thing that needs it:
//!
//! * `streamlog-work` keeps what is promised within milliseconds: it writes lingering records, and flushes topics that bound
//!   how long data may wait for a flush.
//! * `streamlog-care` does what may take long: it takes checkpoints, writes the sidecars of rolled segments and applies
//!   retention. A lingering record never waits for it.
//!
//! A call that flushes several partitions (`send_batch`, a lingering batch in each) flushes them at the same time, in up to
//! seven threads named `streamlog-flush`. [`stats`](crate::Streamlog::stats) counts all of them. Appending to a `Flushed`
//! topic needs none until a segment is rolled. If the system cannot start a thread, [`health`](crate::Streamlog::health)
//! reports it, later calls try again, and until then calls write what lingers.
//!
//! A program that wants no threads but its own forbids all of them and calls [`maintain`](crate::Streamlog::maintain)
//! regularly, or [`maintain_for`](crate::Streamlog::maintain_for), which stops when its time is over and continues with the
//! next call. Flushes then run one after the other.
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
//! The interval then holds if the program calls `maintain` often enough. Enqueued records are written by later calls of
//! their producers, and by `wait`, `flush`, `maintain` and `maintain_for`.
//!
//! # Daemons, pre-forking servers, bindings
//!
//! A log belongs to the process that opened it. A child made by `fork` has a copy of every handle, but neither the threads
//! nor the right to write: the parent would overwrite its records. Every call on an inherited handle, including read-only
//! handles and logs in memory, therefore fails with [`Forked`](crate::Error::Forked) before it waits or writes. Closing and
//! dropping a handle in a child succeed and leave the log alone. Calls that cannot fail do nothing or return nothing
//! (`wakeup`, `stats`, `segment_count`); `health` reports the error.
//!
//! * **A daemon** forks first and opens the log afterwards. If it cannot, the child drops every inherited handle, or closes
//!   the [`Streamlog`](crate::Streamlog), and opens the directory again once the parent has closed it or has ended.
//! * **A pre-forking server** has one writer: the parent, or one of the workers. Each of the others opens the log read-only
//!   after the fork.
//! * **A binding** for a language whose programs fork (Python's `multiprocessing`, Ruby's servers) opens lazily, once per
//!   process, or maps `Forked` to an exception of its own. Its finalizers may run in the child without harm.
//!
//! As long as a child holds an inherited [`Streamlog`](crate::Streamlog), it also holds the directory's lock: if the parent
//! is killed, the next writer gets `AlreadyOpen` until the child lets go. `std::process::Command` is not affected: the
//! program it starts inherits nothing.
//!
//! # When something is wrong
//!
//! | what you see | what it means | what to do |
//! |---|---|---|
//! | [`AlreadyOpen`](crate::Error::AlreadyOpen) | another handle writes there; the error has its pid | open read-only, or close the other; [`wait_for_lock`](crate::config::Builder::wait_for_lock) if it is about to end. If the pid is this process's own: clone the handle that has it open |
//! | [`Forked`](crate::Error::Forked) | the handle is a copy of one of the parent process | open the log in this process |
//! | `TornTail` in the [recovery report](crate::Streamlog::recovery_report) | a crash cut a write short; nothing acknowledged as durable was lost | nothing |
//! | `Damage` in the report, [`Corrupt`](crate::Error::Corrupt) from a read | the medium returned other bytes than were written, or a producer of another library wrote a batch that cannot be read | check the disk; restore, or copy the readable records: the error's [`next_offset`](crate::Error::next_offset) and [`Consumer::skip_damage`](crate::Consumer::skip_damage) go past the damage. Searching for a time or for the newest records is `Corrupt` too where the answer may lie in the damage, and retention by age keeps a segment whose age it hides |
//! | [`Corrupt`](crate::Error::Corrupt) in `__consumer_offsets`, from a consumer or [`describe_group`](crate::Streamlog::describe_group) | a commit cannot be read, and may be the group's last one; groups that have committed since continue | [`seek`](crate::Consumer::seek) and commit, or [reset the group's offsets](crate::Streamlog::reset_group_offsets), or delete the group |
//! | [`Corrupt`](crate::Error::Corrupt) from every opening, naming `manifest` or `marks` | the two are not of the same moment (one was restored or copied alone), one was cut short, or the name is a link or not a file; nothing was changed | put back both, of the same moment; without them [`PartitionDir`](crate::dir::PartitionDir) reads each partition |
//! | [`Poisoned`](crate::Error::Poisoned) | a flush failed, and nobody knows what the medium has | check the disk; close and open again |
//! | [`DiskFull`](crate::Error::DiskFull) | the call wrote nothing; a commit and a close need space, too | free space, perhaps with `delete_records`, which needs none; call again. Where the text names [`min_free_space`](crate::config::Builder::min_free_space), the medium has space that this setting keeps for others; where it names [`disk_budget`](crate::config::Builder::disk_budget), that is used up |
//! | [`Undelivered`](crate::Error::Undelivered) | accepted records could not be written, and are not tried again | [take them back](crate::Producer::take_undelivered), after every such error, or the first ones are [forgotten](crate::Producer::forgotten_undelivered): see [how to](super::how_to#pipelined-and-nothing-lost) |
//! | any error of a producing call | the call failed; its records may be in the log all the same | ask [`Error::outcome`](crate::Error::outcome): `NotAppended` may be sent again, `Appended` may not, and after `Unknown` the next opening shows what is there |
//! | [`Unacknowledged`](crate::Error::Unacknowledged) | records of the call are in the log, and could not be made durable now, or another partition refused its part | do not send those again; flush |
//! | [`UnsupportedFormat`](crate::Error::UnsupportedFormat) | a newer release wrote this, or a Kafka broker before 0.11 | open it with that release; the error text says how to convert old formats |
//! | [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange) | retention, or `delete_records`, was faster than the reader; the error has the range | continue from its beginning |
//! | old records are still there, or young ones gone | a rule of [retention](#what-retention-removes) | ask [`explain_retention`](crate::Streamlog::explain_retention) |
//! | `*.aside` files, `*-stray` directories | bytes that no manifest names were found, and kept | read them with `PartitionDir` (put an `.aside` file into a directory of its own, under its old name); remove them |
//!
//! [`health`](crate::Streamlog::health) lists the partitions that refuse appends, and why; those with damage that was met; those
//! that the background task or [`maintain`](crate::Streamlog::maintain) could not compact; and the last failure of other
//! background work. Each is reported until the same work succeeds.
