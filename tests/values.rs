//! The values of the public API as programs use them: compared, hashed, copied, printed, read back, sent between threads.

use std::{collections::HashSet, fmt, hash::Hash, str::FromStr, time::Duration};
use streamlog::{
    admin::{
        CommittedOffset, GroupDescription, Health, OffsetSpec, RecoveryReport, RecoveryVerdict, ResetTo,
        Stats, TopicId,
    },
    clients::{
        AutoOffsetReset, ConsumerBuilder, IsolationLevel, OffsetAndMetadata, OffsetReset,
        OwnedConsumerRecord, ProducerBuilder, ResetReason, SendAllError,
    },
    config::{CleanupPolicy, Compression, ConfigChange, ConfigEntry, TimestampType, TopicCompression},
    records::{Batches, OwnedRecord},
    types::ParseError,
    *,
};

fn compared<T: PartialEq>() {}
fn hashed<T: Eq + Hash>() {}
fn copied<T: Clone>() {}
fn printed<T: fmt::Display + fmt::Debug>() {}
fn read_back<T: FromStr<Err = ParseError> + fmt::Display>() {}
fn shared<T: Send + Sync + 'static>() {}
fn an_error<T: std::error::Error + Clone + Send + Sync + 'static>() {}

#[test]
fn values_have_the_traits_that_programs_ask_for() {
    compared::<TopicConfig>();
    compared::<ProducerRecord>();
    compared::<RecordData>();
    compared::<ConsumerRecord>();
    compared::<Record>();
    compared::<Topic>();
    compared::<Partition>();
    compared::<Stats>();
    compared::<RecoveryReport>();
    hashed::<AutoOffsetReset>();
    hashed::<CommittedOffset>();
    hashed::<Compression>();
    hashed::<ConfigChange>();
    hashed::<Durability>();
    hashed::<ErrorKind>();
    hashed::<GroupDescription>();
    hashed::<IsolationLevel>();
    hashed::<Offset>();
    hashed::<OffsetAndMetadata>();
    hashed::<OffsetReset>();
    hashed::<OffsetSpec>();
    hashed::<OwnedConsumerRecord>();
    hashed::<OwnedRecord>();
    hashed::<RecordMetadata>();
    hashed::<ResetTo>();
    hashed::<Timestamp>();
    hashed::<TopicId>();
    hashed::<TopicPartition>();
    copied::<Batches>();
    copied::<ConsumerBuilder>();
    copied::<ProducerBuilder>();
    copied::<ProducerRecord>();
    printed::<ConfigChange>();
    printed::<ConfigEntry>();
    printed::<ErrorKind>();
    printed::<Health>();
    printed::<OffsetReset>();
    printed::<RecoveryVerdict>();
    printed::<ResetReason>();
    printed::<Stats>();
    read_back::<AutoOffsetReset>();
    read_back::<CleanupPolicy>();
    read_back::<Compression>();
    read_back::<Durability>();
    read_back::<IsolationLevel>();
    read_back::<Offset>();
    read_back::<Timestamp>();
    read_back::<TimestampType>();
    read_back::<TopicCompression>();
    read_back::<TopicId>();
    read_back::<TopicPartition>();
    shared::<Batches>();
    shared::<ConsumerRecords>();
    shared::<Delivery>();
    shared::<Partition>();
    shared::<Producer>();
    shared::<Streamlog>();
    an_error::<Error>();
    an_error::<ParseError>();
    an_error::<SendAllError>();
}

fn log_with_records() -> Result<Streamlog> {
    let log = Streamlog::in_memory()?;
    log.create_topic("t", TopicConfig::new().partitions(2))?;
    let producer = log.producer()?;
    for value in ["a", "b", "c"] {
        producer.send(ProducerRecord::new("t", value).key("k").header("n", value).partition(0))?;
    }
    Ok(log)
}

#[test]
fn equal_handles_speak_of_the_same_thing() -> Result<()> {
    let (log, other) = (log_with_records()?, log_with_records()?);
    assert_eq!(log.topic("t")?, log.topic("t")?);
    assert_ne!(log.topic("t")?, other.topic("t")?);
    let partition = log.topic("t")?.partition(0)?;
    assert_eq!(partition, log.topic("t")?.partition(0)?);
    assert_ne!(partition, log.topic("t")?.partition(1)?);
    assert_ne!(partition, other.topic("t")?.partition(0)?);
    Ok(())
}

#[test]
fn equal_records_have_the_same_place_and_content() -> Result<()> {
    let log = log_with_records()?;
    let poll = || -> Result<ConsumerRecords> {
        let mut consumer = log.consumer("g")?;
        consumer.subscribe(["t"])?;
        consumer.poll(Duration::ZERO)
    };
    let (first, second) = (poll()?, poll()?);
    assert_eq!(first.iter().collect::<Vec<_>>(), second.iter().collect::<Vec<_>>());
    let records: Vec<_> = first.iter().collect();
    assert_ne!(records[0], records[1]);
    let owned: HashSet<_> = first.iter().chain(&second).map(|record| record.to_owned()).collect();
    assert_eq!(owned.len(), 3);
    Ok(())
}

#[test]
fn a_copied_iterator_goes_on_by_itself() -> Result<()> {
    let partition = log_with_records()?.topic("t")?.partition(0)?;
    let mut batches = partition.read(0);
    batches.next().unwrap()?;
    let copy = batches.clone();
    assert_eq!((batches.count(), copy.count()), (2, 2));
    Ok(())
}

#[test]
fn what_ends_in_a_log_line_is_a_line() -> Result<()> {
    let log = log_with_records()?;
    let stats = log.stats().to_string();
    assert!(stats.contains("topics=1 partitions=2 ") && !stats.contains('\n'), "{stats}");
    assert_eq!(log.health().to_string(), "good");
    assert_eq!(RecoveryVerdict::Whole.to_string(), "whole");
    assert_eq!(ConfigChange::set("retention.ms", "5").to_string(), "retention.ms=5");
    assert_eq!(ConfigChange::unset("retention.ms").to_string(), "-retention.ms");
    let entries = TopicConfig::default().retention_bytes(1 << 30).entries();
    let texts: Vec<_> = entries.iter().map(ToString::to_string).collect();
    assert!(texts.iter().any(|text| text == "retention.bytes=1073741824"), "{texts:?}");
    assert!(texts.iter().any(|text| text == "retention.ms=-1 (default)"), "{texts:?}");

    let mut consumer = log.consumer("g")?;
    consumer.subscribe(["t"])?;
    consumer.seek(&"t-0".parse()?, 1000)?;
    let records = consumer.poll(Duration::ZERO)?;
    let text = records.resets()[0].to_string();
    assert_eq!(text, "t-0 continues at offset 0, not at 1000: it is out of range");
    Ok(())
}

#[test]
fn a_reader_that_comes_before_its_writer_is_told_to_wait() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    for opened in [Streamlog::open_read_only(&path), Streamlog::builder(&path).create(false).open()] {
        let error = opened.unwrap_err();
        assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::NotFound, false));
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()) && text.contains("a reader waits"), "{text}");
    }
    let writer = Streamlog::open(&path)?;
    let reader = Streamlog::open_read_only(&path)?;
    let (theirs, ours) = (reader.topic("t").unwrap_err(), writer.topic("t").unwrap_err());
    assert_eq!((theirs.kind(), ours.kind()), (ErrorKind::UnknownTopic, ErrorKind::UnknownTopic));
    assert!(!theirs.to_string().contains("create_topic"), "{theirs}");
    assert!(ours.to_string().contains("Streamlog::create_topic"), "{ours}");
    writer.create_topic("t", TopicConfig::default())?;
    reader.refresh()?;
    reader.topic("t")?;
    Ok(())
}

#[test]
fn a_record_that_is_too_large_names_the_one_limit_that_it_met() -> Result<()> {
    let log = Streamlog::in_memory()?;
    log.create_topic("small", TopicConfig::default().max_message_bytes(2000))?;
    log.create_topic("large", TopicConfig::default().max_message_bytes(200_000))?;
    let producer = log.producer_builder().batch_size(10_000).buffer_memory(50_000).build()?;
    let value = "x".repeat(100_000);
    let small = producer.send(ProducerRecord::new("small", &value)).unwrap_err();
    let large = producer.enqueue(ProducerRecord::new("large", &value)).unwrap_err();
    for (error, met, others) in [
        (small, "max.message.bytes", ["segment.bytes", "buffer_memory"]),
        (large, "buffer_memory", ["segment.bytes", "max.message.bytes"]),
    ] {
        assert_eq!(error.kind(), ErrorKind::RecordTooLarge);
        let text = error.to_string();
        assert!(text.contains(met) && !others.iter().any(|other| text.contains(other)), "{text}");
    }
    Ok(())
}

#[test]
fn bytes_have_their_type_from_this_crate() -> Result<()> {
    let log = log_with_records()?;
    let record = log.topic("t")?.partition(0)?.last(1)?.remove(0);
    let value: Option<Bytes> = record.value;
    assert_eq!(value, Some(Bytes::from_static(b"c")));
    Ok(())
}
