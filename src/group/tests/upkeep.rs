//! The sidecar and the rewriting change no answer, whatever becomes of them.

use super::*;
use crate::{
    env::{Env, Open, read_full_at},
    partition::write::encode::RecordData,
    planted,
    storage::sidecar::write_file,
};
use std::path::PathBuf;

const EAGER: CompactionThresholds = CompactionThresholds {
    snapshot_every: 1,
    rewrite_above: u64::MAX,
    segment_bytes: 8 << 20,
    chunk_bytes: 256 << 10,
};

fn sidecar() -> PathBuf {
    PathBuf::from("/log/__consumer_offsets-0").join(GroupOffsets::SIDECAR)
}

fn read(env: &MemoryEnv) -> Vec<u8> {
    let file = env.open(&sidecar(), Open::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    read_full_at(&*file, &mut bytes, 0).unwrap();
    bytes
}

/// A log whose sidecar holds a part of what was committed.
fn with_sidecar() -> Arc<MemoryEnv> {
    let env = filled();
    let store = OffsetStore::with_upkeep(open(&env), EAGER);
    commit(&store, "g", "t", 0, 1).unwrap();
    commit(&store, "gone", "t", 0, 1).unwrap();
    let store = OffsetStore::new(open(&env));
    store.delete_group("gone").unwrap();
    commit(&store, "g", "t", 0, 2).unwrap();
    commit(&store, "h", "u", 0, 3).unwrap();
    env
}

fn check(env: &Arc<MemoryEnv>) {
    let store = OffsetStore::new(open(env));
    assert_eq!(store.groups().unwrap(), ["g", "h"]);
    assert_eq!(committed(&store, "g", "t", 0), Some(2));
    assert_eq!(committed(&store, "h", "u", 0), Some(3));
}

#[test]
fn what_the_sidecar_does_not_cover_is_read_from_the_log() {
    planted::hold(partly_covered, &["a_sidecar_says_more_than_it_has"]);
}

fn partly_covered() {
    let catalog = open(&filled());
    commit(&OffsetStore::with_upkeep(Arc::clone(&catalog), EAGER), "g", "t", 0, 1).unwrap();
    commit(&OffsetStore::new(Arc::clone(&catalog)), "g", "t", 0, 2).unwrap();
    assert_eq!(committed(&OffsetStore::new(catalog), "g", "t", 0), Some(2));
}

#[test]
fn the_sidecar_missing_cut_or_damaged_changes_nothing() {
    let env = with_sidecar();
    check(&env);
    let good = read(&env);
    let write = |bytes: &[u8]| write_file(&*env, &sidecar(), bytes).unwrap();
    for i in 0..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 1;
        write(&bad);
        check(&env);
    }
    write(&good[..good.len() / 2]);
    check(&env);
    write(b"");
    check(&env);
    env.remove_file(&sidecar()).unwrap();
    check(&env);
}

#[test]
fn the_sidecar_saves_reading_what_it_covers() {
    let env = with_sidecar();
    let catalog = open(&env);
    let log = catalog.topic(OFFSETS_TOPIC).unwrap().log(0).unwrap();
    // The first commits lie in damage now; the sidecar knows them.
    let path = log.identity.dir.join("00000000000000000000.log");
    env.open(&path, Open::Write).unwrap().write_at(&[0xff], 70).unwrap();
    let look = || {
        let store = OffsetStore::new(Arc::clone(&catalog));
        store.committed("unknown", &[partition("t", 0)]).map(|found| found.len())
    };
    assert_eq!(committed(&OffsetStore::new(Arc::clone(&catalog)), "g", "t", 0), Some(2));
    assert_eq!(look().unwrap(), 1);
    env.remove_file(&sidecar()).unwrap();
    assert_eq!(look().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn the_sidecar_of_another_log_is_not_believed() {
    planted::hold(anothers_sidecar, &["believe_anothers_sidecar"]);
}

fn anothers_sidecar() {
    let env = with_sidecar();
    let foreign = read(&env);
    let other = filled();
    let store = OffsetStore::new(open(&other));
    for offset in [0, 1, 2, 3] {
        commit(&store, "mine", "t", 0, offset).unwrap();
    }
    write_file(&*other, &sidecar(), &foreign).unwrap();
    assert_eq!(OffsetStore::new(open(&other)).groups().unwrap(), ["mine"]);
}

#[test]
fn a_sidecar_is_renewed_as_the_log_grows() {
    let env = filled();
    let store = OffsetStore::with_upkeep(open(&env), CompactionThresholds { snapshot_every: 2000, ..EAGER });
    let mut renewed = 0;
    let mut last = Vec::new();
    for i in 0..100 {
        commit(&store, "g", "t", 0, i % 3).unwrap();
        if env.metadata(&sidecar()).is_ok() && read(&env) != last {
            last = read(&env);
            renewed += 1;
        }
    }
    assert!((4..=10).contains(&renewed), "{renewed} times");
}

#[test]
fn the_log_is_rewritten_before_it_grows_forever() {
    let env = filled();
    let catalog = open(&env);
    let upkeep = CompactionThresholds { snapshot_every: u64::MAX, rewrite_above: 10_000, ..EAGER };
    let store = OffsetStore::with_upkeep(Arc::clone(&catalog), upkeep);
    commit(&store, "rare", "u", 0, 1).unwrap();
    commit(&store, "gone", "u", 0, 1).unwrap();
    OffsetStore::with_upkeep(Arc::clone(&catalog), EAGER).groups().unwrap();
    let old = read(&env);
    store.delete_group("gone").unwrap();
    for i in 0..500 {
        commit(&store, "g", "t", 0, i % 4).unwrap();
    }
    let log = catalog.topic(OFFSETS_TOPIC).unwrap().log(0).unwrap();
    assert!(log.offsets().log_start() > Offset::ZERO);
    let last = 499 % 4;
    let check = |store: &OffsetStore| {
        assert_eq!(store.groups().unwrap(), ["g", "rare"]);
        assert_eq!(committed(store, "g", "t", 0), Some(last));
        assert_eq!(committed(store, "rare", "u", 0), Some(1));
    };
    check(&store);
    check(&OffsetStore::new(open(&env)));
    env.remove_file(&sidecar()).unwrap();
    check(&OffsetStore::new(open(&env)));
    // An older sidecar knows a group whose deletion is in the records that are removed now.
    write_file(&*env, &sidecar(), &old).unwrap();
    check(&OffsetStore::new(open(&env)));
}

#[test]
fn an_observer_follows_a_rewriting_that_drops_entries() {
    let env = filled();
    let catalog = open(&env);
    let upkeep = CompactionThresholds { snapshot_every: u64::MAX, rewrite_above: 10_000, ..EAGER };
    let store = OffsetStore::with_upkeep(Arc::clone(&catalog), upkeep);
    commit(&store, "gone", "u", 0, 1).unwrap();
    let observer = OffsetStore::new(open_as(&env, true));
    assert_eq!(observer.groups().unwrap(), ["gone"]);
    store.delete_group("gone").unwrap();
    for i in 0..200 {
        commit(&store, "g", "t", 0, i % 4).unwrap();
    }
    assert_eq!(observer.groups().unwrap(), ["g"]);
    assert_eq!(committed(&observer, "g", "t", 0), Some(199 % 4));
}

#[test]
fn whole_segments_go_with_a_rewriting() {
    let env = filled();
    let catalog = open(&env);
    let config = TopicConfig::default().segment_bytes(4096).max_message_bytes(4096);
    let topic = catalog.internal(OFFSETS_TOPIC, config).unwrap();
    let upkeep = CompactionThresholds { snapshot_every: u64::MAX, rewrite_above: 10_000, ..EAGER };
    let store = OffsetStore::with_upkeep(Arc::clone(&catalog), upkeep);
    for i in 0..1000 {
        commit(&store, "g", "t", 0, i % 4).unwrap();
        assert!(topic.log(0).unwrap().size() < 20_000);
    }
    assert_eq!(committed(&OffsetStore::new(open(&env)), "g", "t", 0), Some(999 % 4));
}

#[test]
fn a_record_that_cannot_be_read_is_an_error_each_time_and_never_nothing() {
    let env = filled();
    let catalog = open(&env);
    let store = OffsetStore::new(Arc::clone(&catalog));
    commit(&store, "g", "t", 0, 1).unwrap();
    let bad = RecordData::new("no value of an offset").key(b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x00");
    catalog
        .topic(OFFSETS_TOPIC)
        .unwrap()
        .partition(0)
        .unwrap()
        .append_to_any(std::slice::from_ref(&bad))
        .unwrap();
    for _ in 0..2 {
        let error = store.committed("g", &[partition("t", 0)]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::UnsupportedFormat), "{error}");
        assert!(error.to_string().contains("offset 1"), "{error}");
        assert!(error.to_string().contains("00000000000000000000.log"), "{error}");
    }
    let users = catalog.topic(OFFSETS_TOPIC).unwrap().partition(0).unwrap().append(&[bad]).unwrap_err();
    assert_eq!(users.kind(), ErrorKind::InvalidTopic, "nobody else writes there");
    // Records of unknown kinds are skipped.
    let env = filled();
    let catalog = open(&env);
    let store = OffsetStore::new(Arc::clone(&catalog));
    commit(&store, "g", "t", 0, 1).unwrap();
    let foreign = [RecordData::new("x").key(b"\x00\x03\x00\x01g"), RecordData::new("no key")];
    catalog.topic(OFFSETS_TOPIC).unwrap().partition(0).unwrap().append_to_any(&foreign).unwrap();
    assert_eq!(committed(&store, "g", "t", 0), Some(1));
}
