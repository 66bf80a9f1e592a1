//! Limits: sizes, counts, platforms.
//!
//! A limit comes from Kafka's format, or keeps a mistake from taking all memory. A value beyond a limit is refused with a
//! typed error before anything is written.
//!
//! # Sizes
//!
//! | what | least | most | error |
//! |---|---|---|---|
//! | topic name | 1 character | 249 of `[a-zA-Z0-9._-]`, not `.` or `..` | `InvalidTopic` |
//! | key, value | null or 0 bytes | what fits into a batch | `RecordTooLarge` |
//! | headers of a record | 0 | what fits into a batch; names that are written are UTF-8 | `RecordTooLarge` |
//! | record batch | 61 bytes | `max.message.bytes`: 1 MiB + 12 by default, at most 2³¹ - 1; and never more than `segment.bytes` | `RecordTooLarge` |
//! | records in a batch | 1 | what fits | `RecordTooLarge` |
//! | a batch, decompressed | | 1 GiB; and what there is memory for | `Corrupt`; `Io` |
//! | segment | 512 bytes | 2³¹ - 1 bytes; 256 MiB by default | `InvalidConfig` |
//! | offsets in a segment | | 2³¹ - 1; beyond, it is rolled | |
//! | offset | 0 | 2⁶³ - 1 | |
//! | timestamp | 0, or none | 2⁶³ - 1 ms since 1970 | `InvalidTimestamp` |
//!
//! Two names that differ only in case, or only by `.` for `_`, cannot exist side by side: the directory must survive a file
//! system that ignores case, and Kafka's metrics confuse the other two.
//!
//! `max.message.bytes` is measured on the batch as it is stored, header included, after compression.
//!
//! # Counts
//!
//! | what | most | |
//! |---|---|---|
//! | partitions of a topic | 100 000 | the longest name and five digits make 255 bytes |
//! | partitions of a directory, over all topics | 1 048 576 | |
//! | partitions ever created in a directory | 2³² - 1 | 64 bytes each in `marks`; slots of deleted topics are not used again |
//! | manifest | 1 GiB | 41 bytes per sealed segment once rewritten, some 140 per roll before; it names no more partitions than one for each 32 bytes |
//! | writers of a directory | 1 | others get `AlreadyOpen` with the pid of the one |
//! | read-only handles | any | |
//! | remembered batches per producer | 5 | Kafka's bound; an older retry is `OutOfOrderSequence` |
//! | threads of a handle | 1, and up to 7 while several partitions are flushed at the same time | [counted](crate::Streamlog::stats), joined by `close`; none with [`background_thread(false)`](crate::config::Builder::background_thread) or opened for reading |
//!
//! # What things cost
//!
//! | what | grows with |
//! |---|---|
//! | a clean opening | topics, partitions and segments, as entries of the manifest; not records, not bytes. 30,000 topics take two or three seconds at most |
//! | reading a manifest, whatever is in it | its bytes: each is looked at a few times, whatever the lengths in it say. No more than 64 MiB of it are in memory at a time, and what its entries add up to; of zeros after its end, 64 MiB are looked at |
//! | looking for what a manifest has lost | the marks of slots that it does not name, of which a million are looked at |
//! | an opening after a crash | what lies above the last checkpoints, and one directory listing per partition |
//! | memory, at rest | segments (a few hundred bytes each), the index of each active segment, remembered producers |
//! | memory of a reader | what it holds: a `Bytes` keeps its mapping until it is dropped |
//! | descriptors and mappings | `max_open_files`, each; more only while they are in use |
//! | a file before a roll or a close | up to 64 MiB more than its data |
//!
//! # What a stranger's files can cost
//!
//! A file can claim any sizes and have any length. An opening takes time and memory only for what is really there:
//!
//! | what | costs |
//! |---|---|
//! | a hole in a file | nothing where the file system reports it, whatever the file's length; else a read of zeros |
//! | a batch that says it is large | a pass over what is stored of it. Only one whose checksum is right gets memory |
//! | bytes after damage that look like a batch but are not one | in one pass over a segment, four times what is stored of it and 64 MiB |
//! | a compressed batch | Decompression ends within a mebibyte at what is no record, and where the records end. A batch that cannot be read is decompressed once, and not for each reader that comes to it |
//! | `PartitionDir`, which looks into batches | it decompresses 32 MiB and eight times the size of the compressed batches; the rest is checked when it is read |
//! | an index | as much is read as is in order and can belong to the segment |
//! | `.snapshot`, `.producers` | 32 MiB, some 700,000 producers; what fits these. A larger one counts as damaged |
//! | `leader-epoch-checkpoint`, other checkpoints | 1 MiB; 16 MiB. A larger one counts as damaged |
//! | `partition.metadata`, `partition.identity`, `LOCK` | 64 KiB |
//!
//! Where a process may not have the memory for what it reads (`ulimit -v`), the answer is [`Io`](crate::Error::Io) with
//! file and position. Linux promises more memory than it has, and a limit of a container cannot be asked for: there, a
//! gibibyte that a batch rightly decompresses to is taken.
//!
//! Remembered producers are not forgotten by time in this release; Kafka forgets one after a day.
//!
//! # Platforms
//!
//! | | |
//! |---|---|
//! | Linux | supported. Space is preallocated with `fallocate`; a suspect cache is bypassed with `O_DIRECT` |
//! | macOS | supported. Space is preallocated by writing zeros; a flush is `F_FULLFSYNC` |
//! | others | it compiles. Outside Unix directories cannot be flushed, so new names are as durable as the system makes them |
//! | file sizes | a segment ends where the process (`ulimit -f`) or the file system lets it grow no further; a batch that no file may hold is refused with [`FileTooLarge`](crate::Error::FileTooLarge). The system ends a process that writes past `ulimit -f` (SIGXFSZ) unless that signal is ignored, as many runtimes do; segments never do so, but a limit of less than a few mebibytes may be met by other files of the log |
//! | file systems | local ones. On a network file system use [`ReadMode::Pread`](crate::config::ReadMode::Pread), and know what its lock and its flush are worth. One that has no call to flush a directory (9p, some FUSE, CIFS before Linux 4.17) is believed to keep its names by itself; files that one does not map are read as with `Pread` |
//! | word size | meant for 64 bits: mapped reads need address space |
//! | Rust | 1.89 or later |
