//! Limits: sizes, counts, platforms.
//!
//! Limits come from Kafka's format, or keep a mistake from taking all memory. A value beyond a limit is refused with a typed
//! error before anything is written.
//!
//! # Sizes
//!
//! | what | least | most | error |
//! |---|---|---|---|
//! | topic name | 1 character | 249 of `[a-zA-Z0-9._-]`, not `.` or `..` | `InvalidTopic` |
//! | key, value | null or 0 bytes | what fits into a batch | `RecordTooLarge` |
//! | headers of a record | 0 | what fits into a batch; written names are UTF-8 | `RecordTooLarge` |
//! | record batch | 61 bytes | `max.message.bytes`: 1 MiB + 12 by default, at most 2³¹ - 1, and never more than `segment.bytes` | `RecordTooLarge` |
//! | records in a batch | 1 | what fits | `RecordTooLarge` |
//! | a batch, decompressed | | 1 GiB, and the available memory | `Corrupt`; `Io` |
//! | segment | 512 bytes | 2³¹ - 1 bytes; 256 MiB by default | `InvalidConfig` |
//! | offsets in a segment | | 2³¹ - 1; beyond that it is rolled | |
//! | offset | 0 | 2⁶³ - 1 | |
//! | timestamp | 0, or none | 2⁶³ - 1 ms since 1970 | `InvalidTimestamp` |
//!
//! Two names that differ only in case, or only by `.` for `_`, cannot exist together: the directory must survive a file
//! system that ignores case, and Kafka's metrics confuse `.` with `_`.
//!
//! `max.message.bytes` is measured on the batch as it is stored, header included, after compression.
//!
//! # Counts
//!
//! | what | most | |
//! |---|---|---|
//! | partitions of a topic | 100 000 | the longest name and five digits make 255 bytes |
//! | partitions of a directory, over all topics | 1 048 576 | |
//! | partitions without a directory | 16 384 | each is reported as damaged; of more, the opening fails with [`Corrupt`](crate::Error::Corrupt), which names the manifest |
//! | partitions ever created in a directory | 2³² - 1 | 64 bytes each in `marks`; slots of deleted topics are not used again |
//! | manifest | 1 GiB | 41 bytes per sealed segment once rewritten, about 140 per roll before; it names at most one partition per 32 bytes |
//! | writers of a directory | 1 | others get `AlreadyOpen` with its pid |
//! | read-only handles | any | |
//! | batches remembered per producer | 5 | Kafka's bound; a retry of an older one is `OutOfOrderSequence` |
//! | threads of a handle | 1, and up to 7 while several partitions are flushed at the same time | [counted](crate::Streamlog::stats), joined by `close`; none with [`background_thread(false)`](crate::config::Builder::background_thread) or in a read-only handle |
//!
//! # What things cost
//!
//! | what | grows with |
//! |---|---|
//! | a clean opening | topics, partitions and segments, as entries of the manifest; not with records or bytes. 30,000 topics take two or three seconds at most |
//! | reading a manifest, even a hostile one | its bytes: each is read a few times, whatever the lengths in it say. At most 64 MiB of it are in memory at a time, beside the state that its entries add up to; of zeros after its end, 64 MiB are read |
//! | checking that a manifest is complete | the marks of slots that it does not name, of which a million are read |
//! | an opening after a crash | data above the last checkpoints, and one directory listing per partition |
//! | memory, after an opening | topics and partitions: about 4 KiB for a topic of one partition, whether it is used or not |
//! | memory, at rest | segments (a few hundred bytes each), the index of each active segment, remembered producers |
//! | memory of a reader | the data it holds: a `Bytes` keeps its mapping until it is dropped |
//! | descriptors and mappings | `max_open_files`, each; more only while they are in use |
//! | a file before a roll or a close | up to 64 MiB more than its data |
//!
//! # What a stranger's files can cost
//!
//! A file can claim any sizes and have any length. An opening takes time and memory only for the data that is there:
//!
//! | what | costs |
//! |---|---|
//! | a hole in a file | nothing where the file system reports it, whatever the file's length; else a read of zeros |
//! | a batch that claims to be large | a pass over the part that is stored. Only a batch with a right checksum gets memory |
//! | bytes after damage that look like a batch but are not one | in one pass over a segment, four times its stored size and 64 MiB |
//! | a compressed batch | decompression stops within a mebibyte of bytes that are no record, and where the records end. An unreadable batch is decompressed once, not once per reader |
//! | `PartitionDir`, which looks into batches | it decompresses at most 32 MiB and eight times the size of the compressed batches; the rest is checked when it is read |
//! | an index | the entries that are in order and can belong to the segment are read |
//! | `.snapshot`, `.producers` | 32 MiB, about 700,000 producers, and the `.producers` of as many. A larger one counts as damaged |
//! | `leader-epoch-checkpoint`, other checkpoints | 1 MiB; 16 MiB. A larger one counts as damaged |
//! | `partition.metadata`, `partition.identity`, `LOCK` | 64 KiB |
//!
//! If a process may not have the memory that a read needs (`ulimit -v`), the error is [`Io`](crate::Error::Io) with file and
//! position. Linux promises more memory than it has, and a container's limit cannot be asked for, so a batch that rightly
//! decompresses to a gibibyte takes one there.
//!
//! A producer with an id is forgotten once it was silent for a day, Kafka's default of `producer.id.expiration.ms`, unless
//! a transaction of it is open, or it has a name. Kafka counts from the timestamps of its records alone; here the day begins no earlier than
//! the last checkpoint or opening before its last batch, so that old records make nobody forgotten.
//!
//! # Platforms
//!
//! | | |
//! |---|---|
//! | Linux | supported. Space is preallocated with `fallocate`; a suspect cache is bypassed with `O_DIRECT` |
//! | macOS | supported. Space is preallocated by writing zeros; a flush is `F_FULLFSYNC` |
//! | others | the crate compiles. Outside Unix directories cannot be flushed, so new names are as durable as the system makes them |
//! | file sizes | a segment grows up to the limit of the process (`ulimit -f`) or of the file system; a batch that no file may hold is refused with [`FileTooLarge`](crate::Error::FileTooLarge). The system ends a process that writes past `ulimit -f` (SIGXFSZ) unless the process ignores that signal, as many runtimes do. Segments never write past it; other files of the log may, if the limit is less than a few mebibytes |
//! | file systems | local ones. On a network file system use [`ReadMode::Pread`](crate::config::ReadMode::Pread), and know what its lock and its flush are worth. A file system that cannot flush a directory (9p, some FUSE, CIFS before Linux 4.17) is trusted to keep its names; files that cannot be mapped are read as with `Pread` |
//! | word size | meant for 64 bits: mapped reads need address space |
//! | Rust | 1.89 or later |
