//! What a log says of itself: its size after every opening, the damage that it knows of, and what becomes visible.

use crate::{
    RecordData, Streamlog, TopicConfig,
    config::{Builder, ConfigChange},
    partition::{log::*, tests::batch},
    sim::{Crash, SimEnv},
};

fn open(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/data").background_thread(false).open().unwrap()
}

fn log_of(streamlog: &Streamlog) -> Arc<Log> {
    Arc::clone(streamlog.topic("t").unwrap().partition(0).unwrap().log())
}

/// A log of four segments, one record each.
fn of_four(env: &SimEnv) -> Streamlog {
    let streamlog = open(env);
    let topic = streamlog.create_topic("t", TopicConfig::default().segment_bytes(600)).unwrap();
    for _ in 0..4 {
        topic.partition(0).unwrap().append(&[RecordData::new(&[7; 400])]).unwrap();
    }
    streamlog
}

#[test]
fn records_that_wait_for_no_flush_any_more_become_visible() {
    let streamlog = open(&SimEnv::new(1));
    streamlog.create_topic("t", TopicConfig::default()).unwrap();
    let log = log_of(&streamlog);
    let signal = Arc::new(crate::env::sync::Signal::new());
    log.waiters.register(&signal, crate::types::IsolationLevel::ReadCommitted);
    log.append(&mut batch(9, 0, "not flushed")).unwrap();
    assert_eq!((log.offsets.high_watermark(), log.offsets.log_end()), (Offset::ZERO, Offset::new(1)));
    let epoch = signal.epoch();
    log.set_config(LogConfig::clone(&log.config()));
    assert_eq!((log.offsets.high_watermark(), signal.epoch()), (Offset::ZERO, epoch));
    let mut written = LogConfig::clone(&log.config());
    written.values.durability = Durability::Written;
    log.set_config(written);
    assert_eq!((log.offsets.high_watermark(), log.offsets.last_stable()), (Offset::new(1), Offset::new(1)));
    assert_ne!(signal.epoch(), epoch, "and who waits for it is woken");
}

#[test]
fn the_size_of_a_log_is_that_of_its_segments_after_every_opening() {
    let env = SimEnv::new(1);
    let streamlog = of_four(&env);
    let size = log_of(&streamlog).size();
    let first = log_of(&streamlog).segments.snapshot()[0].readable();
    assert_eq!(size, 4 * first);
    let killed = env.crash(Crash::Everything, 1);
    let reading = Builder::env(&env, "/data").read_only(true).open().unwrap();
    assert_eq!(log_of(&reading).size(), size, "beside the writer");
    streamlog.close().unwrap();
    assert_eq!((log_of(&open(&env)).size(), log_of(&open(&killed)).size()), (size, size));
    // Retention goes by it.
    let streamlog = open(&killed.crash(Crash::Everything, 1));
    let change = ConfigChange::set("retention.bytes", (2 * first).to_string());
    streamlog.alter_topic("t", &[change]).unwrap();
    streamlog.maintain().unwrap();
    assert_eq!((log_of(&streamlog).segment_count(), log_of(&streamlog).size()), (2, 2 * first));
}

#[test]
fn damage_that_was_removed_is_forgotten() {
    let streamlog = of_four(&SimEnv::new(1));
    let log = log_of(&streamlog);
    let of = |i: usize| Error::corrupt(log.segments.snapshot()[i].path(), 0, "met by a reader");
    *log.damage.lock() = Some(of(1));
    streamlog.delete_records("t", 0, 1).unwrap();
    assert!(log.damage().is_some() && !streamlog.health().is_good());
    streamlog.delete_records("t", 0, 2).unwrap();
    assert!(log.damage().is_none() && streamlog.health().is_good());
    *log.damage.lock() = Some(of(0));
    assert!(log.damage().is_some(), "that of the first segment there is");
}
