//! Commits that cannot be read: they hide what they may be about, and nothing else.

use super::*;
use crate::{
    codec::{
        batch::{CRC_START, HEADER_LEN},
        crc::crc32c,
    },
    env::{Env, Open, read_full_at},
    partition::write::encode::RecordData,
    planted,
};

fn damage(catalog: &Catalog) -> Option<Error> {
    catalog.topic(OFFSETS_TOPIC).unwrap().log(0).unwrap().damage()
}

/// Makes the batch at `offset` of the log hold something other than records, with the right checksum or a wrong one.
fn spoil(env: &MemoryEnv, offset: u64, has_right_checksum: bool) -> u64 {
    let path = "/log/__consumer_offsets-0/00000000000000000000.log".as_ref();
    let file = env.open(path, Open::Write).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    read_full_at(&*file, &mut bytes, 0).unwrap();
    let mut at = 0;
    loop {
        let header = BatchHeader::parse(&bytes[at..]).unwrap();
        let end = at + header.size() as usize;
        if header.base_offset == offset {
            let batch = &mut bytes[at..end];
            batch[HEADER_LEN] = 0x7e;
            if has_right_checksum {
                let crc = crc32c(&batch[CRC_START..]);
                batch[17..21].copy_from_slice(&crc.to_be_bytes());
            }
            file.write_at(batch, at as u64).unwrap();
            return at as u64;
        }
        at = end;
    }
}

/// The answer about one partition, where there is one.
fn answer(store: &OffsetStore, group: &str, topic: &str, number: u32) -> Result<Option<u64>, Error> {
    let found = store.committed(group, &[partition(topic, number)])?.remove(0);
    Ok(found.map(|committed| committed.value.offset.value()))
}

fn assert_hidden<T: std::fmt::Debug>(answer: Result<T, Error>, position: u64, next: u64) {
    let error = answer.unwrap_err();
    let Error::Corrupt { path, position: at, next_offset, .. } = &error else { panic!("{error:?}") };
    assert!(path.ends_with("__consumer_offsets-0/00000000000000000000.log"), "{error}");
    assert_eq!(*next_offset, Some(Offset::new(next)), "{error}");
    assert!((position..position + 100).contains(at), "{error}");
    assert!(error.to_string().contains("commit an offset, or reset"), "{error}");
}

/// Groups `before`, `g` and `after`, of which the second commit of `g`, the fourth record, cannot be read.
fn with_a_hidden_commit(has_right_checksum: bool) -> (Arc<MemoryEnv>, u64) {
    let env = filled();
    let store = OffsetStore::new(open(&env));
    commit(&store, "before", "t", 0, 1).unwrap();
    commit(&store, "after", "t", 0, 1).unwrap();
    commit(&store, "g", "t", 0, 1).unwrap();
    commit(&store, "g", "t", 0, 2).unwrap();
    commit(&store, "after", "t", 0, 2).unwrap();
    // The last batch of all has nothing after it that could vouch for it.
    commit(&store, "after", "u", 0, 1).unwrap();
    drop(store);
    let position = spoil(&env, 3, has_right_checksum);
    (env, position)
}

#[test]
fn a_batch_that_cannot_be_read_is_never_replaced_by_an_older_commit() {
    planted::hold(|| hides_what_came_before(true), &["believe_older_commits"]);
}

#[test]
fn a_commit_that_cannot_be_read_is_newer_than_the_one_just_before_it() {
    let env = filled();
    let store = OffsetStore::new(open(&env));
    commit(&store, "before", "t", 0, 1).unwrap();
    commit(&store, "g", "t", 0, 1).unwrap();
    drop(store);
    spoil(&env, 0, true);
    let store = OffsetStore::new(open(&env));
    commit(&store, "g", "t", 0, 2).unwrap();
    assert_eq!(answer(&store, "g", "t", 0).unwrap(), Some(2));
    let value = OffsetValue {
        offset: -7,
        leader_epoch: -1,
        metadata: String::new(),
        commit_timestamp: Timestamp::from_millis(0),
    };
    let key = OffsetKey { group: "g".into(), topic: "t".into(), partition: 0 };
    let unreadable = OffsetRecord::Value(CommittedEntry { key, value, life: Life::default() });
    store.write_many(vec![unreadable]).unwrap();
    assert!(answer(&store, "g", "t", 0).is_err());
    commit(&store, "g", "t", 0, 3).unwrap();
    assert_eq!(answer(&store, "g", "t", 0).unwrap(), Some(3));
}

#[test]
fn bytes_that_are_not_what_was_written_hide_the_same() {
    let (env, position) = with_a_hidden_commit(false);
    let store = OffsetStore::new(open_as(&env, true));
    assert_hidden(answer(&store, "g", "t", 0), position, 4);
    assert_eq!(answer(&store, "after", "t", 0).unwrap(), Some(2));
    assert!(damage(&store.catalog).is_some());
}

fn hides_what_came_before(has_right_checksum: bool) {
    let (env, position) = with_a_hidden_commit(has_right_checksum);
    let store = OffsetStore::new(open(&env));
    for _ in 0..2 {
        assert_hidden(answer(&store, "g", "t", 0), position, 4);
        assert_hidden(answer(&store, "before", "t", 0), position, 4);
        assert_hidden(answer(&store, "unknown", "t", 0), position, 4);
        assert_hidden(answer(&store, "after", "t", 1), position, 4);
        assert_hidden(store.describe_group("g"), position, 4);
        assert_hidden(store.describe_group("unknown"), position, 4);
        let shift = GroupReset::to(ResetTo::ShiftBy(1));
        assert_hidden(store.reset_group_offsets("g", &shift), position, 4);
        assert_hidden(store.reset_group_offsets("unknown", &GroupReset::to(ResetTo::Latest)), position, 4);
    }
    assert!(
        matches!(damage(&store.catalog), Some(Error::Corrupt { next_offset: Some(next), .. }) if next == 4)
    );
    // The other groups continue.
    assert_eq!(store.groups().unwrap(), ["after", "before", "g"]);
    assert_eq!(answer(&store, "after", "t", 0).unwrap(), Some(2));
    assert_eq!(store.describe_group("after").unwrap().committed.len(), 2);
}

#[test]
fn a_commit_a_reset_or_a_deletion_ends_the_doubt_for_good() {
    let (env, position) = with_a_hidden_commit(true);
    let store = OffsetStore::new(open(&env));
    // What was known of it before is no reason not to write it again.
    commit(&store, "g", "t", 0, 1).unwrap();
    store.reset_group_offsets("before", &GroupReset::to(ResetTo::Latest)).unwrap();
    store.reset_group_offsets("named", &GroupReset::to(ResetTo::Latest).topic("u")).unwrap();
    store.delete_group("unknown").unwrap();
    for store in [store, OffsetStore::new(open(&env))] {
        assert_eq!(answer(&store, "g", "t", 0).unwrap(), Some(1));
        assert_eq!(answer(&store, "before", "t", 0).unwrap(), Some(3));
        assert_eq!(answer(&store, "named", "u", 0).unwrap(), Some(3));
        assert_eq!(answer(&store, "unknown", "t", 0).unwrap(), None);
        assert_hidden(answer(&store, "g", "t", 1), position, 4);
    }
}

#[test]
fn a_consumer_of_a_group_in_doubt_reports_it_until_it_seeks() {
    let (env, position) = with_a_hidden_commit(true);
    let catalog = open(&env);
    let store = OffsetStore::new(Arc::clone(&catalog));
    let mut consumer = consumer(&catalog, &store, "g");
    consumer.assign([partition("t", 0)]).unwrap();
    assert_hidden(consumer.poll(Duration::ZERO), position, 4);
    assert_hidden(consumer.poll(Duration::ZERO), position, 4);
    consumer.seek(&partition("t", 0), 1).unwrap();
    assert_eq!(poll(&mut consumer), ["b", "c"]);
    consumer.commit_sync().unwrap();
    assert_eq!(answer(&store, "g", "t", 0).unwrap(), Some(3));
}

/// What a record in the log has for a key and a value, and which of the answers about (g, t-0), (g, t-1) and (h, t-0) it
/// hides.
const RECORDS: [(&[u8], &[u8], [bool; 3]); 7] = [
    (b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x00", b"no value", [true, false, false]),
    (b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x00", b"\x00\x09 of a later version", [true, false, false]),
    (b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x00\x00", b"a longer key", [true, true, false]),
    (b"\x00\x01\x00\x01g\x00\x70t", b"a shorter key", [true, true, false]),
    (b"\x00\x01\x00", b"no key", [true, true, true]),
    (b"\x00\x01\x00\x01g\x00\x01/\x00\x00\x00\x00", b"no topic's name", [false, false, false]),
    (b"\x00\x09\x00\x01g\x00\x01t\x00\x00\x00\x00", b"a kind of a later version", [false, false, false]),
];

#[test]
fn a_record_that_cannot_be_read_hides_what_its_key_says() {
    for (key, value, hidden) in RECORDS {
        let env = filled();
        let catalog = open(&env);
        let store = OffsetStore::new(Arc::clone(&catalog));
        let asked = [("g", 0), ("g", 1), ("h", 0)];
        for (group, number) in asked {
            commit(&store, group, "t", number, 1).unwrap();
        }
        let record = RecordData::new(value).key(key);
        let log = catalog.topic(OFFSETS_TOPIC).unwrap().partition(0).unwrap();
        let position = log.size();
        log.append_to_any(std::slice::from_ref(&record)).unwrap();
        let how = String::from_utf8_lossy(value);
        for store in [&store, &*OffsetStore::new(open(&env))] {
            for ((group, number), is_hidden) in asked.into_iter().zip(hidden) {
                match is_hidden {
                    true => assert_hidden(answer(store, group, "t", number), position, 4),
                    false => assert_eq!(answer(store, group, "t", number).unwrap(), Some(1), "{how}"),
                }
            }
            assert_eq!(damage(&store.catalog).is_none(), key[1] == 9, "{how}");
        }
        for (group, number) in asked {
            commit(&store, group, "t", number, 1).unwrap();
            assert_eq!(answer(&store, group, "t", number).unwrap(), Some(1), "{how}");
        }
    }
}

#[test]
fn the_upkeep_of_the_log_forgets_no_doubt() {
    let (env, position) = with_a_hidden_commit(true);
    let upkeep =
        CompactionThresholds { snapshot_every: 1, rewrite_above: 2_000, ..CompactionThresholds::default() };
    let store = OffsetStore::with_upkeep(open(&env), upkeep);
    for i in 0..100 {
        commit(&store, "after", "t", 0, i % 3).unwrap();
    }
    for store in [store, OffsetStore::new(open(&env))] {
        assert_hidden(answer(&store, "g", "t", 0), position, 4);
        assert_eq!(answer(&store, "after", "t", 0).unwrap(), Some(0));
    }
}
