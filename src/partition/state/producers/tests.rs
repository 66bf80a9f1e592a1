//! The rules for producers, one state at a time.

use crate::partition::state::producers::*;
use std::cell::Cell;

thread_local! {
    /// How many ids were compared to find the batches of producers in a snapshot.
    pub(super) static COMPARED: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn facts(first: i32, last: i32, base: u64) -> BatchFacts {
    BatchFacts {
        producer_id: 9,
        epoch: 0,
        first_sequence: first,
        last_sequence: last,
        base_offset: Offset::new(base),
        last_offset: Offset::new(base) + (last - first) as u64,
        timestamp: Timestamp::from_millis(1000),
        transactional: false,
    }
}

fn at() -> TopicPartition {
    TopicPartition::new("t", 0)
}

#[test]
fn a_retry_among_the_last_five_gets_its_first_offsets_and_an_older_one_is_out_of_order() {
    let mut state = ProducerState::default();
    for i in 0..6 {
        let batch = facts(i * 2, i * 2 + 1, i as u64 * 2);
        assert_eq!(state.check_sequence(&batch, &at()).unwrap(), GateAnswer::Append);
        state.applied(&batch);
    }
    let retry = state.check_sequence(&facts(2, 3, 99), &at()).unwrap();
    let GateAnswer::Duplicate { base_offset, last_offset, .. } = retry else { panic!("{retry:?}") };
    assert_eq!((base_offset, last_offset), (Offset::new(2), Offset::new(3)));
    let old = state.check_sequence(&facts(0, 1, 99), &at()).unwrap_err();
    assert!(matches!(old, Error::OutOfOrderSequence { expected: 12, found: 0, .. }), "{old}");
    let (entries, batches) = state.to_snapshot();
    let back = ProducerState::from_snapshot(&entries, &batches);
    assert!(matches!(back.check_sequence(&facts(2, 3, 99), &at()).unwrap(), GateAnswer::Duplicate { .. }));
    let short = ProducerState::from_snapshot(&entries, &[]);
    assert!(short.check_sequence(&facts(2, 3, 99), &at()).is_err());
}

#[test]
fn sequences_wrap_and_a_new_epoch_begins_at_zero() {
    let mut state = ProducerState::default();
    state.applied(&facts(i32::MAX - 1, i32::MAX, 0));
    assert_eq!(state.check_sequence(&facts(0, 0, 2), &at()).unwrap(), GateAnswer::Append);
    let newer = BatchFacts { epoch: 1, ..facts(1, 1, 2) };
    assert!(state.check_sequence(&newer, &at()).is_err());
    state.applied(&BatchFacts { epoch: 1, ..facts(0, 0, 2) });
    assert!(matches!(state.check_sequence(&facts(0, 0, 3), &at()), Err(Error::Fenced { .. })));
}

#[test]
fn a_newer_epoch_begins_at_zero_whatever_came_before_and_knows_no_batch_of_an_older_one() {
    let mut state = ProducerState::default();
    state.applied(&facts(0, 4, 0));
    let newer = |first, last| BatchFacts { epoch: 1, ..facts(first, last, 5) };
    assert_eq!(state.check_sequence(&newer(0, 4), &at()).unwrap(), GateAnswer::Append);
    let next = state.check_sequence(&newer(5, 5), &at()).unwrap_err();
    assert!(matches!(next, Error::OutOfOrderSequence { expected: 0, found: 5, .. }), "{next}");
    state.applied(&newer(0, 4));
    assert_eq!(state.check_sequence(&newer(5, 5), &at()).unwrap(), GateAnswer::Append);
    let same = |base| GateAnswer::Duplicate {
        base_offset: Offset::new(base),
        last_offset: Offset::new(base + 4),
        timestamp: Timestamp::from_millis(1000),
    };
    assert_eq!(state.check_sequence(&newer(0, 4), &at()).unwrap(), same(5));
    // A batch of the older epoch is no duplicate of one that has its sequences.
    assert!(matches!(state.check_sequence(&facts(0, 4, 9), &at()), Err(Error::Fenced { .. })));
}

#[test]
fn a_retry_counts_as_one_only_where_both_its_sequences_are_those_of_a_batch() {
    let mut state = ProducerState::default();
    state.applied(&facts(0, 4, 0));
    state.applied(&facts(5, 9, 5));
    for (first, last) in [(1, 4), (0, 3), (5, 8), (6, 9), (4, 9)] {
        let part = state.check_sequence(&facts(first, last, 10), &at()).unwrap_err();
        assert!(matches!(part, Error::OutOfOrderSequence { expected: 10, .. }), "{first} to {last}: {part}");
    }
}

#[test]
fn a_marker_of_the_same_epoch_keeps_the_batches_and_one_of_a_newer_epoch_fences_them() {
    let mut state = ProducerState::default();
    state.applied(&BatchFacts { transactional: true, ..facts(0, 1, 0) });
    let outside = state.check_sequence(&facts(2, 2, 2), &at()).unwrap_err();
    assert!(matches!(outside, Error::InvalidTransactionState { .. }), "{outside}");
    let inside = BatchFacts { transactional: true, ..facts(2, 2, 2) };
    assert_eq!(state.check_sequence(&inside, &at()).unwrap(), GateAnswer::Append);
    state.marker(&facts(0, 0, 2), 0, true);
    let retry = state.check_sequence(&facts(0, 1, 3), &at()).unwrap();
    assert!(matches!(retry, GateAnswer::Duplicate { .. }), "{retry:?}");
    assert_eq!(state.check_sequence(&facts(2, 2, 3), &at()).unwrap(), GateAnswer::Append);
    state.marker(&BatchFacts { epoch: 1, ..facts(0, 0, 3) }, 0, false);
    assert!(matches!(state.check_sequence(&facts(0, 1, 4), &at()), Err(Error::Fenced { .. })));
    let newer = |first| BatchFacts { epoch: 1, ..facts(first, first, 4) };
    assert_eq!(state.check_sequence(&newer(0), &at()).unwrap(), GateAnswer::Append);
    assert!(state.check_sequence(&newer(2), &at()).is_err());
}

#[test]
fn the_longer_snapshot_is_believed_only_about_what_kafkas_says_too() {
    let mut state = ProducerState::default();
    state.applied(&facts(0, 1, 0));
    state.applied(&facts(2, 3, 2));
    let (entries, longer) = state.to_snapshot();
    let knows_both = |entries: &[ProducerEntry], longer: &[ProducerBatches]| {
        let back = ProducerState::from_snapshot(entries, longer);
        // The last one is known by Kafka's alone.
        let last = facts(entries[0].last_sequence - 1, entries[0].last_sequence, 9);
        let last = BatchFacts { epoch: entries[0].producer_epoch, ..last };
        let last = back.check_sequence(&BatchFacts { producer_id: entries[0].producer_id, ..last }, &at());
        assert!(matches!(last.unwrap(), GateAnswer::Duplicate { .. }));
        back.producers[&entries[0].producer_id].batches.len() == 2
    };
    assert!(knows_both(&entries, &longer));
    let wrong: [fn(&mut ProducerEntry); 4] = [
        |entry| entry.producer_id += 1,
        |entry| entry.producer_epoch += 1,
        |entry| entry.last_offset += 1,
        |entry| entry.last_sequence += 1,
    ];
    for change in wrong {
        let mut entries = entries.clone();
        change(&mut entries[0]);
        assert!(!knows_both(&entries, &longer), "{:?}", entries[0]);
    }
    // One that has sent nothing yet, or only markers, has no last batch.
    let silent = ProducerEntry { last_offset: -1, last_sequence: -1, ..entries[0] };
    let back = ProducerState::from_snapshot(&[silent], &[]);
    assert_eq!(back.check_sequence(&facts(0, 0, 0), &at()).unwrap(), GateAnswer::Append);
    assert!(back.check_sequence(&facts(4, 4, 0), &at()).is_err());
}

/// What the order of the transactions must agree with: a walk over all producers.
fn first_open_by_walking(state: &ProducerState) -> Option<Offset> {
    state.producers.values().filter_map(|producer| producer.open_transaction).min()
}

#[test]
fn the_order_of_open_transactions_agrees_with_what_each_producer_has_open() {
    let mut state = ProducerState::default();
    let mut random = 7_u64;
    for step in 0..3000_u64 {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let producer_id = (random >> 33) as i64 % 20;
        let batch = BatchFacts { producer_id, transactional: true, ..facts(0, 0, step * 2 + 100) };
        match (random >> 60) % 6 {
            0..3 => state.applied(&batch),
            3 => {
                let aborted = state.marker(&batch, 0, false);
                let open = first_open_by_walking(&state).unwrap_or(batch.last_offset + 1);
                assert!(aborted.is_none_or(|aborted| aborted.last_stable_offset == open));
            }
            4 => state.opened_earlier(producer_id, 0, Offset::new(step % 100)),
            _ => {
                let (first_offset, last_offset) = (batch.base_offset, batch.last_offset);
                let last_stable_offset = last_offset;
                let gone = AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset };
                state.aborted_unseen(&gone);
            }
        }
        assert_eq!(state.unstable.first_without_marker(), first_open_by_walking(&state), "step {step}");
        if step % 17 == 0 {
            state.on_high_watermark(batch.last_offset + 1);
            assert_eq!(state.first_unstable_offset(), first_open_by_walking(&state), "step {step}");
            let (entries, batches) = state.to_snapshot();
            let back = ProducerState::from_snapshot(&entries, &batches);
            assert_eq!(back.first_unstable_offset(), state.first_unstable_offset());
        }
    }
    assert!(state.first_unstable_offset().is_some());
}

#[test]
fn a_transaction_is_unstable_until_the_high_watermark_passed_its_marker() {
    let mut state = ProducerState::default();
    state.applied(&BatchFacts { transactional: true, ..facts(0, 1, 10) });
    assert_eq!(state.first_unstable_offset(), Some(Offset::new(10)));
    let aborted = state.marker(&facts(0, 0, 12), 5, false).unwrap();
    assert_eq!((aborted.first_offset, aborted.last_stable_offset), (Offset::new(10), Offset::new(13)));
    state.on_high_watermark(Offset::new(12));
    assert_eq!(state.first_unstable_offset(), Some(Offset::new(10)));
    state.on_high_watermark(Offset::new(13));
    assert_eq!(state.first_unstable_offset(), None);
}

/// `count` producers with two batches each.
fn many(count: i64) -> ProducerState {
    let mut state = ProducerState::default();
    for producer_id in 0..count {
        state.applied(&BatchFacts { producer_id, ..facts(0, 0, producer_id as u64 * 2) });
        state.applied(&BatchFacts { producer_id, ..facts(1, 1, producer_id as u64 * 2 + 1) });
    }
    state
}

#[test]
fn a_snapshot_of_thirty_thousand_producers_is_loaded_by_id() {
    let count = 30_000;
    let (entries, longer) = many(count).to_snapshot();
    COMPARED.set(0);
    let back = ProducerState::from_snapshot(&entries, &longer);
    assert!(back.producers.values().all(|producer| producer.batches.len() == 2));
    assert_eq!(back.producers.len(), count as usize);
    assert!(COMPARED.get() <= 17 * count as usize, "{} comparisons", COMPARED.get());
}

#[test]
fn a_producer_that_was_silent_for_the_expiration_is_forgotten_unless_its_transaction_is_open() {
    let millis = Timestamp::from_millis;
    let mut state = ProducerState::default();
    state.applied(&facts(0, 1, 0));
    state.applied(&BatchFacts { producer_id: 10, transactional: true, ..facts(0, 1, 2) });
    let knows = |state: &ProducerState, producer_id| state.producers.contains_key(&producer_id);
    state.expire(millis(1000 + 86_400_000 - 1));
    assert!(knows(&state, 9) && knows(&state, 10));
    state.expire(millis(1000 + 86_400_000));
    assert!(!knows(&state, 9) && knows(&state, 10));
    // Its next batch continues, and is taken as a first one.
    assert_eq!(state.check_sequence(&facts(2, 2, 4), &at()).unwrap(), GateAnswer::Append);
    assert_eq!(state.first_unstable_offset(), Some(Offset::new(2)));
}

#[test]
fn old_timestamps_do_not_make_a_producer_forgotten_that_has_just_sent_something() {
    let now = Timestamp::from_millis(1 << 41);
    let mut state = ProducerState::default();
    state.expire(now);
    state.applied(&facts(0, 1, 0));
    let soon = Timestamp::from_millis((1 << 41) + 86_399_999);
    state.expire(soon);
    assert!(matches!(state.check_sequence(&facts(0, 1, 2), &at()).unwrap(), GateAnswer::Duplicate { .. }));
    let (entries, longer) = state.to_snapshot();
    let mut back = ProducerState::from_snapshot(&entries, &longer);
    back.expire(soon);
    let GateAnswer::Duplicate { timestamp, .. } = back.check_sequence(&facts(0, 1, 2), &at()).unwrap() else {
        panic!("forgotten")
    };
    assert_eq!(timestamp, Timestamp::from_millis(1000), "the batch keeps its own");
}

#[test]
fn a_marker_of_the_last_epoch_fences_what_comes_late_until_the_producer_has_expired() {
    let mut state = ProducerState::default();
    let late = BatchFacts { epoch: i16::MAX - 1, transactional: true, ..facts(0, 1, 0) };
    state.applied(&late);
    state.marker(&BatchFacts { epoch: i16::MAX, ..facts(0, 0, 2) }, 0, false);
    assert!(matches!(state.check_sequence(&late, &at()), Err(Error::Fenced { .. })));
    state.expire(Timestamp::from_millis(1000 + 86_400_000));
    assert!(state.producers.is_empty());
}
