//! A whole directory that a stranger has laid hands on.
//!
//! A small log is written, its files are damaged as the input says, and it is opened again. Whatever happened, a record
//! that is shown is one that was appended, byte for byte at its offset; and where records are missing, something said
//! so: the opening, its report, or the read that came to them. Two excuses count. Who reads a log that nobody closed,
//! without writing, may see its end early: what cannot be read there is taken for what is not written yet. And where one
//! of the files that know what there was (the manifest, the marks) was damaged together with another file, nothing is
//! left to miss the records by.

use crate::{
    env::{Env, Open, memory::MemoryEnv, read_full_at, write_all_at},
    error::{Error, Result},
    partition::{
        handle::Partition, open::report::RecoveryVerdict, read::owned::OwnedRecord, write::encode::RecordData,
    },
    streamlog::{Builder, Streamlog},
    topic::config::TopicConfig,
    types::{Compression, Offset, Timestamp},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

const DIR: &str = "/log";
const RECORDS: u64 = 24;
/// Bytes of the input that one act of damage takes.
const ACT: usize = 6;
/// Bits of the first byte.
const COMPRESSED: u8 = 1;
const CLOSED: u8 = 2;
const READ_ONLY: u8 = 4;

/// Damages the files of a log and opens it. The first byte says what the log was like and how it is opened.
pub fn directory(data: &[u8]) {
    let Some((choice, acts)) = data.split_first() else { return };
    let Ok(env) = some_directory(*choice) else { return };
    let mut damaged = BTreeSet::new();
    for act in acts.as_chunks::<ACT>().0.iter().take(8) {
        damaged.extend(damage(&*env, act).ok().flatten());
    }
    match open(&env, choice & READ_ONLY != 0) {
        Err(error) => assert!(!damaged.is_empty(), "undamaged: {error}"),
        Ok(log) => check(&log, *choice, &damaged),
    }
}

pub(super) fn builder(env: &Arc<MemoryEnv>) -> Builder {
    Builder::with_env(Arc::clone(env) as Arc<dyn Env>, Path::new(DIR)).background_thread(false)
}

fn open(env: &Arc<MemoryEnv>, read_only: bool) -> Result<Streamlog> {
    builder(env).read_only(read_only).open()
}

fn value(offset: u64) -> Vec<u8> {
    format!("value {offset} ").into_bytes().repeat(offset as usize % 7 + 1)
}

fn timestamp(offset: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + offset as i64 * 10)
}

/// A log of one partition in several segments, closed or abandoned.
fn some_directory(choice: u8) -> Result<Arc<MemoryEnv>> {
    let env = MemoryEnv::new();
    let log = builder(&env).open()?;
    let mut config = TopicConfig::default().segment_bytes(1024).index_interval_bytes(128);
    if choice & COMPRESSED != 0 && crate::codec::compress::is_available(Compression::Lz4) {
        config = config.compression(Compression::Lz4);
    }
    let partition = log.create_topic("t", config)?.partition(0)?;
    for offset in (0..RECORDS).step_by(2) {
        let (first, second) = (value(offset), value(offset + 1));
        let record = RecordData::new(&first).key("key").header("h", "v").timestamp(timestamp(offset));
        partition.append(&[record, RecordData::new(&second).timestamp(timestamp(offset + 1))])?;
    }
    if choice & CLOSED != 0 {
        log.close()?;
        return Ok(env);
    }
    let image = copy(&*env);
    drop(log);
    Ok(image)
}

/// The files as the next process finds them when this one ends here.
pub(super) fn copy(env: &dyn Env) -> Arc<MemoryEnv> {
    let image = MemoryEnv::new();
    let _ = image.create_dir(Path::new(DIR));
    for path in files(env) {
        // One directory deep at most, and it may exist already.
        let _ = path.parent().map(|parent| image.create_dir(parent));
        let copied = content(env, &path).map(|bytes| put(&*image, &path, &bytes));
        debug_assert!(copied.is_ok());
    }
    image
}

/// All files, in the order of their paths.
fn files(env: &dyn Env) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::from(DIR)];
    while let Some(dir) = dirs.pop() {
        for entry in env.list(&dir).unwrap_or_default() {
            let path = dir.join(&entry.name);
            if entry.is_dir() { dirs.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn content(env: &dyn Env, path: &Path) -> std::io::Result<Vec<u8>> {
    let file = env.open(path, Open::Read)?;
    let mut bytes = vec![0; file.len()? as usize];
    read_full_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}

fn put(env: &dyn Env, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let file = env.open(path, Open::Create)?;
    file.set_len(0)?;
    write_all_at(&*file, bytes, 0)
}

/// One act of damage: which file, what, where (two bytes), and two more. Returns the file that is another now.
fn damage(env: &dyn Env, act: &[u8; ACT]) -> std::io::Result<Option<PathBuf>> {
    let files = files(env);
    let [which, what, high, low, value, more] = *act;
    let pick = |n: u8| files.get(usize::from(n) % files.len().max(1));
    let Some(path) = pick(which) else { return Ok(None) };
    let before = content(env, path)?;
    let mut bytes = before.clone();
    let at = usize::from(u16::from_be_bytes([high, low])).checked_rem(bytes.len()).unwrap_or(0);
    let end = at.saturating_add(usize::from(more)).min(bytes.len());
    match what % 8 {
        0 => bytes.get_mut(at..).and_then(|rest| rest.first_mut()).map_or((), |byte| *byte = value),
        1 => {
            bytes.get_mut(at..).and_then(|rest| rest.first_mut()).map_or((), |byte| *byte ^= 1 << (value % 8))
        }
        2 => bytes.truncate(at),
        3 => bytes[at..end].fill(0),
        4 => drop(bytes.drain(at..end)),
        5 => bytes.extend(std::iter::repeat_n(value, more.into())),
        6 => bytes = pick(value).map_or(Ok(Vec::new()), |other| content(env, other))?,
        _ => return env.remove_file(path).map(|()| Some(path.clone())),
    }
    put(env, path, &bytes)?;
    Ok((bytes != before).then(|| path.clone()))
}

fn check(log: &Streamlog, choice: u8, damaged: &BTreeSet<PathBuf>) {
    let whole = |verdict: &RecoveryVerdict| matches!(verdict, RecoveryVerdict::Whole);
    let mut reported = !log.recovery_report().partitions.iter().all(|found| whole(&found.verdict));
    let partition = match log.topic("t").and_then(|topic| topic.partition(0)) {
        Ok(partition) => partition,
        Err(error) => return assert!(!damaged.is_empty(), "undamaged: {error}"),
    };
    let end = partition.log_end_offset();
    reported |= read_all(&partition);
    assert!(!reported || !damaged.is_empty(), "undamaged: {:?}", log.recovery_report());
    let excused = end < RECORDS && is_excused(choice, damaged);
    assert!(reported || excused || end == RECORDS, "records {end} to {RECORDS} are missing without a word");
    look_around(&partition);
    if choice & READ_ONLY == 0 {
        append_and_read(&partition, end);
    }
}

/// Whether records at the end may be missing without a word.
fn is_excused(choice: u8, damaged: &BTreeSet<PathBuf>) -> bool {
    let knows = |path: &PathBuf| path.ends_with("manifest") || path.ends_with("marks");
    let witness_damaged = damaged.iter().any(knows);
    let observed = choice & READ_ONLY != 0 && (choice & CLOSED == 0 || witness_damaged);
    observed || (witness_damaged && damaged.len() > 1)
}

/// Reads from the start to the end. Whether something was reported; if not, nothing was missing.
fn read_all(partition: &Partition) -> bool {
    let mut next = 0;
    for batch in partition.read(0) {
        match batch {
            Err(Error::OffsetOutOfRange { .. }) => return true,
            Err(_) => return true,
            Ok(batch) => {
                for record in &batch {
                    assert_eq!(record.offset, next, "a gap without a word");
                    genuine(record.offset, record.timestamp, record.value);
                    next += 1;
                }
            }
        }
    }
    assert_eq!(partition.high_watermark(), next, "reading ends before the end without a word");
    false
}

fn genuine(offset: Offset, time: Timestamp, found: Option<&[u8]>) {
    assert_eq!(found, Some(&value(offset.value())[..]), "offset {offset}");
    assert_eq!(time, timestamp(offset.value()), "offset {offset}");
}

/// Every other way to records comes to genuine ones or an error too.
fn look_around(partition: &Partition) {
    for from in 0..=RECORDS {
        if let Some(Ok(batch)) = partition.read(from).next() {
            for record in &batch {
                assert!(record.offset >= from);
                genuine(record.offset, record.timestamp, record.value);
            }
        }
        if let Ok(Some(found)) = partition.offset_for_timestamp(timestamp(from)) {
            assert!(found.timestamp >= timestamp(from));
            assert_eq!(found.timestamp, timestamp(found.offset.value()));
        }
    }
    let newest: Vec<OwnedRecord> = partition.last(5).unwrap_or_default();
    newest.iter().for_each(|record| genuine(record.offset, record.timestamp, record.value.as_deref()));
    let _ = partition.offset_of_max_timestamp();
}

/// What is appended now is acknowledged and there, or refused.
fn append_and_read(partition: &Partition, end: Offset) {
    let Ok(offsets) = partition.append(&[RecordData::new("new").timestamp(timestamp(99))]) else { return };
    assert_eq!(offsets, end..end + 1);
    match partition.read(end).next() {
        // Damage before it may stand in the way, and says so.
        Some(Err(_)) => {}
        Some(Ok(batch)) => {
            let found = batch.iter().map(|record| (record.offset, record.value));
            assert!(found.eq([(end, Some(&b"new"[..]))]));
        }
        nothing => assert!(nothing.is_some(), "an acknowledged record is missing without a word"),
    }
    let _ = partition.flush();
}
