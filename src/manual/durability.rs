//! What an acknowledgement promises, operation by operation, and the argument for each promise.
//!
//! The page is written to be attacked. It says what is assumed, what each operation writes in which order, what a crash
//! can leave at each point, how the next opening tells those states apart, and why that is safe. The arguments have
//! numbers, A1 to A15, so that a doubt can name one. The last sections say how all of it is tested, and what it does not
//! cover.
//!
//! # Levels
//!
//! Durability is a property of the topic. Each level is named by what survives.
//!
//! | [`Durability`](crate::Durability) | acknowledged when | the process dies | the system crashes, or power goes |
//! |---|---|---|---|
//! | `Flushed` (default) | its flush has returned | all of it survives | all of it survives |
//! | `Interval(t)` | it is written | all of it survives | what was written longer ago than `t`, and the time a flush takes, survives |
//! | `Written` | it is written | all of it survives | a prefix of it survives, at least to the last flush |
//!
//! In a `Flushed` topic readers stop where durable data ends. In the others they see what is written, immediately. In all
//! of them what survives is a *prefix* of what was appended, never a selection.
//!
//! The flushes of `Interval` and the checkpoints of `Written` topics are background work. A handle without a background
//! thread does them in [`maintain`](crate::Streamlog::maintain). `flush.messages` and `flush.ms` add flushes to the
//! weaker levels; they never take one away.
//!
//! # What is assumed
//!
//! Of the disk and the file system:
//!
//! | | assumption | without it |
//! |---|---|---|
//! | D1 | `fdatasync` returns success only when the file's bytes and its length are on the medium | nothing can be promised |
//! | D2 | `fsync` of a directory makes the names in it durable | topics and segments may vanish; opening says so |
//! | D3 | a rename within a directory is there or not; it never leaves both names missing | the manifest may be lost |
//! | D4 | a sector of 512 bytes is written wholly or not at all, and a write changes no other sector | the end of durable data, whose sector the next append writes again, may be torn; opening says so |
//! | D5 | nobody else writes to the files, shortens or renames them | as damage |
//!
//! On Apple's systems D1 needs `F_FULLFSYNC`, which the standard library's `sync_data` uses.
//!
//! Of the rest nothing is assumed. After a crash, of everything that no flush covered, any part may be there: some
//! sectors of a write and not others, a later write and not an earlier one, a file's length without its bytes, bytes
//! without their length, a name without its content, an old name again. A flush that fails may have dropped what it
//! should have written, and later flushes may say yes.
//!
//! There is one copy. Damage by the medium is found and named. It is not repaired.
//!
//! # Invariants
//!
//! These hold at every moment, after any crash the assumptions allow. Tests name them.
//!
//! | | invariant | in this release |
//! |---|---|---|
//! | I1 | a record acknowledged as durable is returned byte for byte at its offset after any crash, or an explicit error is; it is never silently absent | yes; see "What is not covered" for damage together with a power cut |
//! | I2 | after recovery a partition is a prefix of what was appended, across segments, at least up to the durable mark | yes |
//! | I3 | nothing that recovery dropped comes back; nothing appears that nobody appended | yes |
//! | I4 | what a default consumer has seen survives a power cut; in a `Flushed` topic an (incarnation, offset) never shows two values; in a `Written` one a lost offset returns under a new incarnation | yes |
//! | I5 | a batch is there wholly or not at all | yes |
//! | I6 | per producer id and epoch, sequences appear once and in order across crash and retry; a retry among the last five batches gets its original offsets | yes, for the batches of idempotent producers |
//! | I7 | a committed transaction is visible in all its partitions or in none | no transactions yet |
//! | I8 | offsets committed in a transaction appear exactly when it does | no transactions yet |
//! | I9 | committed offsets are never ahead of what the caller said, never beyond the end, never silently reset; a commit makes the data it covers durable before itself | yes |
//! | I10 | compaction keeps the newest value of every key, offsets and order | no compaction yet |
//! | I11 | retention removes a prefix only; the new start is durable before the first file goes; readers get an error with the range | yes |
//! | I12 | local and remote together have no gap | no tiering yet |
//! | I13 | hostile or damaged bytes give identical data or a typed error with file and position; never wrong bytes, a panic, a hang or unbounded memory | yes |
//! | I14 | every failure says operation, path and cause; afterwards the log is unchanged or poisoned | yes |
//! | I15 | waiters always wake; opening is bounded by the unclean tail; steady state grows neither memory nor descriptors | yes |
//! | I16 | a second writer is refused immediately with the holder's pid; a dead writer never blocks | yes |
//! | I17 | the same calls, clock and seed give byte-identical files; directories of every released version open for ever | yes |
//! | I18 | no panic from any public call; a panic in a user's callback leaves nothing locked or half done | yes |
//!
//! # Operation by operation
//!
//! Three notes are written down, and everything below depends on them. The **manifest** says what exists. The **mark** of
//! a partition says `flushing` before a flush, `flushed` after it, and `recovery point` after a checkpoint. The
//! manifest's last word about the directory is `opened` or `closed`. [`on_disk`](super::on_disk) has their bytes.
//!
//! ## The first change after an opening
//!
//! Opening writes nothing but `LOCK`. Before the first change, whichever it is, `opened` is appended to the manifest and
//! flushed; as the first append of this handle it goes into a new file that is renamed over the old one. Then
//! `.kafka_cleanshutdown` is removed.
//!
//! **A1.** *A directory that was written to and not closed is known as such.* Nothing is written before `opened` is
//! durable, and only `closed` revokes it. A crash before the rename leaves the old manifest, whose last word is still
//! true, since nothing else was written. A crash between the rename and the flush of the directory leaves either.
//!
//! ## Create a topic
//!
//! 1. Each partition's directory, with an empty `.log`, `partition.metadata`, `partition.identity` and
//!    `leader-epoch-checkpoint`. These files and the directory are flushed, those of several partitions side by side;
//!    from 32 partitions on, where the file system is one whose flush is known to reach the medium (`syncfs` on ext4,
//!    XFS, Btrfs, F2FS, tmpfs), it is flushed as a whole, once. 3,000 partitions take some tenths of a second.
//! 2. A blank mark for each partition; the marks are flushed. One that cannot be read later is therefore a lost one.
//! 3. The log's directory is flushed.
//! 4. One append to the manifest names the topic and its first segments. It is flushed.
//!
//! **A2.** *A topic exists wholly or not at all, and no name lacks its file.* The append is one: its length is in front
//! and each record has a checksum, so a part of it counts as none. A crash before 4 leaves directories that no manifest
//! names. They are ignored; a later creation under that name uses them when they are empty and renames them to `-stray`
//! when they hold records. Adding partitions works the same way.
//!
//! ## Append
//!
//! Records are encoded, compressed and checksummed without a lock. Under the partition's lock:
//!
//! 1. The producer's rules are checked. A duplicate is answered with its first offsets, and nothing is written.
//! 2. The segment is rolled if the batch does not belong into it any more.
//! 3. After an unclean opening, the first append writes a new incarnation into the manifest and flushes it.
//! 4. Space is preallocated if the file is too short.
//! 5. In a `Flushed` topic the mark says `flushing`, if it does not say so of anything yet.
//! 6. The batch is written, at the end of the data, with one positional write.
//! 7. It is published: indexes and producer state in memory, then the end that readers may see.
//!
//! **A3.** *A failed append leaves nothing.* A full disk is met in 4, a mark that cannot be written in 5, where nothing of
//! the batch is in the file. When 6 fails the file is cut back to where it ended. When that fails too, the partition is
//! poisoned. So no half batch is ever followed by a whole one. (I5, I14)
//!
//! **A4.** *After a crash in 6 the batch is there wholly or not at all.* Any sectors of it may be there, and the length.
//! Recovery believes a batch whose base offset continues the order, whose length fits, and whose CRC matches. The bytes
//! after it are zeros or were never published. (I5)
//!
//! ## Flush, and group commit
//!
//! A caller that needs durability asks for a flush up to an offset. One caller leads; callers that come while it runs wait
//! for the next one. One flush serves every write that came before it began.
//!
//! 1. Under the lock: how far the log goes, and which sealed segments and names are outstanding.
//! 2. The mark says `flushing`, if the append has not said so already.
//! 3. Sealed segments are flushed, oldest first. If names changed: the partition's directory, then the manifest. Then the
//!    active segment.
//! 4. The mark says `flushed` up to there.
//! 5. The high watermark rises, in a `Flushed` topic. Readers and waiting callers wake.
//!
//! **A5.** *What was acknowledged as durable is reachable.* A record is reachable when its bytes, every byte before it in
//! the partition, the names of those files, and the manifest's entries for them are durable. Step 3 makes them so, the
//! tail last. (I1, I2)
//!
//! **A6.** *The mark errs on one side.* `flushed` is written after the flush that it describes. A process that dies
//! between 3 and 4 leaves more durable data than the mark says. After a power cut the mark itself may be an older one. In
//! no state does it say more than is true. (I2)
//!
//! **A7.** *A default reader never sees what a power cut takes back.* It stops at the high watermark, and 5 comes after
//! 3. A crash between 4 and 5 leaves a durable record that was never acknowledged. It will be there after the opening; the
//! promise is a lower bound. (I4)
//!
//! ## Roll
//!
//! 1. The old segment's file is cut to its data.
//! 2. The new `.log` is created; it must not exist.
//! 3. The manifest gets "sealed" and "created" in one append, without a flush.
//! 4. Appends go on in the new segment. Flushing the old one is left to the next flush, which a `Flushed` topic needs
//!    before it acknowledges anything, and a `Written` topic gets from the background.
//!
//! **A8.** *Whatever a crash leaves of a roll, recovery finds a prefix.* The file and the entry go separately:
//!
//! | the entry | the file | what opening does |
//! |---|---|---|
//! | absent | absent | the log ends in the old segment |
//! | absent | there | no manifest names it: it goes aside. A flush of anything in it would have flushed the entry first (A5) |
//! | there | absent | the log ends with the segment before; "truncated" is written to the manifest. If the mark says that something in it was durable, it is damage instead |
//! | there | there | it follows if the old segment ends where it begins; else it goes aside, after "truncated" is durable |
//!
//! In the last row the manifest is written first: a file that it does not name is a stray, a name without a file would
//! be damage. (I2, I3)
//!
//! ## Checkpoint
//!
//! 1. The log is flushed up to P, as above.
//! 2. Indexes, transaction index and producer state as of P are written and flushed; those of segments that were rolled
//!    since, too, and the page checksums of these. The partition's directory is flushed, and the manifest where a roll
//!    came after the last flush: P may be the beginning of a segment that nothing was written to yet.
//! 3. The mark says that recovery begins at P, and the marks are flushed.
//! 4. The snapshot of the checkpoint before goes.
//!
//! A checkpoint is taken by [`Partition::flush`](crate::Partition::flush), by a close, after a roll, after 256 MiB, and,
//! in topics that are not `Flushed`, ten seconds after an append. All but the first two are background work.
//!
//! **A9.** *Recovery may begin at any recovery point it finds.* The mark that names P is written last, so a crash before
//! it leaves the older point, whose snapshot is still there (4). Sidecars are replaced by renaming, and either may be
//! there; snapshots have checksums, the mark has that of the indexes, and what cannot be used is replayed from an earlier
//! point. (I15)
//!
//! ## Retention, and deleting records
//!
//! 1. Only segments that are durable, and whose records every reader may see, are candidates. When all are to go, an
//!    empty one is rolled first.
//! 2. The manifest gets the new log start and "removed" in one append, flushed.
//! 3. Readers get the new log start and the shorter list of segments.
//! 4. The files are removed, sidecars first, each segment's `.log` last.
//!
//! **A10.** *Only a prefix goes, and it does not come back.* After 2 the manifest names neither the segments nor an
//! offset below the new start. A crash during 4, or an error, leaves files that no manifest names; they go with the next
//! retention, with a recovery, or with the first append of an opening. What readers hold of a removed segment stays
//! valid, because the operating system keeps a file until its last descriptor and mapping is gone; a later read below the
//! start is [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange) with the range that is left. (I11)
//!
//! ## Delete a topic, alter a topic
//!
//! Deleting: "deleted" in the manifest, flushed; handles on the topic answer `Closed`; each directory is renamed to
//! `-delete`, then emptied and removed; the log's directory is flushed. From the first step on the topic is gone, whatever
//! a crash leaves; an error there is no error of the deletion. What is left goes before the first write of the next opening,
//! a directory that kept its name only where its `partition.metadata` names a topic whose deletion the manifest has seen.
//!
//! Altering: what the topic has is flushed, then the whole new configuration goes into the manifest, flushed, then it
//! holds. A crash leaves the old one or the new one. The flush comes first because a topic that becomes `Flushed` promises
//! that for all that readers can see.
//!
//! ## Commit offsets
//!
//! 1. Each offset is checked against the end of its partition.
//! 2. Every partition is flushed up to the offset that is committed for it.
//! 3. All offsets of the commit are appended to `__consumer_offsets` as one batch, and that is flushed.
//! 4. Others see it.
//!
//! **A11.** *A committed offset has its data under it.* It is not written before 2 is durable, whatever the topic's own
//! level. A crash before the end of 3 leaves the commit before, or this one whole. It carries the topic's id and the
//! partition's incarnation. So it is not taken for a place in a topic of the same name that was created later, and an
//! offset beyond what a crash left is reported as such. (I5, I9)
//!
//! A commit that cannot be read (damage, a codec that is missing, a malformed record) is never replaced by an older one. A
//! record with a readable key hides the commits of that group for that partition, a batch that cannot be decoded hides
//! every commit before it. What is hidden is answered with an error, until the group commits there again, is reset or
//! deleted. Records of unknown kinds are passed over, as Kafka does.
//!
//! ## Forget a group, and write the offsets again
//!
//! Forgetting: a record for each partition of the group that says so is appended to `__consumer_offsets`, and that is
//! flushed. They are one batch of up to 256 KiB; a group with more may be forgotten in part after a crash, and is
//! forgotten by asking again. Deleting a topic forgets its offsets the same way.
//!
//! So that the log does not grow for ever, the values that hold are written again, and what lies before them goes, unless
//! some commit is hidden:
//!
//! 1. The log is flushed, and all values are appended, in batches of moderate size.
//! 2. They are flushed.
//! 3. The log starts where they begin (see "Retention").
//! 4. The sidecar that saves reading the log is written.
//!
//! **A15.** *No value is gone for a moment.* Until 3 is durable the old records count, and the new ones after them say
//! the same, whatever part of them is there; afterwards the new ones are durable. A sidecar says up to which record it
//! was written; one from before 3, or from before a group was forgotten, is out of date, and the records after it are read.
//! (I9, I11)
//!
//! ## Close
//!
//! 1. What producers hold is written and flushed. The background thread ends after the step it is in.
//! 2. Each partition is checkpointed, its active file cut to its data and flushed.
//! 3. Kafka's checkpoint files are replaced; the marks are flushed.
//! 4. "closed" goes into the manifest with every partition's start, end and size, and is flushed.
//! 5. `.kafka_cleanshutdown` is written. The lock is given up.
//!
//! **A12.** *A directory that says "closed" needs no look.* Everything that 4 describes was made durable in 2, and nothing is
//! written after it. If a partition refuses appends because of damage, or was poisoned, the close writes no "closed", and
//! the next opening looks for itself. A handle that found the log closed, and wrote nothing, closes without a write. One
//! that recovered it closes it cleanly although nothing was appended, so that the next opening need not look again; the
//! life that began unnoted is noted in the append of 4 (A14). Where a full disk is in the way of that, the log is left as
//! it was.
//!
//! # Opening
//!
//! The lock is taken, manifest and marks are read. When the manifest's last word is "closed", no file of a partition is
//! opened. Whether each partition is still as it was closed is asked of lengths and times: see "What changed while it was
//! closed". Otherwise, for each partition:
//!
//! 1. `.log` files that the manifest does not name go aside.
//! 2. Segments from the mark's `flushed` on are flushed, through fresh descriptors: a killed process leaves its bytes in
//!    the cache, and nothing may be shown that is not durable.
//! 3. The cache is *suspect* when the mark says that a flush was under way or had failed, or when the flush of step 2
//!    fails. Then what lies past `flushed` is read past the cache, with `O_DIRECT`, from the medium straight into
//!    memory. Where that is refused, or where the flush of step 2 failed, so that nothing says that what is read will
//!    stay, the file is written anew under its own name and flushed: cache and medium agree. That needs as much space
//!    again; without it the partition shows what was durable, refuses appends with
//!    [`ReadOnly`](crate::Error::ReadOnly), and can be opened again when there is space.
//! 4. Batches are checked from the recovery point on, with the producers, epochs and indexes as of there. Where the cache
//!    is believed, preallocated space is not read: the file system is asked where the zeros at the end begin
//!    (`SEEK_DATA`), after the flush of step 2, when no data waits for its place any more. The first
//!    64 KiB of what it names are read all the same: where they are not zeros, or where it cannot tell, all is read.
//! 5. Where the chain of whole batches ends, there is a verdict.
//!
//! | the chain ends | and after it | [`RecoveryVerdict`](crate::admin::RecoveryVerdict) |
//! |---|---|---|
//! | at or above `flushed` | the end of the file, or zeros with no whole batch after them | `Whole` |
//! | at or above `flushed` | anything else | `TornTail` |
//! | below `flushed` | anything | `Damage` |
//!
//! A batch of an unknown magic is no exception. The manifest says which formats its log has, and this one has magic 2
//! alone: bytes that claim another are nonsense. A partition that cannot be opened at all, because of an I/O error or
//! missing rights, does not keep the others from being opened. It answers every call with that error, the report
//! says [`NotOpened`](crate::admin::RecoveryVerdict::NotOpened), [`health`](crate::Streamlog::health) lists it, the close
//! leaves the log unclean, and the next opening tries again.
//!
//! **Torn tail**: nothing from there on was acknowledged as durable. The file is cut at the last whole batch and flushed;
//! later segments go aside. The report says where, how many bytes, why, and how many whole batches lay after the
//! first bad one. **Damage**: nothing is removed. Whole batches can be read, before and after it; reading the rest is
//! [`Corrupt`](crate::Error::Corrupt) with file and position. The partition accepts no appends. This release has no call
//! that accepts the loss: copy what can be read into another topic.
//!
//! **A13.** *What was cut stays cut.* The cut, and the new name of every file that goes aside, is durable before the
//! partition can be read. So a second crash cannot bring the bytes back, not even under the name of a later segment with
//! the same base. A crash during recovery finds the same states again and reaches the same verdict. (I3)
//!
//! **A14.** *One place in one life has one value.* When a crash takes offsets that readers of a `Written` topic have seen,
//! the same offsets are given to other records. The manifest's list of incarnations tells them apart: a new one begins
//! with the first append after an unclean opening and is durable before that append is written. In a `Flushed` topic no
//! reader has seen such offsets. (I4)
//!
//! ## What changed while it was closed
//!
//! A broker may run on a closed directory, and a restore may mix two copies. The opening measures the active segment of
//! each partition, and looks at the time of the partition's directory: names are listed only where one came or went after
//! the close, or where `.kafka_cleanshutdown` is not the one that the close wrote. A partition that differs is recovered
//! from its closing facts on:
//!
//! | found | becomes |
//! |---|---|
//! | whole batches, of any leader epoch, that continue the log without a gap: in the active segment, and in segments that begin where the one before ends | part of the log ([`taken_in`](crate::admin::PartitionRecovery::taken_in)). Later appends carry the last leader epoch |
//! | other bytes past the end of the log | a file of their own, named `.aside`, before they are cut off |
//! | segments that do not continue it | renamed to `.aside` |
//! | bytes past the end of a sealed segment | nothing of the log: shown to nobody and left alone. [`health`](crate::Streamlog::health) reports them once the segment was read |
//! | the first segments are gone, and `leader-epoch-checkpoint` begins after them, as after a broker's retention | a later log start ([`removed`](crate::admin::PartitionRecovery::removed)) |
//! | the file of a segment is missing, or the active one is shorter | `Damage`: nothing grows over it |
//!
//! The manifest learns of these in the same append as "opened" (A1), before anything else is written. Until then every
//! opening finds the same. A handle that only reads shows what would be taken in, changes nothing, and lists strays
//! ([`left_in_place`](crate::admin::PartitionRecovery::left_in_place)).
//!
//! What a file of the same length holds is looked at before the first append to it: the last batches must be whole and
//! end where the log ended. A stray that appears under the name of the next segment goes aside when the log comes to it.
//!
//! # After a failed flush
//!
//! When `fdatasync` fails, the kernel may have dropped the pages and marked them clean. A second `fdatasync` would then
//! succeed and prove nothing. So a failed flush is final:
//!
//! * The partition is poisoned. All who waited get the same error, and so does every later append and flush:
//!   [`Poisoned`](crate::Error::Poisoned), with the cause. Nothing is tried again.
//! * The mark notes it, so that the next opening distrusts the cache.
//! * Reads go on. In a `Flushed` topic the high watermark stays where durable data ended.
//! * Other partitions go on, unless it was the manifest's flush: then nothing that changes the manifest works any more,
//!   and a topic that was being deleted takes no more records, for it may be gone at the next opening.
//! * [`health`](crate::Streamlog::health) lists the partition. A close returns the error and leaves the directory
//!   unclean. Reopening recovers.
//!
//! A full disk is different when it is met while space is preallocated: the append fails with
//! [`DiskFull`](crate::Error::DiskFull), nothing was written, and appends resume when there is space again. A mark that
//! cannot be written before a flush fails that flush and poisons nothing, for nothing was asked of the medium yet; one that
//! cannot be written after it says less than is so, which is safe. A descriptor
//! with unflushed writes is never closed before its flush succeeded, because its error would go with it.
//!
//! # Beside a writer
//!
//! [`open_read_only`](crate::Streamlog::open_read_only) takes no lock and changes nothing. It reads the manifest, and
//! again when the writer added to it or replaced it. In a `Flushed` topic it shows what the mark says is flushed; in the
//! others the whole, chained, valid batches of the file. Without a live writer it shows the same, recovers nothing and
//! cuts nothing. A process that dies during a flush leaves a mark that is out of date, and so does a power cut: then it shows
//! fewer records, and older committed offsets, than a writing handle that recovered the log showed, until that one writes
//! or is closed. Where a mark cannot be read, it shows what the next writer will find.
//!
//! What the mark, or the close, says was durable, and the files lack, is damage: the report of the opening and
//! [`health`](crate::Streamlog::health) name it, and reading it is [`Corrupt`](crate::Error::Corrupt), with the offset
//! where reading goes on. A handle that has found it goes on saying so, also where the file is put back, until retention
//! removes the place or the log is opened anew. A writing handle finds the same, and so does
//! [`PartitionDir`](crate::dir::PartitionDir), which asks the manifest and the mark beside its directory.
//! A segment is not missing where a power cut took its file before anything in it was durable: the log ends before it.
//!
//! Beside a writer a file may be gone because retention removed it, or be another one because a recovery wrote it anew.
//! Before a read-only handle calls anything damage, it asks the manifest again and opens the files anew. That holds for a
//! read that fails, too: what was removed meanwhile is [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange), also where
//! nobody called [`refresh`](crate::Streamlog::refresh).
//!
//! # How to check this
//!
//! | what goes wrong | how | where |
//! |---|---|---|
//! | a crash after any disk operation, and in the recovery from it; an error at any operation, also of that recovery; a cache that lies after a failed flush; a full medium | simulated disk, workloads from a seed, held against a model | `tests/crash_campaign` |
//! | calls in any order, with reopening, death and power cuts among them | proptest and a model, on the simulated disk and on the real one | `tests/model.rs` |
//! | the same, chosen by coverage; hostile bytes for every decoder, and a whole hostile directory | libFuzzer; the inputs it kept are tried by every `cargo test` | `fuzz` |
//! | a promise of this manual, or of a method's documentation, that is not kept | each promise is a line with its words, a test and the planted mistakes that break it | `tests/promises` |
//! | threads that meet in another order | shuttle, in place of locks, atomics and threads | `.ci/run shuttle` |
//! | races, and memory that is used after it was freed | ThreadSanitizer and AddressSanitizer on `tests/stress.rs` and `tests/threads.rs`, after a mistake made on purpose that they have to report; miri on the room with unsafe code | `.ci/run sanitizers`, `.ci/run miri` |
//! | a bit of any file that flips | any bit, one at a time (a run tries some, `STREAMLOG_EVERY_BIT=all` every one): of a closed store and a killed one, and of a partition's directory opened on its own | `tests/golden_store.rs`, `tests/golden_partition.rs` |
//! | files that are cut short, missing, damaged, of an unknown version | by hand, with the verdict that is expected | `tests/damaged_files.rs`, `tests/lost_and_damaged_sidecars.rs` |
//! | a durable segment that is missing, empty or short, after a close and after a kill; an older manifest; a lost mark; each for a writer, for both ways to read beside one, and for a directory on its own | by hand | `tests/what_the_mark_promises.rs` |
//! | a writer that rolls, removes, dies and recovers beside processes that only read | a writer and two observers for each life; `STREAMLOG_OBSERVED_LIVES=600` for a campaign | `tests/observers_beside_a_writer.rs` |
//! | a file of an earlier day put back, a copy of one under another's name | each of a closed and a killed log; reads and seeks held against what was written | `tests/stale_and_duplicated_files.rs` |
//! | `SIGKILL` | again and again, on a directory that grows old | `tests/killed_processes.rs` |
//! | `SIGKILL` where holes, blocks and caches are others' | ext4, ext2, XFS, btrfs, tmpfs, overlayfs; what is left is opened as it is, and as copies with every zero written out and with every zero block a hole | `tests/other_file_systems.rs` |
//! | death, or an error, at a chosen system call | strace; a planted mistake breaks each claim | `tests/system_calls.rs` |
//! | a flush that failed, that was under way at death, that fails at opening | a simulated cache that lies | `tests/after_a_failed_flush.rs` |
//! | no space; writers that roll, remove and die beside a reader | a small tmpfs; two processes | `tests/full_disk.rs` |
//! | no right to write, or to read | a process of another user | `tests/a_directory_that_may_not_be_written.rs` |
//! | the power goes | ext4 and XFS in a file, cut off by the shutdown ioctl without flushing their journal | `tests/power_cuts.rs` |
//! | somebody else's files | directories that a Kafka broker wrote; ours, read by a decoder that was not written for this crate | `tests/foreign_directories.rs`, `tests/kafka-protocol` |
//!
//! * **The simulated disk** is `streamlog::sim`, behind the feature `sim`: a machine with a disk of live and durable bytes.
//!   Its crashes lose what no flush covered, tear writes by sectors of 512 bytes, keep lengths without bytes and bytes
//!   without lengths, bring old names back, and change names in any order. Its faults fail any operation, cut writes
//!   short, and lose the pages of a failed flush and then say yes. Clock, randomness and background work come from one
//!   seed. The engine that runs on it is the real one. A recording of a run gives the disk after each of its operations.
//! * **The campaign's alphabet**: topics are created, altered, given partitions, and deleted; records come by
//!   [`append`](crate::Partition::append), `send`, `send_batch` to one partition or across several, and `enqueue`, with
//!   every codec and durability, in small segments; flushes, new log starts, time that passes with retention and
//!   checkpoints, a clean close; a group's consumer that polls, commits, ends and resumes, a group that is forgotten, and
//!   committed offsets that are written again. Each operation on the disk is a place to crash, in several ways, and to
//!   fail; so is, of a sample, each operation of the opening and the calls that follow. All workloads of at most two calls
//!   are tried; each seed tries other crashes of them. What it ever found is kept by name and runs first.
//!   `cargo test --release --test crash_campaign -- --nocapture` ends with a line of figures; a debug build does a small
//!   share.
//! * **Mistakes that are planted**, behind the feature `__planted`: places where the engine can be made to do the wrong
//!   thing, such as acknowledging before the flush. The campaign has to notice each of those that a crash can show,
//!   shuttle's claims those that threads can, the tests with strace those that only a kernel shows. All others break a
//!   promise, and stand beside it in `tests/promises`.
//! * **Power cuts** count what was acknowledged before the cut. The machine lives on, other than in a real one, and on ext4
//!   a flush that was under way may return success after the cut without having reached the medium.
//!
//! A crash in a few lines, with `streamlog = { path = "../streamlog", features = ["sim"] }` among the `[dev-dependencies]`:
//!
//! ```
//! use streamlog::{Durability, RecordData, TopicConfig, config::Builder, sim::{Crash, SimEnv}};
//!
//! let env = SimEnv::new(1);
//! let log = Builder::env(&env, "/data").background_thread(false).open()?;
//! let weak = TopicConfig::default().durability(Durability::Written);
//! let flushed = log.create_topic("flushed", TopicConfig::default())?.partition(0)?;
//! let written = log.create_topic("written", weak)?.partition(0)?;
//! for _ in 0..10 {
//!     flushed.append(&[RecordData::new("kept")])?;
//!     written.append(&[RecordData::new("perhaps")])?;
//! }
//!
//! for crash in Crash::ALL {
//!     for seed in 0..10 {
//!         let after = Builder::env(&env.crash(crash, seed), "/data").background_thread(false).open()?;
//!         assert_eq!(after.topic("flushed")?.partition(0)?.log_end_offset(), 10);
//!         assert!(after.topic("written")?.partition(0)?.log_end_offset() <= 10);
//!     }
//! }
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! # What is not covered
//!
//! * **Damage where the mark is out of date.** After a power cut the mark on the medium may be as old as the last checkpoint.
//!   If the medium also damages a durable batch above it, that looks like a torn tail: the log is cut there, and the
//!   report says so (`whole_batches_beyond` counts what followed). One fault of the two is handled; both at the
//!   same time cannot be told apart. [`Partition::flush`](crate::Partition::flush) takes a checkpoint and closes the gap.
//! * **Damage below the recovery point** is not looked for by an opening. The read that meets it reports it.
//! * **A disk that breaks D1.** Where a flush says yes and its error comes with the next one, the partition is poisoned
//!   then, and nothing more is acknowledged; what was in between may be gone after a power cut, and nothing reports it.
//! * **A lost `LOCK`, manifest or marks file**: see [`on_disk`](super::on_disk#what-the-manifest-is-truth-about).
//! * **Mapped reads** end the process with SIGBUS when the medium cannot deliver a page, or when somebody shortened the
//!   file. [`ReadMode::Pread`](crate::config::ReadMode::Pread) makes an error of it. Outside Unix every read is positional.
