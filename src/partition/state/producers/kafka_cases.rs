//! Situations from Kafka's own tests of producer state (`ProducerStateManagerTest`), by their names there.

use super::{tests::facts, *};

fn at() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn is_appended(state: &ProducerState, batch: &BatchFacts) -> bool {
    matches!(state.check_sequence(batch, &at()), Ok(GateAnswer::Append))
}

fn is_out_of_order(state: &ProducerState, batch: &BatchFacts) -> bool {
    matches!(state.check_sequence(batch, &at()), Err(Error::OutOfOrderSequence { .. }))
}

fn transactional(producer_id: i64, first: i32, last: i32, base: u64) -> BatchFacts {
    BatchFacts { producer_id, transactional: true, ..facts(first, last, base) }
}

/// The marker of a transaction, at `offset`.
fn end(state: &mut ProducerState, producer_id: i64, offset: u64, commit: bool) -> Option<AbortedTransaction> {
    state.marker(&BatchFacts { producer_id, ..facts(0, 0, offset) }, 0, commit)
}

#[test]
fn basic_id_mapping() {
    let mut state = ProducerState::default();
    assert!(is_appended(&state, &facts(0, 0, 0)) && is_appended(&state, &facts(5, 5, 0)), "no state: any");
    state.applied(&facts(0, 0, 0));
    state.applied(&facts(1, 1, 1));
    assert!(is_out_of_order(&state, &facts(5, 5, 2)));
    let newer = |first| BatchFacts { epoch: 1, ..facts(first, first, 2) };
    assert!(is_out_of_order(&state, &newer(1)) && is_appended(&state, &newer(0)));
    state.applied(&newer(0));
    assert!(matches!(state.check_sequence(&facts(2, 2, 3), &at()), Err(Error::Fenced { .. })));
}

#[test]
fn producer_sequence_wrap_around() {
    let mut state = ProducerState::default();
    state.applied(&facts(i32::MAX, i32::MAX, 9));
    assert!(is_out_of_order(&state, &facts(1, 1, 10)));
    assert!(is_appended(&state, &facts(0, 0, 10)));
}

#[test]
fn producer_sequence_with_wrap_around_batch_record() {
    let mut state = ProducerState::default();
    let wrapping = BatchFacts {
        last_sequence: 9,
        last_offset: Offset::new(2020),
        ..facts(2_147_483_637, 2_147_483_637, 2000)
    };
    state.applied(&wrapping);
    let again = state.check_sequence(&wrapping, &at()).unwrap();
    assert!(matches!(again, GateAnswer::Duplicate { base_offset, .. } if base_offset == 2000), "{again:?}");
    assert!(is_appended(&state, &facts(10, 10, 2021)));
}

#[test]
fn control_record_bumps_producer_epoch() {
    let mut state = ProducerState::default();
    state.applied(&facts(0, 0, 0));
    assert_eq!(state.marker(&BatchFacts { epoch: 1, ..facts(0, 0, 1) }, 0, false), None, "nothing was open");
    let next = |epoch, first| BatchFacts { epoch, ..facts(first, first, 2) };
    assert!(is_out_of_order(&state, &next(1, 2)) && is_out_of_order(&state, &next(2, 2)));
    assert!(is_appended(&state, &next(1, 0)));
    let (entries, _) = state.to_snapshot();
    assert_eq!((entries[0].producer_epoch, entries[0].last_sequence), (1, -1));
    assert_eq!(entries[0].current_txn_first_offset, None);
}

#[test]
fn last_stable_offset_completed_txn() {
    let mut state = ProducerState::default();
    let first = 992_342;
    for (producer, base) in [(1, first), (2, first + 25), (3, first + 57)] {
        state.applied(&transactional(producer, 0, 0, base));
    }
    let stable = |aborted: Option<AbortedTransaction>| aborted.unwrap().last_stable_offset.value();
    assert_eq!(stable(end(&mut state, 1, first + 72, false)), first + 25);
    assert_eq!(stable(end(&mut state, 3, first + 80, false)), first + 25);
    assert_eq!(stable(end(&mut state, 2, first + 90, false)), first + 91);
}

#[test]
fn first_unstable_offset_after_the_high_watermark() {
    let mut state = ProducerState::default();
    state.applied(&transactional(1, 0, 0, 99));
    state.applied(&transactional(2, 0, 0, 105));
    assert_eq!(end(&mut state, 1, 109, true), None);
    assert_eq!(state.stable_below(Offset::new(100)), 99);
    assert_eq!(state.stable_below(Offset::new(109)), 99);
    assert_eq!(state.stable_below(Offset::new(110)), 105);
    assert_eq!(end(&mut state, 2, 112, false).unwrap().first_offset, 105);
    assert_eq!(state.stable_below(Offset::new(112)), 105);
    assert_eq!(state.stable_below(Offset::new(113)), 113);
}

#[test]
fn recover_from_snapshot_unfinished_transaction() {
    let mut state = ProducerState::default();
    state.applied(&transactional(9, 0, 0, 0));
    state.applied(&transactional(9, 1, 1, 1));
    let (entries, longer) = state.to_snapshot();
    let mut back = ProducerState::from_snapshot(&entries, &longer);
    assert_eq!(entries[0].current_txn_first_offset, Some(Offset::ZERO));
    assert!(is_appended(&back, &transactional(9, 2, 2, 2)));
    let plain = back.check_sequence(&facts(2, 2, 2), &at());
    assert!(matches!(plain, Err(Error::InvalidTransactionState { .. })), "{plain:?}");
    assert_eq!(back.stable_below(Offset::new(2)), 0);
}

#[test]
fn recover_from_snapshot_finished_transaction() {
    let mut state = ProducerState::default();
    state.applied(&transactional(9, 0, 1, 0));
    assert_eq!(end(&mut state, 9, 2, true), None);
    let (entries, longer) = state.to_snapshot();
    let mut back = ProducerState::from_snapshot(&entries, &longer);
    assert_eq!((entries[0].current_txn_first_offset, back.stable_below(Offset::new(3))), (None, 3.into()));
    assert!(is_appended(&back, &facts(2, 2, 3)));
}

#[test]
fn recover_from_snapshot_empty_transaction() {
    let mut state = ProducerState::default();
    assert_eq!(state.marker(&BatchFacts { epoch: 4, ..facts(0, 0, 0) }, 0, false), None);
    let (entries, longer) = state.to_snapshot();
    let back = ProducerState::from_snapshot(&entries, &longer);
    assert_eq!((entries[0].producer_epoch, entries[0].current_txn_first_offset), (4, None));
    assert!(is_appended(&back, &BatchFacts { epoch: 4, ..facts(0, 0, 1) }));
    assert!(matches!(back.check_sequence(&facts(0, 0, 1), &at()), Err(Error::Fenced { .. })));
}

#[test]
fn remove_expired_pids_on_reload() {
    let day = 86_400_000;
    let mut state = ProducerState::default();
    state.applied(&facts(0, 0, 0));
    let later = BatchFacts { producer_id: 10, timestamp: Timestamp::from_millis(2000), ..facts(0, 0, 1) };
    state.applied(&later);
    let (entries, longer) = state.to_snapshot();
    let mut back = ProducerState::from_snapshot(&entries, &longer);
    back.expire(Timestamp::from_millis(1000 + day));
    assert!(is_appended(&back, &facts(2, 2, 2)), "expired, and taken as a first one");
    let again = back.check_sequence(&later, &at()).unwrap();
    assert!(matches!(again, GateAnswer::Duplicate { .. }), "{again:?}");
}

#[test]
fn update_producer_transaction_state() {
    let mut state = ProducerState::default();
    state.applied(&facts(0, 0, 9));
    let data = |first, last, base| transactional(9, first, last, base);
    state.applied(&data(1, 5, 16));
    state.applied(&data(6, 10, 26));
    assert_eq!(state.stable_below(Offset::new(31)), 16);
    let aborted = end(&mut state.clone(), 9, 40, false).unwrap();
    assert_eq!((aborted.first_offset.value(), aborted.last_offset.value()), (16, 40));
    assert_eq!(end(&mut state, 9, 40, true), None);
    let (entries, batches) = state.to_snapshot();
    assert_eq!((entries[0].last_sequence, entries[0].last_offset), (10, 30));
    assert_eq!(entries[0].current_txn_first_offset, None);
    let remembered =
        batches[0].batches.iter().map(|batch| (batch.first_sequence(), batch.base_offset().value()));
    assert_eq!(remembered.collect::<Vec<_>>(), [(0, 9), (1, 16), (6, 26)]);
    assert_eq!(state.stable_below(Offset::new(41)), 41);
}
