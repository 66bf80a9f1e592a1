//! What became of the records of a producing call that failed: `Error::outcome`, held against what a reopening shows.
//!
//! Every call meets every fault at every operation that it reaches. Then the process is killed, and the next one looks.

use std::{collections::BTreeMap, time::Duration};
use streamlog::{
    Durability, Error, ErrorKind, Offset, Outcome, Producer, ProducerRecord, RecordData, Streamlog,
    TopicConfig,
    config::Builder,
    planted::hold,
    sim::{Crash, Fault, FaultKind, Operation, SimEnv},
};

/// A producing call: what it wants in the log, and how it failed.
type Call = fn(&Streamlog, &Producer) -> Result<(), Error>;

/// What each call sends: to partition 0, and to partition 1.
const VALUES: [&str; 4] = ["a", "b", "c", "d"];

fn record(at: usize) -> ProducerRecord<'static> {
    ProducerRecord::new("t", VALUES[at]).partition(u32::from(at >= 2))
}

fn append(log: &Streamlog, _: &Producer) -> Result<(), Error> {
    let partition = log.topic("t")?.partition(0)?;
    partition.append(&[RecordData::new(VALUES[0]), RecordData::new(VALUES[1])]).map(drop)
}

fn send(_: &Streamlog, producer: &Producer) -> Result<(), Error> {
    producer.send(record(0)).map(drop)
}

fn send_flushed(_: &Streamlog, producer: &Producer) -> Result<(), Error> {
    producer.send_with(record(0), Durability::Flushed).map(drop)
}

fn send_batch(_: &Streamlog, producer: &Producer) -> Result<(), Error> {
    producer.send_batch(&[record(0), record(1), record(2), record(3)]).map(drop)
}

fn send_all(_: &Streamlog, producer: &Producer) -> Result<(), Error> {
    producer.send_all([record(0), record(1), record(2)]).map(drop).map_err(|stopped| stopped.error)
}

fn enqueue_and_flush(_: &Streamlog, producer: &Producer) -> Result<(), Error> {
    for at in 0..2 {
        producer.enqueue(record(at))?;
    }
    producer.flush()
}

fn enqueue_and_close(_: &Streamlog, producer: &Producer) -> Result<(), Error> {
    producer.enqueue(record(0))?;
    producer.close()
}

fn delivery(_: &Streamlog, producer: &Producer) -> Result<(), Error> {
    // The second record of its batch; what became of the first one is that one's business.
    let first = producer.enqueue(ProducerRecord::new("t", "before").partition(0))?;
    let delivery = producer.enqueue(record(0))?;
    drop(first);
    delivery.wait().map(drop)
}

const CALLS: [(&str, Call); 8] = [
    ("append", append),
    ("send", send),
    ("send_with Flushed", send_flushed),
    ("send_batch", send_batch),
    ("send_all", send_all),
    ("flush", enqueue_and_flush),
    ("close", enqueue_and_close),
    ("delivery", delivery),
];

fn open(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/data").background_thread(false).open().unwrap()
}

/// A log with two partitions that hold a record each; with `warm`, the process that fails has written one of them.
fn begin(durability: Durability, warm: bool) -> (SimEnv, Streamlog, Producer) {
    let env = SimEnv::new(1);
    let mut log = open(&env);
    log.create_topic("t", TopicConfig::default().partitions(2).durability(durability)).unwrap();
    let before = |log: &Streamlog| {
        for partition in log.topic("t").unwrap().partitions() {
            partition.append(&[RecordData::new("there")]).unwrap();
        }
    };
    before(&log);
    if !warm {
        log.close().unwrap();
        log = open(&env);
    }
    let producer = log.producer_builder().max_block(Duration::ZERO).build().unwrap();
    (env, log, producer)
}

/// Where each value of the call lies in the log that the next process opens.
fn found(env: &SimEnv, crash: Crash) -> BTreeMap<(u32, u64), String> {
    let env = env.crash(crash, 7);
    let log = open(&env);
    let partitions = log.topic("t").unwrap().partitions();
    let records = partitions.iter().flat_map(|partition| {
        let own = partition.records(0).map(|record| record.unwrap());
        own.map(|record| ((partition.index(), record.offset.value()), text(record.value.as_deref())))
            .collect::<Vec<_>>()
    });
    records.filter(|(_, value)| VALUES.contains(&&**value)).collect()
}

fn text(value: Option<&[u8]>) -> String {
    String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
}

fn places(outcome: &Outcome) -> Vec<(u32, u64)> {
    let Outcome::Appended(ranges) = outcome else { return Vec::new() };
    let of = |(partition, offsets): &(streamlog::TopicPartition, std::ops::Range<Offset>)| {
        let (number, offsets) = (partition.partition, offsets.start.value()..offsets.end.value());
        offsets.map(move |offset| (number, offset)).collect::<Vec<_>>()
    };
    ranges.iter().flat_map(of).collect()
}

/// Makes the call fail, and holds its error against what the next process finds. Returns which outcome there was.
fn try_one(name: &str, call: Call, durability: Durability, warm: bool, faults: &[Fault]) -> Option<Outcome> {
    let (env, log, producer) = begin(durability, warm);
    faults.iter().for_each(|fault| env.inject(fault.clone()));
    let error = call(&log, &producer).err()?;
    env.clear_faults();
    let outcome = error.outcome();
    let what = format!("{name}, {durability:?}, warm {warm}, {faults:?}: {error}: {outcome:?}");
    let there: Vec<_> = found(&env, Crash::Kill).into_keys().collect();
    match &outcome {
        Outcome::NotAppended => {
            assert!(there.is_empty(), "{what}, and {there:?} were found");
            assert!(
                found(&env, Crash::Everything).is_empty() && found(&env, Crash::Nothing).is_empty(),
                "{what}"
            );
        }
        Outcome::Appended(_) => assert_eq!(places(&outcome), there, "{what}"),
        Outcome::Unknown => {
            let of_a_flush = faults.iter().any(|fault| format!("{fault:?}").contains("Sync"));
            assert!(of_a_flush, "{what}");
        }
        other => panic!("{what}: {other:?}"),
    }
    if outcome != Outcome::NotAppended {
        assert!(!error.is_retriable(), "{what}");
    }
    Some(outcome)
}

/// What can fail, and how.
fn faults() -> Vec<(Operation, FaultKind)> {
    let once = [
        Operation::Open,
        Operation::Create,
        Operation::Read,
        Operation::SetLen,
        Operation::Allocate,
        Operation::SyncDir,
        Operation::Rename,
    ];
    let writes = [FaultKind::Io, FaultKind::DiskFull, FaultKind::ShortThenFull];
    let flushes = [FaultKind::Io, FaultKind::LosePages];
    let once = once.into_iter().map(|operation| (operation, FaultKind::Io));
    let writes = writes.into_iter().map(|kind| (Operation::Write, kind));
    once.chain(writes).chain(flushes.into_iter().map(|kind| (Operation::Sync, kind))).collect()
}

fn every_error_says_what_became_of_its_records() {
    let mut seen = [0; 3];
    for (name, call) in CALLS {
        for durability in [Durability::Flushed, Durability::Written] {
            for warm in [true, false] {
                for (operation, kind) in faults() {
                    for skip in 0..12 {
                        let fault = Fault::new(kind).on(operation).skip(skip);
                        match try_one(name, call, durability, warm, &[fault]) {
                            None | Some(Outcome::Pending) => {}
                            Some(Outcome::NotAppended) => seen[0] += 1,
                            Some(Outcome::Appended(_)) => seen[1] += 1,
                            Some(_) => seen[2] += 1,
                        }
                    }
                }
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 10), "{seen:?}");
}

#[test]
fn the_outcome_of_an_error_is_what_a_reopening_shows() {
    hold(
        every_error_says_what_became_of_its_records,
        &["what_was_written_counts_as_refused", "nothing_is_ever_unknown"],
    );
}

#[test]
fn a_failed_write_that_cannot_be_undone_left_nothing_that_an_opening_shows() {
    for (name, call) in CALLS {
        for durability in [Durability::Flushed, Durability::Written] {
            for skip in 0..2 {
                let write = Fault::new(FaultKind::ShortThenFull).on(Operation::Write).path("t-0/").skip(skip);
                let cut = Fault::new(FaultKind::Io).on(Operation::SetLen).path("t-0/").forever();
                let outcome = try_one(name, call, durability, true, &[write, cut]);
                assert!(outcome != Some(Outcome::Unknown), "{name}");
            }
        }
    }
}

/// What a refused record leaves: nothing, whatever refuses it.
#[test]
fn what_is_refused_is_not_appended() {
    let (_env, log, producer) = begin(Durability::Flushed, true);
    let large = "x".repeat(2 << 20);
    let refusals: Vec<Error> = vec![
        producer.send(ProducerRecord::new("nowhere", "a")).unwrap_err(),
        producer.send(ProducerRecord::new("t", "a").partition(9)).unwrap_err(),
        producer.send(ProducerRecord::new("t", &*large)).unwrap_err(),
        producer.send_batch(&[record(0), ProducerRecord::new("t", &*large)]).unwrap_err(),
        producer.enqueue(ProducerRecord::new("nowhere", "a")).unwrap_err(),
        producer.try_enqueue(ProducerRecord::new("t", &*large)).unwrap_err().into(),
        log.topic("t").unwrap().partition(0).unwrap().append(&[RecordData::new(&*large)]).unwrap_err(),
    ];
    for error in &refusals {
        assert_eq!(error.outcome(), Outcome::NotAppended, "{error}");
    }
    let full = log.producer_builder().buffer_memory(1000).batch_size(1000).max_block(Duration::ZERO);
    let full = full.linger(Duration::from_secs(3600)).build().unwrap();
    let waiting = full.enqueue(ProducerRecord::new("t", "w".repeat(700)).partition(0)).unwrap();
    let pending = waiting.wait_timeout(Duration::ZERO);
    if let Err(error) = pending {
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Timeout, Outcome::Pending));
    }
    producer.close().unwrap();
    let closed = producer.send(record(0)).unwrap_err();
    assert_eq!((closed.kind(), closed.outcome()), (ErrorKind::Closed, Outcome::NotAppended));
    assert_eq!(log.topic("t").unwrap().partition(1).unwrap().log_end_offset(), 1);
}

/// A call that reports earlier records did not take its own.
#[test]
fn a_call_that_reports_earlier_records_speaks_of_its_own() {
    let (env, _log, producer) = begin(Durability::Flushed, true);
    let lost = producer.enqueue(record(0)).unwrap();
    env.inject(Fault::new(FaultKind::LosePages).on(Operation::Sync).path(".log"));
    let error = lost.wait().unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Undelivered, Outcome::Unknown));
    let next = producer.send(record(1)).unwrap_err();
    assert_eq!((next.kind(), next.outcome()), (ErrorKind::Undelivered, Outcome::NotAppended));
    let refused = producer.send(record(1)).unwrap_err();
    assert_eq!((refused.kind(), refused.outcome()), (ErrorKind::Poisoned, Outcome::NotAppended));
    assert_eq!(producer.flush().unwrap_err().outcome(), Outcome::Unknown, "the flush is about the first one");
}
