//! Aborted transactions stay hidden, whatever becomes of the file that lists them; and readers that meet damage get its
//! error, whatever else happens there.

use crate::{
    Error, RecordData, Streamlog, TopicConfig,
    clients::IsolationLevel,
    codec::builder::{BatchBuilder, SealedBatch, Stamp},
    env::{Env, Open, memory::MemoryEnv, write_all_at},
    partition::{
        handle::Partition,
        read::retry::retry_after_trim,
        tests::{end, transactional},
    },
    streamlog::Builder,
    types::{Compression, Offset, Timestamp},
};
use std::{cell::RefCell, path::Path, sync::Arc};

thread_local! {
    /// What somebody else does while this thread reads: it has its list of segments, and has not read yet.
    static BEFORE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

pub(super) fn before_reading() {
    if let Some(act) = BEFORE.take() {
        act();
    }
}

/// Has the next read of this thread meet what `act` does.
pub(in crate::partition) fn before_the_next_read(act: impl FnOnce() + 'static) {
    BEFORE.set(Some(Box::new(act)));
}

fn open(env: &Arc<MemoryEnv>) -> (Streamlog, Partition) {
    let log = Builder::with_env(Arc::clone(env) as Arc<dyn Env>, Path::new("/log")).open().unwrap();
    let topic = log.topic("t").or_else(|_| log.create_topic("t", TopicConfig::default().segment_bytes(600)));
    let partition = topic.unwrap().partition(0).unwrap();
    (log, partition)
}

fn committed(partition: &Partition) -> Vec<String> {
    let batches = partition.read_with(0, IsolationLevel::ReadCommitted).map(Result::unwrap);
    let values = |batch: crate::records::Batch| -> Vec<String> {
        batch.iter().map(|r| String::from_utf8(r.value.unwrap().to_vec()).unwrap()).collect()
    };
    batches.flat_map(values).collect()
}

#[test]
fn a_transaction_index_that_is_missing_or_wrong_is_built_again_from_the_data() {
    let damages: [(&str, Option<&[u8]>); 3] =
        [("missing", None), ("empty", Some(b"")), ("zeros", Some(&[0; 68]))];
    for (name, damage) in damages {
        let env = MemoryEnv::new();
        let (log, partition) = open(&env);
        let mut expected = Vec::new();
        for round in 0..12 {
            // Transactions that begin in one segment and end in another.
            for producer in 1..=2 {
                transactional(partition.log(), producer, round, &format!("{producer} {round}"));
            }
            partition.append(&[RecordData::new(format!("plain {round}"))]).unwrap();
            end(partition.log(), 1, false);
            end(partition.log(), 2, true);
            expected.extend([format!("2 {round}"), format!("plain {round}")]);
        }
        assert!(partition.segment_count() > 5);
        assert_eq!(committed(&partition), expected);
        drop(partition);
        log.close().unwrap();
        let dir = Path::new("/log/t-0");
        let lists = env.list(dir).unwrap().into_iter().filter(|e| e.name.ends_with(".txnindex"));
        let paths: Vec<_> = lists.map(|e| dir.join(e.name)).collect();
        assert!(paths.len() > 3);
        for path in &paths {
            env.remove_file(path).unwrap();
            if let Some(content) = damage {
                write_all_at(&*env.open(path, Open::Create).unwrap(), content, 0).unwrap();
            }
        }
        for opening in 0..3 {
            let (log, partition) = open(&env);
            assert_eq!(committed(&partition), expected, "{name}, opening {opening}");
            if opening == 1 {
                partition.append(&[RecordData::new("more")]).unwrap();
                expected.push("more".to_string());
            }
            drop(partition);
            log.close().unwrap();
        }
    }
}

#[test]
fn files_that_change_with_every_look_are_not_read_again_forever() {
    let env = MemoryEnv::new();
    let (_log, partition) = open(&env);
    let log = partition.log();
    let looks = std::cell::Cell::new(0);
    let error = retry_after_trim(log, || {
        looks.set(looks.get() + 1);
        log.segments.change(|_| {});
        if looks.get() < 1000 { Err(Error::corrupt("a", 0, "not what was written")) } else { Ok(()) }
    });
    assert!(matches!(error, Err(Error::Corrupt { .. })), "{} looks", looks.get());
}

#[test]
fn damage_is_reported_even_if_the_writer_cannot_be_followed() {
    let env = MemoryEnv::new();
    let (log, partition) = open(&env);
    for _ in 0..3 {
        partition.append(&[RecordData::new("value")]).unwrap();
    }
    drop(partition);
    log.close().unwrap();
    let file = env.open(Path::new("/log/t-0/00000000000000000000.log"), Open::Write).unwrap();
    let size = file.len().unwrap() / 3;
    write_all_at(&*file, b"?", 2 * size - 2).unwrap();
    let observer = Builder::with_env(Arc::clone(&env) as Arc<dyn Env>, Path::new("/log")).read_only(true);
    let observer = observer.open().unwrap();
    let partition = observer.topic("t").unwrap().partition(0).unwrap();
    env.remove_file(Path::new("/log/manifest")).unwrap();
    assert!(observer.refresh().is_err());
    let error = partition.read(1).next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert_eq!(error.next_offset(), Some(Offset::new(2)), "{error}");
}

#[test]
fn a_segment_that_another_writer_began_is_not_held_against_the_end_of_the_last_one() {
    let env = MemoryEnv::new();
    let (log, partition) = open(&env);
    partition.append(&[RecordData::new("value")]).unwrap();
    drop(partition);
    log.close().unwrap();
    let mut bytes = Vec::new();
    for offset in 1..3 {
        let mut builder = BatchBuilder::new();
        builder.append(Timestamp::from_millis(1), None, Some(b"value"), &[]).unwrap();
        let sealed = builder.seal(Compression::None, None).unwrap();
        bytes.extend_from_slice(&sealed_at(sealed, offset));
    }
    let first = env.open(Path::new("/log/t-0/00000000000000000000.log"), Open::Read).unwrap();
    assert_eq!(first.len().unwrap(), bytes.len() as u64 / 2, "both begin with as many bytes");
    let file = env.open(Path::new("/log/t-0/00000000000000000001.log"), Open::CreateNew).unwrap();
    write_all_at(&*file, &bytes, 0).unwrap();
    let observer = Builder::with_env(Arc::clone(&env) as Arc<dyn Env>, Path::new("/log")).read_only(true);
    let observer = observer.open().unwrap();
    let partition = observer.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(committed(&partition), ["value"; 3], "{:?}", observer.recovery_report());
    // Its first batch is damaged, the second is not.
    write_all_at(&*file, b"?", bytes.len() as u64 / 2 - 2).unwrap();
    let error = partition.read(1).next().unwrap().unwrap_err();
    assert_eq!(error.next_offset(), Some(Offset::new(2)), "{error}");
    let second = partition.read(2).next().unwrap().unwrap();
    assert_eq!(second.iter().map(|record| record.offset.value()).collect::<Vec<_>>(), [2]);
}

fn sealed_at(mut sealed: SealedBatch, offset: u64) -> Vec<u8> {
    sealed.finish(Offset::new(offset), 0, Stamp::CreateTime).to_vec()
}

#[test]
fn a_follower_reports_missing_data_until_the_log_is_opened_anew() {
    let env = MemoryEnv::new();
    let (log, partition) = open(&env);
    for _ in 0..3 {
        partition.append(&[RecordData::new("value")]).unwrap();
    }
    partition.flush().unwrap();
    let observe = || {
        let builder = Builder::with_env(Arc::clone(&env) as Arc<dyn Env>, Path::new("/log"));
        builder.read_only(true).open().unwrap()
    };
    let path = Path::new("/log/t-0/00000000000000000000.log");
    let away = Path::new("/log/t-0/away");
    env.rename(path, away).unwrap();
    let observer = observe();
    let partition = observer.topic("t").unwrap().partition(0).unwrap();
    assert!(!observer.health().is_good() && partition.read(0).next().unwrap().is_err());
    env.rename(away, path).unwrap();
    observer.refresh().unwrap();
    assert!(!observer.health().is_good());
    assert!(partition.read(0).next().unwrap().is_err());
    let anew = observe();
    assert!(anew.health().is_good());
    assert_eq!(committed(&anew.topic("t").unwrap().partition(0).unwrap()), ["value"; 3]);
    drop(log);
}
