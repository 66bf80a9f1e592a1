//! Handles that read only, beside a writer.

use crate::{promises, world::*};
use std::time::Duration;
use streamlog::{
    Durability, ErrorKind, Offset, ProducerRecord, RecordData, Streamlog, TopicConfig,
    admin::{GroupReset, RecoveryVerdict, ResetTo},
    config::ConfigChange,
    sim::{Crash, Fault, FaultKind, Operation},
};

promises! {
    a_read_only_handle_sees_what_a_power_cut_leaves: "src/manual/durability.rs",
        "In a Flushed topic it shows what the mark says is flushed"
        => [show_what_is_being_flushed, show_what_is_only_written];
    a_read_only_handle_learns_of_topics: "src/manual/durability.rs",
        "It reads the manifest, and reads it again when the writer adds to it or replaces it"
        => [an_observer_knows_the_topics_of_its_opening by UnknownTopic];
    a_read_only_handle_sees_where_the_log_begins: "src/streamlog/admin.rs",
        "For a read-only handle: makes it show what the writer has done since" => [an_observer_keeps_its_log_start];
    a_read_only_handle_hears_of_news: "src/manual/how_to.rs", "its consumers look for new records every ten milliseconds"
        => [a_follower_sleeps_on];
    a_read_only_handle_changes_nothing: "src/manual/durability.rs", "takes no lock and changes nothing"
        => [who_only_reads_may_write];
    a_read_only_handle_sees_whole_batches: "src/manual/durability.rs",
        "Without a live writer it shows the same, recovers nothing and cuts nothing"
        => [believe_without_checksums by Corrupt, show_only_what_is_flushed];
    a_read_only_consumer_continues_from_what_was_committed: "src/consumer/mod.rs",
        "it continues from what its group committed" => [an_observer_keeps_old_commits];
    missing_durable_data_is_damage_to_a_read_only_handle: "src/manual/durability.rs",
        "Data that was durable according to the mark or the close, and is missing from the files, is damage" => [show_less_than_was_durable];
    a_file_that_a_recovery_wrote_anew_is_no_damage: "src/manual/durability.rs",
        "it reads the manifest again and reopens the files" => [call_it_damage_at_the_first_look];
    what_was_removed_beside_a_reader_is_no_damage: "src/manual/durability.rs",
        "data removed in between is OffsetOutOfRange" => [believe_a_list_that_may_be_old];
}

fn end(log: &Streamlog) -> u64 {
    log.topic("t").unwrap().partition(0).unwrap().high_watermark().value()
}

fn a_read_only_handle_sees_what_a_power_cut_leaves() {
    let world = World::new(1);
    world.send("a");
    world.env.record();
    world.send("b");
    let recording = world.env.recording();
    let mut cursor = recording.cursor();
    while let Some(operation) = cursor.advance() {
        let seen = end(&observer(&cursor.crash(Crash::Kill, 1)));
        let kept = end(&open(&cursor.crash(Crash::Nothing, 1)));
        assert!(seen <= kept, "operation {operation}: {seen} are shown, a power cut leaves {kept}");
    }
}

fn a_read_only_handle_learns_of_topics() {
    let world = World::new(1);
    let observer = world.observer();
    world.log.create_topic("u", TopicConfig::default()).unwrap();
    let _ = world.log.add_partitions("t", 2).unwrap();
    assert_eq!(observer.topic("u").unwrap().partition_count(), 1);
    assert_eq!(observer.topic("t").unwrap().partition_count(), 2);
    world.log.delete_topic("u").unwrap();
    assert_eq!(observer.topic("u").unwrap_err().kind(), ErrorKind::UnknownTopic);
}

fn a_read_only_handle_sees_where_the_log_begins() {
    let world = World::new(1);
    world.append(&["a", "b"]);
    let observer = world.observer();
    world.log.delete_records("t", 0, 1).unwrap();
    observer.refresh().unwrap();
    let partition = observer.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.log_start_offset(), 1);
}

fn a_read_only_handle_hears_of_news() {
    let world = World::with_tasks();
    let producer = world.log.producer_builder().linger(secs(1)).build().unwrap();
    let observer = world.observer();
    let mut consumer = observer.consumer_builder_without_group().build().unwrap();
    consumer.subscribe(["t"]).unwrap();
    producer.enqueue(ProducerRecord::new("t", "a")).unwrap();
    assert_eq!(values(&consumer.poll(Duration::MAX).unwrap()), ["a"]);
}

fn a_read_only_consumer_continues_from_what_was_committed() {
    let world = World::new(1);
    world.append(&["a", "b"]);
    let observer = world.observer();
    assert_eq!(observer.groups().unwrap(), Vec::<String>::new());
    let mut consumer = world.consumer();
    for offset in [1, 2] {
        consumer.commit_offsets([(t(0), streamlog::Offset::new(offset))]).unwrap();
        assert_eq!(observer.describe_group("g").unwrap().committed[0].1.offset, offset);
    }
}

fn missing_durable_data_is_damage_to_a_read_only_handle() {
    let world = World::new(1);
    world.send("a");
    world.send("b");
    let env = world.env.crash(Crash::Kill, 1);
    env.overwrite("/log/t-0/00000000000000000000.log", b"").unwrap();
    let log = observer(&env);
    let [found] = &log.recovery_report().partitions[..] else { panic!("nothing is reported") };
    assert!(matches!(found.verdict, RecoveryVerdict::Damage { .. }), "{found:?}");
    assert!(!log.health().is_good());
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.high_watermark(), 2);
    let error = partition.read(0).next().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.next_offset()), (ErrorKind::Corrupt, Some(2.into())));
}

fn a_file_that_a_recovery_wrote_anew_is_no_damage() {
    let World { env, log } = World::new(1);
    env.refuse_reads_past_the_cache();
    let topic = log.topic("t").unwrap();
    topic.partition(0).unwrap().append(&[RecordData::new("a")]).unwrap();
    let observer = observer(&env);
    // The writer ends in the middle of a flush.
    env.inject(Fault::new(FaultKind::Io).on(Operation::Sync).path(".log").forever());
    topic.partition(0).unwrap().append(&[RecordData::new("lost")]).unwrap_err();
    drop(topic);
    log.close().unwrap_err();
    env.clear_faults();
    let log = open(&env);
    let written = log.topic("t").unwrap().partition(0).unwrap();
    for value in ["b", "c", "d"] {
        written.append(&[RecordData::new(value)]).unwrap();
    }
    observer.refresh().unwrap();
    assert!(observer.health().is_good(), "{}", observer.health());
    let partition = observer.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.high_watermark(), written.high_watermark());
    assert_eq!(partition.last(10).unwrap(), written.last(10).unwrap());
}

fn what_was_removed_beside_a_reader_is_no_damage() {
    let world = World::with(TopicConfig::default().segment_bytes(512));
    for _ in 0..10 {
        world.send(&"x".repeat(300));
    }
    world.partition().flush().unwrap();
    let observer = world.observer();
    let partition = observer.topic("t").unwrap().partition(0).unwrap();
    world.log.delete_records("t", 0, 8).unwrap();
    let error = partition.read(0).next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange, "{error}");
    assert!(observer.health().is_good(), "{}", observer.health());
    world.log.delete_records("t", 0, 9).unwrap();
    assert_eq!(partition.last(10).unwrap().len(), 1);
    assert!(observer.health().is_good(), "{}", observer.health());
}

fn a_read_only_handle_changes_nothing() {
    let world = World::new(1);
    world.append(&["a", "b"]);
    world.consumer().commit_offsets([(t(0), Offset::new(1))]).unwrap();
    let before = world.env.files();
    let observer = world.observer();
    let partition = observer.topic("t").unwrap().partition(0).unwrap();
    let mut consumer = observer.consumer("g").unwrap();
    consumer.subscribe(["t"]).unwrap();
    assert_eq!(poll(&mut consumer), ["b"]);
    let reset = GroupReset::to(ResetTo::Latest);
    let refused = [
        partition.append(&[RecordData::new("c")]).map(drop),
        observer.producer().map(drop),
        observer.create_topic("u", TopicConfig::default()).map(drop),
        observer.delete_topic("t"),
        observer.delete_records("t", 0, 1).map(drop),
        observer.alter_topic("t", &[ConfigChange::set("retention.ms", "1")]),
        observer.add_partitions("t", 2).map(drop),
        observer.maintain(),
        observer.reset_group_offsets("g", &reset).map(drop),
        observer.delete_group("g"),
        consumer.commit_sync(),
        consumer.commit_offsets([(t(0), Offset::ZERO)]),
        observer.consumer_builder("g").auto_commit(secs(1)).build().map(drop),
    ];
    for (i, refused) in refused.into_iter().enumerate() {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnly, "call {i}");
    }
    drop(consumer);
    observer.close().unwrap();
    assert!(world.env.files() == before, "a file is not as it was");
}

fn a_read_only_handle_sees_whole_batches() {
    let world = World::with(TopicConfig::default().durability(Durability::Written));
    let value = |i: u64| i.to_string().repeat(2000);
    (0..3).for_each(|i| world.append(&[&value(i)]));
    for (crash, seed) in Crash::ALL.into_iter().flat_map(|crash| (0..8).map(move |seed| (crash, seed))) {
        let env = world.env.crash(crash, seed);
        let before = env.files();
        let seen: Vec<String> = {
            let observer = observer(&env);
            let topic = match observer.topic("t") {
                Err(_) if crash != Crash::Kill => continue,
                topic => topic.unwrap(),
            };
            let records = topic.partition(0).unwrap().records(0);
            records.map(|record| record.unwrap().value_text().into_owned()).collect()
        };
        let whole: Vec<String> = (0..seen.len() as u64).map(value).collect();
        assert!(seen == whole, "{crash:?} {seed}: {} records, and not the first ones", seen.len());
        assert!(crash != Crash::Kill || seen.len() == 3, "{} of three records", seen.len());
        assert!(env.files() == before, "{crash:?} {seed}: a file is not as it was");
    }
}
