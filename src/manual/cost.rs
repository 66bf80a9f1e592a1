//! What things cost, and where the time goes.
//!
//! Timings vary by machine; proportions vary less. The shares below come from a sampling profile (`perf record`) of
//! `benches/peers` on two cores of an AMD EPYC with ext4. Instructions per record, the same on every run, are in
//! `.ci/instructions.json`: a change that raises one by more than a quarter is refused.
//!
//! # Appending in batches
//!
//! A batch of 1,000 records of 100 bytes through [`Partition::append`](crate::Partition::append) in a
//! [`Written`](crate::Durability::Written) topic:
//!
//! | share | what |
//! |---|---|
//! | three fifths | the kernel: copying into the page cache, finding and dirtying pages |
//! | a fifth | encoding: lengths, deltas, fields |
//! | a tenth | copying keys and values into the batch |
//! | a twentieth | the checksum (CRC-32C, by carry-less multiplication) |
//!
//! Records are encoded once, directly after the space for their batch's header, and checksummed when the batch is sealed,
//! both without a lock. Under the partition's lock the header is written, and the checksum of its 40 covered bytes is joined
//! to that of the records, at a cost that does not depend on their size. Then come one positional write, an index entry for
//! every `index.interval.bytes`, and four stores that let readers see the batch.
//!
//! If a record's numbers take one or two bytes each, they are assembled in a register and stored as a word. A thread keeps
//! the buffer of its last batch (up to 256 KiB), so that the next one allocates nothing.
//!
//! # One record per call
//!
//! [`send`](crate::Producer::send) in a `Written` topic is one system call; three quarters of its time are the kernel's. The
//! rest is about fifteen atomic operations (the locks of partition, settings, index and file, all uncontended; that of the
//! accumulator only if something is enqueued), one clock read, and the same encoding. A batch of up to 4 KiB is checksummed
//! together with its header: preparing to join two checksums takes longer.
//!
//! [`enqueue`](crate::Producer::enqueue) takes one uncontended lock and one reference count. Its other cost is copying:
//! loading a [`Delivery`](crate::Delivery) in one go, just after it was stored as three words, waits for the stores, so the
//! common path passes it on only once.
//!
//! # Becoming durable
//!
//! A flush takes about 100 microseconds if blocks are allocated already, and more if the file grows; nothing else in a
//! `Flushed` append takes a tenth of it. The first flush of a preallocated block makes the file system note in its journal
//! that the block is now written, and costs the device a second flush. So with small batches (32 KiB) the file grows by
//! writing zeros, at most a mebibyte, once for many flushes: an append of 4 KiB then had one flush of the device instead of
//! two (ext4). Callers that arrive during a flush share the next one: sixteen threads get five to six times the rate of one.
//! A batch over several partitions flushes up to eight files at the same time, in threads that are kept for a few seconds:
//! eight files take about three times as long as one, and about five times with new threads. The time grows with the number
//! of partitions, because each has its own file. A journal shared by all partitions would avoid that, and write every record
//! twice; there is none.
//!
//! A checkpoint (every 256 MiB, at a roll, at a close) flushes in the background and reads a sealed segment once more, to
//! checksum its pages. A `Written` topic's callers do not wait for it, but share the machine with it.
//!
//! # Reading
//!
//! Batches are slices of a mapping: nothing is copied. Each is checked once: by the page checksums of a sealed segment or by
//! the batch's own, then by a pass over its records that finds every possible fault, so that iterating over them cannot
//! fail. Of the 21 nanoseconds of a 100-byte record in memory about four are the checksum, six that pass, five the
//! iteration, and the rest is the program looking at the bytes. Larger records are read about as fast as memory gives them.
//!
//! # Waiting
//!
//! An append reads one number to know whether a consumer waits on its partition. A sleeping consumer has the record about 14
//! microseconds after `send` began, most of which the kernel takes to wake it. It sleeps on std's condition variable,
//! although all other locks are parking_lot's, because that wakes it about one microsecond sooner. A consumer that polls in
//! a loop with [`Duration::ZERO`](std::time::Duration::ZERO) sees a record one to two microseconds after `send` began.
//!
//! # Compaction
//!
//! Deciding which records live reads [`.keys`](super::on_disk#keys) files alone: 20 bytes a record, of which as many are
//! looked at together as fit in a processor's cache. Segments with dead records are read once, a mebibyte at a time, and the
//! bytes of the records that stay are copied. Files of keys are built when a segment rolls, in the pass that checksums its
//! pages, and merged when segments are rewritten. Records of 16-byte keys and 80-byte values in batches of 100, in processor
//! time on a machine with other work, by `cargo bench --bench compaction`, `--bench linger` and `benches/peers/kafka`:
//!
//! | what | figure |
//! |---|---|
//! | deciding and rewriting, a tenth lives | 57 to 80 ns a record, 1.2 to 1.4 times a plain copy of the bytes with page checksums; 0.2 times a copy of more than the cache keeps free |
//! | the same, 63 % live, every batch filtered | 95 to 150 ns a record, 2.0 to 2.7 times such a copy; 0.5 times one of more than that |
//! | files of keys, in the pass after a roll | 75 to 110 ns a record more, by how fast the machine finds memory for its cache |
//! | beside Kafka's own cleaner, the same records | 10 to 13 times as many bytes a second (8 where each page of the cache is new to the machine); 3 to 6 times with the pass after a roll |
//! | peak memory above the idle log, 10 million records | 2 MiB for one key, 8 MiB for 10 million keys |
//! | a clean log of 1 GiB | nothing is written |
//! | a record that lingers for 1 ms, beside a cleaner that never rests | slowest of a thousand: 0.9 times without |
//! | the same, beside appends at full speed and their checkpoints | 0.9 times without |
//! | appends beside such a cleaner | no slower than without |
//!
//! # Opening
//!
//! After a clean close, manifest and marks are read, and nothing else. After a kill, data that no checkpoint covers is
//! flushed and checked, a MiB at a time in the same memory. The preallocated end of a file, up to 64 MiB, is not read:
//! reading it made the kernel fill its cache with zeros, which took two fifths of the time. After a kill during a flush, the
//! data in flight is read from the medium at the device's speed, about 1.2 GB/s on the measuring machine, and nothing else
//! takes noticeable time.
//!
//! # What was tried and did not help
//!
//! * Decoding a record's numbers from one eight-byte load without branches: fewer branches, longer chains of dependent
//!   instructions, and no faster, because branches on lengths that are all alike are predicted.
//! * Joining the checksum of small batches to that of their header instead of checksumming both in one go: the join costs
//!   two thousand instructions, a checksum of a kilobyte a few hundred.
//! * Preallocating without changing the file's size: a flush then took a third longer than with the size set.
//! * Having a flush wait, asleep or yielding, for the callers that the last one woke; having one thread flush several times
//!   in a row for all waiting callers; waking them all at the same time instead of one by one: no more records per second
//!   for sixteen threads, and with other work on the machine a half to a fifth as many. A flush takes 180 microseconds on
//!   such a machine, and 95 on a quiet one.
//! * Encoding into a prefilled buffer instead of growing it field by field: a few instructions fewer, no faster.
//! * Half as many locks in a `send`: one or two percent of its time, because the kernel's part is so large. They are gone
//!   all the same, and so are copies of values just stored, which cost `enqueue` a quarter of its instructions.
