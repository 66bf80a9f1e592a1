//! A table with a small state of its own: two columns of words, and a machine that crashes.

use super::*;
use crate::{
    codec::crc::crc32,
    env::{
        Env,
        sim::{Crash, Fault, FaultKind, Operation, SimEnv},
    },
    error::ErrorKind,
    storage::{
        data_dir::{DataDir, SharedOptions},
        files::ReadMode,
    },
    topic::catalog::Catalog,
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

const DIR: &str = "/log";
const SIDECAR: &str = "/log/__transaction_state-0/words.snapshot";

/// Words by their keys. Its sidecar is the checksum, the point, and the words between zeros.
#[derive(Debug, Default)]
struct Words {
    words: BTreeMap<String, String>,
    /// Why the words may be others by now.
    doubt: Option<Error>,
}

fn text(bytes: &[u8]) -> Result<String, DecodeError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::malformed(0u64, "no text"))
}

impl State for Words {
    const TOPIC: &'static str = "__transaction_state";
    const SIDECAR: &'static str = "words.snapshot";

    fn apply(
        &mut self,
        record: &Record<'_>,
        _by: Option<ProducerEpoch>,
        unreadable: &dyn Fn(DecodeError) -> Error,
    ) {
        let mut apply = || -> Result<(), DecodeError> {
            let key = text(record.key.unwrap_or_default())?;
            match record.value {
                Some(value) => self.words.insert(key, text(value)?),
                None => self.words.remove(&key),
            };
            Ok(())
        };
        if let Err(error) = apply() {
            self.doubt = Some(unreadable(error));
        }
    }

    fn pass_over(&mut self, _until: Offset, error: Error) {
        self.doubt = Some(error);
    }

    fn is_whole(&self) -> bool {
        self.doubt.is_none()
    }

    fn snapshot(&self) -> Vec<TableRecord> {
        self.words.iter().map(|(key, word)| word_is(key, word)).collect()
    }

    fn encode_sidecar(&self, at: SidecarPoint) -> Vec<u8> {
        let mut body = at.topic_id.as_bytes().to_vec();
        body.extend(at.incarnation.to_be_bytes());
        body.extend(at.next_offset.to_i64().to_be_bytes());
        self.words.iter().for_each(|(key, word)| body.extend(format!("{key}\0{word}\0").bytes()));
        [&crc32(&body).to_be_bytes()[..], &body].concat()
    }

    fn decode_sidecar(bytes: &[u8]) -> Result<(SidecarPoint, Self), DecodeError> {
        let bad = || DecodeError::malformed(0u64, "no sidecar of words");
        let (crc, body) = bytes.split_first_chunk().ok_or_else(bad)?;
        if u32::from_be_bytes(*crc) != crc32(body) {
            return Err(bad());
        }
        let (id, rest) = body.split_first_chunk().ok_or_else(bad)?;
        let (incarnation, rest) = rest.split_first_chunk().ok_or_else(bad)?;
        let (next_offset, words) = rest.split_first_chunk().ok_or_else(bad)?;
        let topic_id = TopicId::from_bytes(*id);
        let incarnation = u32::from_be_bytes(*incarnation);
        let next_offset = Offset::from_i64(i64::from_be_bytes(*next_offset)).ok_or_else(bad)?;
        let words = text(words)?;
        let words: Vec<&str> = words.split_terminator('\0').collect();
        let words = words.chunks_exact(2).map(|pair| (pair[0].to_string(), pair[1].to_string()));
        Ok((
            SidecarPoint { topic_id, incarnation, next_offset },
            Words { words: words.collect(), doubt: None },
        ))
    }
}

fn word_is(key: &str, word: &str) -> TableRecord {
    let headers = vec![("noted".into(), Some(b"here".to_vec()))];
    TableRecord { key: key.into(), value: Some(word.into()), headers }
}

/// Everything is due soon: a sidecar after each update, a rewriting after some.
const EAGER: CompactionThresholds =
    CompactionThresholds { snapshot_every: 1, rewrite_above: 1000, segment_bytes: 4096, chunk_bytes: 1 };
/// Nothing is ever due.
const LAZY: CompactionThresholds =
    CompactionThresholds { snapshot_every: u64::MAX, rewrite_above: u64::MAX, ..EAGER };

fn open_as(env: &SimEnv, read_only: bool, thresholds: CompactionThresholds) -> Table<Words> {
    let env: Arc<dyn Env> = Arc::new(env.clone());
    if env.create_dir(Path::new(DIR)).is_ok() {
        env.sync_dir(Path::new("/")).unwrap();
    }
    let options = SharedOptions { read_only, read_mode: ReadMode::default(), max_open_files: 64 };
    let data_dir = DataDir::open(env, Path::new(DIR), options).unwrap();
    Table::new(Arc::new(Catalog::open(data_dir, &mut |_| true).unwrap().0), thresholds)
}

fn open(env: &SimEnv, thresholds: CompactionThresholds) -> Table<Words> {
    open_as(env, false, thresholds)
}

/// Sets each of `keys` in one update; answers the former word of the first one.
fn set(table: &Table<Words>, keys: &[&str], word: &str) -> crate::error::Result<Option<String>> {
    table.update(|view| {
        assert!(view.is_current, "nobody else appends");
        let records = keys.iter().map(|key| word_is(key, word)).collect();
        Ok(Update::atomic(records, view.state.words.get(keys[0]).cloned()))
    })
}

fn forget(table: &Table<Words>, key: &str) {
    let records = vec![TableRecord::tombstone(key.into())];
    table.update(|_| Ok(Update::in_pieces(records, ()))).unwrap();
}

fn look(table: &Table<Words>) -> crate::error::Result<BTreeMap<String, String>> {
    table.read(|state| state.doubt.clone().map_or_else(|| Ok(state.words.clone()), Err))?
}

fn words(table: &Table<Words>) -> BTreeMap<String, String> {
    look(table).unwrap()
}

/// The words of both columns, which an update never separates.
fn both(table: &Table<Words>) -> Option<u32> {
    let words = words(table);
    assert_eq!(words.get("left"), words.get("right"));
    words.get("left").map(|word| word.parse().unwrap())
}

fn log_of(table: &Table<Words>) -> Arc<crate::partition::log::Log> {
    table.catalog.topic(Words::TOPIC).unwrap().log(0).unwrap()
}

/// Crashes the machine after every change of `updates`, and shows what is found: the table, how many updates had been
/// acknowledged, and the place.
fn die_everywhere(
    env: &SimEnv,
    thresholds: CompactionThresholds,
    updates: impl FnOnce(&mut dyn FnMut()),
    check: impl Fn(&Table<Words>, usize, &str),
) {
    env.record();
    let mut acknowledged = Vec::new();
    updates(&mut || acknowledged.push(env.operations()));
    let recording = env.recording();
    let (mut cursor, mut places) = (recording.cursor(), 0);
    while let Some(operation) = cursor.advance() {
        let promised = acknowledged.iter().filter(|at| **at <= operation).count();
        // Some of the ways after each change, all of them over a few.
        for (seed, crash) in (0..).zip(Crash::ALL).filter(|(seed, _)| (operation + seed) % 4 == 0) {
            let rebooted = cursor.crash(crash, seed);
            let place = format!("{crash:?} at operation {operation}, {promised} acknowledged");
            let table = open(&rebooted, thresholds);
            check(&table, promised, &place);
            // The next opening takes updates, and keeps what this one showed.
            let found = words(&table);
            let last = set(&table, &["left", "right"], "1000").unwrap();
            assert_eq!(last, found.get("left").cloned(), "{place}");
            drop(table);
            let again = open(&rebooted, LAZY);
            assert_eq!(both(&again), Some(1000), "{place}");
            assert_eq!(words(&again).len(), found.len().max(2), "{place}");
            places += 1;
        }
    }
    assert!(places > 100, "{places}");
}

#[test]
fn an_operation_sees_the_state_and_answers_once_its_records_are_durable_and_applied() {
    let env = SimEnv::new(1);
    let table = open(&env, LAZY);
    assert_eq!(words(&table), BTreeMap::new());
    assert!(table.catalog.find(Words::TOPIC).is_none(), "a look makes nothing");
    table.update(|_| Ok(Update::atomic(vec![], ()))).unwrap();
    assert!(table.catalog.find(Words::TOPIC).is_none(), "nor does an update without records");
    assert_eq!(set(&table, &["left", "right"], "1").unwrap(), None);
    assert_eq!(set(&table, &["left"], "2").unwrap(), Some("1".into()));
    let refused =
        |_: View<'_, Words>| Err::<Update<()>, _>(crate::Error::InvalidArgument { reason: "no".into() });
    assert_eq!(table.update(refused).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let expected = BTreeMap::from([("left".to_string(), "2".to_string()), ("right".into(), "1".into())]);
    assert_eq!(words(&table), expected);
    assert_eq!(log_of(&table).offsets().log_end(), 3, "what was refused left no trace");
    assert!(table.catalog.topic(Words::TOPIC).unwrap().is_internal());
    assert_eq!(words(&open(&env.crash(Crash::Nothing, 1), LAZY)), expected, "without a close");
}

/// Appends a word, and returns the log and the end that is to be flushed.
fn append_word(table: &Table<Words>, key: &str, word: &str) -> (Arc<crate::partition::log::Log>, Offset) {
    let record = word_is(key, word);
    let ((), end) = table.append_only(|_| Ok(Update::atomic(vec![record], ()))).unwrap();
    end.unwrap()
}

#[test]
fn what_is_only_appended_is_there_once_somebody_has_flushed_it() {
    let env = SimEnv::new(10);
    let table = open(&env, LAZY);
    let ((), end) = table.append_only(|_| Ok(Update::atomic(vec![], ()))).unwrap();
    assert!(end.is_none() && table.catalog.find(Words::TOPIC).is_none(), "nothing was written");
    set(&table, &["first"], "1").unwrap();
    let (log, end) = append_word(&table, "second", "2");
    assert_eq!((end, log.offsets().high_watermark()), (Offset::new(2), Offset::new(1)));
    table.settle().unwrap();
    assert_eq!(words(&table).len(), 1, "a power cut could take it back");
    assert_eq!(words(&open(&env.crash(Crash::Nothing, 1), LAZY)).len(), 1);
    let is_current = table.update(|view| Ok(Update::atomic(vec![], view.is_current)));
    assert!(!is_current.unwrap(), "operations know that there is more to come");
    log.flush_to(end).unwrap();
    table.settle().unwrap();
    assert_eq!(words(&table)["second"], "2");
    assert_eq!(words(&open(&env.crash(Crash::Nothing, 1), LAZY)).len(), 2);
    // The flush of an update covers what was appended before it.
    append_word(&table, "third", "3");
    table.update(|_| Ok(Update::atomic(vec![word_is("fourth", "4")], ()))).unwrap();
    assert_eq!(words(&open(&env.crash(Crash::Nothing, 1), LAZY)).len(), 4);
}

#[test]
fn appended_records_make_a_rewriting_due_too() {
    let env = SimEnv::new(11);
    let table = open(&env, EAGER);
    for i in 0..40 {
        let (log, end) = append_word(&table, "left", &i.to_string());
        log.flush_to(end).unwrap();
        table.settle().unwrap();
    }
    assert!(log_of(&table).offsets().log_start() > 0);
    assert_eq!(words(&open(&env, EAGER))["left"], "39");
}

#[test]
fn a_rewriting_waits_while_what_comes_before_it_fails() {
    let env = SimEnv::new(12);
    let (fails, called) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let (will_fail, calls) = (Arc::clone(&fails), Arc::clone(&called));
    let table = open(&env, EAGER).before_rewriting(move || {
        calls.fetch_add(1, Ordering::Relaxed);
        match will_fail.load(Ordering::Relaxed) {
            true => Err(crate::Error::InvalidArgument { reason: "another log is not durable".into() }),
            false => Ok(()),
        }
    });
    for i in 0..40 {
        set(&table, &["left", "right"], &i.to_string()).unwrap();
    }
    assert_eq!(log_of(&table).offsets().log_start(), 0);
    let refused = called.load(Ordering::Relaxed);
    assert!((1..10).contains(&refused), "asked {refused} times: not with every update");
    fails.store(false, Ordering::Relaxed);
    for i in 0..40 {
        set(&table, &["left", "right"], &i.to_string()).unwrap();
    }
    assert!(log_of(&table).offsets().log_start() > 0);
}

#[test]
fn a_crash_anywhere_in_an_update_leaves_all_of_it_or_nothing() {
    let env = SimEnv::new(2);
    let table = open(&env, LAZY);
    let updates = |acknowledge: &mut dyn FnMut()| {
        for i in 1..=4 {
            set(&table, &["left", "right"], &i.to_string()).unwrap();
            acknowledge();
        }
    };
    die_everywhere(&env, LAZY, updates, |found, acknowledged, place| {
        let found = both(found).unwrap_or(0) as usize;
        assert!((acknowledged..=acknowledged + 1).contains(&found), "{found}: {place}");
    });
}

#[test]
fn a_crash_between_the_steps_of_a_rewriting_loses_nothing_and_brings_nothing_back() {
    let env = SimEnv::new(3);
    let table = open(&env, LAZY);
    set(&table, &["rare"], "kept").unwrap();
    set(&table, &["gone"], "here").unwrap();
    // An older sidecar knows entries that are deleted after it.
    open(&env, EAGER).read(|_| ()).unwrap();
    assert!(env.files().contains_key(SIDECAR));
    forget(&table, "gone");
    set(&table, &["left", "right"], "0").unwrap();
    let table = open(&env, EAGER);
    let rewritten = std::cell::Cell::new(0);
    let updates = |acknowledge: &mut dyn FnMut()| {
        let mut start = Offset::ZERO;
        for i in 1..=8 {
            set(&table, &["left", "right"], &i.to_string()).unwrap();
            let now = log_of(&table).offsets().log_start();
            rewritten.set(rewritten.get() + u32::from(now > start));
            start = now;
            acknowledge();
        }
    };
    die_everywhere(&env, EAGER, updates, |found, acknowledged, place| {
        let (both, words) = (both(found).unwrap() as usize, words(found));
        assert!((acknowledged..=acknowledged + 1).contains(&both), "{both}: {place}");
        assert_eq!(words.get("rare").map(|word| &**word), Some("kept"), "{place}");
        assert_eq!(words.get("gone"), None, "{place}");
    });
    assert!(rewritten.get() >= 2, "{} times", rewritten.get());
}

#[test]
fn a_table_in_another_handle_follows_updates_and_rewritings_that_drop_entries() {
    let env = SimEnv::new(4);
    let writer = open(&env, EAGER);
    set(&writer, &["gone"], "here").unwrap();
    let follower = open_as(&env, true, EAGER);
    assert_eq!(words(&follower).len(), 1);
    forget(&writer, "gone");
    // So many that the follower's position is removed before it looks again.
    for i in 0..40 {
        set(&writer, &["left", "right"], &i.to_string()).unwrap();
    }
    assert!(log_of(&writer).offsets().log_start() > 3);
    assert_eq!(words(&follower), words(&writer));
    for i in 40..80 {
        set(&writer, &["left", "right"], &i.to_string()).unwrap();
        assert_eq!(both(&follower), Some(i));
    }
    let refused = follower.update(|_| Ok(Update::atomic(vec![word_is("left", "x")], ())));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnly);
}

#[test]
fn a_sidecar_that_is_damaged_or_of_another_log_counts_as_missing() {
    let env = SimEnv::new(5);
    set(&open(&env, EAGER), &["left", "right"], "1").unwrap();
    let table = open(&env, LAZY);
    set(&table, &["left", "right"], "2").unwrap();
    let good = env.files()[SIDECAR].clone();
    let check = |bytes: &[u8]| {
        env.overwrite(SIDECAR, bytes).unwrap();
        let found = words(&open(&env, LAZY));
        assert_eq!((&*found["left"], &*found["right"]), ("2", "2"));
        found.len()
    };
    assert_eq!(check(&good), 2);
    for i in 0..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 1;
        assert_eq!((check(&bad), check(&good[..i])), (2, 2), "byte {i}");
    }
    // Whole sidecars that contradict the log: another id, and more than it has.
    let (at, mut state) = Words::decode_sidecar(&good).unwrap();
    state.words.insert("gone".into(), "here".into());
    let anothers = SidecarPoint { topic_id: TopicId::from_bytes([7; 16]), ..at };
    assert_eq!(check(&state.encode_sidecar(anothers)), 2);
    assert_eq!(check(&state.encode_sidecar(SidecarPoint { next_offset: Offset::new(5), ..at })), 2);
    // And a whole one of this log is believed, which saves reading what it covers.
    assert_eq!(check(&state.encode_sidecar(at)), 3);
}

#[test]
fn a_full_disk_refuses_an_update_and_the_state_stays() {
    let env = SimEnv::new(6);
    let table = open(&env, EAGER);
    set(&table, &["left", "right"], "0").unwrap();
    // The rewriting and the sidecar find no room first.
    env.set_capacity(Some(env.used()));
    let (mut last, mut refused) = (0, 0);
    for i in 1..200 {
        match set(&table, &["left", "right"], &i.to_string()) {
            Ok(_) => last = i,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
                refused += 1;
            }
        }
        assert_eq!(both(&table), Some(last), "update {i}");
    }
    assert!(last > 0 && refused > 0, "{refused} refused after {last}");
    env.set_capacity(None);
    assert_eq!(both(&open(&env, EAGER)), Some(last));
    set(&table, &["left", "right"], "99").unwrap();
    assert_eq!(both(&open(&env.crash(Crash::Nothing, 1), LAZY)), Some(99));
}

#[test]
fn a_sidecar_that_cannot_be_written_fails_no_call() {
    let env = SimEnv::new(7);
    let table = open(&env, EAGER);
    env.inject(Fault::new(FaultKind::Io).on(Operation::Create).path("words.snapshot").forever());
    for i in 0..40 {
        set(&table, &["left", "right"], &i.to_string()).unwrap();
    }
    assert!(env.struck() > 10);
    assert!(log_of(&table).offsets().log_start() > 0, "rewritten all the same");
    assert_eq!(both(&open(&env, EAGER)), Some(39));
}

#[test]
fn an_unreadable_record_is_reported_with_its_position_and_neither_rewritten_nor_forgotten() {
    let env = SimEnv::new(8);
    let bad = TableRecord { key: vec![0xff], value: None, headers: vec![] };
    let table = open(&env, LAZY);
    set(&table, &["left", "right"], "1").unwrap();
    table.update(|_| Ok(Update::atomic(vec![bad], ()))).unwrap();
    let table = open(&env, EAGER);
    for i in 0..40 {
        set(&table, &["left", "right"], &i.to_string()).unwrap();
        let error = look(&table).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("offset 2"), "{error}");
        assert!(error.to_string().contains("00000000000000000000.log"), "{error}");
    }
    assert_eq!(log_of(&table).offsets().log_start(), 0, "what was before it is still there");
    assert!(!env.files().contains_key(SIDECAR), "a sidecar would not say it");
    assert!(look(&open(&env, EAGER)).is_err());
}

#[test]
fn damage_in_the_log_is_skipped_and_reported_to_the_state() {
    let env = SimEnv::new(9);
    let table = open(&env, LAZY);
    for i in 0..5 {
        set(&table, &["left", "right"], &i.to_string()).unwrap();
    }
    drop(table);
    let path = "/log/__transaction_state-0/00000000000000000000.log";
    let mut bytes = env.files()[path].clone();
    bytes[70] ^= 1;
    env.overwrite(path, &bytes).unwrap();
    let table = open_as(&env, true, LAZY);
    assert_eq!(look(&table).unwrap_err().kind(), ErrorKind::Corrupt);
    let last = table.read(|state| state.words["left"].clone()).unwrap();
    assert_eq!(last, "4", "what comes after it is applied");
}

#[test]
fn updates_of_many_threads_all_hold() {
    let env = crate::env::memory::MemoryEnv::new();
    env.create_dir(Path::new(DIR)).unwrap();
    let options = SharedOptions { read_only: false, read_mode: ReadMode::default(), max_open_files: 64 };
    let data_dir = DataDir::open(env, Path::new(DIR), options).unwrap();
    let table: Table<Words> = Table::new(Arc::new(Catalog::open(data_dir, &mut |_| true).unwrap().0), EAGER);
    std::thread::scope(|scope| {
        for key in ["a", "b", "c", "d"] {
            let table = &table;
            scope.spawn(move || {
                for i in 0..50 {
                    let word = i.to_string();
                    table.update(|_| Ok(Update::atomic(vec![word_is(key, &word)], ()))).unwrap();
                    assert_eq!(words(table)[key], word);
                }
            });
        }
    });
    assert!(words(&table).values().all(|word| word == "49"));
    assert!(log_of(&table).offsets().log_start() > 0);
}
