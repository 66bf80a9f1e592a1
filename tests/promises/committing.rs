//! What consumers commit, by themselves and when the program says so; groups, their lag and their administration.

use crate::{Promise, promises, world::*};
use std::collections::BTreeMap;
use streamlog::{
    Offset, TopicConfig,
    admin::{GroupReset, ResetTo},
    clients::{ConsumerBuilder, OffsetAndMetadata},
};

promises! {
    a_record_counts_as_done_when_the_next_poll_is_called: "src/consumer/builder.rs",
        "With it a record counts as done when the next poll is called" => [commit_one_poll_early];
    commits_have_an_interval: "src/consumer/builder.rs",
        "How often a poll commits the positions of what earlier polls returned"
        => [commit_with_every_poll, a_waiting_poll_commits_nothing];
    closing_commits_once_more: "src/consumer/builder.rs", "closing does it once more" => [a_close_commits_nothing];
    turning_away_commits: "src/consumer/mod.rs", "The failure of an automatic commit; the subscription or assignment then stays"
        => [an_unsubscribe_commits_nothing];
    dropping_does_not_commit: "src/consumer/mod.rs", "Dropping it does the same without the commit"
        => [a_drop_commits];
    a_commit_holds_whatever_others_committed: "src/consumer/commits.rs",
        "When this returns, these are the group's offsets, whatever another consumer or an administrator committed before"
        => [commit_what_changed_here_alone];
    a_commit_goes_back_as_well: "src/consumer/mod.rs", "the last offset that any of them commits holds"
        => [a_commit_never_goes_back];
    what_is_there_is_not_written_again: "src/consumer/commits.rs",
        "If the group has them already, nothing is written" => [everything_is_news];
    a_record_that_is_done_does_not_come_again: "src/consumer/commits.rs",
        "Commits that this record, and all before it in its partition, are done" => [commit_the_record_itself];
    what_is_noted_beside_an_offset_is_kept: "src/consumer/coordinator.rs", "any text that the committer stores with it"
        => [metadata_is_no_news];
    a_deleted_topic_takes_its_own_offsets_alone: "src/streamlog/admin.rs",
        "Deletes a topic with its records and committed offsets" => [a_tombstone_forgets_the_group];
    the_lag_is_what_lies_between: "src/group/admin.rs", "How many offsets lie between what it committed and the ends"
        => [a_lag_leaves_out_a_record];
    a_shift_goes_both_ways: "src/group/admin.rs", "By this many offsets, forwards or (negative) backwards"
        => [a_shift_forgets_its_sign];
    a_shift_needs_something_to_shift: "src/group/admin.rs", "A partition without a committed offset stays without one"
        => [a_shift_begins_at_the_start];
    a_reset_stays_in_the_log: "src/group/admin.rs", "To this offset, or to the log start or the end if it lies outside the log"
        => [a_reset_leaves_the_log];
}

pub const ELSEWHERE: &[Promise] = &[
    Promise {
        test: "nothing_acknowledged_is_lost_and_nothing_is_invented@tests/crash_campaign/main.rs",
        file: "src/manual/durability.rs",
        says: "a commit makes the data it covers durable before itself",
        mistakes: &["commit_without_its_data"],
    },
    Promise {
        test: "nothing_acknowledged_is_lost_and_nothing_is_invented@tests/crash_campaign/main.rs",
        file: "src/manual/coming_from_kafka.rs",
        says: "one beyond the end is OffsetOutOfRange",
        mistakes: &["commit_beyond_the_end"],
    },
    Promise {
        test: "nothing_acknowledged_is_lost_and_nothing_is_invented@tests/crash_campaign/main.rs",
        file: "src/consumer/commits.rs",
        says: "survive a power cut",
        mistakes: &["commit_acknowledged_before_flush"],
    },
    Promise {
        test: "nothing_acknowledged_is_lost_and_nothing_is_invented@tests/crash_campaign/main.rs",
        file: "src/consumer/commits.rs",
        says: "none of them is half there",
        mistakes: &["commit_in_pieces"],
    },
    Promise {
        test: "nothing_acknowledged_is_lost_and_nothing_is_invented@tests/crash_campaign/main.rs",
        file: "src/consumer/commits.rs",
        says: "was for a topic that has been deleted since",
        mistakes: &["commit_of_a_deleted_topic"],
    },
    Promise {
        test: "nothing_acknowledged_is_lost_and_nothing_is_invented@tests/crash_campaign/main.rs",
        file: "src/group/admin.rs",
        says: "Forgets a group and all it has committed. That is durable when this returns",
        mistakes: &["remember_what_was_forgotten"],
    },
    Promise {
        test: "offsets_of_a_transaction_are_committed_when_it_is_and_hold_no_one_back@src/group/tests/transactions.rs",
        file: "src/group/mod.rs",
        says: "Offsets that were sent in a transaction are committed when it is, and not before",
        mistakes: &["offsets_are_applied_at_append", "offsets_outside_the_transaction"],
    },
    Promise {
        test: "a_commit_after_the_record_of_a_transaction_holds_though_the_marker_comes_later@src/group/tests/transactions.rs",
        file: "src/group/pending.rs",
        says: "the record with the larger offset holds, the transaction's or another, wherever the marker lies",
        mistakes: &["what_waits_is_never_too_old", "what_is_committed_stays_whatever_waits"],
    },
    Promise {
        test: "offsets_of_an_aborted_transaction_never_count@src/group/tests/transactions.rs",
        file: "src/table/mod.rs",
        says: "what was written in it counts from now on if it was `commit`ted, and never otherwise",
        mistakes: &["offsets_of_an_abort_are_committed"],
    },
    Promise {
        test: "the_outcome_of_a_transaction_counts_before_its_marker_is_durable@src/group/tests/transactions.rs",
        file: "src/table/mod.rs",
        says: "with its marker or before that: as soon as the log knows the outcome",
        mistakes: &["an_outcome_is_only_its_marker"],
    },
    Promise {
        test: "a_consumer_begins_where_a_transaction_is_about_to_commit_when_that_has_ended@src/group/tests/transactions.rs",
        file: "src/consumer/unstable.rs",
        says: "leaves the partition alone and looks again soon; other partitions are read meanwhile",
        mistakes: &["a_consumer_resumes_in_an_open_transaction"],
    },
    Promise {
        test: "a_deleted_group_does_not_come_back_with_a_marker@src/group/tests/transactions.rs",
        file: "src/group/admin.rs",
        says: "What open transactions are about to commit for it is forgotten as well",
        mistakes: &["a_deletion_spares_what_waits"],
    },
    Promise {
        test: "records_that_are_no_offsets_outlast_rewritings_and_sidecars@src/group/tests/transactions.rs",
        file: "src/group/mod.rs",
        says: "are not looked into, and outlast sidecars and rewritings",
        mistakes: &["only_offsets_are_carried_over"],
    },
    Promise {
        test: "a_committed_transaction_ends_a_doubt_only_if_its_record_is_newer@src/group/tests/transactions.rs",
        file: "src/group/doubts.rs",
        says: "One of a transaction counts from the marker on, as of its own offset",
        mistakes: &["a_commit_is_as_new_as_its_marker"],
    },
    Promise {
        test: "what_the_sidecar_does_not_cover_is_read_from_the_log@src/group/tests/upkeep.rs",
        file: "src/codec/layout/consumer-offsets.md",
        says: "the offset that it is as of",
        mistakes: &["a_sidecar_says_more_than_it_has"],
    },
    Promise {
        test: "the_sidecar_of_another_log_is_not_believed@src/group/tests/upkeep.rs",
        file: "src/codec/layout/consumer-offsets.md",
        says: "id of the topic, and the incarnation, of the log that it is made of",
        mistakes: &["believe_anothers_sidecar"],
    },
    Promise {
        test: "a_batch_that_cannot_be_read_is_never_replaced_by_an_older_commit@src/group/tests/hidden.rs",
        file: "src/group/mod.rs",
        says: "A commit that cannot be read is never replaced by an older one",
        mistakes: &["believe_older_commits"],
    },
];

fn automatically(builder: ConsumerBuilder) -> ConsumerBuilder {
    builder.auto_commit(secs(1))
}

fn a_record_counts_as_done_when_the_next_poll_is_called() {
    let world = World::new(1);
    let mut consumer = world.consumer_with(automatically);
    world.send("a");
    world.env.advance(secs(2));
    assert_eq!(poll(&mut consumer), ["a"]);
    assert_eq!(world.committed().unwrap_or(0), 0, "the program has not even seen it");
    world.env.advance(secs(2));
    assert!(poll(&mut consumer).is_empty());
    assert_eq!(world.committed(), Some(1));
}

fn commits_have_an_interval() {
    let world = World::new(1);
    world.append(&["a", "b", "c", "d"]);
    let mut consumer = world.consumer_with(|builder| automatically(builder).max_poll_records(1));
    world.env.advance(secs(2));
    // The second one is due, and the third is not.
    (0..3).for_each(|_| drop(poll(&mut consumer)));
    assert_eq!(world.committed().unwrap_or(0), 0, "nothing was returned before the only poll that was due");
    world.env.advance(secs(2));
    poll(&mut consumer);
    assert_eq!(world.committed(), Some(3));
    // A poll that waits commits in time as well.
    let begun = world.now();
    assert!(consumer.poll(secs(60)).unwrap().is_empty());
    let committed = &world.log.describe_group("g").unwrap().committed[0].1;
    assert_eq!(committed.offset, 4);
    assert!(committed.timestamp < begun.plus(secs(5)), "only after {begun} it is {}", committed.timestamp);
}

fn closing_commits_once_more() {
    let world = World::new(1);
    world.send("a");
    let mut consumer = world.consumer_with(automatically);
    poll(&mut consumer);
    consumer.close().unwrap();
    assert_eq!(world.committed(), Some(1));
}

fn turning_away_commits() {
    let world = World::new(1);
    world.send("a");
    let mut consumer = world.consumer_with(automatically);
    poll(&mut consumer);
    consumer.unsubscribe().unwrap();
    assert_eq!(world.committed(), Some(1));
}

fn dropping_does_not_commit() {
    let world = World::new(1);
    world.send("a");
    let mut consumer = world.consumer_with(automatically);
    poll(&mut consumer);
    drop(consumer);
    assert_eq!(world.committed(), None);
}

fn a_commit_holds_whatever_others_committed() {
    let world = World::new(1);
    world.append(&["a", "b"]);
    let mut consumer = world.consumer();
    poll(&mut consumer);
    consumer.commit_sync().unwrap();
    world.log.reset_group_offsets("g", &GroupReset::to(ResetTo::Earliest)).unwrap();
    assert_eq!(world.committed(), Some(0));
    consumer.commit_sync().unwrap();
    assert_eq!(world.committed(), Some(2));
}

fn a_commit_goes_back_as_well() {
    let world = World::new(1);
    world.append(&["a", "b", "c"]);
    let mut consumer = world.consumer();
    poll(&mut consumer);
    consumer.commit_sync().unwrap();
    consumer.seek(&t(0), 1).unwrap();
    consumer.commit_sync().unwrap();
    assert_eq!(world.committed(), Some(1));
    consumer.commit_offsets([(t(0), Offset::ZERO)]).unwrap();
    assert_eq!(world.committed(), Some(0));
}

fn what_is_there_is_not_written_again() {
    let world = World::new(1);
    world.send("a");
    let mut consumer = world.consumer();
    poll(&mut consumer);
    consumer.commit_sync().unwrap();
    let operations = world.env.operations();
    consumer.commit_sync().unwrap();
    assert_eq!(world.env.operations(), operations);
}

fn a_record_that_is_done_does_not_come_again() {
    let world = World::new(1);
    world.append(&["a", "b", "c"]);
    let mut consumer = world.consumer();
    let records = consumer.poll(NOW).unwrap();
    consumer.commit_record(&records.iter().nth(1).unwrap()).unwrap();
    assert_eq!(poll(&mut world.consumer()), ["c"]);
    consumer.commit_record(&records.into_iter().nth(2).unwrap()).unwrap();
    assert!(poll(&mut world.consumer()).is_empty());
}

fn what_is_noted_beside_an_offset_is_kept() {
    let world = World::new(1);
    world.send("a");
    let mut consumer = world.consumer();
    for note in ["first", "second"] {
        consumer.commit_offsets([(t(0), OffsetAndMetadata::new(1, note))]).unwrap();
        assert_eq!(consumer.committed(&[t(0)]).unwrap()[&t(0)].as_ref().unwrap().metadata, note);
    }
}

fn a_deleted_topic_takes_its_own_offsets_alone() {
    let world = World::new(1);
    world.log.create_topic("u", TopicConfig::default()).unwrap();
    world.send("a");
    let mut consumer = world.consumer();
    let u = streamlog::TopicPartition::new("u", 0);
    consumer.commit_offsets([(t(0), Offset::new(1)), (u, Offset::ZERO)]).unwrap();
    world.log.delete_topic("u").unwrap();
    assert_eq!(world.committed(), Some(1));
    assert_eq!(world.log.describe_group("g").unwrap().committed.len(), 1);
}

fn the_lag_is_what_lies_between() {
    let world = World::new(2);
    world.append(&["a", "b", "c"]);
    world.send_to(1, "d");
    world.consumer().commit_offsets([(t(0), Offset::new(1))]).unwrap();
    assert_eq!(world.log.describe_group("g").unwrap().lag(), 2);
    assert_eq!(world.log.describe_group_on("g", ["t"]).unwrap().lag(), 3);
}

/// Where `g`, which has committed offset 3 of 1..5, is after this reset.
fn reset(to: ResetTo) -> BTreeMap<u32, u64> {
    let world = World::new(2);
    world.append(&["a", "b", "c", "d", "e"]);
    world.log.delete_records("t", 0, 1).unwrap();
    world.consumer().commit_offsets([(t(0), Offset::new(3))]).unwrap();
    let moved = world.log.reset_group_offsets("g", &GroupReset::to(to).topic("t")).unwrap();
    let committed = world.log.describe_group("g").unwrap().committed;
    assert_eq!(moved.len(), committed.len());
    committed.into_iter().map(|(partition, c)| (partition.partition, c.offset.value())).collect()
}

fn a_shift_goes_both_ways() {
    assert_eq!(reset(ResetTo::ShiftBy(1))[&0], 4);
    assert_eq!(reset(ResetTo::ShiftBy(-1))[&0], 2);
}

fn a_shift_needs_something_to_shift() {
    assert_eq!(reset(ResetTo::ShiftBy(1)), BTreeMap::from([(0, 4)]));
}

fn a_reset_stays_in_the_log() {
    for (to, at) in [(0, 1), (2, 2), (9, 5)] {
        assert_eq!(reset(ResetTo::Offset(Offset::new(to)))[&0], at);
    }
    assert_eq!(reset(ResetTo::ShiftBy(-9))[&0], 1);
    assert_eq!(reset(ResetTo::ShiftBy(i64::MAX))[&0], 5);
}
