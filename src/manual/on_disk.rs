//! What is on the disk: every file, its bytes, what writes it and when, and what happens when it is lost.
//!
//! The tables of bytes are those of the code: `src/codec/layout` holds each once, for this page and for the decoder's own
//! documentation.
//!
//! # A directory
//!
//! ```text
//! data/
//!   LOCK                                 ours   which process has it open for writing
//!   manifest                             ours   which topics, partitions and segments exist
//!   marks                                ours   how far each partition is durable
//!   meta.properties                      Kafka  identity of the directory, made with the first write
//!   recovery-point-offset-checkpoint     Kafka  written by a clean close
//!   replication-offset-checkpoint        Kafka  written by a clean close
//!   cleaner-offset-checkpoint            Kafka  the same, where a log was compacted
//!   log-start-offset-checkpoint          Kafka  written by a clean close
//!   .kafka_cleanshutdown                 Kafka  there after a clean close, until the next write
//!   orders-0/                            one directory per partition: <topic>-<number>
//!     partition.metadata                 Kafka  the topic's id
//!     partition.identity                 ours   the same, and the partition
//!     leader-epoch-checkpoint            Kafka  which leader epoch wrote from which offset
//!     00000000000000000000.log           Kafka  record batches, and nothing else
//!     00000000000000000000.index         Kafka  offset to position
//!     00000000000000000000.timeindex     Kafka  time to offset
//!     00000000000000000000.txnindex      Kafka  aborted transactions, where there are any
//!     00000000000000000000.pages         ours   checksums of the .log, once it is sealed
//!     00000000000000000000.keys          ours   hashes of its keys, where the topic is compacted
//!     00000000000000004711.log           Kafka  the next segment
//!     00000000000000004711.snapshot      Kafka  producers as of offset 4711
//!     00000000000000004711.producers     ours   the same, with more of each producer
//!   __consumer_offsets-0/                like the others: what groups have committed
//!     consumer-offsets.snapshot          ours   the current ones, to begin with
//!   __transaction_state-0/               like the others: names of producers, and decisions about transactions
//!     transactions.snapshot              ours   the current ones, to begin with
//! ```
//!
//! The twenty digits are the **base offset**: for a `.log` and its indexes, that of its first record; for `.snapshot` and
//! `.producers`, the offset of the state, which at the last checkpoint may be one where no segment begins.
//!
//! Names you may meet after a crash or a deletion:
//!
//! | name | what it is | who removes it |
//! |---|---|---|
//! | `manifest.tmp`, `*.tmp` | a file that was about to replace another | a failed attempt itself; after a crash the next attempt, or the first append of the next opening |
//! | `*.log.aside`, `*.log.aside1`, ... | a segment that no manifest names, or that lay past a cut; the end of a log that was changed while it was closed | you; below the log start, the first append of an opening. [`purge_key`](crate::Streamlog::purge_key) rewrites it without a key |
//! | files of segments below the log start; a `.snapshot` of no segment, and not of the last checkpoint | leftovers of a removal that a crash or an error interrupted | the first append of an opening, a recovery |
//! | `*.cleaned` | a rewritten segment, before the manifest names it or shortly after | the next recovery, which removes it or gives it its name |
//! | `*.swap` | a rewritten segment that the manifest names, before it has its name | the next recovery, which gives it its name |
//! | any other name of ours with `.aside` | something other than a file that was in a sidecar's way: see [below](#what-is-not-a-file) | you |
//! | `orders-0.<32 hex digits>-delete/` | a partition that is being deleted | the first write of the next opening, [`maintain`](crate::Streamlog::maintain) |
//! | `orders-0.<32 hex digits>-stray/` | records that no manifest names, in the way of a new topic | you |
//!
//! Records are never removed because they are unexpected. They are renamed and exempt from retention:
//! [`DiskUsage::quarantined`](crate::admin::DiskUsage::quarantined) is the space they take. Only a segment that lies wholly
//! below the log start, where the manifest says that records were removed, is removed under either name.
//! [`PartitionRecovery::quarantined`](crate::admin::PartitionRecovery) lists what an opening renamed, and
//! [`Health::quarantined`](crate::admin::Health::quarantined) what was renamed since.
//!
//! All integers below are big-endian unless said otherwise. "CRC-32" is the checksum of zlib and Ethernet; "CRC-32C" is
//! Castagnoli's, which Kafka uses. Our files use the first, Kafka's the second.
//!
//! # What the manifest is truth about
//!
//! A Kafka broker lists a directory and believes what it finds. Here the manifest says which segments exist, which reveals
//! what a listing cannot: a missing segment, and a foreign one. Every other file is data (`.log`), can be rebuilt from data,
//! or is a hint.
//!
//! | file | is | lost or damaged |
//! |---|---|---|
//! | `.log` | the data | reported as damage where it was durable; see [`durability`](super::durability) |
//! | `manifest` | truth about what exists | damaged, cut short, or out of date: opening fails and names the byte. Missing: see below |
//! | `marks` | a hint that errs on one side | after a crash each partition is scanned from its start; see below. Out of date: opening fails and names the slot |
//! | `.index`, `.timeindex`, `.txnindex` | hints | detected by a checksum and rebuilt from the `.log` when next needed |
//! | `.keys` | what compaction decides by | rebuilt from the `.log` when next needed |
//! | `.pages` | a second check | batches are checked by their own checksums alone |
//! | `.snapshot`, `.producers` where the log begins, once something was removed | truth about producers whose batches are gone | noticed by a checksum; see [below](#snapshot-and-producers) |
//! | other `.snapshot`, `.producers`, `leader-epoch-checkpoint` | hints | replayed from an earlier snapshot, or from the start |
//! | `meta.properties`, `*-checkpoint`, `.kafka_cleanshutdown` | for Kafka's tools | nothing here reads them |
//! | `partition.metadata` | for Kafka's tools | not missed. One that names another topic of this log means that directories changed places: nothing is read or appended there |
//! | `partition.identity` | a hint | not missed. One that names another partition of the topic means the same; a damaged one is ignored |
//! | `LOCK` | an advisory lock | created again. Do not remove it while the log is open |
//!
//! # What is not a file
//!
//! A directory may come from a stranger. The log's own directory may be reached through symbolic links; below it no link is
//! followed, anywhere in a path, and only regular files and directories are opened. A link, a FIFO, a socket or a device in
//! the place of a file (or a directory there, or a file in the place of a directory) is never read, written, waited for or
//! traversed. What happens to it depends on the file it replaces:
//!
//! | in the place of | what happens |
//! |---|---|
//! | `manifest`, `marks`, `LOCK` | the opening fails with [`Corrupt`](crate::Error::Corrupt), which names the path and says what is there |
//! | a `.log`, a partition's directory | the same error, from the opening of that partition or from reading there; other partitions are not affected |
//! | `.index`, `.timeindex`, `.txnindex`, `.pages`, `.keys`, `.snapshot`, `.producers`, `leader-epoch-checkpoint`, `consumer-offsets.snapshot`, `transactions.snapshot` | it counts as damaged, and the file is rebuilt. When the new one is written, what is there is renamed to `*.aside` |
//! | `.kafka_cleanshutdown`, `*-checkpoint`, `meta.properties`, `partition.metadata`, `partition.identity` | nothing here needs them. The next one written takes the name; a directory is renamed to `*.aside` first |
//! | `*.tmp` | the name is removed; a directory is renamed to `*.aside` |
//! | `...-delete` | a link with such a name is left alone; in a directory with such a name links are removed, and their targets are not |
//!
//! The same holds for names that files contain: a manifest cannot name a topic that
//! [`create_topic`](crate::Streamlog::create_topic) would refuse.
//!
//! **Files with other names.** Backups are often made of hard links. The bytes of a sealed `.log` never change, so a link to
//! one is a copy. Other files change in place, and one that has another name when it is opened is replaced by a copy before
//! its first change: a closed log that was copied with `cp -al` stays as it was copied, whichever of the two is opened.
//! (That first change takes the space and time of the copy, up to `segment.bytes` for the active `.log`. On a full medium it
//! is refused with `DiskFull`.) A link made to the active `.log`, to `marks` or to an index of an *open* log keeps changing
//! with it.
//!
//! **Replaced files.** A file that takes the place of another while the log is open is not mistaken for it. The log keeps
//! reading what it holds open; what it would have to reopen is [`Corrupt`](crate::Error::Corrupt).
//!
//! # When these are missing
//!
//! Three files need more words.
//!
//! **A missing manifest** does not make a new directory as long as a partition's directory holds segments, or the marks know
//! of one: opening fails, read-only too, and names the file. No data is touched, and
//! [`PartitionDir`](super::operating#reading-a-brokers-directory) reads each partition.
//!
//! **Missing marks** cost more than time. They distinguish a torn tail from damage, and each partition has had a durable
//! mark since before it had records. If it is missing after a crash, the partition is read from its start. A bad batch with
//! nothing whole after it is a torn tail as always; one with whole batches after it counts as damage, so nothing is cut on a
//! guess. After a clean close nothing is scanned and the marks are not needed.
//!
//! **`LOCK`** is locked with the operating system's file lock. The lock ends with its holder, however that ends, so a
//! leftover file blocks nobody. But removing the file lets a second writer in, which locks another file of the same name.
//!
//! # `LOCK`
//!
//! One line of text, written when the lock was taken: process id, host name, and milliseconds since 1970, separated by
//! single spaces.
//!
//! ```text
//! 4242 build-7 1767225600000
//! ```
//!
//! Only the text of [`AlreadyOpen`](crate::Error::AlreadyOpen) uses it.
//!
//! # `manifest`
//!
//! A header, then appends. Each append is a *mark* and the records of its entries, written with one write. The file only
//! grows, until a new one replaces it.
//!
#![doc = include_str!("../codec/layout/manifest-header.md")]
//!
#![doc = include_str!("../codec/layout/manifest-record.md")]
//!
#![doc = include_str!("../codec/layout/manifest-entries.md")]
//!
//! Numbers of types are never reused. Type 9 is how a rewritten file lists sealed segments. The generation counts how often
//! a segment was rewritten: 0 before the first compaction. Tiering will use the tier; a manifest that names another one than
//! the local one is refused.
//!
//! **Written** by administration, by a roll, by retention, by recovery when it cuts across segments, by the first change
//! after an opening ("opened"), and by a clean close ("closed"). All but the entries of a roll are durable before the call
//! that wrote them continues. Opening alone writes nothing here.
//!
//! Each flushed append is followed by a mark without records, which is not flushed itself. It says that everything before it
//! was durable, so damage there is reported and never taken for a torn tail. A power cut may take the last such mark, and
//! nothing else with it.
//!
//! **Replaced**: the first append of each handle writes a new file, `manifest.tmp`, with the state so far, flushes it,
//! renames it over `manifest`, and flushes the directory. So nothing builds on bytes that an earlier process left in a
//! cache. The same happens when the file is beyond 64 KiB and three quarters of it are history. On a full medium the first
//! append goes into the old file instead: freeing space must not need space.
//!
//! **The reserve**: after the last append come zeros, allocated and unused: 32 KiB in a new file. Appends that precede the
//! freeing of space (deletions, removed segments, a close) may use it up; all others leave at least 16 KiB, and are refused
//! with [`DiskFull`](crate::Error::DiskFull) where those are not available. So a manifest is longer than its content, and a
//! copy without the zeros is as good.
//!
//! **Read back**: an append with a wrong byte is a torn tail, and ignored, unless a later mark says that it was durable.
//! Then it is damage: opening fails with [`Corrupt`](crate::Error::Corrupt) and the position.
//!
//! **Its end**: a file cannot show that its own end was cut off, so the marks do. One slot there is the manifest's own,
//! written after each flush: which file it is, and how much of it is durable. A shorter file, or another one, is not a log
//! with fewer topics but damage. The manifest in turn notes what the marks said durably, with the next append after their
//! flush, so outdated marks are detected as well. Every opening compares the two, and changes nothing if they disagree.
//! Files of the first release have no such slot until they are first written to; there, marks of partitions that the
//! manifest does not name reveal an early end.
//!
//! # `marks`
//!
//! One slot of 64 bytes for each partition that was ever created. A partition's slot is in the manifest; slots of
//! deleted topics are not used again.
//!
#![doc = include_str!("../codec/layout/mark.md")]
//!
//! One slot is the manifest's own, from this release's first append on:
//!
#![doc = include_str!("../codec/layout/manifest-mark.md")]
//!
//! A slot never crosses a sector, so a power cut leaves the old one or the new one. A damaged slot, or one that names
//! another partition, counts as empty.
//!
//! **Written** before each flush of a partition ("flushing") and after it ("flushed"), by a checkpoint ("recovery
//! point"), and after a failed flush. The write is one `pwrite` and survives the process immediately. The file itself is
//! flushed by checkpoints and by a clean close. After a power cut a slot may therefore be *behind*: more is durable
//! than it says. It is never *ahead*, because it is written after the flush that it describes.
//!
//! # `.log`
//!
//! Kafka's record batches, format v2 (magic 2), one after the other.
//!
#![doc = include_str!("../codec/layout/batch.md")]
//!
//! Kafka's CRC does not cover the first 21 bytes, four of which are the CRC itself. Readers and recovery therefore also
//! check that the base offset continues the order, that the length fits, and that magic is 2; and a sealed segment has
//! `.pages`.
//!
//! After damage there is no order to continue. A batch there is believed only if something else confirms its base offset:
//! the manifest, the mark, the batch after it, or the header before it. A batch that claims offsets of the batches after it,
//! and has no records there, is damage itself.
//!
//! While a segment is active its file is longer than its data. The rest is zeros: preallocated space, so that a full disk
//! shows before anything is written. A length field of zero ends the data. The file grows in steps that double from 64 KiB
//! to 64 MiB, never beyond `segment.bytes`. A roll and a clean close cut it to its exact length. So Kafka's tools read
//! sealed segments at any time, and every segment after a close.
//!
//! **Written** by appends, with one positional write per batch. Published bytes are never written again.
//!
//! # `.index`, `.timeindex`, `.txnindex`
//!
#![doc = include_str!("../codec/layout/indexes.md")]
//!
//! There is about one entry per `index.interval.bytes` of log; the last time entry holds the largest timestamp of the
//! segment.
//!
//! **Written** by a checkpoint, whole: beside the old file, flushed, then renamed over it. Between checkpoints the active
//! segment's indexes live in memory. A roll writes those of the sealed segment without a flush, for Kafka's tools; the
//! next checkpoint writes them again. A new segment has no index files before its first checkpoint.
//!
//! **Read** with suspicion. Kafka's index files have no checksum, and a slightly wrong time index looks like a right one:
//! searches by time would miss records. So one checksum over the three files is kept in the manifest for sealed segments and
//! for the active one after a clean close, and in the marks for the active one as of its last checkpoint. It is the CRC-32
//! of the three, `.index`, `.timeindex`, `.txnindex`, each after its length in 8 bytes; 1 in the place of 0. Files that do
//! not match are rebuilt from the `.log`, unnoticed by the caller; the next checkpoint writes them. Where no checksum is
//! known, entries must be in order, and an offset entry must point at a batch that ends at that offset.
//!
//! # `.snapshot` and `.producers`
//!
//! What a partition remembers of idempotent producers. Kafka's snapshot keeps the newest batch of each. A retry may repeat
//! any of the last five, so ours keeps five. Of a producer with a name it keeps the last sequence that its source gave, which
//! no epoch resets.
//!
#![doc = include_str!("../codec/layout/snapshot.md")]
//!
#![doc = include_str!("../codec/layout/producers.md")]
//!
//! **Written** by a checkpoint, at its offset and at the base of each segment that was rolled since; at a new log start it
//! is durable before the segments go whose batches it covers, and the manifest says its checksum. That of the previous
//! checkpoint is removed, unless a segment begins there. There is none where a log begins and nobody is known, and no
//! `.producers` without producers.
//!
//! **Read** by an opening after a crash, and by the first append after a clean one. A `.snapshot` of a log with producers
//! is only used together with its `.producers`; a broker's alone is not enough, and the batches are replayed instead. Where a file is shorter than its checkpoint, the
//! snapshot at the segment's base is used.
//!
//! The sequences of a source lie in the records:
//!
#![doc = include_str!("../codec/layout/sequence.md")]
//!
//! A replay reads them of batches whose producer id is larger than 2^40, as ours are. Where the record that has a sequence cannot
//! be read, the last sequence counts as lost.
//!
//! **Lost.** Where the log begins, the snapshot is the only copy: the batches it describes are gone. Without it, or with
//! another checksum, and no later snapshot, an append with a producer id is refused with [`Corrupt`](crate::Error::Corrupt),
//! which names the file, unless the log holds a later batch of that producer: the batch may be there already. Reading and
//! appends without an id go on. Restoring the file ends that; so does a day, after which the producers that were lost would
//! have been forgotten anyway. Later snapshots carry the loss with them. A producer with a name is refused however long ago the
//! loss was noticed, until its name is forgotten.
//!
//! # `consumer-offsets.snapshot`
//!
//! Committed offsets are records of the internal topic `__consumer_offsets`, in Kafka's format, with the topic's id and the
//! incarnation in record headers. It has one partition here. This file, in that partition's directory, holds the current
//! ones, so that the log need not be read from its start. If lost or damaged, it is ignored and rebuilt.
//!
#![doc = include_str!("../codec/layout/consumer-offsets.md")]
//!
//! **Written** after 16 MiB of that log, and when the current values were appended again: from 32 MiB on, or three times
//! their size, the log's front is removed that way, because nothing compacts it. The new file is written beside the old one
//! and renamed.
//!
//! # `transactions.snapshot`
//!
//! What is known of producers' names, and what was decided about transactions, are records of the internal topic
//! `__transaction_state`, in Kafka's format. It has one partition here. This file, in that partition's directory, holds the
//! last value of each name and all decisions since the log was rewritten. If lost or damaged, it is ignored and rebuilt.
//!
#![doc = include_str!("../codec/layout/transaction-state.md")]
//!
//! The header `streamlog.ends` of a decision says how far the log of each partition must reach for it to count. All numbers
//! in it are zigzag varints, as in records:
//!
#![doc = include_str!("../codec/layout/transaction-ends.md")]
//!
//! Two more headers: `streamlog.outcome` says how an earlier transaction of the same name ended, beside a value that is of a
//! later one (version 1 (1), producer id (8), epoch (2), flags (1): committed 1, complete 2). `streamlog.rewritten` is on the
//! first record of a rewriting: the markers of all decisions that were complete before it are durable.
//!
//! **Written** as `consumer-offsets.snapshot` is. Decisions whose markers may not be durable are appended again.
//!
//! # `.pages`
//!
//! Checksums of a sealed `.log`, one for each page of 64 KiB. They cover every byte, including those outside Kafka's batch
//! CRC.
//!
#![doc = include_str!("../codec/layout/pages.md")]
//!
//! **Written** by the first checkpoint after a roll, which reads the sealed segment once more and checks each of its batches
//! on the way. Where one is not valid, no file is written.
//!
//! **Read** when a sealed segment is first read. A page is checked when it is first touched, and remembered; batches in
//! pages that passed need no checksum of their own. In a page that failed, each batch must prove itself: by its CRC, exactly
//! the expected offset, and the leader epoch. A `.pages` file whose own checksum, generation or size does not match is
//! ignored, and batches are checked by their CRC.
//!
//! # `.keys`
//!
//! The keys of a sealed segment, where the topic's policy compacts: for each record that has a key the hash of it, its offset,
//! and whether it is a tombstone. Compaction decides by these files which records live, and reads no record for it.
//!
#![doc = include_str!("../codec/layout/keys.md")]
//!
//! The hash is SipHash-2-4 with 128 bits. Its seed is drawn for the first file of a partition, and the same in all of them.
//!
//! **Written** in the pass that sums up the pages after a roll, and by the rewriting of a segment.
//!
//! **Read** by compaction, a range of the hash at a time, each page checked. A file that is not about this generation and size
//! of the segment, that has another seed, or whose checksums do not match is built again.
//!
//! # What Kafka's tools read
//!
//! Everything marked "Kafka" above, byte for byte as a broker would have written it, with these remarks:
//!
//! * Sealed segments can be read at any time. An active one ends in zeros, which are not a batch; a clean close cuts them.
//! * The three checkpoint files and `.kafka_cleanshutdown` describe the last clean close. The first write of the next
//!   opening removes `.kafka_cleanshutdown`, so that a broker would recover. The checkpoints stay, as a broker's do.
//! * A topic's configuration is in the manifest. A broker keeps it in its metadata log, so a topic that moves to Kafka is
//!   created there with its settings first: see [`operating`](super::operating#moving-data-to-kafka).
//! * `meta.properties` names node 1 and has random ids. It is written once.
