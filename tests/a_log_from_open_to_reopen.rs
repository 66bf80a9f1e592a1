//! The whole house in one walk: open, append, read, close or crash, open again. (I1, I2, I3, I5)

mod support;

use std::fs;
use streamlog::{
    Durability, Error, Offset, Partition, RecordData, Streamlog, Timestamp, TopicConfig,
    admin::RecoveryVerdict,
};
use support::image;

fn config() -> TopicConfig {
    TopicConfig::default().segment_bytes(4096).index_interval_bytes(256)
}

fn append(partition: &Partition, range: std::ops::Range<u64>) {
    for i in range {
        let (key, value) = (format!("key-{}", i % 7), format!("value number {i} of this partition"));
        let record =
            RecordData::new(&value).key(&key).timestamp(Timestamp::from_millis(1_000_000 + i as i64));
        let offsets = partition.append(&[record]).unwrap();
        assert_eq!(offsets.start, i);
    }
}

/// Every record from `from` on is there with its bytes, up to `end`.
fn check(partition: &Partition, from: u64, end: u64) {
    let mut next = from;
    for batch in partition.read(from) {
        for record in &batch.unwrap() {
            assert_eq!(record.offset, next);
            assert_eq!(record.key, Some(format!("key-{}", next % 7).as_bytes()));
            assert_eq!(record.value, Some(format!("value number {next} of this partition").as_bytes()));
            next += 1;
        }
    }
    assert_eq!(next, end);
    assert_eq!(partition.high_watermark(), end);
}

#[test]
fn what_was_appended_is_there_after_a_clean_close() {
    let dir = tempfile::tempdir().unwrap();
    for durability in [Durability::Flushed, Durability::Written] {
        let name = format!("t-{durability}");
        let log = Streamlog::open(dir.path()).unwrap();
        let topic = log.create_topic(&name, config().durability(durability)).unwrap();
        append(&topic.partition(0).unwrap(), 0..500);
        assert!(topic.partition(0).unwrap().segment_count() > 5);
        check(&topic.partition(0).unwrap(), 0, 500);
        log.close().unwrap();
        for round in 0..3u64 {
            let log = Streamlog::open(dir.path()).unwrap();
            assert!(log.recovery_report().was_clean);
            let partition = log.topic(&name).unwrap().partition(0).unwrap();
            check(&partition, 0, 500 + round * 50);
            check(&partition, 333, 500 + round * 50);
            append(&partition, 500 + round * 50..550 + round * 50);
            log.close().unwrap();
        }
    }
}

#[test]
fn what_was_appended_is_there_after_the_process_died() {
    for durability in [Durability::Flushed, Durability::Written] {
        let dir = tempfile::tempdir().unwrap();
        let log = Streamlog::open(dir.path().join("a")).unwrap();
        let topic = log.create_topic("t", config().durability(durability)).unwrap();
        append(&topic.partition(0).unwrap(), 0..300);
        let mut from = dir.path().join("a");
        let mut living = Some(log);
        for round in 1..5u64 {
            let to = dir.path().join(format!("copy-{round}"));
            image(&from, &to);
            drop(living.take());
            let log = Streamlog::open(&to).unwrap();
            assert!(!log.recovery_report().was_clean);
            for partition in &log.recovery_report().partitions {
                assert_eq!(partition.verdict, RecoveryVerdict::Whole, "round {round}");
            }
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            let end = 200 + round * 100;
            check(&partition, 0, end);
            append(&partition, end..end + 100);
            check(&partition, 0, end + 100);
            if round == 2 {
                partition.flush().unwrap();
            }
            from = to;
            living = Some(log);
        }
    }
}

#[test]
fn reading_backwards_and_the_newest_records() {
    let log = Streamlog::in_memory().unwrap();
    let partition = log.create_topic("t", config()).unwrap().partition(0).unwrap();
    append(&partition, 0..200);
    let offsets: Vec<Offset> =
        partition.read_backwards(150).flat_map(|b| b.unwrap().into_reversed()).map(|r| r.offset).collect();
    assert_eq!(offsets, (0..150).rev().map(Offset::new).collect::<Vec<_>>());
    let newest: Vec<_> = partition.last(3).unwrap().into_iter().map(|r| r.offset.value()).collect();
    assert_eq!(newest, [197, 198, 199]);
    assert_eq!(partition.last(1000).unwrap().len(), 200);
}

#[test]
fn records_are_found_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = Streamlog::open(dir.path()).unwrap();
    let partition = log.create_topic("t", config()).unwrap().partition(0).unwrap();
    append(&partition, 0..400);
    let check = |partition: &Partition| {
        for i in (0..400).step_by(7) {
            let found =
                partition.offset_for_timestamp(Timestamp::from_millis(1_000_000 + i)).unwrap().unwrap();
            assert_eq!(found.offset, i as u64);
        }
        assert_eq!(partition.offset_for_timestamp(Timestamp::from_millis(0)).unwrap().unwrap().offset, 0);
        assert_eq!(partition.offset_for_timestamp(Timestamp::from_millis(1_000_400)).unwrap(), None);
        assert_eq!(partition.offset_of_max_timestamp().unwrap().unwrap().offset, 399);
    };
    check(&partition);
    log.close().unwrap();
    let log = Streamlog::open(dir.path()).unwrap();
    check(&log.topic("t").unwrap().partition(0).unwrap());
}

#[test]
fn removing_a_prefix_survives_and_reads_below_it_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Streamlog::open(dir.path()).unwrap();
    let partition = log.create_topic("t", config()).unwrap().partition(0).unwrap();
    append(&partition, 0..300);
    let segments = partition.segment_count();
    assert_eq!(log.delete_records("t", 0, 157).unwrap(), 157);
    assert!(partition.segment_count() < segments);
    check(&partition, 157, 300);
    let refused = partition.read(100).next().unwrap().unwrap_err();
    assert!(matches!(refused, Error::OffsetOutOfRange { .. }), "{refused}");
    let crashed = tempfile::tempdir().unwrap();
    image(dir.path(), crashed.path());
    log.close().unwrap();
    for open in [dir.path(), crashed.path()] {
        let log = Streamlog::open(open).unwrap();
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert_eq!(partition.log_start_offset(), 157);
        check(&partition, 157, 300);
    }
}

#[test]
fn a_second_writer_is_refused_with_the_holders_pid() {
    let dir = tempfile::tempdir().unwrap();
    let log = Streamlog::open(dir.path()).unwrap();
    let refused = Streamlog::open(dir.path()).unwrap_err();
    assert!(
        matches!(refused, Error::AlreadyOpen { pid: Some(pid), .. } if pid == std::process::id()),
        "{refused}"
    );
    drop(log);
    Streamlog::open(dir.path()).unwrap();
}

#[test]
fn a_reader_follows_a_writer_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = Streamlog::open(dir.path()).unwrap();
    let partition = log.create_topic("t", config()).unwrap().partition(0).unwrap();
    append(&partition, 0..100);
    let reader = Streamlog::open_read_only(dir.path()).unwrap();
    let seen = reader.topic("t").unwrap().partition(0).unwrap();
    check(&seen, 0, 100);
    append(&partition, 100..250);
    log.create_topic("later", config()).unwrap();
    reader.refresh().unwrap();
    check(&seen, 0, 250);
    check(&seen, 99, 250);
    assert_eq!(reader.topics().unwrap().len(), 2);
    assert!(matches!(seen.append(&[RecordData::new("x")]), Err(Error::ReadOnly { .. })));
    log.delete_records("t", 0, 200).unwrap();
    append(&partition, 250..300);
    log.close().unwrap();
    reader.refresh().unwrap();
    check(&seen, 200, 300);
}

#[test]
fn a_deleted_topic_is_gone_and_its_name_free() {
    let dir = tempfile::tempdir().unwrap();
    let log = Streamlog::open(dir.path()).unwrap();
    let old = log.create_topic("t", config()).unwrap();
    append(&old.partition(0).unwrap(), 0..10);
    let partition = old.partition(0).unwrap();
    log.delete_topic("t").unwrap();
    assert!(matches!(partition.append(&[RecordData::new("x")]), Err(Error::Closed { .. })));
    assert!(matches!(old.partition(0), Err(Error::Closed { .. })));
    assert!(!dir.path().join("t-0").exists());
    let new = log.create_topic("t", config()).unwrap();
    assert_ne!(new.id(), old.id());
    check(&new.partition(0).unwrap(), 0, 0);
}

#[test]
fn every_byte_of_a_sealed_segment_is_guarded() {
    let dir = tempfile::tempdir().unwrap();
    let log = Streamlog::open(dir.path()).unwrap();
    let partition = log.create_topic("t", config().segment_bytes(1024)).unwrap().partition(0).unwrap();
    append(&partition, 0..60);
    log.close().unwrap();
    let first = dir.path().join("t-0").join("00000000000000000000.log");
    let good = fs::read(&first).unwrap();
    assert!(dir.path().join("t-0").join("00000000000000000000.pages").exists());
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&first, &bad).unwrap();
        let log = Streamlog::open(dir.path()).unwrap();
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let mut next = 0;
        let damage = loop {
            match partition.read(next).next() {
                Some(Ok(batch)) => {
                    for record in &batch {
                        assert_eq!(
                            record.value,
                            Some(format!("value number {next} of this partition").as_bytes())
                        );
                        assert_eq!((record.offset.value(), batch.leader_epoch()), (next, 0), "byte {at}");
                        next += 1;
                    }
                }
                Some(Err(error)) => break error,
                None => panic!("the flip of byte {at} went unnoticed"),
            }
        };
        assert!(matches!(&damage, Error::Corrupt { path, .. } if *path == first), "byte {at}: {damage}");
        assert!(partition.read(30).next().unwrap().is_ok(), "later segments stay readable");
    }
    fs::write(&first, &good).unwrap();
    fs::remove_file(dir.path().join("t-0").join("00000000000000000000.pages")).unwrap();
    check(&Streamlog::open(dir.path()).unwrap().topic("t").unwrap().partition(0).unwrap(), 0, 60);
}

#[test]
fn what_handles_say_of_themselves_is_a_line() {
    let log = Streamlog::in_memory().unwrap();
    let topic = log.create_topic("t", TopicConfig::default().partitions(2)).unwrap();
    let partition = topic.partition(0).unwrap();
    partition.append(&vec![RecordData::new(&[7; 1000]); 100]).unwrap();
    let producer = log.producer().unwrap();
    let mut consumer = log.consumer("g").unwrap();
    consumer.subscribe(["t"]).unwrap();
    let records = consumer.poll(std::time::Duration::ZERO).unwrap();
    let mut batches = partition.read(0);
    let batch = batches.next().unwrap().unwrap();
    let said = [
        format!("{log:?}"),
        format!("{topic:?}"),
        format!("{partition:?}"),
        format!("{producer:?}"),
        format!("{consumer:?}"),
        format!("{records:?}"),
        format!("{batches:?}"),
        format!("{:?}", partition.read_backwards(100)),
        format!("{batch:?}"),
        format!("{:?}", batch.iter()),
    ];
    for line in &said {
        assert!(line.len() < 300, "{} bytes: {line}", line.len());
    }
    assert_eq!(said[2], "Partition { name: t-0, offsets: 0..100, high_watermark: 100, .. }");
    assert_eq!(said[5], "ConsumerRecords { count: 100, partitions: [\"t-0\"], resets: [] }");
}
