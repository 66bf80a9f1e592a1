//! Directories made by hand: torn, damaged, half replaced.

use crate::{
    Durability, RecordData, Streamlog, TopicConfig,
    codec::{
        builder::{BatchBuilder, Stamp},
        checkpoint::encode_offsets,
        control::marker_batch,
        snapshot::{ProducerEntry, encode_snapshot},
    },
    config::Builder,
    env::{Open, memory::MemoryEnv, write_all_at},
    error::ErrorKind,
    partition::open::partition_dir::*,
    storage::layout::LOG_STARTS,
    types::{Compression, IsolationLevel, Timestamp},
};
use std::{cell::RefCell, ops::Range};

const DIR: &str = "/data/t-0";

thread_local! {
    /// What somebody else does while this thread opens a directory, after each look.
    static BETWEEN_LOOKS: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

pub(super) fn between_looks() {
    BETWEEN_LOOKS.with_borrow_mut(|act| act.iter_mut().for_each(|act| act()));
}

fn env() -> Arc<MemoryEnv> {
    let env = MemoryEnv::new();
    let _ = env.create_dir(Path::new("/data"));
    env.create_dir(Path::new(DIR)).unwrap();
    env
}

fn put(env: &MemoryEnv, path: impl AsRef<Path>, bytes: &[u8]) {
    let file = env.open(&Path::new(DIR).join(path), Open::Create).unwrap();
    file.set_len(0).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
}

fn put_segment(env: &MemoryEnv, base: u64, batches: &[Vec<u8>]) {
    put(env, format!("{base:020}.log"), &batches.concat());
}

/// A batch whose values are its offsets, by producer `producer` in a transaction where that is given.
fn batch_of(base: u64, count: u64, producer: Option<i64>) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for offset in base..base + count {
        let value = offset.to_string();
        builder.append(Timestamp::from_millis(offset as i64), None, Some(value.as_bytes()), &[]).unwrap();
    }
    let mut sealed = builder.seal(Compression::None, None).unwrap();
    if let Some(id) = producer {
        sealed.set_producer(id, 0, base as i32);
        sealed.set_transactional(true);
    }
    sealed.finish(Offset::new(base), 0, Stamp::CreateTime).to_vec()
}

fn batch(base: u64, count: u64) -> Vec<u8> {
    batch_of(base, count, None)
}

fn marker(at: u64, producer: i64, commit: bool) -> Vec<u8> {
    let time = Timestamp::from_millis(at as i64);
    marker_batch(producer, 0, commit, 0, time).finish(Offset::new(at), 0, Stamp::CreateTime).to_vec()
}

fn open(env: &Arc<MemoryEnv>) -> PartitionDir {
    PartitionDir::open(Arc::clone(env) as Arc<dyn Env>, Path::new(DIR)).unwrap()
}

/// The offsets read from `from` on, each of which must be its record's value, and what ended the reading.
fn read_as(dir: &PartitionDir, from: u64, isolation: IsolationLevel) -> (Vec<u64>, Option<Error>) {
    let mut offsets = Vec::new();
    for batch in dir.read_with(from, isolation) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return (offsets, Some(error)),
        };
        for record in &batch {
            assert_eq!(record.value, Some(record.offset.to_string().as_bytes()));
            offsets.push(record.offset.value());
        }
    }
    (offsets, None)
}

fn read(dir: &PartitionDir, from: u64) -> (Vec<u64>, Option<Error>) {
    read_as(dir, from, IsolationLevel::ReadUncommitted)
}

fn committed(dir: &PartitionDir, from: u64) -> Vec<u64> {
    let (offsets, error) = read_as(dir, from, IsolationLevel::ReadCommitted);
    assert!(error.is_none(), "{error:?}");
    offsets
}

#[test]
fn a_torn_end_is_reported_and_space_set_aside_is_none() {
    let env = env();
    put_segment(&env, 0, &[batch(0, 3), batch(3, 2)[..40].to_vec()]);
    let dir = open(&env);
    let torn = dir.report().torn_end.clone().unwrap();
    assert_eq!((torn.position, torn.bytes), (batch(0, 3).len() as u64, 40));
    assert_eq!((dir.log_end_offset(), read(&dir, 0).0), (Offset::new(3), vec![0, 1, 2]));
    assert!(dir.report().damage.is_empty());

    put_segment(&env, 0, &[batch(0, 3), vec![0; 10_000]]);
    let dir = open(&env);
    assert_eq!((&dir.report().torn_end, dir.log_end_offset()), (&None, Offset::new(3)));

    put_segment(&env, 0, &[batch(0, 3), batch(3, 2)[..40].to_vec()]);
    put_segment(&env, 5, &[]);
    let dir = open(&env);
    assert!(dir.report().torn_end.is_some() && dir.report().damage.is_empty());
    assert_eq!(dir.log_end_offset(), 3, "a segment that was just begun holds nothing back");
}

#[test]
fn space_at_the_end_of_a_segment_is_no_damage_where_the_next_one_continues_it() {
    let env = env();
    let segments = [[batch(0, 2), vec![0; 100]].concat(), batch(2, 2)];
    put_segment(&env, 0, &segments[..1]);
    put_segment(&env, 2, &segments[1..]);
    let dir = open(&env);
    assert_eq!((dir.report().damage.len(), read(&dir, 0).0), (0, vec![0, 1, 2, 3]));
    assert!(dir.report().bytes_read >= (batch(0, 2).len() + batch(2, 2).len()) as u64);
}

#[test]
fn segments_are_chosen_in_their_order_however_a_directory_lists_them() {
    let env = env();
    for base in [0, 2, 4, 6] {
        put_segment(&env, base, &[batch(base, 2)]);
    }
    for base in [2, 4] {
        put(&env, format!("{base:020}.log.swap"), &batch(base, 2));
    }
    // A cleaner may leave nothing of a segment.
    put(&env, "00000000000000000006.log.swap", &[]);
    let topic_id = TopicId::from_bytes([7; 16]);
    let dir = PathBuf::from(DIR);
    let identity = Identity { topic_id, name: TopicPartition::new("t", 0), dir, slot: 0, internal: false };
    let pool = crate::storage::files::FilePool::new(env.clone(), ReadMode::Mapped, 9);
    let mut entries = env.list(Path::new(DIR)).unwrap();
    entries.sort_by(|a, b| b.name.cmp(&a.name));
    // One that changes meanwhile may show a name twice.
    entries.extend(entries.clone());
    let chosen = choose_segments(&pool, &identity, &entries, 4096).unwrap();
    let bases: Vec<u64> = chosen.iter().map(|segment| segment.base().value()).collect();
    assert_eq!(bases, [0, 2, 4, 6]);
}

#[test]
fn an_end_that_comes_too_early_is_reported() {
    let env = env();
    put_segment(&env, 0, &[batch(0, 3), vec![0; 90]]);
    for (flushed, reported) in [(3, false), (4, true)] {
        let points = encode_offsets(&[(TopicPartition::new("t", 0), Offset::new(flushed))]);
        put(&env, format!("/data/{RECOVERY_POINTS}"), points.as_bytes());
        let dir = open(&env);
        let torn = dir.report().torn_end.as_ref().map(|torn| (torn.position, torn.bytes));
        assert_eq!(torn, reported.then_some((batch(0, 3).len() as u64, 90)));
        assert_eq!(dir.log_end_offset(), 3);
    }
}

#[test]
fn gaps_are_no_damage() {
    let env = env();
    put_segment(&env, 10, &[batch(12, 2), batch(20, 1)]);
    put_segment(&env, 30, &[]);
    put_segment(&env, 40, &[batch(45, 2)]);
    let dir = open(&env);
    assert_eq!(dir.report().damage, []);
    assert_eq!((dir.log_start_offset(), dir.log_end_offset()), (Offset::new(10), Offset::new(47)));
    assert_eq!(read(&dir, 10).0, [12, 13, 20, 45, 46]);
    assert_eq!(dir.last(4).unwrap().iter().map(|r| r.offset.value()).collect::<Vec<_>>(), [13, 20, 45, 46]);
}

/// Reading comes to the damage from both sides and never over it.
fn assert_hole(dir: &PartitionDir, hole: Range<u64>, end: u64) {
    let damage = &dir.report().damage;
    let found: Vec<_> = damage.iter().map(|d| d.offsets.start.value()..d.offsets.end.value()).collect();
    assert_eq!(found, std::slice::from_ref(&hole), "{damage:?}");
    let (before, error) = read(dir, 0);
    assert_eq!(before, (0..hole.start).collect::<Vec<_>>());
    let Some(Error::Corrupt { path, position, next_offset, .. }) = error else { panic!("{error:?}") };
    assert_eq!((&path, position), (&damage[0].path, damage[0].bytes.start));
    assert_eq!(next_offset, Some(Offset::new(hole.end)));
    for inside in hole.clone() {
        let (offsets, error) = read(dir, inside);
        assert!(offsets.is_empty() && error.unwrap().kind() == ErrorKind::Corrupt, "{inside}");
    }
    let (behind, error) = read(dir, hole.end);
    assert_eq!((behind, error.is_none()), ((hole.end..end).collect::<Vec<_>>(), true));

    let mut backwards = Vec::new();
    let mut failed = false;
    for batch in dir.read_backwards(Offset::MAX) {
        match batch {
            Ok(batch) => backwards.extend(batch.into_reversed().iter().map(|r| r.offset.value())),
            Err(error) => failed = error.kind() == ErrorKind::Corrupt,
        }
    }
    assert!(failed, "backwards came to {backwards:?}");
    assert_eq!(backwards, (hole.end..end).rev().collect::<Vec<_>>());
    let first = dir.read_backwards(hole.start).flat_map(|batch| batch.unwrap().into_reversed());
    assert_eq!(first.count() as u64, hole.start);
}

#[test]
fn damage_in_the_middle_is_named_and_read_around() {
    let whole = [batch(0, 3), batch(3, 3), batch(6, 4), batch(10, 2)];
    type Damage = fn(&mut Vec<u8>);
    let broken: [(&str, Damage); 6] = [
        ("a flipped bit of a record", |b| b[70] ^= 1),
        ("zeros", |b| b.fill(0)),
        ("a length that runs away", |b| b[8] = 0x7f),
        ("a version that its checksum denies", |b| b[16] = 3),
        ("a base offset ahead", |b| b[6] = 1),
        ("a base offset behind", |b| b[7] = 1),
    ];
    for (what, damage) in broken {
        let env = env();
        let mut batches = whole.clone();
        damage(&mut batches[1]);
        put_segment(&env, 0, &batches);
        let dir = open(&env);
        println!("{what}: {:?}", dir.report());
        assert_eq!((&dir.report().torn_end, dir.log_end_offset()), (&None, Offset::new(12)));
        assert_hole(&dir, 3..6, 12);
        // In the middle of a batch right behind the damage, too.
        assert_eq!(read(&dir, 7).0, [7, 8, 9, 10, 11], "{what}");
        let mut back = dir.read_backwards(8);
        assert_eq!(back.next().unwrap().unwrap().iter().count(), 2, "{what}");
        assert_eq!(back.next().unwrap().unwrap_err().kind(), ErrorKind::Corrupt, "{what}");
    }
}

#[test]
fn damage_at_the_end_of_a_segment_is_not_passed_over() {
    for cut in [0, 30, 75] {
        let env = env();
        let mut last = batch(3, 3);
        last.truncate(cut);
        last.iter_mut().for_each(|b| *b ^= 0x55);
        put_segment(&env, 0, &[batch(0, 3), last, vec![1; 9]]);
        put_segment(&env, 6, &[batch(6, 3)]);
        assert_hole(&open(&env), 3..6, 9);
    }
    let env = env();
    put_segment(&env, 0, &[batch(0, 3), vec![1; 70]]);
    put_segment(&env, 5, &[]);
    put_segment(&env, 6, &[batch(6, 3)]);
    let mut back = open(&env).read_backwards(6);
    assert!(back.next().unwrap().is_err(), "over an empty segment, too");

    let env = crate::partition::open::partition_dir::tests::env();
    put_segment(&env, 0, &[batch(0, 3), batch(60, 1)]);
    put_segment(&env, 6, &[batch(6, 3)]);
    assert_hole(&open(&env), 3..6, 9);
}

/// Batches of one record with these leader epochs, two a segment.
fn put_epochs(epochs: &[i32], checkpoint: &str) -> PartitionDir {
    let env = env();
    let mut batches: Vec<Vec<u8>> = (0..epochs.len() as u64).map(|i| batch(i, 1)).collect();
    batches
        .iter_mut()
        .zip(epochs)
        .for_each(|(batch, epoch)| batch[12..16].copy_from_slice(&epoch.to_be_bytes()));
    put(&env, LEADER_EPOCHS, checkpoint.as_bytes());
    batches.chunks(2).zip((0..).step_by(2)).for_each(|(batches, base)| put_segment(&env, base, batches));
    open(&env)
}

#[test]
fn a_batch_says_its_leader_epoch_and_lends_its_bytes() {
    let dir = put_epochs(&[0, 3, 3], "");
    let batches: Vec<_> = dir.read(0).map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|batch| batch.leader_epoch()).collect::<Vec<_>>(), [0, 3, 3]);
    let epochs: Vec<_> = dir.leader_epochs().iter().map(|(epoch, first)| (*epoch, first.value())).collect();
    assert_eq!(epochs, [(0, 0), (3, 1)]);
    let record = batches[1].iter().next().unwrap();
    assert_eq!(batches[1].slice_of(record.value.unwrap()), &b"1"[..]);
}

#[test]
fn a_leader_epoch_that_its_neighbours_contradict_is_damage() {
    for place in 0..5 {
        for (all, wrong) in [(0, 1), (0, i32::MIN), (4, 6), (4, 0), (4, -3)] {
            if (place, wrong) == (0, 0) {
                continue;
            }
            let mut epochs = [all; 6];
            epochs[place] = wrong;
            let dir = put_epochs(&epochs, &format!("0\n1\n{all} 0\n"));
            assert_hole(&dir, place as u64..place as u64 + 1, 6);
        }
    }
    // Which of two it is, says the checkpoint.
    assert_hole(&put_epochs(&[0, 0, 1, 0, 2, 2], "0\n2\n0 0\n2 4\n"), 2..3, 6);
    assert_hole(&put_epochs(&[0, 0, 1, 0, 2, 2], "0\n3\n0 0\n1 2\n2 4\n"), 3..4, 6);
    // Nothing is behind the last one, and what brokers made of their epochs is no damage.
    for epochs in
        [[0, 0, 0, 0, 0, 1], [4, 4, 4, 4, 4, 0], [-1, -1, 0, 1, 5, 5], [5, 5, 3, 3, 4, 4], [0, 9, 9, 9, 2, 2]]
    {
        for checkpoint in ["", "0\n1\n0 0\n"] {
            let dir = put_epochs(&epochs, checkpoint);
            assert_eq!((dir.report().damage.len(), &dir.report().torn_end), (0, &None), "{epochs:?}");
            assert_eq!(read(&dir, 0).0, [0, 1, 2, 3, 4, 5], "{epochs:?}");
        }
    }
    assert_eq!(put_epochs(&[0, 0, 0, 0, 0, -2], "").log_end_offset(), Offset::new(5));
}

#[test]
fn a_segment_that_spans_more_than_its_index_can_say_is_read_whole() {
    // As brokers before Kafka 1.1 compacted them (KAFKA-6264).
    let far = (1 << 31) + 5;
    let furthest = (1 << 33) + 1;
    let env = env();
    let last = 10_000;
    let batches: Vec<Vec<u8>> =
        (0..3).chain(far..far + 200).chain(furthest..furthest + 200).map(|i| batch(i, 1)).collect();
    put_segment(&env, 0, &batches);
    put_segment(&env, furthest + last, &[batch(furthest + last, 1)]);
    let dir = open(&env);
    assert_eq!((&dir.report().torn_end, &dir.report().damage), (&None, &vec![]));
    let all: Vec<u64> = [0, 1, 2]
        .into_iter()
        .chain(far..far + 200)
        .chain(furthest..furthest + 200)
        .chain([furthest + last])
        .collect();
    for (i, from) in all.iter().enumerate() {
        assert_eq!(read(&dir, *from).0, all[i..], "from {from}");
    }
    assert_eq!(read(&dir, far - 1).0, all[3..]);
    assert_eq!(
        dir.last(300).unwrap().iter().map(|r| r.offset.value()).collect::<Vec<_>>(),
        all[all.len() - 300..]
    );
    for at in [1, far, far + 199, furthest + 1] {
        // Each record's time is its offset.
        let found = dir.offset_for_timestamp(Timestamp::from_millis(at as i64)).unwrap();
        assert_eq!(found.map(|found| found.offset.value()), Some(at));
    }
}

#[test]
fn short_messages_of_an_old_version_are_not_torn() {
    // An empty key and value: 14 bytes behind the length in magic 0, 22 in magic 1.
    for (magic, body) in [(0, 10), (1, 18)] {
        let mut message = vec![magic, 0];
        message.extend(vec![0xff; body - 2]);
        let mut entry = 3u64.to_be_bytes().to_vec();
        entry.extend((message.len() as u32 + 4).to_be_bytes());
        entry.extend(crate::codec::crc::crc32(&message).to_be_bytes());
        entry.extend(&message);
        for before in [vec![], vec![batch(0, 3)]] {
            let env = env();
            let base = if before.is_empty() { 3 } else { 0 };
            put_segment(&env, base, &[before.concat(), entry.clone()]);
            let refused = PartitionDir::open(Arc::clone(&env) as Arc<dyn Env>, Path::new(DIR)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::UnsupportedFormat, "{refused}");
            let text = refused.to_string();
            assert!(text.contains(&format!("magic {magic}")) && !text.contains("newer"), "{text}");
            // One that is not whole, or is not what its checksum says, is no message of any version.
            for torn in [entry[..entry.len() - 1].to_vec(), {
                let mut bad = entry.clone();
                bad[17] ^= 1;
                bad
            }] {
                put_segment(&env, base, &[before.concat(), torn]);
                assert!(open(&env).report().torn_end.is_some());
            }
        }
    }
}

#[test]
fn an_unknown_version_is_refused() {
    let env = env();
    let mut ancient = batch(3, 1);
    // Those versions have their checksum here, of everything behind it.
    ancient[16] = 1;
    let crc = crate::codec::crc::crc32(&ancient[16..]);
    ancient[12..16].copy_from_slice(&crc.to_be_bytes());
    put_segment(&env, 0, &[batch(0, 3), ancient]);
    let refused = PartitionDir::open(env as Arc<dyn Env>, Path::new(DIR)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::UnsupportedFormat, "{refused}");
}

#[test]
fn the_log_begins_where_the_checkpoint_above_says() {
    let env = env();
    put_segment(&env, 0, &[batch(0, 4), batch(4, 4)]);
    let starts =
        [(TopicPartition::new("t", 1), Offset::new(1)), (TopicPartition::new("t", 0), Offset::new(6))];
    put(&env, format!("/data/{LOG_STARTS}"), encode_offsets(&starts).as_bytes());
    let dir = open(&env);
    assert_eq!((dir.log_start_offset(), read(&dir, 6).0), (Offset::new(6), vec![6, 7]));
    assert_eq!(read(&dir, 5).1.unwrap().kind(), ErrorKind::OffsetOutOfRange);
    put(
        &env,
        format!("/data/{LOG_STARTS}"),
        encode_offsets(&[(TopicPartition::new("t", 0), Offset::new(99))]).as_bytes(),
    );
    let dir = open(&env);
    assert_eq!((dir.log_start_offset(), dir.log_end_offset()), (Offset::new(99), Offset::new(99)));
    assert!(read(&dir, 99).0.is_empty());
    put(&env, format!("/data/{LOG_STARTS}"), b"0\n7\n");
    let refused = PartitionDir::open(env as Arc<dyn Env>, Path::new(DIR)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
}

#[test]
fn transactions_are_replayed_from_the_batches() {
    let env = env();
    put_segment(
        &env,
        0,
        &[batch_of(0, 2, Some(1)), batch_of(2, 2, Some(2)), marker(4, 1, false), batch(5, 1)],
    );
    put_segment(&env, 6, &[marker(6, 2, true), batch_of(7, 1, Some(3)), batch(8, 1)]);
    let dir = open(&env);
    assert_eq!(committed(&dir, 0), [2, 3, 5]);
    assert_eq!((dir.last_stable_offset(), dir.log_end_offset()), (Offset::new(7), Offset::new(9)));
    let aborted = dir.aborted_transactions().unwrap();
    assert_eq!(
        (aborted.len(), aborted[0].first_offset, aborted[0].last_stable_offset.value()),
        (1, Offset::ZERO, 2)
    );
    assert_eq!(read(&dir, 0).0, [0, 1, 2, 3, 5, 7, 8]);
}

#[test]
fn a_transaction_that_began_below_the_log_start_is_known_from_a_snapshot() {
    let env = env();
    put_segment(&env, 4, &[batch(4, 2)]);
    put_segment(&env, 6, &[batch(6, 2)]);
    let dir = open(&env);
    assert_eq!(dir.last_stable_offset(), 8);
    let entry = ProducerEntry {
        producer_id: 1,
        producer_epoch: 0,
        last_sequence: 2,
        last_offset: 2,
        offset_delta: 0,
        timestamp: Timestamp::from_millis(1),
        coordinator_epoch: -1,
        current_txn_first_offset: Some(Offset::new(2)),
    };
    put(&env, "00000000000000000006.snapshot", &encode_snapshot(&[entry]));
    let dir = open(&env);
    assert_eq!((dir.last_stable_offset(), dir.log_start_offset()), (Offset::new(4), Offset::new(4)));
    put_segment(&env, 6, &[batch(6, 2), marker(8, 1, true)]);
    assert_eq!(open(&env).last_stable_offset(), 9);
    assert_eq!(open(&env).producer_snapshots().unwrap()[0].producers, [entry]);
}

#[test]
fn an_abort_that_lies_in_damage_is_known_from_the_transaction_index() {
    let env = env();
    let mut gone = marker(4, 1, false);
    gone[70] ^= 1;
    put_segment(&env, 0, &[batch(0, 2), batch_of(2, 2, Some(1)), gone, batch(5, 1)]);
    let dir = open(&env);
    assert_eq!(dir.last_stable_offset(), 2, "nobody knows how it ended");
    let known = AbortedTransaction {
        producer_id: 1,
        first_offset: Offset::new(2),
        last_offset: Offset::new(4),
        last_stable_offset: Offset::new(5),
    };
    let mut bytes = Vec::new();
    known.encode(&mut bytes);
    put(&env, "00000000000000000000.txnindex", &bytes);
    let dir = open(&env);
    assert_eq!(dir.last_stable_offset(), 6);
    assert_eq!(read_as(&dir, 0, IsolationLevel::ReadCommitted).0, [0, 1]);
    assert_eq!(dir.transaction_indexes().unwrap()[0].aborted, [known]);
}

#[test]
fn a_replacement_that_a_crash_left_half_way_counts_as_a_broker_counts_it() {
    let env = env();
    put_segment(&env, 0, &[batch(0, 2), batch(2, 2)]);
    put_segment(&env, 4, &[batch(4, 2)]);
    put_segment(&env, 6, &[batch(6, 2)]);
    put(&env, "00000000000000000000.log.swap", &[batch(0, 2), batch(4, 2)].concat());
    assert_eq!(read(&open(&env), 0).0, [0, 1, 4, 5, 6, 7], "complete, so it stands for what it covers");
    for kind in ["log", "index", "timeindex", "txnindex"] {
        let name = format!("00000000000000000000.{kind}.cleaned");
        put(&env, &name, &[]);
        assert_eq!(read(&open(&env), 0).0, [0, 1, 2, 3, 4, 5, 6, 7], "{name}: a part of it is still missing");
        env.remove_file(&Path::new(DIR).join(name)).unwrap();
        let behind = format!("00000000000000000001.{kind}.cleaned");
        put(&env, &behind, &[]);
        assert_eq!(read(&open(&env), 0).0, [0, 1, 4, 5, 6, 7], "{behind}: of another piece of work");
        env.remove_file(&Path::new(DIR).join(behind)).unwrap();
    }
    for base in [0, 4] {
        env.remove_file(&SegmentFile::Log.path(Path::new(DIR), Offset::new(base))).unwrap();
    }
    assert_eq!(read(&open(&env), 0).0, [0, 1, 4, 5, 6, 7]);
}

#[test]
fn what_is_no_partition_is_refused_and_an_empty_one_is_not() {
    let env = env();
    put(&env, "manifest", b"x");
    let refused = PartitionDir::open(Arc::clone(&env) as Arc<dyn Env>, Path::new(DIR)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{refused}");
    put(&env, PARTITION_METADATA, b"version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw");
    let dir = open(&env);
    assert_eq!((read(&dir, 0).0.len(), dir.log_end_offset()), (0, Offset::ZERO));
    assert_eq!(dir.topic_id().unwrap().unwrap().to_string(), "AAECAwQFBgcICQoLDA0ODw");
    put_segment(&env, 0, &[]);
    assert_eq!(open(&env).log_end_offset(), Offset::ZERO);
    let gone = PartitionDir::open(env as Arc<dyn Env>, Path::new("/data/nothing-0")).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Io, "{gone}");
}

#[test]
fn wrong_indexes_mislead_nobody() {
    let env = env();
    let batches: Vec<_> = (0..300).map(|i| batch(i * 2, 2)).collect();
    put_segment(&env, 0, &batches);
    put(&env, "00000000000000000000.index", &[0x11; 80]);
    put(&env, "00000000000000000000.timeindex", &[0x7f; 1200]);
    let dir = open(&env);
    assert_eq!(read(&dir, 411).0, (411..600).collect::<Vec<_>>());
    let found = dir.offset_for_timestamp(Timestamp::from_millis(333)).unwrap().unwrap();
    assert_eq!(found.offset, 333);
    assert_eq!(dir.offset_of_max_timestamp().unwrap().unwrap().offset, 599);
}

/// The names of the segments' files, ascending.
fn logs_in(env: &dyn Env) -> Vec<String> {
    let names = env.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name);
    let mut logs: Vec<String> = names.filter(|name| name.ends_with(".log")).collect();
    logs.sort();
    logs
}

/// A topic `t` whose first partition has so many segments, of so many bytes each, with a record of its offset a batch.
fn of_segments(env: &Arc<MemoryEnv>, count: usize, segment_bytes: u64) -> Streamlog {
    let log = Builder::with_env(env.clone(), Path::new("/data")).background_thread(false).open().unwrap();
    let config = TopicConfig::default().durability(Durability::Flushed).segment_bytes(segment_bytes);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    while partition.segment_count() < count {
        let value = partition.log_end_offset().value().to_string();
        partition.append(&[RecordData::new(value.as_str())]).unwrap();
    }
    log
}

#[test]
fn beside_a_writer_that_keeps_writing_a_lost_end_or_file_is_reported_at_the_first_look() {
    for loses_all in [false, true] {
        let env = env();
        let log = Builder::with_env(env.clone(), Path::new("/data")).background_thread(false).open().unwrap();
        let config = TopicConfig::default().durability(Durability::Flushed).segment_bytes(1 << 10);
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        let append = move || {
            let value = partition.log_end_offset().value().to_string();
            partition.append(&[RecordData::new(value.as_str())]).unwrap();
            partition.flush().unwrap();
            partition.segment_count()
        };
        while append() < 4 {}
        let logs = logs_in(&*env);
        let path = Path::new(DIR).join(&logs[1]);
        let file = env.open(&path, Open::Write).unwrap();
        let mut first = [0; 12];
        file.read_at(&mut first, 0).unwrap();
        match loses_all {
            true => env.remove_file(&path).unwrap(),
            // Its first batch is left.
            false => {
                file.set_len(12 + u64::from(u32::from_be_bytes(first[8..].try_into().unwrap()))).unwrap()
            }
        }
        let looks = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&looks);
        BETWEEN_LOOKS.set(Some(Box::new(move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            append();
        })));
        let dir = open(&env);
        BETWEEN_LOOKS.set(None);
        assert!(!dir.report().damage.is_empty(), "{:?}", dir.report());
        assert_eq!(looks.load(std::sync::atomic::Ordering::Relaxed), 1);
        let (read, error) = read(&dir, 0);
        assert!(!read.is_empty() && matches!(error, Some(Error::Corrupt { .. })), "{error:?}");
    }
}

#[cfg(feature = "sim")]
#[test]
fn what_a_cleaner_does_after_the_manifest_was_read_is_no_damage() {
    use crate::partition::tests::cleaner::{Kept, clean};
    let env = env();
    let log = Builder::with_env(env.clone(), Path::new("/data")).background_thread(false).open().unwrap();
    let config = TopicConfig::default().segment_bytes(600);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    while partition.segment_count() < 4 {
        partition.append(&[RecordData::new("0123456789")]).unwrap();
    }
    let middle = {
        let segments = partition.log().segments.snapshot();
        segments[1].base().value()..segments[3].base().value()
    };
    let even = |header: &crate::codec::batch::BatchHeader| match header.base_offset.value() % 2 {
        0 => Kept::Whole,
        _ => Kept::Nothing,
    };
    let as_env: Arc<dyn Env> = env.clone();
    let above = ParentDir::of(&as_env, Path::new(DIR)).unwrap();
    clean(partition.log(), middle, even);
    let (dir, missed) = PartitionDir::try_open(&as_env, Path::new(DIR), &above).unwrap();
    assert!(!dir.report().damage.is_empty() && missed == Missed::Something, "{:?}", dir.report());
    let now = ParentDir::of(&as_env, Path::new(DIR)).unwrap();
    assert!(now.excuses(&above), "so it looks again");
    assert!(open(&env).report().damage.is_empty(), "{:?}", open(&env).report());
}

#[test]
fn what_the_writer_removed_between_two_looks_is_not_missed() {
    let env = env();
    let log = of_segments(&env, 4, 1 << 10);
    // Retention says first that it removes a segment, and that is what this look has missed.
    let logs = logs_in(&*env);
    let second = SegmentFile::Log.parse(&logs[1]).unwrap();
    env.remove_file(&Path::new(DIR).join(&logs[0])).unwrap();
    let looks = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    BETWEEN_LOOKS.set(Some(Box::new(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        log.delete_records("t", 0, second).unwrap();
    })));
    let dir = open(&env);
    assert_eq!((dir.report().damage.len(), dir.log_start_offset()), (0, second));
    assert_eq!(read(&dir, second.value()).0.last().copied(), dir.log_end_offset().value().checked_sub(1));
    assert_eq!(looks.load(std::sync::atomic::Ordering::Relaxed), 1);
    let gone = PartitionDir::open(env as Arc<dyn Env>, Path::new("/data/nothing-0")).unwrap_err();
    BETWEEN_LOOKS.set(None);
    assert_eq!(gone.kind(), ErrorKind::Io, "{gone}");
    assert_eq!(
        looks.load(std::sync::atomic::Ordering::Relaxed),
        1,
        "a directory that is not there is not waited for"
    );
}

#[test]
fn a_writer_that_removes_at_each_look_has_promised_nothing_but_where_the_log_begins() {
    let env = env();
    let log = of_segments(&env, 3, 4 << 10);
    let logs = logs_in(&*env);
    env.remove_file(&Path::new(DIR).join(&logs[1])).unwrap();
    let start = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let moved = Arc::clone(&start);
    BETWEEN_LOOKS.set(Some(Box::new(move || {
        let before = moved.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        log.delete_records("t", 0, before).unwrap();
    })));
    let dir = open(&env);
    BETWEEN_LOOKS.set(None);
    assert_eq!(start.load(std::sync::atomic::Ordering::Relaxed), ATTEMPTS as u64 - 1);
    assert_eq!(dir.log_start_offset(), ATTEMPTS as u64 - 1);
}
