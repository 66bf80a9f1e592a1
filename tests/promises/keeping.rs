//! Durability, the manifest, large batches, retention, sidecars, opening and recovery.

use crate::{Promise, promises, world::*};
use std::panic::{AssertUnwindSafe, catch_unwind};
use streamlog::{ErrorKind, ProducerRecord, RecordData, sim::Crash};

promises! {
    what_was_acknowledged_survives_a_power_cut: "src/manual/durability.rs",
        "its flush has returned | all of it survives | all of it survives" => [acknowledge_before_flush];
    a_manifest_that_was_cut_short_is_no_log_with_fewer_topics: "src/manual/on_disk.rs",
        "A shorter file, or another one, is not a log with fewer topics but damage" => [forget_where_the_manifest_ends];
    a_panic_leaves_no_thread_waiting: "src/partition/write/flush.rs",
        "the log is poisoned, and every waiting caller gets the error" => [a_flush_that_panics_goes_on];
    directories_that_changed_places_are_not_read: "src/manual/on_disk.rs",
        "One that names another topic of this log means that directories changed places: nothing is read or appended there"
        => [take_any_directory, take_any_partition];
    a_directory_with_an_id_of_another_log_is_read: "src/partition/state/owner.rs",
        "another id counts only where it is that of another topic of this log" => [another_id_is_always_wrong by Corrupt];
    a_sealed_segment_that_is_longer_is_reported_and_left_alone: "src/streamlog/stats.rs",
        "A sealed segment whose file is longer than it was is among them once it was read" => [a_longer_file_is_none];
}

pub const ELSEWHERE: &[Promise] = &[
    Promise {
        test: "a_batch_that_does_not_decompress_is_tried_once_by_all_readers_together@src/partition/state/unreadable.rs",
        file: "src/manual/limits.rs",
        says: "An unreadable batch is decompressed once",
        mistakes: &["try_what_cannot_be_read_again"],
    },
    Promise {
        test: "a_bomb_that_goes_off_is_noticed@src/codec/compress/output.rs",
        file: "src/manual/limits.rs",
        says: "decompression stops within a mebibyte of bytes that are no record",
        mistakes: &["decompress_without_a_look"],
    },
    Promise {
        test: "a_retired_segment_reads_no_file_that_bears_its_name@src/storage/segment/tests.rs",
        file: "src/storage/segment/source.rs",
        says: "it never answers with the bytes of another segment",
        mistakes: &["a_retired_segment_reads_by_name"],
    },
    Promise {
        test: "an_index_of_another_generation_hides_no_record_where_its_checksum_is_unknown@src/storage/segment/tests.rs",
        file: "src/storage/segment/indexes.rs",
        says: "Those that nobody vouches for are built from the data",
        mistakes: &["an_unknown_index_checksum_is_believed"],
    },
    Promise {
        test: "a_read_that_meets_a_swap_looks_again_and_finds_no_damage@src/partition/tests/cleaned.rs",
        file: "src/partition/read/reader.rs",
        says: "takes the new list and looks again: a file that lost its name is not damage",
        mistakes: &["a_swap_is_taken_for_damage"],
    },
    Promise {
        test: "a_batch_that_is_gone_is_damage_in_its_directory_too_wherever_no_cleaner_left_it_out@src/partition/tests/swapped.rs",
        file: "src/partition/open/partition_dir.rs",
        says: "a durable batch that is gone or has another base offset is damage, unless compaction removed it",
        mistakes: &["a_directory_alone_may_lack_anything"],
    },
    Promise {
        test: "a_crash_in_a_swap_leaves_what_was_there_before_or_after@src/partition/tests/swapped.rs",
        file: "src/partition/write/replace.rs",
        says: "A crash before leaves files that the next opening removes, one after leaves names that it gives",
        mistakes: &[
            "a_decided_swap_is_forgotten",
            "swap_before_it_is_decided",
            "swap_names_that_are_not_durable",
        ],
    },
    Promise {
        test: "a_death_in_a_swap_leaves_what_a_broker_loads_as_the_same_table@tests/compacted_as_kafka_reads_it.rs",
        file: "src/storage/swap.rs",
        says: "so the last segment of several is the first to become .swap",
        mistakes: &["the_first_of_a_swap_goes_first"],
    },
    Promise {
        test: "a_claim_that_meets_a_transaction_raises_the_epoch_once@src/transaction/tests/claiming.rs",
        file: "src/transaction/mod.rs",
        says: "Claiming it is durable before it returns, and raises the epoch once",
        mistakes: &["epoch_not_raised", "epoch_raised_twice"],
    },
    Promise {
        test: "every_decision_is_found_not_only_the_last_of_its_name@src/transaction/tests/deciding.rs",
        file: "src/transaction/mod.rs",
        says: "not only the last one of each name, because the markers of an earlier one may be gone",
        mistakes: &["last_decision_per_name"],
    },
    Promise {
        test: "a_record_that_a_purge_misses_is_found_by_its_proof@src/compaction/purge/tests.rs",
        file: "src/manual/compaction.rs",
        says: "What was rewritten is read again, and the call fails if the key is still there",
        mistakes: &["a_purge_misses_a_record"],
    },
    Promise {
        test: "retention_stops_at_a_transaction_until_its_end_is_durable@src/partition/tests/transactions.rs",
        file: "src/partition/write/end_transaction.rs",
        says: "Until a marker is durable, its transaction bounds cleaning and retention.",
        mistakes: &["retention_passes_a_marker"],
    },
    Promise {
        test: "a_close_writes_what_is_owed_and_is_none_while_a_transaction_is_open@src/partition/tests/transactions.rs",
        file: "src/partition/write/close.rs",
        says: "the next opening must look, and ask what was decided",
        mistakes: &["close_owing_a_marker"],
    },
    Promise {
        test: "the_last_five_batches_of_a_producer_stay_and_no_more@src/compaction/kafka_cases.rs",
        file: "src/manual/compaction.rs",
        says: "The last five batches of each known producer keep their headers",
        mistakes: &["four_headers_of_a_producer_stay"],
    },
    Promise {
        test: "aborted_records_go_and_markers_stay_while_a_batch_of_theirs_is_there@src/compaction/kafka_cases.rs",
        file: "src/manual/compaction.rs",
        says: "Records of aborted transactions supersede nothing, and go",
        mistakes: &["aborted_records_live", "aborted_transactions_are_not_indexed"],
    },
    Promise {
        test: "commit_markers_stay_while_batches_of_their_transactions_are_there@src/compaction/kafka_cases.rs",
        file: "src/manual/compaction.rs",
        says: "A marker stays while a batch of its transaction is there",
        mistakes: &["a_marker_goes_before_its_data", "rewritten_keys_forget_producers"],
    },
    Promise {
        test: "an_emptied_marker_says_the_epoch_of_its_producer@src/compaction/kafka_cases.rs",
        file: "src/partition/state/remembered.rs",
        says: "is known by its markers, which say its epoch",
        mistakes: &["an_emptied_marker_says_nothing"],
    },
    Promise {
        test: "a_removed_marker_leaves_no_transaction_open_whatever_snapshot_is_left@src/compaction/kafka_cases.rs",
        file: "src/partition/state/replay.rs",
        says: "A snapshot may list transactions as open whose markers were removed after it was written",
        mistakes: &["a_removed_marker_leaves_its_transaction_open"],
    },
    Promise {
        test: "after_a_crash_all_of_a_transaction_counts_or_none_and_so_it_stays@src/transaction/programs/crashes.rs",
        file: "src/manual/transactions.rs",
        says: "All records and offsets of a transaction count, or none.",
        mistakes: &[
            "a_decision_is_believed_without_its_ends",
            "ends_of_no_incarnation",
            "a_marker_before_the_decision",
            "what_a_crash_left_open_stays_open",
        ],
    },
    Promise {
        test: "a_flush_that_fails_aborts_it_everywhere@src/transaction/programs/ends.rs",
        file: "src/manual/transactions.rs",
        says: "Where a flush fails during a commit, an abort is decided over it",
        mistakes: &["no_abort_after_a_failed_flush"],
    },
    Promise {
        test: "an_abort_is_hidden_from_who_reads_what_is_committed@src/transaction/programs/mod.rs",
        file: "src/partition/write/end_transaction.rs",
        says: "read-committed readers go on immediately",
        mistakes: &["an_abort_is_not_indexed"],
    },
    Promise {
        test: "a_marker_that_finds_no_space_comes_later_and_nobody_waits_for_it@src/transaction/programs/ends.rs",
        file: "src/partition/state/pending_markers.rs",
        says: "It goes out before the log's next batch.",
        mistakes: &["a_pending_marker_waits_for_ever"],
    },
    Promise {
        test: "a_transaction_beyond_its_time_is_aborted_and_says_so@src/transaction/programs/mod.rs",
        file: "src/transaction/open.rs",
        says: "After the end nothing is written.",
        mistakes: &["written_after_its_end"],
    },
    Promise {
        test: "a_decision_outlasts_the_rewriting_of_its_table@src/transaction/programs/ends.rs",
        file: "src/transaction/state.rs",
        says: "Rewriting drops the decisions that are complete, after the table's hook has made their markers durable",
        mistakes: &["decisions_go_before_their_markers_are_durable"],
    },
    Promise {
        test: "a_position_behind_records_that_a_power_cut_took_is_refused@src/consumer/tests/stored_positions.rs",
        file: "src/manual/transactions.rs",
        says: "A position is refused if a power cut took the records before it",
        mistakes: &["a_position_of_another_life_is_taken"],
    },
    Promise {
        test: "a_transaction_that_goes_on_after_what_was_cleaned_is_aborted_whatever_snapshot_is_left@src/compaction/kafka_cases.rs",
        file: "src/partition/state/replay.rs",
        says: "One that goes on from here begins here",
        mistakes: &["a_transaction_that_goes_on_is_forgotten"],
    },
];

fn what_was_acknowledged_survives_a_power_cut() {
    let world = World::new(1);
    world.log.producer().unwrap().send(ProducerRecord::new("t", "kept")).unwrap();
    let after = open(&world.env.crash(Crash::Nothing, 1));
    assert_eq!(after.topic("t").unwrap().partition(0).unwrap().log_end_offset(), 1);
}

fn a_sealed_segment_that_is_longer_is_reported_and_left_alone() {
    const SEALED: &str = "/log/t-0/00000000000000000000.log";
    let world = World::with(streamlog::TopicConfig::default().segment_bytes(512));
    for _ in 0..5 {
        world.send(&"x".repeat(300));
    }
    let killed = world.env.crash(Crash::Kill, 1);
    world.log.close().unwrap();
    for left in [killed, world.env.crash(Crash::Kill, 1)] {
        let longer = [&left.files()[SEALED][..], b"x"].concat();
        left.overwrite(SEALED, &longer).unwrap();
        for log in [observer(&left), open(&left)] {
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            assert_eq!(partition.read(0).map(|batch| batch.unwrap().iter().count()).sum::<usize>(), 5);
            let [(_, error)] = &log.health().damaged[..] else { panic!("nobody tells: {}", log.health()) };
            assert!(error.to_string().contains(SEALED), "{error}");
            assert!(log.is_read_only() || log.close().is_ok());
        }
        assert!(left.files()[SEALED] == longer);
    }
}

fn a_manifest_that_was_cut_short_is_no_log_with_fewer_topics() {
    let world = World::new(1);
    world.log.create_topic("u", streamlog::TopicConfig::default()).unwrap();
    let after = world.env.crash(Crash::Kill, 1);
    let manifest = &after.files()["/log/manifest"];
    let name = manifest.windows(5).rposition(|bytes| bytes == b"\0\0\0\x01u").unwrap();
    after.overwrite("/log/manifest", &manifest[..name]).unwrap();
    let opened = streamlog::config::Builder::env(&after, "/log").read_only(true).open();
    assert_eq!(opened.unwrap_err().kind(), streamlog::ErrorKind::Corrupt);
}

/// Wherever in an append that is: what comes after it has an answer, and what is shown is what was appended.
fn a_panic_leaves_no_thread_waiting() {
    let mut poisoned = 0;
    for operation in 1.. {
        let world = World::new(1);
        world.send("a");
        let partition = world.partition();
        let at = world.env.operations() + operation;
        world.env.watch(move |number| assert_ne!(number, at, "a mistake in the middle"));
        let first = catch_unwind(AssertUnwindSafe(|| partition.append(&[RecordData::new("b")])));
        world.env.watch(|_| {});
        if first.is_ok() {
            break;
        }
        let Ok(after) = catch_unwind(AssertUnwindSafe(|| partition.append(&[RecordData::new("c")]))) else {
            // Closing would wait as well.
            std::mem::forget((world, partition));
            panic!("operation {operation}: what comes after it waits for ever");
        };
        if after.is_err_and(|error| error.kind() == ErrorKind::Poisoned) {
            assert!(!world.log.health().is_good());
            poisoned += 1;
        }
        let shown: Vec<_> = partition.records(0).map(|record| record.unwrap().value.unwrap()).collect();
        assert!(["a", "a b", "a c", "a b c"].contains(&&*join(&shown)), "operation {operation}: {shown:?}");
        drop(partition);
        let _ = world.log.close();
    }
    assert!(poisoned > 0);
}

fn join(values: &[impl AsRef<[u8]>]) -> String {
    let values: Vec<_> = values.iter().map(|value| String::from_utf8_lossy(value.as_ref())).collect();
    values.join(" ")
}

const OURS: &str = "/log/t-0/partition.metadata";

fn directories_that_changed_places_are_not_read() {
    let world = World::new(2);
    world.send("a");
    world.log.create_topic("u", streamlog::TopicConfig::default()).unwrap();
    let killed = world.env.crash(Crash::Kill, 1);
    world.log.close().unwrap();
    let closed = world.env.crash(Crash::Kill, 1);
    let places = [&killed, &closed].into_iter().flat_map(|left| ["u-0", "t-1"].map(|other| (left, other)));
    for (left, other) in places {
        let left = left.crash(Crash::Kill, 1);
        for name in ["partition.metadata", "partition.identity"] {
            let other = left.files()[&format!("/log/{other}/{name}")].clone();
            left.overwrite(format!("/log/t-0/{name}"), &other).unwrap();
        }
        for log in [observer(&left), open(&left)] {
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            let error = partition.read(0).next().unwrap().unwrap_err();
            assert!(error.to_string().contains("/log/t-0/partition."), "{error}");
            assert!(!log.health().is_good());
            partition.append(&[streamlog::RecordData::new("b")]).unwrap_err();
        }
    }
}

fn a_directory_with_an_id_of_another_log_is_read() {
    let world = World::new(1);
    world.send("a");
    let killed = world.env.crash(Crash::Kill, 1);
    world.log.close().unwrap();
    // As a broker writes it that takes the topic over.
    let other = "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAABAA";
    for left in [killed, world.env.crash(Crash::Kill, 1)] {
        left.overwrite(OURS, other.as_bytes()).unwrap();
        for log in [observer(&left), open(&left)] {
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            assert_eq!(partition.read(0).next().unwrap().unwrap().iter().count(), 1);
            assert!(log.health().is_good(), "{}", log.health());
        }
        let partition = open(&left).topic("t").unwrap().partition(0).unwrap();
        partition.append(&[RecordData::new("b")]).unwrap();
    }
}
