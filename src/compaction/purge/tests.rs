//! Purges against a map of what must stay, with a look at every byte that is left.

use crate::{
    ErrorKind, Partition, RecordData, Streamlog, Timestamp, TopicConfig,
    admin::{Compact, Purged},
    codec::{builder::BatchBuilder, crc::crc32c},
    config::{Builder, CleanupPolicy, Compression},
    partition::{
        read::aborted::aborted_between,
        tests::{append, end},
        write::gate::Origin,
    },
    sim::{Crash, Fault, FaultKind, Operation, SimEnv},
    types::IsolationLevel,
};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};

const LOG: &str = "/data/t-0/00000000000000000000.log";
/// The key that goes, and what all of its values begin with: bytes that nothing else has.
const GONE: &str = "ada@example.org";
const VALUE: &str = "Ada lives in";

/// Key and value of each offset.
type Records = BTreeMap<u64, (Option<String>, Option<String>)>;

fn open(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/data").background_thread(false).open().unwrap()
}

fn small() -> TopicConfig {
    TopicConfig::default().segment_bytes(512).index_interval_bytes(100)
}

fn topic(env: &SimEnv, config: TopicConfig) -> (Streamlog, Partition) {
    let log = open(env);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    (log, partition)
}

fn put(partition: &Partition, key: &str, value: &str) {
    partition.append(&[RecordData::new(value).key(key)]).unwrap();
}

/// Others, and the key in three segments and the active one.
fn fill(partition: &Partition) {
    fill_in(partition, 4);
}

fn fill_in(partition: &Partition, rounds: usize) {
    for round in 0..rounds {
        put(partition, "eve", &format!("Eve is {round} {}", "e".repeat(150)));
        put(partition, GONE, &format!("{VALUE} {round} {}", "a".repeat(100)));
        put(partition, "max", &format!("Max is {round} {}", "m".repeat(150)));
    }
}

fn records(partition: &Partition) -> Records {
    let all = partition.records(partition.log_start_offset()).map(|record| record.unwrap());
    let text = |text: Option<&str>| text.map(String::from);
    all.map(|record| (record.offset.value(), (text(record.key_str()), text(record.value_str())))).collect()
}

fn without_it(mut records: Records) -> Records {
    records.retain(|_, (key, _)| key.as_deref() != Some(GONE));
    records
}

/// No file has a byte of the key or its values.
fn no_file_has_it(env: &SimEnv) {
    for (path, bytes) in env.files() {
        for text in [GONE, VALUE] {
            assert!(!bytes.windows(text.len()).any(|part| part == text.as_bytes()), "{text} is in {path}");
        }
        assert!(!path.ends_with(".cleaned") && !path.ends_with(".swap"), "{path}");
    }
}

fn purge(log: &Streamlog) -> Purged {
    log.purge_key("t", GONE).unwrap()
}

#[test]
fn one_key_goes_with_its_newest_record_and_its_tombstones_and_all_others_stay() {
    for policy in [CleanupPolicy::Compact, CleanupPolicy::Delete, CleanupPolicy::CompactDelete] {
        let env = SimEnv::new(1);
        let (log, partition) = topic(&env, small().cleanup_policy(policy));
        fill(&partition);
        partition.append(&[RecordData::tombstone(GONE)]).unwrap();
        let (before, bytes) = (records(&partition), partition.size());
        let purged = purge(&log);
        assert_eq!((purged.records_removed, purged.bytes_held), (5, 0));
        assert!(purged.segments_rewritten >= 4 && purged.quarantined_rewritten == 0, "{purged:?}");
        // The batch that ended the log stays, emptied.
        assert_eq!(bytes - partition.size(), purged.bytes_removed);
        assert_eq!(records(&partition), without_it(before.clone()));
        assert_eq!(partition.log_end_offset(), 13);
        no_file_has_it(&env);
        assert_eq!(purge(&log), Purged::default(), "it is gone");
        put(&partition, GONE, VALUE);
        assert_eq!(purge(&log).records_removed, 1, "and comes again");
        log.close().unwrap();
        let log = open(&env);
        assert_eq!(records(&log.topic("t").unwrap().partition(0).unwrap()), without_it(before));
        assert!(log.health().is_good() && log.recovery_report().was_clean);
    }
}

#[test]
fn an_empty_key_is_a_key_and_none_is_not() {
    let env = SimEnv::new(1);
    let (log, partition) = topic(&env, small());
    partition.append(&[RecordData::new("none"), RecordData::new("empty").key("")]).unwrap();
    assert_eq!(log.purge_key("t", "").unwrap().records_removed, 1);
    assert_eq!(records(&partition).into_values().collect::<Vec<_>>(), [(None, Some("none".to_string()))]);
}

#[test]
fn times_are_looked_up_among_what_is_left() {
    let env = SimEnv::new(1);
    let (log, partition) = topic(&env, small());
    let at = Timestamp::from_millis;
    for i in 0..20 {
        let key = if i % 2 == 0 { GONE } else { "eve" };
        partition.append(&[RecordData::new(&[7; 100]).key(key).timestamp(at(1000 + i))]).unwrap();
    }
    purge(&log);
    for i in 0..19 {
        let found = partition.offset_for_timestamp(at(1000 + i)).unwrap().unwrap();
        assert_eq!(found.offset.value(), i as u64 / 2 * 2 + 1, "{i}");
        let read = partition.read(i as u64).next().unwrap().unwrap();
        assert_eq!(read.iter().next().unwrap().offset.value(), i as u64 / 2 * 2 + 1, "{i}");
    }
    assert_eq!(partition.offset_of_max_timestamp().unwrap().unwrap().offset.value(), 19);
}

#[test]
fn readers_that_stand_in_the_log_and_a_process_that_only_reads_go_on() {
    let env = SimEnv::new(1);
    let (log, partition) = topic(&env, small());
    fill(&partition);
    let beside = Builder::env(&env, "/data").background_thread(false).read_only(true).open().unwrap();
    let seen = beside.topic("t").unwrap().partition(0).unwrap();
    let expected = without_it(records(&partition));
    assert_eq!(seen.read(0).count(), 12);
    let mut standing: Vec<_> = (0..12).map(|from| partition.read(from)).collect();
    standing.iter_mut().step_by(2).for_each(|reader| drop(reader.next().unwrap().unwrap()));
    assert!(purge(&log).bytes_held > 0);
    for reader in standing {
        for record in
            reader.flat_map(|batch| batch.unwrap().iter().map(|r| r.offset.value()).collect::<Vec<_>>())
        {
            assert!(record % 3 == 1 || expected.contains_key(&record));
        }
    }
    beside.refresh().unwrap();
    assert_eq!(records(&seen), expected);
    assert_eq!(beside.purge_key("t", GONE).unwrap_err().kind(), ErrorKind::ReadOnly);
}

#[test]
fn what_was_put_aside_is_purged_and_what_is_nothing_else_is_removed() {
    let env = SimEnv::new(1);
    let (log, partition) = topic(&env, small());
    fill(&partition);
    let [mixed, only] = [GONE, "eve"].map(|spared| {
        let files = env.files();
        let all = files.iter().filter(|(path, _)| path.starts_with("/data/t-0/") && path.ends_with(".log"));
        let batches = all.flat_map(|(_, bytes)| batches_of(bytes)).collect::<Vec<_>>();
        let kept = batches.iter().filter(|batch| spared == GONE || contains(batch, GONE));
        kept.flatten().copied().collect::<Vec<u8>>()
    });
    let places = ["00000000000000000005.log.aside", "00000000000000000007.log.aside1"]
        .map(|name| format!("/data/t-0/{name}"));
    let deleted = "/data/t-0/00000000000000000003.log.deleted";
    for (path, bytes) in [(&*places[0], &mixed), (&places[1], &only), (deleted, &mixed)] {
        // With a tail of zeros, as preallocated space is.
        env.overwrite(path, &[&bytes[..], &[0; 700]].concat()).unwrap();
    }
    let stray = "/data/t-0.0123456789abcdef0123456789abcdef-stray";
    crate::env::Env::create_dir(&env, stray.as_ref()).unwrap();
    env.overwrite(format!("{stray}/00000000000000000000.log"), &mixed).unwrap();
    let purged = purge(&log);
    assert_eq!((purged.records_removed, purged.quarantined_rewritten), (4 + 4 * 4, 4));
    no_file_has_it(&env);
    let files = env.files();
    assert!(
        contains(&files[&places[0]], "Eve is 3")
            && contains(&files[&format!("{stray}/00000000000000000000.log")], "Max")
    );
    assert!(!files.contains_key(&places[1]));
}

/// The other file has no record of the key any more, so that nothing else looks at it.
#[test]
fn what_an_earlier_purge_left_beside_a_file_goes() {
    let env = SimEnv::new(1);
    let (log, partition) = topic(&env, small());
    put(&partition, GONE, VALUE);
    let batch = batches_of(&env.files()[LOG]).concat();
    let aside = "/data/t-0/00000000000000000007.log.aside";
    env.overwrite(aside, b"").unwrap();
    env.overwrite(format!("{aside}.tmp"), &batch).unwrap();
    purge(&log);
    no_file_has_it(&env);
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

fn batches_of(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut batches = Vec::new();
    while bytes.len() >= 61 && bytes[8..12] != [0; 4] {
        let size = 12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
        batches.push(bytes[..size].to_vec());
        bytes = &bytes[size..];
    }
    batches
}

#[test]
fn what_was_put_aside_and_cannot_be_read_is_named_and_all_else_is_purged() {
    let env = SimEnv::new(1);
    let (log, partition) = topic(&env, small());
    fill(&partition);
    let place = "/data/t-0/00000000000000000005.log.aside";
    env.overwrite(place, &[7; 100]).unwrap();
    for _ in 0..2 {
        let error = log.purge_key("t", GONE).unwrap_err();
        assert!(error.kind() == ErrorKind::NotPurged && error.to_string().contains(place), "{error}");
        no_file_has_it(&env);
    }
    crate::env::Env::remove_file(&env, place.as_ref()).unwrap();
    assert_eq!(purge(&log), Purged::default());
}

#[test]
fn a_damaged_segment_ends_the_purge_of_its_partition_and_no_other() {
    let env = SimEnv::new(1);
    let log = open(&env);
    let created = log.create_topic("t", small().partitions(2)).unwrap();
    let [bad, good] = [0, 1].map(|number| created.partition(number).unwrap());
    fill(&bad);
    fill(&good);
    // In the second segment that has the key.
    let (path, mut bytes) =
        env.files().into_iter().filter(|(_, bytes)| contains(bytes, GONE)).nth(1).unwrap();
    let at = bytes.windows(GONE.len()).position(|part| part == GONE.as_bytes()).unwrap();
    bytes[at] ^= 1;
    env.overwrite(&path, &bytes).unwrap();
    let error = log.purge_key("t", GONE).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(&path), "{error}");
    assert_eq!(records(&good), without_it(records(&good)));
    assert_eq!(env.files()[&path], bytes, "nothing took its place");
    assert!(env.files().keys().all(|path| !path.ends_with(".cleaned")));
    // The newer records are there, and only those.
    bytes[at] ^= 1;
    env.overwrite(&path, &bytes).unwrap();
    let left = records(&bad).into_iter().filter(|(_, (key, _))| key.as_deref() == Some(GONE));
    assert_eq!(left.map(|(offset, _)| offset).collect::<Vec<_>>(), [4, 7, 10]);
}

#[test]
fn bytes_after_a_sealed_segment_are_not_overlooked() {
    let env = SimEnv::new(1);
    let (log, partition) = topic(&env, small());
    fill(&partition);
    let mut bytes = env.files()[LOG].clone();
    bytes.extend_from_slice(GONE.as_bytes());
    env.overwrite(LOG, &bytes).unwrap();
    let error = log.purge_key("t", GONE).unwrap_err();
    assert!(error.kind() == ErrorKind::NotPurged && error.to_string().contains(LOG), "{error}");
}

#[test]
fn a_full_disk_leaves_no_half_and_a_later_purge_ends_it() {
    let env = SimEnv::new(1);
    let (log, partition) = topic(&env, small());
    fill(&partition);
    let before = records(&partition);
    let full = Fault::new(FaultKind::DiskFull).on(Operation::Write).path(".log.cleaned");
    env.inject(full.skip(2).forever());
    assert_eq!(log.purge_key("t", GONE).unwrap_err().kind(), ErrorKind::DiskFull);
    assert!(env.files().keys().all(|path| !path.ends_with(".cleaned")));
    let left = records(&partition);
    assert!(left.len() < before.len() && without_it(left) == without_it(before.clone()));
    env.clear_faults();
    purge(&log);
    assert_eq!(records(&partition), without_it(before));
    no_file_has_it(&env);
}

#[test]
fn lost_or_damaged_keys_hide_nothing() {
    for damage in [&b""[..], &[7; 600]] {
        for name in ["00000000000000000000.keys", "00000000000000000003.keys"] {
            let env = SimEnv::new(1);
            let (log, partition) = topic(&env, small().cleanup_policy(CleanupPolicy::Compact));
            fill(&partition);
            log.compact_now("t", Compact::new().dry_run(true)).unwrap();
            let path = format!("/data/t-0/{name}");
            if let Some(bytes) = env.files().get(&path) {
                let keep = if damage.is_empty() { 0 } else { 64 };
                env.overwrite(&path, &[&bytes[..keep], damage].concat()).unwrap();
            }
            assert_eq!(purge(&log).records_removed, 4);
            no_file_has_it(&env);
        }
    }
}

/// As a broker may have written it, under a checksum that knows the producer.
fn of_a_producer(env: &SimEnv, attributes: u8) {
    let mut bytes = env.files()[LOG].to_vec();
    let (mut at, mut sequence) = (0, 0u32);
    while at + 61 < bytes.len() {
        let batch = &mut bytes[at..];
        let size = 12 + u32::from_be_bytes(batch[8..12].try_into().unwrap()) as usize;
        batch[22] |= attributes;
        batch[43..57].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, sequence as u8]);
        let crc = crc32c(&batch[21..size]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        (at, sequence) = (at + size, sequence + 1);
    }
    env.overwrite(LOG, &bytes).unwrap();
    env.overwrite(LOG.replace("log", "pages"), b"").unwrap();
}

#[test]
fn batches_of_producers_keep_their_headers() {
    let left = |attributes: Option<u8>| {
        let env = SimEnv::new(1);
        let (log, partition) = topic(&env, small());
        ["first", GONE, "last", GONE, "more"].iter().for_each(|key| put(&partition, key, VALUE));
        log.close().unwrap();
        attributes.into_iter().for_each(|attributes| of_a_producer(&env, attributes));
        let log = open(&env);
        log.purge_key("t", GONE).map_err(|error| error.kind()).map(|_| batches_of(&env.files()[LOG]).len())
    };
    assert_eq!(left(None), Ok(3));
    assert_eq!(left(Some(0)), Ok(5), "the sequence of each is in its header");
}

#[test]
fn transactions_are_purged_once_they_have_ended_and_end_as_they_did() {
    let env = SimEnv::new(1);
    let (log, partition) = topic(&env, small());
    let send = |producer: i64, sequence: i32, key: &str| {
        let mut builder = BatchBuilder::new();
        for key in [key, "eve"] {
            builder.append(Timestamp::from_millis(1), Some(key.as_bytes()), Some(b"value"), &[]).unwrap();
        }
        let mut batch = builder.seal(Compression::None, None).unwrap();
        batch.set_producer(producer, 0, sequence);
        batch.set_transactional(true);
        append(partition.log(), batch, Origin::Producer);
    };
    send(1, 0, GONE);
    send(2, 0, GONE);
    let refused = log.purge_key("t", GONE).unwrap_err();
    assert!(refused.to_string().contains("a transaction has not ended"), "{refused}");
    end(partition.log(), 1, false);
    send(2, 2, GONE);
    end(partition.log(), 2, true);
    let aborted = |partition: &Partition| {
        aborted_between(partition.log(), 0u64.into(), partition.log_end_offset()).unwrap()
    };
    let before = aborted(&partition);
    assert_eq!(before.len(), 1);
    assert_eq!(purge(&log).records_removed, 3);
    no_file_has_it(&env);
    let check = |log: &Streamlog| {
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert_eq!(aborted(&partition), before);
        let committed = partition.records_with(0, IsolationLevel::ReadCommitted);
        assert_eq!(committed.map(|record| record.unwrap().offset.value()).collect::<Vec<_>>(), [3, 6]);
        assert_eq!(partition.last_stable_offset(), partition.log_end_offset());
    };
    check(&log);
    let env = env.crash(Crash::Everything, 1);
    let lost = |path: &String| [".snapshot", ".producers", ".txnindex"].iter().any(|end| path.ends_with(end));
    env.files().into_keys().filter(lost).for_each(|path| env.overwrite(path, b"").unwrap());
    check(&open(&env));
}

#[test]
fn what_cannot_be_purged_is_refused() {
    let env = SimEnv::new(1);
    let (log, partition) = topic(&env, small());
    fill(&partition);
    let kind = |topic: &str| log.purge_key(topic, GONE).map_err(|error| error.kind());
    assert_eq!(kind("missing"), Err(ErrorKind::UnknownTopic));
    assert_eq!(kind("__consumer_offsets"), Err(ErrorKind::InvalidTopic));
    log.clone().close().unwrap();
    assert_eq!(kind("t"), Err(ErrorKind::Closed));
}

#[test]
fn a_close_in_between_ends_a_purge_and_the_next_one_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Streamlog::builder(dir.path()).background_thread(false).open().unwrap();
    let log = open();
    let config = TopicConfig::default().segment_bytes(16 << 10).durability(crate::Durability::Written);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    for i in 0..2000 {
        put(&partition, if i % 3 == 0 { GONE } else { "eve" }, &"x".repeat(900));
    }
    let expected = without_it(records(&partition));
    let purging = std::thread::spawn({
        let log = log.clone();
        move || log.purge_key("t", GONE)
    });
    // Once it has begun.
    while partition.size() > 1_900_000 && !purging.is_finished() {
        std::thread::yield_now();
    }
    log.close().unwrap();
    match purging.join().unwrap() {
        Ok(_) => {}
        Err(error) => assert!(matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Closed), "{error}"),
    }
    let log = open();
    assert!(log.recovery_report().was_clean);
    let names = std::fs::read_dir(dir.path().join("t-0")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.ends_with(".cleaned") && !name.ends_with(".swap")), "{names:?}");
    log.purge_key("t", GONE).unwrap();
    assert_eq!(records(&log.topic("t").unwrap().partition(0).unwrap()), expected);
}

#[test]
fn a_reader_that_keeps_what_it_read_is_counted_as_long_as_it_does() {
    let log = Streamlog::temporary().unwrap();
    let partition = log.create_topic("t", small()).unwrap().partition(0).unwrap();
    fill(&partition);
    let kept = partition.read(0).next().unwrap().unwrap();
    let held = purge(&log).bytes_held;
    assert!(held > 0 && held <= 512, "{held}: the first segment");
    drop(kept);
    put(&partition, GONE, VALUE);
    assert_eq!(purge(&log).bytes_held, 0);
}

/// Dies at every operation of a purge, each time in another way; of every so many of the purges that end it, it dies as well.
fn dies_everywhere(env: &SimEnv, log: &Streamlog, dies_again_one_in: usize) -> usize {
    let before = records(&log.topic("t").unwrap().partition(0).unwrap());
    let expected = without_it(before.clone());
    let newest = before.iter().rfind(|(_, (key, _))| key.as_deref() == Some(GONE)).map(|(offset, _)| *offset);
    env.record();
    purge(log);
    let recording = env.recording();
    let (mut cursor, mut deaths) = (recording.cursor(), 0);
    while cursor.advance().is_some() {
        deaths += 1;
        let crash = Crash::ALL[deaths % Crash::ALL.len()];
        let env = cursor.crash(crash, deaths as u64);
        let log = open(&env);
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let found = records(&partition);
        assert_eq!(without_it(found.clone()), expected, "{crash:?}");
        let left = found.iter().any(|(_, (key, _))| key.as_deref() == Some(GONE));
        let is_newest = newest.is_some_and(|newest| found.contains_key(&newest));
        assert!(!left || is_newest, "{crash:?}: an older value is back");
        match deaths % dies_again_one_in == 0 {
            true => drop(dies_everywhere(&env, &log, usize::MAX)),
            false => drop(purge(&log)),
        }
        assert_eq!(records(&partition), expected, "{crash:?}, and purged");
        no_file_has_it(&env);
    }
    deaths
}

#[test]
fn after_a_death_at_any_moment_another_purge_ends_it_and_nothing_returns() {
    for (policy, dies_again_one_in) in [(CleanupPolicy::Compact, 71), (CleanupPolicy::Delete, usize::MAX)] {
        let env = SimEnv::new(1);
        let (log, partition) = topic(&env, small().cleanup_policy(policy));
        fill_in(&partition, 2);
        partition.append(&[RecordData::tombstone(GONE)]).unwrap();
        let deaths = dies_everywhere(&env, &log, dies_again_one_in);
        assert!(deaths > 50, "{deaths}");
    }
}

#[cfg(feature = "__planted")]
#[test]
fn a_record_that_a_purge_misses_is_found_by_its_proof() {
    let env = SimEnv::new(1);
    let (log, partition) = topic(&env, small());
    fill(&partition);
    crate::planted::plant(Some("a_purge_misses_a_record"));
    let purged = log.purge_key("t", GONE);
    crate::planted::plant(None);
    assert_eq!(purged.map_err(|error| error.kind()), Err(ErrorKind::NotPurged));
}

fn batches() -> impl Strategy<Value = Vec<Vec<(Option<u8>, bool)>>> {
    let record = (prop::option::weighted(0.9, 0u8..6), prop::bool::weighted(0.85));
    prop::collection::vec(prop::collection::vec(record, 1..7), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn any_log_loses_one_key_and_nothing_else(
        batches in batches(), segment_bytes in 1100u64..4000, codec in 0..3usize, compacts in any::<bool>(), purges in 1..3,
    ) {
        let codec = match codec {
            1 if cfg!(feature = "lz4") => Compression::Lz4,
            2 if cfg!(feature = "zstd") => Compression::Zstd,
            _ => Compression::None,
        };
        let env = SimEnv::new(1);
        let policy = if compacts { CleanupPolicy::Compact } else { CleanupPolicy::Delete };
        let config = small().segment_bytes(segment_bytes).compression(codec).cleanup_policy(policy);
        let (log, partition) = topic(&env, config.delete_retention(Duration::ZERO));
        let mut expected = Records::new();
        for (i, batch) in batches.iter().enumerate() {
            let texts: Vec<_> = batch.iter().map(|(key, has_value)| {
                let key = key.or(compacts.then_some(0)).map(|key| match key {
                    3 => GONE.to_string(),
                    key => format!("key {key}"),
                });
                let words = if key.as_deref() == Some(GONE) { VALUE } else { "somebody lives in" };
                (key, has_value.then(|| format!("{words} {i} {}", "x".repeat(i * 7 % 90))))
            }).collect();
            let data: Vec<_> = texts.iter().map(|(key, value)| {
                let data = value.as_deref().map_or(RecordData::null(), RecordData::new);
                match key {
                    Some(key) => data.key(key),
                    None => data,
                }
            }).collect();
            let base = partition.append(&data).unwrap().start.value();
            expected.extend((base..).zip(texts));
            for _ in 0..(i % 10 == 4).into() {
                log.purge_key("t", "key 1").unwrap();
                expected.retain(|_, (key, _)| key.as_deref() != Some("key 1"));
            }
        }
        prop_assert_eq!(&records(&partition), &expected);
        let there = expected.len();
        let mut removed = 0;
        for _ in 0..purges {
            removed += purge(&log).records_removed;
        }
        let expected = without_it(expected);
        prop_assert_eq!(removed as usize, there - expected.len());
        prop_assert_eq!(&records(&partition), &expected);
        no_file_has_it(&env);
        log.close().unwrap();
        let log = open(&env);
        prop_assert_eq!(&records(&log.topic("t").unwrap().partition(0).unwrap()), &expected);
        prop_assert!(log.recovery_report().was_clean);
    }
}
