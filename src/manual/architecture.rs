//! How the crate is built: its rooms, the floors of a partition, five journeys through the code, and where new code goes.
//!
//! For readers of the source. Users of the crate need none of it.
//!
//! # The ladder
//!
//! A module at the top of `src` is a **room**: one idea, with its own words. Imports only point down. When a low room must
//! call a high one, the low room owns the trait.
//!
//! | room | its idea |
//! |---|---|
//! | `streamlog` | the handle on a directory: opens it, wires the rooms, owns the background threads |
//! | `transaction` | who may write under which name, and what was decided |
//! | `group` | what groups have committed |
//! | `producer`, `consumer` | clients of a topic: from a record to a log, and from a log to records |
//! | `compaction` | which records of a compacted topic live, the segments that are left of them, and when that is done; the removal of one key |
//! | `table` | a topic that is a map: append, apply, follow, snapshot, rewrite |
//! | `topic` | which topics exist, their settings, the way from a key to a partition, what is due when |
//! | `partition` | one ordered log |
//! | `storage` | the files of a log: segments, indexes, sidecars; the manifest and the marks |
//! | `codec` | bytes to values and back, pure: every format, Kafka's and ours |
//! | `env` | the only door outside: files, clock, randomness, threads, locks, waits |
//! | `error`, `types` | what can go wrong; the words |
//!
//! `codec` and `env` stand on one floor and do not know each other. Beside the ladder stand `manual` (these pages), `planted`
//! (mistakes that tests switch on) and `fuzzing` (what must hold of every input).
//!
//! # The floors of a partition
//!
//! | floor | what lies there |
//! |---|---|
//! | `open` | how a log is opened: cleanly, by recovery, beside a writer, from a directory alone. All four assemble it in one way |
//! | `handle` | [`Partition`](crate::Partition), as users see it |
//! | `write` | everything that changes a log: the gate, appending, flushing, rolling, checkpoints, retention |
//! | `read` | everything that reads it: forwards, backwards, by time, and which batches a reader may see |
//! | `log` | the log itself: what writers, readers and caretakers share |
//! | `state` | values that know no log: offsets, the append state, producers, deadlines, waiting readers |
//!
//! One thread at a time changes a log: the one that holds the writer's lock, which guards the *append state*. Readers never
//! take that lock. They take the segment list, which is immutable, and the offsets, which one type keeps in their order
//! (`partition/state/offsets.rs`).
//!
//! # Doors
//!
//! A door is a trait or a call through which another idea can enter. The head of its file is its contract: what the caller
//! may rely on, what it owes, which locks are held.
//!
//! | door | for | where |
//! |---|---|---|
//! | environment | a machine: the real one, one in memory, a simulated one | `env/mod.rs` |
//! | condition | rules that a batch must fulfil before it gets offsets | `partition/write/gate.rs` |
//! | observer | state that learns of every batch, when it is appended and when it is replayed | `partition/state/observer.rs` |
//! | visible batches | readers of every kind: decoded batches with their place, and errors for unreadable ones | `partition/read/visible.rs` |
//! | caretaker | work that is due at a time | `topic/caretaker.rs`, `topic/schedule.rs` |
//! | segment source | where the bytes of a segment come from | `storage/segment/source.rs` |
//! | table state | a map kept in a topic | `table/mod.rs` |
//! | partitioner | the way from a key to a partition, [yours](crate::clients::Partitioner) as well | `topic/partitioner/mod.rs` |
//!
//! # Five journeys
//!
//! **A record, from [`send`](crate::Producer::send) to the disk.** `producer/mod.rs` resolves the topic, asks the
//! partitioner and encodes the record into a sealed batch (`partition/write/encode.rs`, `codec/builder.rs`). All of the slow
//! work comes before the lock. Under the writer's lock (`partition/write/append.rs`) the gate admits the batch, the header
//! gets its offsets, the segment is rolled if that is due, space is reserved, one positional write puts the batch into the
//! file, and the offsets move. Outside the lock, `partition/write/flush.rs` makes the batch durable if the topic asks for
//! it; one flush serves all threads that wrote before it. The mark announces the flush before it and confirms it after.
//!
//! **A record, from [`enqueue`](crate::Producer::enqueue) to the disk.** `producer/accumulator.rs` copies the record into
//! the open batch of its partition and returns a [`Delivery`](crate::Delivery). A batch leaves when it is full, when its
//! linger is over, or when a flush, a `send` to its partition or a full buffer asks for it (`producer/drain.rs`). From there
//! it goes the way of `send`, except that all due partitions are committed together (`topic/schedule.rs`,
//! `topic/caretaker.rs`, `partition/write/commit.rs`).
//!
//! **A record, from the disk to [`poll`](crate::Consumer::poll).** `consumer/poll.rs` reads the partitions in turn, each
//! from its own position (`consumer/fetch_position.rs`). The reader (`partition/read/reader.rs`) finds the segment, and its
//! index the position; from there on a stretch of published bytes (`partition/read/stretch.rs`) hands out whole batches, each
//! checked, as views of a mapping or as bytes read. `partition/read/visible.rs` decides which of them this reader may see,
//! and reports an unreadable batch with its file and position.
//!
//! **An opening after a crash.** `streamlog/builder.rs` takes the lock; `storage/manifest` says which topics and segments
//! exist, and the marks whether it is complete. A partition that was not closed is recovered (`partition/open/recover.rs`):
//! batches are checked from the recovery point on, and where the chain of whole batches ends, the mark decides between a
//! torn tail, which is cut durably, and damage, which is kept and reported. The log is assembled
//! (`partition/open/assemble.rs`). The first append, or the close, writes down what recovery found.
//!
//! **A commit.** `consumer/commits.rs` hands positions to a trait of its room (`consumer/coordinator.rs`); `group` turns
//! them into records; `table` appends and flushes them, then reads them back from the log and applies them. The same code
//! reads them after an opening.
//!
//! # Where new code goes
//!
//! | to add | begin with |
//! |---|---|
//! | a condition that an append must fulfil | `partition/write/gate.rs`: implement `Condition`, and ask it in `admit`, on a line of its own; a topic setting that it reads: see below |
//! | state about every batch | `partition/state/observer.rs` |
//! | a second place for segments, a tier | `codec/manifest/tier.rs`: a tier, which seals name; `storage/segment/source.rs`: a source of its bytes; `storage/segment.rs`: a segment over such a source; `partition/open/segments.rs`: which source an opening gives to a listed segment; `topic/config/key_table.rs`: the topic setting |
//! | a topic setting | `topic/config/key_table.rs`: one row of the table; `partition/state/topic_values.rs`: its value |
//! | work in the background | `topic/duty.rs`: its head lists the words and what a new duty touches. Its caretaker: `topic/caretaker.rs` for a log, `streamlog/background.rs` for the handle; without threads: `streamlog/maintain.rs`; its failures: `partition/state/troubles.rs` |
//! | internal state that survives | `table/mod.rs`: a `State` |
//! | an entry of the manifest | `codec/manifest/entry.rs`; its bytes: `codec/manifest/payload.rs` and `codec/layout/manifest-entries.md`; the file of an older release stays readable (`tests/releases`) |
//! | a codec | `codec/compress.rs` |
//! | an error | `error.rs`; its kind in `error/kind.rs`; its text in `error/display.rs`: what happened, where, what to do next |
//!
//! # Where to look
//!
//! | for | begin with |
//! |---|---|
//! | wrong bytes after an unclean stop | `partition/open/recover.rs`, and `recovery_state.rs` beside it: what it knows so far; after a failed flush `distrusted_page_cache.rs`; where a batch claims a wrong place `storage/scan/known_positions.rs` |
//! | wrong bytes after a clean one | `partition/open/changed.rs`: what a closed log's directory holds now |
//! | one partition's directory, opened alone | `partition/open/partition_dir.rs`, and the folder beside it, which nothing else uses |
//! | a file that is not ours, or has other names | `storage/foreign_files.rs`; of a stray segment `partition/write/quarantine.rs`; what an opening removes `partition/write/leftovers.rs` |
//! | a batch that a reader reports as unreadable | `partition/read/decode.rs`; where it can continue `damage.rs` beside it |
//! | a record that retention keeps or removes | `partition/write/retention_plan.rs`; for the disk budget `drop_oldest.rs` beside it, which puts all logs in order |
//! | what may grow, and what is counted | `storage/space.rs`; `storage/budget.rs` |
//!
//! # Rules that keep themselves
//!
//! `.ci/house.py` checks what no compiler knows: imports point down, between rooms and between the floors of a partition; no
//! files import each other in a circle; a file introduces itself in its first line and has at most 700 lines; the methods of
//! a type lie in a handful of files; `unsafe` stands in `env/mapped.rs` alone; files are reached by name in `env` alone; a
//! planted mistake is a line of its own. `.ci/run` runs everything that must hold of a checkout, and reports what it
//! skipped.
//!
//! A promise of this manual has a line in `tests/promises`: the claim, the test, and a mistake that turns it red. The
//! mistakes (`planted!`) stand in the code that they break, and act in the tests alone.
