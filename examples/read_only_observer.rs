//! A second process follows a live log: it opens the directory read-only, keeps up with the writer, sees only durable
//! records, and changes nothing.
//!
//! The example starts itself as the second process.

mod support;

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use streamlog::{Error, Producer, ProducerRecord, Result, Streamlog, TopicConfig};
use support::{Scratch, no_arguments, say};

const ABOUT: &str = "A second process follows a live log: it opens the directory read-only, keeps up with the writer, sees only durable records, and changes nothing.";

const RECORDS: u64 = 1_000;

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    if let (Some(role), Some(dir)) = (args.next(), args.next())
        && role == "observe"
    {
        return observe(Path::new(&dir));
    }
    no_arguments(ABOUT);
    let dir = Scratch::new("observer");
    let log = Streamlog::open(dir.path())?;
    log.create_topic("metrics", TopicConfig::default().partitions(2).segment_bytes(16 << 10))?;
    // A second writer is refused while this one lives.
    match Streamlog::open(dir.path()) {
        Err(error @ Error::AlreadyOpen { .. }) => say!("a second writer gets: {error}"),
        other => panic!("two writers: {other:?}"),
    }
    let producer = log.producer()?;
    let this = std::env::current_exe().expect("the example knows its own file");
    let observer = Command::new(this).arg("observe").arg(dir.path()).stdout(Stdio::piped()).spawn();
    let observer = observer.expect("the example starts itself");
    // From here on nothing returns before the observer has ended.
    let produced = produce(&producer);
    let output = observer.wait_with_output().expect("the observer ends");
    produced?;
    say!("the writer appended {RECORDS} records over several segments");
    say!("{}", String::from_utf8_lossy(&output.stdout).trim_end());
    assert!(output.status.success(), "the observer saw something else");
    log.close()?;
    Ok(())
}

fn produce(producer: &Producer) -> Result<()> {
    for i in 0..RECORDS {
        producer.send(ProducerRecord::new("metrics", &i.to_be_bytes()).key(format!("metric-{}", i % 10)))?;
    }
    Ok(())
}

/// The second process: reads until it has seen all records.
fn observe(dir: &Path) -> Result<()> {
    let log = Streamlog::open_read_only(dir)?;
    let mut consumer = log.consumer("observer")?;
    consumer.subscribe(["metrics"])?;
    let mut last = std::collections::HashMap::new();
    let mut count = 0;
    while count < RECORDS {
        for record in &consumer.poll(Duration::from_secs(30))? {
            let value = record.value.and_then(|v| v.try_into().ok()).map_or(0, u64::from_be_bytes);
            let before = last.insert(record.key.map(<[u8]>::to_vec), value);
            assert!(before.is_none_or(|before| before < value), "each key in order");
            count += 1;
        }
    }
    writeln!(
        std::io::stdout(),
        "the observer, process {}, saw {count} records in order per key",
        std::process::id()
    )
    .ok();
    match log.producer().and_then(|p| p.send(ProducerRecord::new("metrics", "x"))) {
        Err(Error::ReadOnly { .. }) => Ok(()),
        other => panic!("an observer must not write: {other:?}"),
    }
}
