//! Positions that somebody else keeps.

use crate::{
    Consumer, Durability, ErrorKind, ProducerRecord, Streamlog, TopicConfig,
    clients::{AutoOffsetReset, Positions},
    config::Builder,
    planted::hold,
    sim::{Crash, SimEnv},
};
use std::time::Duration;

fn open(env: &SimEnv) -> Streamlog {
    let log = Builder::env(env, "/data").background_thread(false).open().unwrap();
    log.topic_or_create("t", TopicConfig::default().partitions(2).durability(Durability::Written)).unwrap();
    log
}

fn send(log: &Streamlog, value: &str) {
    log.producer().unwrap().send(ProducerRecord::new("t", value).partition(0)).unwrap();
}

fn consumer(log: &Streamlog) -> Consumer {
    let builder = log.consumer_builder_without_group().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = builder.build().unwrap();
    consumer.subscribe(["t"]).unwrap();
    consumer
}

fn read(consumer: &mut Consumer) -> Vec<String> {
    let mut values = Vec::new();
    loop {
        let records = consumer.poll(Duration::ZERO).unwrap();
        if records.is_empty() {
            return values;
        }
        values.extend(records.iter().map(|record| record.value_str().unwrap().to_string()));
    }
}

#[test]
fn a_consumer_goes_on_where_what_was_stored_says() {
    let env = SimEnv::new(1);
    let log = open(&env);
    send(&log, "one");
    let mut first = consumer(&log);
    assert!(first.positions().is_empty());
    assert_eq!(read(&mut first), ["one"]);
    let stored = first.positions().to_string();
    send(&log, "two");
    log.close().unwrap();
    let log = open(&env);
    let positions: Positions = stored.parse().unwrap();
    assert_eq!(positions.to_string(), stored);
    let offsets: Vec<_> = positions.offsets().map(|(p, offset)| (p.partition, offset.value())).collect();
    assert_eq!(offsets, [(0, 1), (1, 0)]);
    let mut second = consumer(&log);
    second.seek_to_positions(&positions).unwrap();
    assert_eq!(read(&mut second), ["two"]);
}

fn another_life_is_refused() {
    let env = SimEnv::new(1);
    let log = open(&env);
    send(&log, "kept");
    log.topic("t").unwrap().partition(0).unwrap().flush().unwrap();
    send(&log, "lost");
    let mut first = consumer(&log);
    assert_eq!(read(&mut first), ["kept", "lost"]);
    let positions = first.positions();
    let log = open(&env.crash(Crash::Nothing, 1));
    let refused = |log: &Streamlog| {
        let mut second = consumer(log);
        let refused = second.seek_to_positions(&positions);
        assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::OffsetOutOfRange));
        read(&mut second)
    };
    assert_eq!(refused(&log), ["kept"], "and it was not moved");
    send(&log, "other");
    send(&log, "records");
    refused(&log);
}

#[test]
fn a_position_behind_records_that_a_power_cut_took_is_refused() {
    hold(another_life_is_refused, &["a_position_of_another_life_is_taken"]);
}

#[test]
fn a_position_in_a_topic_of_the_same_name_is_refused_and_one_that_is_not_assigned() {
    let log = open(&SimEnv::new(1));
    send(&log, "one");
    let mut reader = consumer(&log);
    read(&mut reader);
    let positions = reader.positions();
    let mut elsewhere = log.consumer_builder_without_group().build().unwrap();
    assert_eq!(elsewhere.seek_to_positions(&positions).unwrap_err().kind(), ErrorKind::InvalidArgument);
    log.delete_topic("t").unwrap();
    log.topic_or_create("t", TopicConfig::default().partitions(2)).unwrap();
    send(&log, "another");
    let mut later = consumer(&log);
    assert_eq!(later.seek_to_positions(&positions).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn what_is_no_position_is_refused_as_text() {
    for text in [
        "t-0",
        "t-0 x 0 1",
        "t-0 AAECAwQFBgcICQoLDA0ODw 0 1 2",
        "t-0 AAECAwQFBgcICQoLDA0ODw -1 1",
        "t AAECAwQFBgcICQoLDA0ODw 0 1",
        "\n",
    ] {
        assert!(text.parse::<Positions>().is_err(), "{text}");
    }
    let line = "t-0 AAECAwQFBgcICQoLDA0ODw 0 1\n";
    assert!(line.parse::<Positions>().is_ok() && format!("{line}{line}").parse::<Positions>().is_err());
    assert!("".parse::<Positions>().unwrap().is_empty());
}
