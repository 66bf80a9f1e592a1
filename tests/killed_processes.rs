//! Processes that die while they write, again and again, on one directory that grows old. (I1, I2, I3, I5, I16)
//!
//! The test starts its own program once more as the writer, which says on its standard output what was acknowledged,
//! and kills it at a random moment. `STREAMLOG_KILLS` sets how often; the default is 20.

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};
use streamlog::{Durability, Partition, RecordData, Streamlog, TopicConfig, admin::RecoveryVerdict};
use support::*;

/// Says to a copy of this program that it is the writer, and where.
const WRITER: &str = "STREAMLOG_TEST_WRITER";
/// Which life of the writer it is.
const LIFE: &str = "STREAMLOG_TEST_LIFE";
const TOPICS: [(&str, Durability); 2] = [("flushed", Durability::Flushed), ("written", Durability::Written)];

fn config(durability: Durability) -> TopicConfig {
    TopicConfig::default().segment_bytes(16 << 10).index_interval_bytes(512).durability(durability)
}

/// What the writer's life `life` puts at `offset`.
fn content(life: u64, offset: u64) -> String {
    format!("{life} {offset} {}", "x".repeat((offset % 50) as usize))
}

/// Not a test of its own: this is the writer, when the program was started as one.
#[test]
fn writer() {
    let Ok(dir) = std::env::var(WRITER) else { return };
    let life: u64 = std::env::var(LIFE).unwrap().parse().unwrap();
    let log = Streamlog::open(dir).unwrap();
    let partitions: Vec<Partition> = TOPICS
        .iter()
        .map(|(name, durability)| {
            let topic = log.topic(name).or_else(|_| log.create_topic(name, config(*durability)));
            topic.unwrap().partition(0).unwrap()
        })
        .collect();
    let mut random = Random(life);
    let mut out = std::io::stdout();
    loop {
        // The cheaper one more often.
        let which = usize::from(random.below(4) > 0);
        let end = partitions[which].log_end_offset().value();
        let count = 1 + random.below(8);
        let values: Vec<String> = (end..end + count).map(|i| content(life, i)).collect();
        let records: Vec<_> = values.iter().map(RecordData::new).collect();
        let given = partitions[which].append(&records).unwrap();
        assert_eq!(given.start, end);
        writeln!(out, "acknowledged {which} {}", given.end).unwrap();
        if random.below(200) == 0 {
            partitions[which].flush().unwrap();
        }
    }
}

fn start_writer(dir: &Path, life: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture", "--test-threads", "1"])
        .env(WRITER, dir)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets a writer live for a while, from its start or from its first acknowledgement on, and says up to where each
/// partition was acknowledged.
fn live_and_die(dir: &Path, life: u64, lifetime: Duration, from_first: bool) -> [u64; 2] {
    let mut writer = start_writer(dir, life);
    let output = BufReader::new(writer.stdout.take().unwrap());
    let (wrote, first) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut acknowledged = [0; 2];
        for line in output.lines() {
            let line = line.unwrap();
            let mut words = line.split(' ').skip_while(|word| *word != "acknowledged").skip(1);
            // A line that the kill cut short says nothing.
            let (Some(which), Some(end)) = (words.next(), words.next()) else { continue };
            let Ok(end) = end.parse::<u64>() else { continue };
            let known: &mut u64 = &mut acknowledged[which.parse::<usize>().unwrap()];
            *known = end.max(*known);
            // Nobody waits any more after the first.
            let _ = wrote.send(());
        }
        acknowledged
    });
    if from_first {
        first.recv().expect("the writer wrote before it ended");
    }
    std::thread::sleep(lifetime);
    writer.kill().unwrap();
    let status = writer.wait().unwrap();
    assert!(!status.success(), "the writer ends by being killed only: {status}");
    assert_eq!(status.code(), None, "the writer ends by being killed only: {status}");
    reader.join().unwrap()
}

/// Everything in a partition from an offset on, which has no gap and nothing twice.
fn values(partition: &Partition, from: usize) -> Vec<String> {
    let mut values = Vec::new();
    for batch in partition.read(from as u64) {
        for record in &batch.unwrap() {
            assert_eq!(record.offset, (from + values.len()) as u64);
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
    assert_eq!((from + values.len()) as u64, partition.high_watermark().value());
    values
}

#[test]
fn what_was_acknowledged_survives_every_kill_and_what_was_seen_never_changes() {
    let kills: u64 = std::env::var("STREAMLOG_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let root = quick_dir();
    let (dir, copy) = (root.path().join("log"), root.path().join("copy"));
    let mut random = Random(seed());
    let mut seen: [Vec<String>; 2] = Default::default();
    let (mut cuts, mut life) = (0, 0);
    let wrote = |seen: &[Vec<String>; 2]| seen.iter().any(|values| values.len() > 100);
    // Every other writer is killed after it wrote, so that in the end there is enough on the slowest machine.
    while life < kills || !wrote(&seen) {
        let lifetime = Duration::from_micros(random.below(150_000));
        let acknowledged = live_and_die(&dir, life, lifetime, life % 2 == 0);
        // Sometimes the next writer has to recover for itself.
        let look_at = if life % 2 == 0 || !dir.exists() {
            &dir
        } else {
            image(&dir, &copy);
            &copy
        };
        let log = Streamlog::open(look_at).unwrap();
        for partition in &log.recovery_report().partitions {
            match &partition.verdict {
                RecoveryVerdict::Whole => {}
                RecoveryVerdict::TornTail { .. } => cuts += 1,
                other => panic!("life {life} of {lifetime:?}: {other:?}"),
            }
        }
        for (which, (name, _)) in TOPICS.iter().enumerate() {
            let Ok(topic) = log.topic(name) else {
                assert_eq!(acknowledged[which], 0);
                continue;
            };
            let before = &mut seen[which];
            // All of it is read now and then, the rest of the time what is new and a little before.
            let from = if life % 10 == 9 { 0 } else { before.len().saturating_sub(100) };
            let now = values(&topic.partition(0).unwrap(), from);
            let end = from + now.len();
            assert!(end as u64 >= acknowledged[which], "{name}, life {life}: {acknowledged:?}");
            assert!(end >= before.len(), "{name}, life {life}");
            let (old, new) = now.split_at(before.len() - from);
            assert_eq!(old, &before[from..], "{name}, life {life}");
            for (offset, value) in (before.len() as u64..).zip(new) {
                assert_eq!(*value, content(life, offset), "{name}");
            }
            before.extend_from_slice(new);
        }
        log.close().unwrap();
        life += 1;
    }
    println!("{} and {} records in {life} lives, {cuts} torn tails", seen[0].len(), seen[1].len());
}
