//! What several test files need: directories that cost little to flush, images of them, and batches found by their bytes.

#![allow(dead_code, unreachable_pub, reason = "every test file takes its own part")]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};
use streamlog::{Error, Partition, RecordData, Streamlog, Timestamp, config::Compression};

/// A directory where flushing is cheap, if the machine has one with room: these tests are about content, not about media.
pub fn quick_dir() -> tempfile::TempDir {
    match tempfile::tempdir_in("/dev/shm") {
        Ok(dir) if has_room(dir.path()) => dir,
        _ => tempfile::tempdir().unwrap(),
    }
}

/// Whether there is more space than any of these tests takes: containers often have 64 MiB of `/dev/shm`.
fn has_room(dir: &Path) -> bool {
    #[cfg(unix)]
    return rustix::fs::statvfs(dir).is_ok_and(|found| found.f_bavail * found.f_frsize > 1 << 30);
    #[cfg(not(unix))]
    return dir.exists();
}

/// Copies a directory: what the next process finds when this one dies now.
///
/// The log's background threads may write while the files are copied, one after the other. So the copy is compared with
/// the directory afterwards: where both are equal, there was a moment at which the directory was as the copy is.
pub fn image(from: &Path, to: &Path) {
    loop {
        match fs::remove_dir_all(to) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => other.unwrap(),
        }
        match copy_files(from, to).and_then(|()| Ok(contents(from)? == contents(to)?)) {
            Ok(true) => return,
            Ok(false) => {}
            // A file was removed, or got its name, in between.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => panic!("{}: {e}", from.display()),
        }
    }
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// What is in a directory and below it: of each file its bytes.
fn contents(dir: &Path) -> io::Result<BTreeMap<OsString, Contents>> {
    let entries = fs::read_dir(dir)?.map(|entry| {
        let entry = entry?;
        let found = match entry.file_type()?.is_dir() {
            true => Contents::Dir(contents(&entry.path())?),
            false => Contents::File(fs::read(entry.path())?),
        };
        Ok((entry.file_name(), found))
    });
    entries.collect()
}

#[derive(PartialEq)]
enum Contents {
    Dir(BTreeMap<OsString, Contents>),
    File(Vec<u8>),
}

/// Leaves in `dir` what the log in `living` leaves behind when it is closed, or when its process dies.
pub fn leave(log: Streamlog, living: &Path, dir: &Path, is_closed: bool) {
    if is_closed {
        log.close().unwrap();
        image(living, dir);
    } else {
        image(living, dir);
        drop(log);
    }
}

/// CRC-32C, of which batches have one.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// Gives a batch that was changed the checksum that it needs.
pub fn seal_batch(batch: &mut [u8]) {
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// A number as records have it: zigzag, seven bits to a byte.
pub fn varint(value: i64) -> Vec<u8> {
    let mut rest = (value << 1 ^ value >> 63) as u64;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// Removes a file and gives its space back at once, also where a program that another thread starts still has a copy of
/// its descriptor.
pub fn give_back(path: &Path) {
    fs::File::create(path).unwrap();
    fs::remove_file(path).unwrap();
}

/// Zstandard, or another codec where it was not compiled, as it is not without being asked for: it takes a C compiler.
pub const ZSTD: Compression = if cfg!(feature = "zstd") { Compression::Zstd } else { Compression::Gzip };

/// The key of record `i`.
pub fn key(i: u64) -> String {
    format!("key-{}", i % 7)
}

/// The value of record `i`.
pub fn value(i: u64) -> String {
    format!("value number {i} of this partition")
}

/// The time of record `i`.
pub fn time(i: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + i as i64)
}

/// Appends the records of `offsets` as one batch.
pub fn append_batch(partition: &Partition, offsets: std::ops::Range<u64>) -> Result<(), Error> {
    let texts: Vec<_> = offsets.clone().map(|i| (key(i), value(i))).collect();
    let records: Vec<_> = texts
        .iter()
        .zip(offsets.clone())
        .map(|((key, value), i)| RecordData::new(value).key(key).timestamp(time(i)))
        .collect();
    let given = partition.append(&records)?;
    assert_eq!((given.start.value(), given.end.value()), (offsets.start, offsets.end));
    Ok(())
}

/// Reads from `from` on: every record that comes is the right one; the offset behind the last, and how it ended.
pub fn read_from(partition: &Partition, from: u64) -> (u64, Option<Error>) {
    let mut next = from;
    for batch in partition.read(from) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return (next, Some(error)),
        };
        for record in &batch {
            assert_eq!(record.offset, next, "read from {from}");
            assert_eq!(record.key, Some(key(next).as_bytes()), "offset {next}");
            assert_eq!(record.value, Some(value(next).as_bytes()), "offset {next}");
            assert_eq!(record.timestamp, time(next), "offset {next}");
            next += 1;
        }
    }
    (next, None)
}

/// A batch in a file, by its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Where it begins, in bytes.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// The offset of its first record.
    pub base: u64,
    /// The offset behind its last.
    pub next: u64,
}

/// The batches of a `.log` file that nobody damaged.
pub fn places(log: &Path) -> Vec<Place> {
    places_in(&fs::read(log).unwrap())
}

/// The batches in the bytes of such a file.
pub fn places_in(bytes: &[u8]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 61) {
        let length = u32::from_be_bytes(head[8..12].try_into().unwrap());
        if length == 0 {
            break;
        }
        let base = u64::from_be_bytes(head[..8].try_into().unwrap());
        let delta = u32::from_be_bytes(head[23..27].try_into().unwrap());
        let end = at + 12 + length as usize;
        places.push(Place { start: at as u64, end: end as u64, base, next: base + u64::from(delta) + 1 });
        at = end;
    }
    places
}

/// The files of `dir` with this extension, in order.
pub fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|p| p.extension().is_some_and(|e| e == extension)).collect();
    found.sort();
    found
}

/// All files below `dir`, by their paths in it, in order.
pub fn all_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}

/// Random numbers that are the same each time.
pub struct Random(pub u64);

/// What a test draws from: the same each time, unless `STREAMLOG_SEED` is a number or `random`. Where the test fails, its
/// output has the command that repeats it.
pub fn seed() -> u64 {
    let seed = match std::env::var("STREAMLOG_SEED").as_deref() {
        Ok("random") => std::process::id().into(),
        Ok(seed) => seed.parse().expect("STREAMLOG_SEED is a number or `random`"),
        Err(_) => 1,
    };
    let (file, thread) = (env!("CARGO_CRATE_NAME"), std::thread::current());
    let test = thread.name().unwrap_or_default();
    println!("to repeat this: STREAMLOG_SEED={seed} cargo test --test {file} -- --exact {test}");
    seed
}

/// Whether tests may mount file systems of their own: only where that was asked for, and never unasked on a machine that
/// somebody works on.
pub fn may_mount() -> Result<(), String> {
    match std::env::var_os("STREAMLOG_TEST_FILE_SYSTEMS") {
        Some(asked) if asked == "1" => Ok(()),
        _ => Err("it mounts file systems, which STREAMLOG_TEST_FILE_SYSTEMS=1 allows".into()),
    }
}

impl Random {
    /// The next one.
    pub fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next one below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
