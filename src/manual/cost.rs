//! What things cost, and where the time goes.
//!
//! Timings vary by machine; proportions vary less. The shares below are of a sampling profile (`perf record`) of
//! `benches/peers` on two cores of an AMD EPYC with ext4; instructions per record, which are the same on every run, are
//! in `.ci/instructions.json` and watched there: a change that makes one grow by more than a quarter is refused.
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
//! Records are encoded once, directly after the space for their batch's header, and summed when the batch is sealed, both
//! without a lock. Under the partition's lock only the header is written and the 40 bytes of it that the checksum covers
//! are joined to the sum of the records, whatever their size. Then one positional write, an index entry for every
//! `index.interval.bytes`, and four stores that let readers see it.
//!
//! Where a record's numbers take one or two bytes each, they are put together in a register and stored as a word. A
//! thread keeps the buffer of its last batch (up to 256 KiB), so that the next one allocates nothing.
//!
//! # One record per call
//!
//! [`send`](crate::Producer::send) in a `Written` topic is one system call; three quarters of its time are the kernel's.
//! The rest is some fifteen atomic operations (the locks of partition, settings, index and file, none of them contended;
//! that of the accumulator only where something is enqueued), one look at the clock, and the same encoding. A batch of up
//! to 4 KiB is summed with its header: making ready to join two sums takes longer than that.
//!
//! [`enqueue`](crate::Producer::enqueue) takes one uncontended lock and one reference count. Its other cost
//! is copying: a [`Delivery`](crate::Delivery) that was just stored as three words and is loaded as one waits for the
//! stores, so the way of most records hands it on once.
//!
//! # Becoming durable
//!
//! A flush takes about 100 microseconds where blocks are allocated already and more where the file grows; nothing else
//! in a `Flushed` append takes a tenth of it. The first flush of a preallocated block makes the file system note in its
//! journal that the block is written now, and costs the device a second flush. So where batches are small (32 KiB) the
//! file grows by zeros that are written, a mebibyte at most, once for many flushes: an append of 4 KiB had one flush of
//! the device in place of two (ext4). Callers that come while one is under way share the next: sixteen threads get five
//! to six times the rate of one. A batch over several partitions flushes up to eight files at the same time, in threads
//! that are kept for some seconds: eight take about three times as long as one, and about five times with new threads.
//! The time grows with the number of partitions, for each has a file of its own. With a journal that all partitions
//! share it would not; there is no such journal, for then every record would be written twice.
//!
//! A checkpoint (each 256 MiB, at a roll, at a close) flushes in the background and reads a sealed segment once more, to
//! sum its pages. A `Written` topic's callers do not wait for it, but share the machine with it.
//!
//! # Reading
//!
//! Batches are slices of a mapping: nothing is copied. Each is checked once: the page checksums of a sealed segment or
//! the batch's own, then a pass over its records that finds every fault there may be, so that iterating over them
//! has none. Of the 21 nanoseconds of a 100-byte record in memory about four are the checksum, six that pass, five the
//! iteration, and the rest is the program looking at the bytes. Larger records are read about as fast as memory gives them.
//!
//! # Waiting
//!
//! An append looks at one number to know whether anybody waits on its own partition. A consumer that sleeps has the
//! record about 14 microseconds after `send` began, and most of that is the kernel's waking. It sleeps on std's
//! condition variable and not on parking_lot's, of which all other locks are: it wakes about one microsecond sooner. A
//! consumer that polls in a loop with [`Duration::ZERO`](std::time::Duration::ZERO) sees a record one to two
//! microseconds after `send` began.
//!
//! # Opening
//!
//! After a clean close manifest and marks are read, and nothing else. After a kill, what no checkpoint covers is
//! flushed and checked, a MiB at a time in the same memory. The preallocated end of a file, up to 64 MiB, is not read:
//! reading it made the kernel fill its cache with zeros, which took two fifths of the time. After a death during a
//! flush, what was under way is read from the medium at the device's speed, about 1.2 GB/s on the machine that measured
//! it, and nothing else costs time.
//!
//! # What was tried and did not help
//!
//! * Decoding a record's numbers out of one eight-byte load without branches: fewer branches, longer chains of
//!   dependent instructions, and no faster, for branches on lengths that are all alike are foreseen.
//! * Joining the checksum of small batches to that of their header instead of summing them in one go: the join
//!   costs two thousand instructions, summing a kilobyte a few hundred.
//! * Preallocating without changing the file's size: a flush then took a third longer than with the size set.
//! * Having a flush wait for the callers that the last one woke, asleep or yielding; one thread that flushes several times
//!   in a row for all who wait; waking them all at the same time instead of one by one: no more records per second for
//!   sixteen threads, and with other work on the machine a half to a fifth. A flush takes 180 microseconds there that
//!   takes 95 alone.
//! * Encoding into a buffer that is filled already, without growing it by each field: a few instructions fewer, no
//!   faster.
//! * Half as many locks in a `send`: one or two percent of its time, because the kernel's part is so large. They are gone all
//!   the same, with the copies of what had just been stored, which cost `enqueue` a quarter of its instructions.
