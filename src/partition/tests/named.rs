//! What a log remembers of named producers: their last sequence, through epochs, openings, removals and losses.

use crate::{
    Partition, RecordData, Streamlog, TopicConfig,
    codec::{
        builder::{BatchBuilder, SealedBatch},
        named::{NamedSequences, SEQUENCE},
    },
    config::Builder,
    error::{Error, ErrorKind, Result},
    partition::{
        state::append_as::{AppendAs, Claimed},
        tests::marker_of_epoch,
        write::{
            append_as::{forget_producer, last_sequence, offset_of_sequence},
            checkpoint::checkpoint,
            gate::Origin,
            log_start::advance_log_start,
            retention,
        },
    },
    planted,
    sim::{Crash, SimEnv},
    types::{Compression, Timestamp},
};
use std::time::Duration;

const ID: i64 = 1 << 41;

fn open(env: &SimEnv) -> (Streamlog, Partition) {
    let log = Builder::env(env, "/data").background_thread(false).open().unwrap();
    let config = TopicConfig::default().segment_bytes(600);
    let partition = log.topic_or_create("t", config).unwrap().partition(0).unwrap();
    (log, partition)
}

fn claimed(epoch: i16) -> Claimed {
    Claimed { id: ID, epoch }
}

/// A batch of records with these sequences.
fn batch(sequences: &[u64]) -> SealedBatch {
    let mut builder = BatchBuilder::new();
    for sequence in sequences {
        let value = sequence.to_be_bytes();
        let header = [(SEQUENCE, Some(&value[..]))];
        builder.append(Timestamp::from_millis(1), None, Some(&[7; 90]), &header).unwrap();
    }
    let batch = builder.seal(Compression::None, None).unwrap();
    batch.with_sequences(Some(NamedSequences { first: sequences[0], last: sequences[sequences.len() - 1] }))
}

fn send_in(partition: &Partition, epoch: i16, transactional: bool, sequences: &[u64]) -> Result<()> {
    let by = AppendAs { producer: claimed(epoch), transactional, named: true };
    let appended = partition.log().append_as(&mut batch(sequences), by)?;
    partition.log().acknowledge(appended.next_offset, true)
}

fn send(partition: &Partition, epoch: i16, sequences: &[u64]) -> Result<()> {
    send_in(partition, epoch, false, sequences)
}

fn last(partition: &Partition, epoch: i16) -> Option<u64> {
    last_sequence(partition.log(), claimed(epoch)).unwrap()
}

fn place(partition: &Partition, sequence: u64) -> Option<u64> {
    offset_of_sequence(partition.log(), claimed(0), sequence).unwrap().map(|offset| offset.value())
}

const ENDS: [Option<Crash>; 4] = [None, Some(Crash::Kill), Some(Crash::Everything), Some(Crash::Nothing)];

fn end(env: &SimEnv, log: Streamlog, how: Option<Crash>) -> SimEnv {
    match how {
        None => {
            log.close().unwrap();
            env.clone()
        }
        Some(crash) => env.crash(crash, 1),
    }
}

fn the_last_sequence_outlasts_everything() {
    for how in ENDS {
        for (checkpoints, removed) in [(false, 0), (true, 0), (false, 4), (true, 7)] {
            let env = SimEnv::new(1);
            let (log, partition) = open(&env);
            assert_eq!(last(&partition, 0), None);
            send(&partition, 0, &[3, 4, 5]).unwrap();
            send_in(&partition, 0, true, &[10, 20]).unwrap();
            // The marker of a newer epoch clears the batches; a batch of it begins at 0 again.
            let marker = &mut marker_of_epoch(ID, 1, true);
            partition.log().append_from(marker, Origin::Coordinator).unwrap();
            partition.flush().unwrap();
            assert_eq!(last(&partition, 1), Some(20));
            send(&partition, 1, &[21]).unwrap();
            if checkpoints {
                checkpoint(partition.log()).unwrap();
            }
            advance_log_start(partition.log(), removed.into()).unwrap();
            retention::apply(partition.log()).unwrap();
            drop(partition);
            let env = end(&env, log, how);
            env.advance(Duration::from_secs(48 * 60 * 60));
            for epoch in 2..4 {
                let (log, partition) = open(&env);
                let what = format!("{how:?}, checkpoint {checkpoints}, {removed} removed");
                assert_eq!(last(&partition, epoch), Some(21), "{what}");
                let again = send(&partition, epoch, &[21]).unwrap_err();
                assert_eq!(again.kind(), ErrorKind::Fenced, "{what}");
                checkpoint(partition.log()).unwrap();
                log.close().unwrap();
            }
        }
    }
}

#[test]
fn the_last_named_sequence_outlasts_epochs_markers_removals_openings_and_silence() {
    let mistakes =
        ["an_epoch_resets_named_sequences", "a_name_is_forgotten_in_time", "named_sequences_are_not_read"];
    planted::hold(the_last_sequence_outlasts_everything, &mistakes);
}

#[test]
fn a_sequence_among_the_last_five_batches_is_found_where_it_lies() {
    let env = SimEnv::new(1);
    let (log, partition) = open(&env);
    send(&partition, 0, &[0]).unwrap();
    for first in [1, 4, 7, 10] {
        send(&partition, 0, &[first, first + 1, first + 2]).unwrap();
    }
    send(&partition, 0, &[20, 30, 40]).unwrap();
    let check = |partition: &Partition| {
        assert_eq!(
            [0, 1, 5, 12].map(|sequence| place(partition, sequence)),
            [None, Some(1), Some(5), Some(12)]
        );
        assert_eq!(
            [20, 30, 40, 35].map(|sequence| place(partition, sequence)),
            [Some(13), None, Some(15), None]
        );
    };
    check(&partition);
    log.close().unwrap();
    let (_log, partition) = open(&env);
    check(&partition);
}

#[test]
fn a_later_handle_fences_an_earlier_one_where_it_looks() {
    let env = SimEnv::new(1);
    let (_log, partition) = open(&env);
    send(&partition, 0, &[1]).unwrap();
    assert_eq!(last(&partition, 1), Some(1));
    let refused = send(&partition, 0, &[2]).unwrap_err();
    assert!(refused.kind() == ErrorKind::Fenced && refused.to_string().contains("epoch 1"), "{refused}");
    send(&partition, 1, &[2]).unwrap();
}

fn what_was_lost_is_not_taken_for_nothing() {
    let env = SimEnv::new(1);
    let (log, partition) = open(&env);
    send(&partition, 0, &[1, 2, 3]).unwrap();
    for _ in 0..3 {
        partition.append(&[RecordData::new(&[7; 300])]).unwrap();
    }
    advance_log_start(partition.log(), partition.high_watermark()).unwrap();
    retention::apply(partition.log()).unwrap();
    log.close().unwrap();
    let files = env.files();
    let snapshots = files.keys().filter(|path| path.ends_with(".producers") || path.ends_with(".snapshot"));
    for path in snapshots {
        env.overwrite(path, b"damaged").unwrap();
    }
    for days in [0, 3] {
        env.advance(Duration::from_secs(days * 24 * 60 * 60));
        let (log, partition) = open(&env);
        let error = send(&partition, 1, &[3]).unwrap_err();
        assert!(
            matches!(&error, Error::Corrupt { path, .. } if path.to_string_lossy().contains("t-0")),
            "{error}"
        );
        assert!(error.to_string().contains("forget_producer"), "{error}");
        assert!(last_sequence(partition.log(), claimed(1)).is_err());
        partition.append(&[RecordData::new("without a name")]).unwrap();
        assert_eq!(partition.records(partition.log_start_offset()).count() as u64, days / 3 + 1);
        log.close().unwrap();
    }
    // A name that was forgotten gets a new id, at epoch 0.
    let (_log, partition) = open(&env);
    forget_producer(partition.log(), ID).unwrap();
    let by = AppendAs { producer: Claimed { id: ID + 1, epoch: 0 }, transactional: false, named: true };
    partition.log().append_as(&mut batch(&[1]), by).unwrap();
    assert_eq!(last_sequence(partition.log(), Claimed { id: ID + 1, epoch: 1 }).unwrap(), Some(1));
}

#[test]
fn a_lost_snapshot_refuses_named_producers_until_their_name_is_forgotten() {
    planted::hold(what_was_lost_is_not_taken_for_nothing, &["lost_sequences_are_none"]);
}
