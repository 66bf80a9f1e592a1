//! Records that cannot be read are never taken for none.

use super::*;
use crate::{
    codec::{
        batch::{BatchHeader, CRC_START, HEADER_LEN},
        coordinator::transactions::{encode_transaction_key, encode_transaction_value},
        crc::crc32c,
    },
    env::{Env, Open, read_full_at},
};

/// What a record that cannot be read says of "a": a value of an unknown version.
fn unreadable(name: &str) -> TableRecord {
    TableRecord { key: encode_transaction_key(name), value: Some(vec![0, 9]), headers: vec![] }
}

fn assert_unknown<T: std::fmt::Debug>(answer: Result<T>, word: &str) {
    let error = answer.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::UnsupportedFormat), "{error}");
    assert!(error.to_string().contains(word), "{error}");
}

#[test]
fn an_unreadable_record_of_a_name_hides_its_entry_and_its_decisions() {
    let env = MemoryEnv::new();
    let first = claims(&env);
    let (a, b) = (claim(&first, "a"), claim(&first, "b"));
    let a = commit(&first, a);
    decide(&first, a, true).unwrap();
    write(&first, vec![unreadable("a")]);
    let complete = Claimed { epoch: 0, ..a };
    let b_next = decide(&first, b, true).unwrap().next;
    for claims in [first, claims(&env)] {
        assert_unknown(claims.describe("a"), ".log");
        assert_unknown(claims.claim("a", MINUTE), ".log");
        assert_unknown(claims.fence("a"), ".log");
        assert_unknown(claims.decision(a), ".log");
        assert_unknown(claims.decision(Claimed { epoch: 2, ..a }), ".log");
        assert_unknown(claims.decision(claims.draw()), ".log");
        assert_eq!(outcome(&claims, complete), Some(true), "nothing changes what is complete");
        assert_eq!((outcome(&claims, b), outcome(&claims, b_next)), (Some(true), None), "another name");
        assert!(claims.describe("b").unwrap().is_some());
    }
    let claims_ = claims(&env);
    assert!(claims_.forget("a").unwrap());
    let again = claim(&claims_, "a");
    assert!(again.epoch == 0 && again.id != a.id);
    decide(&claims_, again, true).unwrap();
    for claims in [claims_, claims(&env)] {
        assert_eq!(outcome(&claims, again), Some(true));
        assert_unknown(claims.decision(a), ".log");
        assert!(claims.describe("a").unwrap().is_some());
    }
}

#[test]
fn a_header_that_cannot_be_read_is_damage_as_well() {
    for header in ["streamlog.ends", "streamlog.outcome"] {
        let env = MemoryEnv::new();
        let claims = claims(&env);
        let value = value(9, 5, TransactionStatus::PrepareCommit);
        let headers = vec![(header.into(), Some(vec![1, 1]))];
        let (key, value) = (encode_transaction_key("a"), Some(encode_transaction_value(&value)));
        write(&claims, vec![TableRecord { key, value, headers }]);
        assert_unknown(claims.describe("a"), "what producer 'a' did last");
        assert_unknown(claims.decision(Claimed { id: 9, epoch: 4 }), "abort it");
    }
    let env = MemoryEnv::new();
    let claims = claims(&env);
    write(&claims, vec![record::entry("a", Some(&value(-1, 5, TransactionStatus::Empty)))]);
    assert_unknown(claims.describe("a"), "producer id -1 at epoch 5");
    write(&claims, vec![TableRecord { key: vec![0, 0, 0], value: None, headers: vec![] }]);
    assert_unknown(claims.describe("b"), "what producer 'b' did last");
}

#[test]
fn a_batch_that_cannot_be_decoded_may_have_said_anything() {
    let env = MemoryEnv::new();
    let first = claims(&env);
    let a = claim(&first, "a");
    let decided = decide(&first, a, true).unwrap();
    let path = "/log/__transaction_state-0/00000000000000000000.log".as_ref();
    let begin = decided.log.size();
    claim(&first, "hidden");
    let (b, last) = (claim(&first, "b"), claim(&first, "a"));
    let file = env.open(path, Open::Write).unwrap();
    let mut batch = vec![0; file.len().unwrap() as usize - begin as usize];
    read_full_at(&*file, &mut batch, begin).unwrap();
    let end = BatchHeader::parse(&batch).unwrap().size() as usize;
    // Something other than records, under a right checksum: whole, but no record can be told.
    batch[HEADER_LEN] = 0x7e;
    let crc = crc32c(&batch[CRC_START..end]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    file.write_at(&batch[..end], begin).unwrap();
    let claims_ = claims(&env);
    assert_unknown(claims_.describe("hidden"), "'hidden'");
    assert_unknown(claims_.claim("new", MINUTE), "'new'");
    assert_unknown(claims_.decision(a), "abort it");
    // What came after it is known.
    assert_eq!(claims_.describe("b").unwrap().unwrap().producer_id, b.id);
    assert_eq!(claim(&claims_, "a"), Claimed { epoch: last.epoch + 1, ..last });
    let next = decide(&claims_, Claimed { epoch: last.epoch + 1, ..last }, true).unwrap().next;
    assert_eq!(outcome(&claims_, Claimed { epoch: last.epoch + 1, ..last }), Some(true));
    assert_unknown(claims_.decision(next), "abort it");
    // Producers without a name go on: what is damaged is older than they are.
    let drawn = claims_.draw();
    decide(&claims_, drawn, true).unwrap();
    assert_eq!(outcome(&claims_, drawn), Some(true));
    claims_.forget("new").unwrap();
    assert_eq!(claim(&claims_, "new").epoch, 0);
}

#[test]
fn a_log_with_an_unreadable_record_is_neither_rewritten_nor_given_a_sidecar() {
    let env = MemoryEnv::new();
    let eager =
        CompactionThresholds { snapshot_every: 1, rewrite_above: 1, ..CompactionThresholds::default() };
    let claims = with_upkeep(&env, eager);
    write(&claims, vec![unreadable("a")]);
    for _ in 0..20 {
        claim(&claims, "b");
    }
    assert!(!claims.table.read(State::is_whole).unwrap());
    assert_unknown(with_upkeep(&env, eager).describe("a"), ".log");
    let sidecar = format!("/log/__transaction_state-0/{}", TransactionState::SIDECAR);
    assert!(env.open(sidecar.as_ref(), Open::Read).is_err());
}
