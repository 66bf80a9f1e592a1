//! Compaction: what stays of a topic that is a table, when the rest goes, and how a deletion travels.
//!
//! A topic with [`CleanupPolicy::Compact`](crate::config::CleanupPolicy::Compact) keeps the newest record of each key. A
//! reader that starts from the beginning gets every key with its newest value, and all that came after: it can build the
//! table, and keep it up to date from then on. [`CompactDelete`](crate::config::CleanupPolicy::CompactDelete) does the same,
//! and removes by [retention](super::operating#what-retention-removes) what is too old or too much.
//!
//! ```
//! use streamlog::{RecordData, Streamlog, TopicConfig, admin::Compact, config::CleanupPolicy};
//!
//! let log = Streamlog::in_memory()?;
//! let config = TopicConfig::default().cleanup_policy(CleanupPolicy::Compact);
//! let prices = log.create_topic("prices", config)?.partition(0)?;
//! for (product, price) in [("tea", "3"), ("salt", "1"), ("tea", "4"), ("tea", "5")] {
//!     prices.append(&[RecordData::new(price).key(product)])?;
//! }
//! log.compact_now("prices", Compact::new())?;
//! let left: Vec<u64> = prices.records(0).map(|r| r.map(|r| r.offset.value())).collect::<Result<_, _>>()?;
//! assert_eq!(left, [1, 3], "at their offsets, in their order");
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! # What is promised
//!
//! * The newest record of each key stays, at its offset, with its timestamp and headers. Offsets that are gone are gaps, which
//!   readers pass over. The log start and the log end do not move.
//! * Only sealed segments are compacted, and only what is durable and visible to every reader. The active segment is left
//!   alone, so a key may have newer records in it than the one that compaction kept.
//! * A deleted key does not return: not after a crash at any moment, and not where a compaction ended early.
//! * A record without a key has no place in a table. Such a record is refused where it is appended, with
//!   [`InvalidRecord`](crate::Error::InvalidRecord). Those that were there before the topic was compacted go, as in Kafka, and a
//!   dry run counts them.
//! * A reader that stands anywhere in the log reads on, before, during and after a compaction.
//!
//! # The life of a tombstone
//!
//! A record with a key and no value, a [tombstone](crate::RecordData::tombstone), deletes the key. It has to outlive what it
//! deletes, and then to be seen by readers that have the old value:
//!
//! ```text
//!  appended         first compaction                   a later compaction,
//!  "k" = null       after that                         delete.retention.ms or more after the first
//!     │                  │                                  │
//!     ▼                  ▼                                  ▼
//!  ───●──────────────────●───────── delete.retention.ms ────●──────────▶
//!     │ older values of  │ they are gone. The tombstone     │ the tombstone is gone too:
//!     │ "k" are there    │ stays, and its batch says until  │ nothing in the log has the key
//!     │ too              │ when (the delete horizon)        │
//! ```
//!
//! A reader that begins at the start of the log and reaches its end within `delete.retention.ms` learns of every deletion.
//! A slower one may read an old value, and find neither the tombstone nor a later record.
//!
//! # When it happens
//!
//! The background task `streamlog-care` looks every 15 seconds for the log that needs it most: first one in which something
//! has been dirty for longer than `max.compaction.lag.ms`, then the one with the highest dirty ratio, if that is above
//! `min.cleanable.dirty.ratio`. Dirty is what came after the last compaction, and is no longer in the active segment. What is
//! younger than `min.compaction.lag.ms` is left alone. A few mebibytes are read at a time; between two steps the task does what
//! else is due, and rests for as long as it worked. [`Builder::compaction_rate`](crate::config::Builder::compaction_rate)
//! makes it slower.
//!
//! [`compact_now`](crate::Streamlog::compact_now) compacts a topic whatever its ratio and lag, and seals the active segments
//! first. It reports progress, can be cancelled, and has a dry run that says what would be done. Without background threads,
//! [`maintain`](crate::Streamlog::maintain) and [`maintain_for`](crate::Streamlog::maintain_for) do what is due.
//!
//! A partition that cannot be compacted (damage, a full disk) is left as it was, and the others are compacted. `compact_now`
//! returns the error. Where the background task or `maintain` met it,
//! [`Health::not_compacted`](crate::admin::Health::not_compacted) reports it until a later attempt succeeds.
//!
//! # Producers and transactions
//!
//! * Records of aborted transactions supersede nothing, and go. Nothing is compacted at or past the last stable offset, nor past
//!   a transaction whose marker is not durable yet.
//! * A marker stays while a batch of its transaction is there, and then for `delete.retention.ms`, as in Kafka: a reader that
//!   has met the records by then meets the marker too. Until the last batch is gone the transaction index lists an aborted one.
//! * The last five batches of each known producer keep their headers, of 61 bytes, though all of their records go. Kafka keeps
//!   one. A retry of any of the five is answered as a duplicate, even where a crash took every snapshot of that state. Markers
//!   of those batches stay that much longer.
//!
//! # Deleting a person's data
//!
//! A tombstone hides a value at the next compaction, if that has come; a topic that is not compacted keeps it until retention
//! removes it. [`purge_key`](crate::Streamlog::purge_key) removes all records of one key now, under any cleanup policy:
//!
//! ```
//! use streamlog::{RecordData, Streamlog, TopicConfig};
//!
//! let log = Streamlog::in_memory()?;
//! let orders = log.create_topic("orders", TopicConfig::default())?.partition(0)?;
//! for (customer, order) in [("ada", "a loom"), ("max", "a lamp"), ("ada", "a lace")] {
//!     orders.append(&[RecordData::new(order).key(customer)])?;
//! }
//! let purged = log.purge_key("orders", "ada")?;
//! assert_eq!(purged.records_removed, 2);
//! let left: Vec<u64> = orders.records(0).map(|r| r.map(|r| r.offset.value())).collect::<Result<_, _>>()?;
//! assert_eq!(left, [1], "at its offset");
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! * The newest record and tombstones of the key go too, in all partitions, whatever `min.compaction.lag.ms` and
//!   `delete.retention.ms` say. The active segments are sealed first, so no record that was appended before the call is
//!   spared. Appends of the key during the call are not covered: stop them first.
//! * All other records stay at their offsets, and committed offsets stay valid. A batch that loses all of its records is dropped;
//!   the one that ends a segment stays as an empty batch, whose header still has its offsets and its largest timestamp. So
//!   does a batch of a producer with an id. Transactions end as they did: markers and the transaction index stay. While one is
//!   open nothing is purged, and the call says so.
//! * Files with batches that belong to no log are purged as well: [quarantined](super::on_disk#a-directory)
//!   segments (`.aside`, `-stray`), leftovers of deleted topics, `.deleted` files of a broker. A quarantined file that cannot
//!   be read to its end may hide the key: the call fails with [`NotPurged`](crate::Error::NotPurged), which names the file.
//! * What was rewritten is read again, and the call fails if the key is still there. `Ok` means that it is gone.
//! * After a crash in the middle, or an error, call again: a purge continues where the last one ended. Segments are purged
//!   from the oldest to the newest, so no older value of the key returns in between, and neither does a deleted one.
//! * A segment is written anew before the old one goes, which takes space for the largest segment that has the key. Segments
//!   without it are not touched. In a topic that is compacted, `.keys` files say which these are; in other topics every
//!   segment is read.
//!
//! A purge does not reach these copies:
//!
//! | copy | what to do |
//! |---|---|
//! | backups, and hard links to files of the log, which keep the old segment | purge the restored log, or let backups expire |
//! | snapshots of the file system or the volume | delete them |
//! | blocks that the old files took: an SSD, and any file system, keeps them until they are written again | encrypt the volume, and destroy keys at the end of its life |
//! | the old segments, while a reader has them open: [`Purged::bytes_held`](crate::admin::Purged::bytes_held) counts those of this process, as far as known | drop the batches, and let readers move on; restart processes that only read |
//! | values under other keys, other topics, headers and values that name the person, and group names | purge each key, delete the group |
//! | topics that were written from this one | purge them too |
//!
//! # What differs from Kafka
//!
//! | Kafka | here | why |
//! |---|---|---|
//! | a round rewrites every segment of the log | a segment in which nothing is dead keeps its file; neighbours without any record become one | a table that is mostly clean costs next to nothing |
//! | a map of all dirty keys in memory, 24 bytes a key, or several rounds | a bit a record, decided by [`.keys`](super::on_disk#keys) files in bounded memory | memory does not grow with the keys |
//! | a topic keeps one record of each key | `streamlog.compaction.versions` keeps the newest n; a tombstone ends them | histories, and undoing the last change |
//! | a cleaner thread for all, no progress to be seen | `compact_now`, progress, cancellation, a dry run | an embedding program knows when it has time |
//! | a key goes some time after its tombstone was compacted, and never from a topic that is not compacted | `purge_key` | a person's data can be deleted, and the caller knows when it is |
//! | a partition that cannot be cleaned is marked in a metric | health names it and the reason | |
