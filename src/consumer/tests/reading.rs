//! What a poll returns: all records, once, in order; fairly; in parts; past aborted batches and up to damaged ones.

use super::*;
use crate::{
    env::Open,
    error::ErrorKind,
    partition::tests::{end, transactional},
    planted,
};

#[test]
fn every_record_comes_once_in_order_with_all_it_has() {
    let world = World::new(1);
    let log = world.partition();
    let record = RecordData::new("v").key("k").header("h", "x").timestamp(Timestamp::from_millis(5));
    log.append(&[record, RecordData::tombstone("k")]).unwrap();
    world.append(0, &["w"]);
    let mut consumer = world.consumer(|b| b);
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!((records.len(), records.is_empty(), records.iter().len()), (3, false, 3));
    assert_eq!(records.partitions().collect::<Vec<_>>(), [&partition("t", 0)]);
    let all: Vec<_> = records.iter().collect();
    assert_eq!((all[0].topic(), all[0].partition(), all[0].offset), ("t", 0, Offset::ZERO));
    assert_eq!((all[0].key, all[0].value), (Some(&b"k"[..]), Some(&b"v"[..])));
    assert_eq!(all[0].timestamp, Timestamp::from_millis(5));
    assert_eq!(all[0].headers.into_iter().collect::<Vec<_>>(), [("h", Some(&b"x"[..]))]);
    assert_eq!((all[1].value, all[1].next_offset), (None, Offset::new(2)));
    // Shared, not copied.
    assert_eq!(all[0].value_bytes().unwrap().as_ptr(), all[0].value.unwrap().as_ptr());
    let owned = all[2].to_owned();
    assert_eq!(records.records(&partition("t", 0)).count(), 3);
    drop(records);
    assert_eq!((owned.value.as_deref(), owned.offset), (Some(&b"w"[..]), Offset::new(2)));
    assert!(poll(&mut consumer).is_empty());
}

#[test]
fn a_batch_is_returned_in_parts_when_a_poll_has_no_room_for_it() {
    let world = World::new(1);
    world.append(0, &["a", "b", "c", "d", "e"]);
    world.append(0, &["f"]);
    let mut consumer = world.consumer(|b| b.max_poll_records(2));
    assert_eq!(poll(&mut consumer), ["a", "b"]);
    assert_eq!(consumer.position(&partition("t", 0)).unwrap(), 2);
    assert_eq!(poll(&mut consumer), ["c", "d"]);
    assert_eq!(poll(&mut consumer), ["e", "f"]);
    let mut consumer = world.consumer(|b| b.max_poll_bytes(1));
    for value in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(poll(&mut consumer), [value]);
    }
    assert!(poll(&mut consumer).is_empty());
}

#[test]
fn a_seek_into_a_batch_begins_inside_it() {
    let world = World::new(1);
    world.append(0, &["a", "b", "c", "d"]);
    let mut consumer = world.consumer(|b| b.max_poll_records(2));
    consumer.seek(&partition("t", 0), 1).unwrap();
    assert_eq!(poll(&mut consumer), ["b", "c"]);
    consumer.seek(&partition("t", 0), 3).unwrap();
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!((values(&records), records.len()), (vec!["d".to_string()], 1));
}

#[test]
fn partitions_with_data_take_turns() {
    let world = World::new(3);
    for number in 0..3 {
        let name = number.to_string();
        world.append(number, &[name.as_str(); 10]);
    }
    let mut consumer = world.consumer(|b| b.max_poll_records(4));
    let served: Vec<String> = (0..3).map(|_| poll(&mut consumer)[0].clone()).collect();
    assert_eq!(served, ["0", "1", "2"]);
    let mut rest = 0;
    while let n @ 1.. = poll(&mut consumer).len() {
        rest += n;
    }
    assert_eq!(rest, 30 - 12);
}

#[test]
fn one_poll_takes_from_several_partitions() {
    let world = World::new(3);
    world.append(0, &["a"]);
    world.append(2, &["c"]);
    let mut consumer = world.consumer(|b| b);
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(records.partitions().map(|p| p.partition).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(values(&records), ["a", "c"]);
}

#[test]
fn read_committed_waits_for_the_decision_and_drops_what_was_aborted() {
    let mistakes = ["show_what_was_aborted", "show_what_controls", "read_what_is_undecided"];
    planted::hold(decided_and_undecided, &mistakes);
}

fn decided_and_undecided() {
    let (world, log) = World::of_one();
    let mut consumer = world.committed_consumer();
    transactional(&log, 1, 0, "aborted");
    transactional(&log, 2, 0, "committed");
    world.append(0, &["plain"]);
    assert!(poll(&mut consumer).is_empty());
    end(&log, 1, false);
    assert!(poll(&mut consumer).is_empty());
    assert_eq!(consumer.position(&partition("t", 0)).unwrap(), 1, "over what was aborted");
    end(&log, 2, true);
    assert_eq!(poll(&mut consumer), ["committed", "plain"]);
    // After the two markers, which no consumer sees.
    consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(consumer.position(&partition("t", 0)).unwrap(), 5);
    let mut all = world.consumer(|b| b);
    assert_eq!(poll(&mut all), ["aborted", "committed", "plain"]);
}

fn damage(world: &World, number: u32, position: u64) {
    let path = world.log(number).identity.dir.join("00000000000000000000.log");
    let file = world.env.open(&path, Open::Write).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, position).unwrap();
    file.write_at(&[byte[0] ^ 1], position).unwrap();
}

#[test]
fn damage_is_an_error_after_the_records_before_it_and_is_not_skipped() {
    let world = World::new(2);
    world.append(0, &["a"]);
    let first = world.log(0).size();
    world.append(0, &["b"]);
    world.append(0, &["c"]);
    damage(&world, 0, first + 65);
    world.append(1, &["x"]);
    let mut consumer = world.consumer(|b| b);
    assert_eq!(poll(&mut consumer), ["a", "x"]);
    for _ in 0..2 {
        match consumer.poll(Duration::ZERO) {
            Err(Error::Corrupt { path, position, .. }) => {
                assert!(path.ends_with("t-0/00000000000000000000.log"), "{path:?}");
                assert_eq!(position, first, "where the batch begins");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(consumer.position(&partition("t", 0)).unwrap(), 1);
    }
    // The other partition continues in between.
    world.append(1, &["y"]);
    assert_eq!(poll(&mut consumer), ["y"]);
    assert_eq!(consumer.poll(Duration::ZERO).unwrap_err().kind(), ErrorKind::Corrupt);
    // And this one once the program has moved past the damage.
    consumer.seek(&partition("t", 0), 2).unwrap();
    assert_eq!(poll(&mut consumer), ["c"]);
}

#[test]
fn damage_does_not_wait_behind_a_busy_partition() {
    let world = World::new(2);
    world.append(0, &["b"]);
    damage(&world, 0, 65);
    let mut consumer = world.consumer(|b| b.max_poll_records(1));
    world.append(1, &["x"; 9]);
    let answers: Vec<bool> = (0..4).map(|_| consumer.poll(Duration::ZERO).is_ok()).collect();
    assert!(answers.contains(&true) && answers.contains(&false), "{answers:?}");
}

#[test]
fn a_poll_that_finds_nothing_holds_nothing() {
    let world = World::new(2);
    let mut consumer = world.consumer(|b| b);
    consumer.poll(Duration::ZERO).unwrap();
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!((records.chunks.capacity(), records.resets.capacity()), (0, 0));
}
