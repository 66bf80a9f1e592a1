//! What an acknowledgement promises, operation by operation, and the argument for each promise.
//!
//! The page is written to be attacked. It states what is assumed, what each operation writes in which order, what a crash
//! can leave at each point, how the next opening distinguishes those states, and why that is safe. The arguments are
//! numbered, A1 to A15, so that a doubt can name one. The last sections describe how all of this is tested, and what it does
//! not cover.
//!
//! # Levels
//!
//! Durability is a property of the topic. Each level is named by what survives.
//!
//! | [`Durability`](crate::Durability) | acknowledged when | the process dies | the system crashes, or power goes |
//! |---|---|---|---|
//! | `Flushed` (default) | its flush has returned | all of it survives | all of it survives |
//! | `Interval(t)` | it is written | all of it survives | everything older than `t` plus the time of a flush survives |
//! | `Written` | it is written | all of it survives | a prefix survives, at least up to the last flush |
//!
//! In a `Flushed` topic, readers stop where durable data ends; in the others they see a record as soon as it is written. At
//! every level the survivors are a *prefix* of what was appended, never a selection.
//!
//! The flushes of `Interval` and the checkpoints of `Written` topics are background work. A handle without a background
//! thread does them in [`maintain`](crate::Streamlog::maintain). `flush.messages` and `flush.ms` add flushes to the weaker
//! levels and never remove one.
//!
//! # What is assumed
//!
//! Of the disk and the file system:
//!
//! | | assumption | without it |
//! |---|---|---|
//! | D1 | `fdatasync` returns success only when the file's bytes and its length are on the medium | nothing can be promised |
//! | D2 | `fsync` of a directory makes the names in it durable | topics and segments may vanish; the opening reports it |
//! | D3 | a rename within a directory happens or does not; it never leaves both names missing | the manifest may be lost |
//! | D4 | a sector of 512 bytes is written wholly or not at all, and a write changes no other sector | the end of durable data, whose sector the next append writes again, may be torn; the opening reports it |
//! | D5 | nobody else writes to the files, shortens or renames them | as damage |
//!
//! On Apple's systems D1 needs `F_FULLFSYNC`, which the standard library's `sync_data` uses.
//!
//! Nothing else is assumed. After a crash, any part of what no flush covered may be there: some sectors of a write and not
//! others, a later write and not an earlier one, a file's length without its bytes, bytes without their length, a name
//! without its content, an old name again. A failed flush may have dropped the data it should have written, and later
//! flushes may still return success.
//!
//! There is one copy. Damage by the medium is found and reported, not repaired.
//!
//! # Invariants
//!
//! These hold at every moment, after any crash that the assumptions allow. Tests refer to them by number.
//!
//! | | invariant | in this release |
//! |---|---|---|
//! | I1 | a record acknowledged as durable is returned byte for byte at its offset after any crash, or an explicit error is; it is never silently absent | yes; see "What is not covered" for damage together with a power cut |
//! | I2 | after recovery a partition is a prefix of what was appended, across segments, at least up to the durable mark | yes |
//! | I3 | nothing that recovery dropped comes back; nothing appears that nobody appended | yes |
//! | I4 | what a default consumer has seen survives a power cut; in a `Flushed` topic an (incarnation, offset) never shows two values; in a `Written` one a lost offset returns under a new incarnation | yes |
//! | I5 | a batch is there wholly or not at all | yes |
//! | I6 | per producer id and epoch, sequences appear once and in order across crash and retry; a retry among the last five batches gets its original offsets, until the producer has been silent for a day | yes, for the batches of idempotent producers |
//! | I7 | a committed transaction is visible in all its partitions or in none | one round of flushes, and a decision that says how far each partition must have come: see [`transactions`](super::transactions) |
//! | I8 | offsets committed in a transaction appear exactly when it does | they are a batch of it |
//! | I9 | committed offsets are never ahead of what the caller said, never beyond the end, never silently reset; a commit makes the data it covers durable before itself | yes |
//! | I10 | compaction keeps the newest value of every key, offsets and order; no deleted key returns | yes |
//! | I11 | retention removes a prefix only; the new start is durable before the first file goes; readers get an error with the range | yes |
//! | I12 | local and remote together have no gap | no tiering yet |
//! | I13 | hostile or damaged bytes give identical data or a typed error with file and position; never wrong bytes, a panic, a hang or unbounded memory | yes |
//! | I14 | every failure says operation, path and cause; afterwards the log is unchanged or poisoned | yes |
//! | I15 | waiters always wake; opening is bounded by the unclean tail; steady state grows neither memory nor descriptors | yes |
//! | I16 | a second writer is refused immediately with the holder's pid; a dead writer never blocks | yes |
//! | I17 | the same calls, clock and seed give byte-identical files; directories of every released version open forever | yes |
//! | I18 | no panic from any public call; a panic in a user's callback leaves nothing locked or half done | yes |
//!
//! # Operation by operation
//!
//! Everything below depends on three notes on the disk. The **manifest** says what exists. The **mark** of a partition says
//! `flushing` before a flush, `flushed` after it, and `recovery point` after a checkpoint. The manifest's **last word**
//! about the directory is `opened` or `closed`. [`on_disk`](super::on_disk) has their bytes.
//!
//! ## The first change after an opening
//!
//! Opening writes nothing but `LOCK`. Before its first change, of any kind, the handle appends `opened` to the manifest and
//! flushes it; as the first append of the handle, it goes into a new file that is renamed over the old one. Then
//! `.kafka_cleanshutdown` is removed.
//!
//! **A1.** *A directory that was written to and not closed is recognized.* Nothing is written before `opened` is durable,
//! and only `closed` revokes it. A crash before the rename leaves the old manifest, whose last word is still true, since
//! nothing else was written. A crash between the rename and the flush of the directory leaves either.
//!
//! ## Create a topic
//!
//! 1. Each partition gets a directory with an empty `.log`, `partition.metadata`, `partition.identity` and
//!    `leader-epoch-checkpoint`. Files and directory are flushed, those of several partitions in parallel. From 32
//!    partitions on, the whole file system is flushed once instead, if its flush is known to reach the medium (`syncfs` on
//!    ext4, XFS, Btrfs, F2FS, tmpfs). 3,000 partitions take a few tenths of a second.
//! 2. Each partition gets a blank mark, and the marks are flushed. A mark that cannot be read later has therefore been lost.
//! 3. The log's directory is flushed.
//! 4. One append to the manifest names the topic and its first segments. It is flushed.
//!
//! **A2.** *A topic exists wholly or not at all, and no name lacks its file.* It is one append: its length comes first and
//! each record has a checksum, so part of it counts as nothing. A crash before 4 leaves directories that no manifest names.
//! They are ignored; a later creation under that name uses them when they are empty and renames them to `-stray` when they
//! hold records. Adding partitions works the same way.
//!
//! ## Append
//!
//! Records are encoded, compressed and checksummed without a lock. Under the partition's lock:
//!
//! 1. A batch of a producer of this process gets its sequence: the one after the producer's last batch in the log, or 0 in a
//!    new epoch. The producer's rules are checked. A duplicate is answered with its first offsets, and nothing is written.
//!    A batch that is refused uses no sequence. A producer that nobody knows begins its transaction at sequence 0.
//! 2. The segment is rolled if the batch does not belong in it.
//! 3. After an unclean opening, the first append writes a new incarnation into the manifest and flushes it.
//! 4. Space is preallocated if the file is too short.
//! 5. In a `Flushed` topic the mark says `flushing`, unless it says so already.
//! 6. The batch is written, at the end of the data, with one positional write.
//! 7. It is published: indexes and producer state in memory, then the end that readers may see.
//!
//! **A3.** *A failed append leaves nothing.* A full disk shows in 4 and an unwritable mark in 5, before any byte of the
//! batch is in the file. If 6 fails, the file is cut back to its old end; if that fails too, the partition is poisoned. So a
//! whole batch never follows half a batch. (I5, I14)
//!
//! **A4.** *After a crash in 6 the batch is there wholly or not at all.* Any of its sectors may be on the disk, and so may
//! the file's new length. Recovery believes a batch whose base offset continues the order, whose length fits, and whose CRC
//! matches. The bytes after it are zeros or were never published. (I5)
//!
//! ## Flush, and group commit
//!
//! A caller that needs durability asks for a flush up to an offset. One caller leads; callers that arrive while its flush
//! runs wait for the next one. A flush serves every write made before it began.
//!
//! 1. Under the lock, the leader notes where the log ends, and which sealed segments and names are not flushed yet.
//! 2. The mark says `flushing`, unless the append has already said so.
//! 3. Sealed segments are flushed, oldest first. If names changed: the partition's directory, then the manifest. Then the
//!    active segment.
//! 4. The mark says `flushed` up to there.
//! 5. The high watermark rises, in a `Flushed` topic. Readers and waiting callers wake.
//!
//! **A5.** *What was acknowledged as durable is reachable.* A record is reachable when its bytes, every byte before it in
//! the partition, the names of those files, and the manifest's entries for them are durable. Step 3 makes them so, the
//! tail last. (I1, I2)
//!
//! **A6.** *The mark errs on one side.* `flushed` is written after the flush that it describes. A process that dies between
//! 3 and 4 leaves more durable data than the mark says. After a power cut the mark itself may be an older one. It never
//! claims more than is true. (I2)
//!
//! **A7.** *A default reader never sees what a power cut takes back.* It stops at the high watermark, and step 5 comes after
//! step 3. A crash between 4 and 5 leaves a durable record that was never acknowledged. The next opening shows it: the
//! promise is a lower bound. (I4)
//!
//! ## Roll
//!
//! 1. The old segment's file is cut to its data.
//! 2. The new `.log` is created; it must not exist.
//! 3. The manifest gets "sealed" and "created" in one append, without a flush.
//! 4. Appends continue in the new segment. The old one is left to the next flush, which a `Flushed` topic needs before it
//!    acknowledges anything, and a `Written` topic gets from the background.
//!
//! **A8.** *Whatever a crash leaves of a roll, recovery finds a prefix.* The file and its manifest entry reach the disk
//! separately:
//!
//! | the entry | the file | what opening does |
//! |---|---|---|
//! | absent | absent | the log ends in the old segment |
//! | absent | there | the file goes aside. A flush of anything in it would have flushed the entry first (A5) |
//! | there | absent | the log ends with the segment before; "truncated" is written to the manifest. If the mark says that something in it was durable, it is damage instead |
//! | there | there | the segment is kept if it begins where the old one ends; else it goes aside, after "truncated" is durable |
//!
//! In the last row the manifest is written first: a file without a name is a stray, a name without a file would be damage.
//! (I2, I3)
//!
//! ## Checkpoint
//!
//! 1. The log is flushed up to P, as above.
//! 2. Indexes, transaction index and producer state as of P are written and flushed, and so are those of segments rolled
//!    since, with their page checksums. The partition's directory is flushed, and so is the manifest if a roll came after
//!    the last flush: P may be the start of a segment that is still empty.
//! 3. The mark says that recovery begins at P, and the marks are flushed.
//! 4. The snapshot of the previous checkpoint is removed.
//!
//! A checkpoint is taken by [`Partition::flush`](crate::Partition::flush), by a close, after a roll, after 256 MiB, and, in
//! topics that are not `Flushed`, ten seconds after an append. All but the first two run in the background.
//!
//! **A9.** *Recovery may begin at any recovery point it finds.* The mark that names P is written last, so a crash before it
//! leaves the older point, whose snapshot is still there (4). Sidecars are replaced by renaming, and either version may be
//! there; snapshots have checksums, the mark has that of the indexes, and recovery replays from an earlier point where one
//! is unusable. (I15)
//!
//! ## Retention, and deleting records
//!
//! 1. Only segments that are durable and visible to every reader are candidates. If all are to go, an empty one is rolled
//!    first.
//! 2. The producers as of the new start are written and flushed, where no checkpoint has done so. Then the manifest gets the
//!    new log start, "removed" and the checksum of that snapshot in one append, flushed.
//! 3. Readers get the new log start and the shorter list of segments.
//! 4. The files are removed, sidecars first, each segment's `.log` last.
//!
//! **A10.** *Only a prefix is removed, and it does not come back.* After 2 the manifest names neither the segments nor an
//! offset below the new start. A crash or an error during 4 leaves files that no manifest names; the next retention, a
//! recovery, or the first append of an opening removes them. Data that readers hold of a removed segment stays valid,
//! because the operating system keeps a file until its last descriptor and mapping is gone; a later read below the start is
//! [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange) with the remaining range. (I11)
//!
//! ## Putting rewritten segments in the place of others
//!
//! 1. A checkpoint: recovery begins after the segments that are replaced, and their sidecars are written.
//! 2. What replaces them lies there under names that end in `.cleaned`, flushed; the directory is flushed.
//! 3. The manifest gets "replaced", with sizes, checksums and a generation that is higher, in one append, flushed.
//! 4. Readers get the new list of segments.
//! 5. The files get their names in Kafka's steps: `.cleaned` becomes `.swap`, what is superseded is removed, `.swap` becomes
//!    the name. The directory is flushed after each step.
//!
//! **A16.** *A crash leaves the segments before or those after, never a mix.* Before 3 the manifest names the old ones, whose
//! files are as they were; the next opening removes what is `.cleaned`. After 3 it names the new ones, and a recovery goes
//! on with 5 before it looks at anything else: a `.swap` file belongs to a swap that was decided, and so does a `.cleaned`
//! one beside page checksums of the manifest's generation. A process that reads makes the same choice and renames nothing.
//! Names are durable step by step, so that a superseded file is never found beside the name of its successor. A name that
//! the file system refuses leaves the file in use under the one that it has; the close is then no clean one. (I10)
//!
//! ## Delete a topic, alter a topic
//!
//! Deleting: "deleted" in the manifest, flushed; handles on the topic answer `Closed`; each directory is renamed to
//! `-delete`, then emptied and removed; the log's directory is flushed. After the first step the topic is gone, whatever a
//! crash leaves; an error in a later step does not fail the deletion. The next opening removes leftovers before its first
//! write. A directory that kept its name is removed only if its `partition.metadata` names a topic whose deletion is in the
//! manifest.
//!
//! Altering: the topic's data is flushed, the whole new configuration goes into the manifest and is flushed, then it takes
//! effect. A crash leaves the old configuration or the new one. The data is flushed first because a topic that becomes
//! `Flushed` makes that promise for everything its readers can see.
//!
//! ## Commit offsets
//!
//! 1. Each offset is checked against the end of its partition.
//! 2. Every partition is flushed up to the offset that is committed for it.
//! 3. All offsets of the commit are appended to `__consumer_offsets` as one batch, and that is flushed.
//! 4. The commit becomes visible to others.
//!
//! **A11.** *A committed offset has its data under it.* It is not written before 2 is durable, whatever the topic's own
//! level. A crash before the end of 3 leaves the commit before, or this one whole. It carries the topic's id and the
//! partition's incarnation, so it is not mistaken for a place in a later topic of the same name, and an offset beyond what a
//! crash left is reported as such. (I5, I9)
//!
//! A commit that cannot be read (damage, a missing codec, a malformed record) is never replaced by an older one. A record
//! with a readable key hides the commits of that group for that partition; a batch that cannot be decoded hides every commit
//! before it. Asking for a hidden commit is an error until the group commits there again, is reset or deleted. Records of
//! unknown kinds are skipped, as in Kafka.
//!
//! ## Forget a group, and write the offsets again
//!
//! Forgetting: a tombstone for each partition of the group is appended to `__consumer_offsets` and flushed. They are one
//! batch of up to 256 KiB; a crash may leave a larger group forgotten in part, and asking again forgets the rest. Deleting a
//! topic forgets its offsets in the same way.
//!
//! So that the log does not grow forever, the current values are written again and everything before them is removed, unless
//! some commit is hidden:
//!
//! 1. The log is flushed, and all values are appended in batches of moderate size.
//! 2. They are flushed.
//! 3. The log starts where they begin (see "Retention").
//! 4. The sidecar that saves reading the log is written.
//!
//! **A15.** *No value is ever missing.* Until 3 is durable the old records count, and whatever part of the new ones is there
//! repeats them; afterwards the new ones are durable. A sidecar states the record up to which it was written, and the
//! records after that are read, so one from before 3, or from before a group was forgotten, does no harm. (I9, I11)
//!
//! ## Close
//!
//! 1. Records that producers hold are written and flushed. The background threads end after their current steps.
//! 2. Each partition is checkpointed, its active file cut to its data and flushed.
//! 3. Kafka's checkpoint files are replaced; the marks are flushed.
//! 4. "closed" goes into the manifest with every partition's start, end and size, and is flushed.
//! 5. `.kafka_cleanshutdown` is written, and the lock is released.
//!
//! **A12.** *A directory that says "closed" need not be examined.* Everything that 4 describes was made durable in 2, and
//! nothing is written after it. If a partition refuses appends because of damage, or was poisoned, the close writes no
//! "closed", and the next opening examines it. A handle that found the log closed, and wrote nothing, closes without a
//! write. One that recovered it closes it cleanly even if nothing was appended, so that the next opening need not examine it
//! again; the append of 4 then also notes the new incarnation (A14). If a full disk prevents that, the log is left as it
//! was.
//!
//! # Opening
//!
//! The lock is taken, and manifest and marks are read. If the manifest's last word is "closed", no file of a partition is
//! opened; lengths and times show whether each partition is still as it was closed: see "What changed while it was closed".
//! Otherwise, for each partition:
//!
//! 1. Swaps that were decided are finished. `.log` files that the manifest does not name go aside; what a rewritten segment
//!    has superseded is removed.
//! 2. Segments from the mark's `flushed` on are flushed, through fresh descriptors: a killed process leaves its bytes in the
//!    cache, and only durable data may be shown.
//! 3. The cache is *suspect* if the mark says that a flush was in flight or had failed, or if the flush of step 2 fails.
//!    Data past `flushed` is then read from the medium straight into memory, bypassing the cache (`O_DIRECT`). If that is
//!    refused, or if the flush of step 2 failed, so that nothing vouches for what was read, the file is rewritten under its
//!    own name and flushed: cache and medium agree. That needs the same space again; without it the partition shows what was
//!    durable, refuses appends with [`ReadOnly`](crate::Error::ReadOnly), and can be opened again when there is space.
//! 4. Batches are checked from the recovery point on, with the producers, epochs and indexes as of that point. Where the
//!    cache is believed, preallocated space is not read: the file system is asked where the zeros at the end begin
//!    (`SEEK_DATA`), after the flush of step 2, when all data has its place. The first 64 KiB of those zeros are read as a
//!    check. If they are not zeros, or if the file system has no answer, everything is read.
//! 5. Where the chain of whole batches ends, there is a verdict.
//!
//! | the chain ends | and after it | [`RecoveryVerdict`](crate::admin::RecoveryVerdict) |
//! |---|---|---|
//! | at or above `flushed` | the end of the file, or zeros with no whole batch after them | `Whole` |
//! | at or above `flushed` | anything else | `TornTail` |
//! | below `flushed` | anything | `Damage` |
//!
//! A batch of an unknown magic is no exception. The manifest records the formats of its log, and this one has magic 2 alone:
//! bytes that claim another are nonsense. A partition that cannot be opened at all, because of an I/O error or missing
//! rights, does not keep the others from opening. It answers every call with that error, the report says
//! [`NotOpened`](crate::admin::RecoveryVerdict::NotOpened), [`health`](crate::Streamlog::health) lists it, the close leaves
//! the log unclean, and the next opening tries again.
//!
//! **Torn tail**: nothing from there on was acknowledged as durable. The file is cut at the last whole batch and flushed;
//! later segments go aside. The report has the place, the number of bytes, the reason, and how many whole batches lay after
//! the first bad one. **Damage**: nothing is removed. Whole batches before and after it can be read; reading the rest is
//! [`Corrupt`](crate::Error::Corrupt) with file and position. The partition accepts no appends. This release has no call
//! that accepts the loss: copy the readable records into another topic.
//!
//! **A13.** *What was cut stays cut.* The cut, and the new name of every file that goes aside, is durable before the
//! partition can be read. So a second crash cannot bring the bytes back, not even under the name of a later segment with the
//! same base. After a crash during recovery, the next opening finds the same states and reaches the same verdict. (I3)
//!
//! **A14.** *One offset in one incarnation has one value.* When a crash takes offsets that readers of a `Written` topic have
//! seen, other records get the same offsets. The manifest's list of incarnations distinguishes them: a new one begins with
//! the first append after an unclean opening and is durable before that append is written. In a `Flushed` topic no reader
//! has seen such offsets. (I4)
//!
//! ## What changed while it was closed
//!
//! A broker may run on a closed directory, and a restore may mix two copies. The opening measures the active segment of each
//! partition and looks at the time of the partition's directory. It lists a directory only if a name came or went after the
//! close, or if `.kafka_cleanshutdown` is not the one that the close wrote. A partition that differs is recovered from its
//! state at the close:
//!
//! | found | becomes |
//! |---|---|
//! | whole batches, of any leader epoch, that continue the log without a gap: in the active segment, and in segments that begin where the one before ends | part of the log ([`adopted`](crate::admin::PartitionRecovery::adopted)). Later appends carry the last leader epoch |
//! | other bytes past the end of the log | a file of their own, named `.aside`, before they are cut off |
//! | segments that do not continue it | renamed to `.aside` |
//! | bytes past the end of a sealed segment | not part of the log: never shown, and left alone. [`health`](crate::Streamlog::health) reports them once the segment has been read |
//! | the first segments are gone, and `leader-epoch-checkpoint` begins after them, as after a broker's retention | a later log start ([`removed`](crate::admin::PartitionRecovery::removed)) |
//! | the file of a segment is missing, or the active one is shorter | `Damage`: nothing grows over it |
//!
//! The manifest learns of these in the same append as "opened" (A1), before anything else is written. Until then every
//! opening finds the same. A read-only handle shows what would be adopted, changes nothing, and lists strays
//! ([`left_in_place`](crate::admin::PartitionRecovery::left_in_place)).
//!
//! The content of a file of the same length is checked before the first append to it: the last batches must be whole and end
//! where the log ended. A stray that appears under the name of the next segment goes aside when the log comes to it.
//!
//! # After a failed flush
//!
//! When `fdatasync` fails, the kernel may have dropped the pages and marked them clean. A second `fdatasync` would then
//! succeed and prove nothing. So a failed flush is final:
//!
//! * The partition is poisoned. All waiting callers get the same error, and every later append and flush gets
//!   [`Poisoned`](crate::Error::Poisoned) with the cause. Nothing is tried again.
//! * The mark records the failure, so that the next opening distrusts the cache.
//! * Reads continue. In a `Flushed` topic the high watermark stays where durable data ended.
//! * Other partitions continue, unless it was the manifest's flush: then nothing that changes the manifest works any more,
//!   and a topic that was being deleted takes no more records, because it may be gone at the next opening.
//! * [`health`](crate::Streamlog::health) lists the partition. A close returns the error and leaves the directory
//!   unclean. Reopening recovers.
//!
//! A full disk that is met while space is preallocated is different: the append fails with
//! [`DiskFull`](crate::Error::DiskFull), nothing was written, and appends resume when there is space again. A mark that
//! cannot be written before a flush fails that flush and poisons nothing, because nothing was asked of the medium yet; one
//! that cannot be written after it understates what is durable, which is safe. A descriptor with unflushed writes is never
//! closed before its flush succeeded, because the error would be lost with it.
//!
//! # Beside a writer
//!
//! [`open_read_only`](crate::Streamlog::open_read_only) takes no lock and changes nothing. It reads the manifest, and reads
//! it again when the writer adds to it or replaces it. In a `Flushed` topic it shows what the mark says is flushed; in the
//! others, the whole, chained, valid batches of the file. Without a live writer it shows the same, recovers nothing and cuts
//! nothing. A process that dies during a flush leaves an outdated mark, and so does a power cut. The read-only handle then
//! shows fewer records and older committed offsets than a writing handle that recovered the log, until that one writes or is
//! closed. Where a mark cannot be read, it shows what the next writer will find.
//!
//! Data that was durable according to the mark or the close, and is missing from the files, is damage: the opening's report
//! and [`health`](crate::Streamlog::health) list it, and reading it is [`Corrupt`](crate::Error::Corrupt), with the offset
//! where reading continues. A handle that has found it keeps reporting it, even if the file is put back, until retention
//! removes the place or the log is opened anew. A writing handle finds the same, and so does
//! [`PartitionDir`](crate::dir::PartitionDir), which asks the manifest and the mark beside its directory. A segment whose
//! file a power cut took before anything in it was durable is not missing: the log ends before it.
//!
//! Beside a writer a file may be gone because retention removed it, or be another one because a recovery rewrote it. Before
//! a read-only handle reports damage, it reads the manifest again and reopens the files. That holds for a failed read, too:
//! data removed in between is [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange), even without a call of
//! [`refresh`](crate::Streamlog::refresh).
//!
//! # How to check this
//!
//! | what goes wrong | how | where |
//! |---|---|---|
//! | a crash after any disk operation, and in the recovery from it; an error at any operation, also of that recovery; a cache that lies after a failed flush; a full medium | simulated disk, workloads from a seed, held against a model | `tests/crash_campaign` |
//! | a crash or an error at any operation of transactions, with offsets of groups, new log starts and rewriting among them; a second crash in the life that follows | simulated disk, workloads from a seed, held against a model | `tests/transaction_campaign` |
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
//!   Its crashes lose unflushed data, tear writes at sectors of 512 bytes, keep lengths without bytes and bytes without
//!   lengths, bring old names back, and change names in any order. Its faults fail any operation, cut writes short, and lose
//!   the pages of a failed flush while later flushes return success. Clock, randomness and background work come from one
//!   seed. The engine that runs on it is the real one. A recording of a run gives the disk after each of its operations.
//! * **The campaign's alphabet**: topics are created, altered, given partitions, and deleted; records come by
//!   [`append`](crate::Partition::append), `send`, `send_batch` to one partition or across several, and `enqueue`, with
//!   every codec and durability, in small segments; flushes, new log starts, time that passes with retention and
//!   checkpoints, a clean close; a group's consumer that polls, commits, ends and resumes, a group that is forgotten, and
//!   committed offsets that are written again. Each operation on the disk is a place to crash, in several ways, and to fail;
//!   so is, of a sample, each operation of the opening and the calls that follow. All workloads of at most two calls are
//!   tried; each seed tries other crashes of them. Every failure it ever found is kept by name and runs first. `cargo test
//!   --release --test crash_campaign -- --nocapture` ends with a line of figures; a debug build does a small share.
//! * **Planted mistakes**, behind the feature `__planted`: places where the engine can be made to do the wrong thing, such
//!   as acknowledging before the flush. The campaign must notice those that a crash reveals, the tests with shuttle those
//!   that threads reveal, the tests with strace those that only a kernel reveals. All others break a promise, and stand
//!   beside it in `tests/promises`.
//! * **Power cuts** count what was acknowledged before the cut. Unlike in a real one the machine lives on, and on ext4 a
//!   flush in flight may return success after the cut without having reached the medium.
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
//! * **Damage where the mark is out of date.** After a power cut the mark on the medium may be as old as the last
//!   checkpoint. If the medium also damages a durable batch above it, that looks like a torn tail: the log is cut there, and
//!   the report says so (`whole_batches_beyond` counts what followed). Either fault alone is handled; both together cannot
//!   be distinguished from a torn tail. [`Partition::flush`](crate::Partition::flush) takes a checkpoint and closes the gap.
//! * **Damage below the recovery point** is not searched for by an opening. The read that meets it reports it.
//! * **A disk that breaks D1.** If a flush returns success and its error comes with the next one, that one poisons the
//!   partition, and nothing more is acknowledged; records acknowledged in between may be gone after a power cut, and nothing
//!   reports it.
//! * **A file that was exchanged.** Checksums reveal damage and mistakes, and prove nothing about the author. A segment's `.log`
//!   that was replaced by one of another partition with the same offsets, length and times is read as this one's. The page
//!   checksums disagree with it, but they can be told anew from the data, and so they never speak against whole batches.
//! * **A lost `LOCK`, manifest or marks file**: see [`on_disk`](super::on_disk#what-the-manifest-is-truth-about).
//! * **Mapped reads** end the process with SIGBUS when the medium cannot deliver a page, or when somebody shortened the
//!   file. [`ReadMode::Pread`](crate::config::ReadMode::Pread) makes an error of it. Outside Unix every read is positional.
