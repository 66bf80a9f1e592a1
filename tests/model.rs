//! Calls in any order, through the public API, beside a model that is two lists of records.
//!
//! The same calls run on a simulated machine, which also loses power, and on the real file system, where the next process
//! finds what the last one left when it died. After each death the log holds what was promised, and whole batches of
//! what was not. Where nobody died, both file systems hold the same bytes. `PROPTEST_CASES` says how many sequences (64).

mod support;

use proptest::prelude::*;
use std::{collections::BTreeMap, fs, path::Path, time::Duration};
use streamlog::{
    Durability, Error, Partition, ProducerRecord, RecordData, Streamlog, Timestamp, TopicConfig,
    TopicPartition,
    clients::partition_for_key,
    config::{Builder, Compression, ConfigChange},
    records::{Batch, OwnedRecord},
    sim::{Crash, SimEnv},
};

const PARTITIONS: u32 = 2;
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, support::ZSTD];

#[derive(Clone, Debug)]
enum Op {
    /// A batch of so many records, with values of this size, straight to a partition.
    Append {
        partition: u32,
        count: usize,
        size: usize,
    },
    /// Records by key, by a producer with this codec: sent one by one, or in a pipeline.
    Send {
        codec: usize,
        count: usize,
        size: usize,
        pipelined: bool,
    },
    Read {
        partition: u32,
        from: u64,
    },
    Backwards {
        partition: u32,
        before: u64,
    },
    Time {
        partition: u32,
        at: i64,
    },
    Seek {
        partition: u32,
        to: u64,
    },
    Flush {
        partition: u32,
    },
    DeleteRecords {
        partition: u32,
        before: u64,
    },
    Retention {
        bytes: u64,
    },
    SegmentBytes {
        bytes: u64,
    },
    Reopen,
    Die {
        crash: usize,
        seed: u64,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let p = 0..PARTITIONS;
    let op = prop_oneof![
        8 => (p.clone(), 1..5usize, 0..90usize).prop_map(|(partition, count, size)| Op::Append { partition, count, size }),
        6 => (0..5usize, 1..6usize, 0..90usize, any::<bool>())
            .prop_map(|(codec, count, size, pipelined)| Op::Send { codec, count, size, pipelined }),
        3 => (p.clone(), 0..60u64).prop_map(|(partition, from)| Op::Read { partition, from }),
        2 => (p.clone(), 0..60u64).prop_map(|(partition, before)| Op::Backwards { partition, before }),
        2 => (p.clone(), 0..200i64).prop_map(|(partition, at)| Op::Time { partition, at }),
        2 => (p.clone(), 0..60u64).prop_map(|(partition, to)| Op::Seek { partition, to }),
        1 => p.clone().prop_map(|partition| Op::Flush { partition }),
        2 => (p, 0..60u64).prop_map(|(partition, before)| Op::DeleteRecords { partition, before }),
        1 => (600..3000u64).prop_map(|bytes| Op::Retention { bytes }),
        1 => (600..3000u64).prop_map(|bytes| Op::SegmentBytes { bytes }),
        1 => Just(Op::Reopen),
        1 => (0..Crash::ALL.len(), any::<u64>()).prop_map(|(crash, seed)| Op::Die { crash, seed }),
    ];
    prop::collection::vec(op, 1..40)
}

#[derive(Clone, Debug, PartialEq)]
struct Rec {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Rec {
    /// What the `serial`-th record of all is like.
    fn make(serial: u64, size: usize) -> Rec {
        let key = (!serial.is_multiple_of(4)).then(|| format!("key {}", serial % 5).into_bytes());
        let value = (key.is_none() || !serial.is_multiple_of(7)).then(|| {
            let mut value = format!("{serial}/").into_bytes();
            value.resize(value.len() + size, b'a' + (serial % 26) as u8);
            value
        });
        let headers = match serial % 6 {
            0 => vec![("a".into(), Some(vec![1])), ("a".into(), None)],
            1 => vec![("b".into(), Some(vec![]))],
            _ => Vec::new(),
        };
        Rec { timestamp: serial as i64 / 2, key, value, headers }
    }

    fn data(&self) -> RecordData<'_> {
        let mut data = match (&self.value, &self.key) {
            (Some(value), Some(key)) => RecordData::new(value).key(key),
            (Some(value), None) => RecordData::new(value),
            (None, key) => RecordData::tombstone(key.as_ref().unwrap()),
        };
        for (name, value) in &self.headers {
            data = match value {
                Some(value) => data.header(name, value),
                None => data.null_header(name),
            };
        }
        data.timestamp(Timestamp::from_millis(self.timestamp))
    }

    fn produced(&self) -> ProducerRecord<'_> {
        let mut record = match (&self.value, &self.key) {
            (Some(value), Some(key)) => ProducerRecord::new("t", value).key(key),
            (Some(value), None) => ProducerRecord::new("t", value).partition(0),
            (None, key) => ProducerRecord::tombstone("t", key.as_ref().unwrap()),
        };
        for (name, value) in &self.headers {
            record = match value {
                Some(value) => record.header(name, value),
                None => record.null_header(name),
            };
        }
        record.timestamp(Timestamp::from_millis(self.timestamp))
    }

    fn partition(&self) -> u32 {
        self.key.as_ref().map_or(0, |key| partition_for_key(key, PARTITIONS))
    }

    fn found(record: &OwnedRecord) -> Rec {
        Rec {
            timestamp: record.timestamp.as_millis(),
            key: record.key.as_deref().map(<[u8]>::to_vec),
            value: record.value.as_deref().map(<[u8]>::to_vec),
            headers: record
                .headers
                .iter()
                .map(|(n, v)| (n.clone(), v.as_deref().map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Part {
    records: Vec<Rec>,
    start: u64,
    /// Everything below survives a power cut.
    durable: u64,
}

impl Part {
    fn end(&self) -> u64 {
        self.records.len() as u64
    }
}

/// Where the log lives, and how it dies.
enum Machine {
    Simulated(SimEnv),
    Real { dir: tempfile::TempDir, life: u32 },
}

impl Machine {
    fn open(&self) -> Streamlog {
        let builder = match self {
            Machine::Simulated(env) => Builder::env(env, "/log"),
            Machine::Real { dir, life } => Streamlog::builder(dir.path().join(life.to_string())),
        };
        builder.background_thread(false).max_open_files(4).open().unwrap()
    }

    /// The process dies, or the power goes; says whether it was the power.
    fn die(&mut self, crash: Crash, seed: u64) -> bool {
        match self {
            Machine::Simulated(env) => {
                *env = env.crash(crash, seed);
                crash != Crash::Kill
            }
            Machine::Real { dir, life } => {
                support::image(&dir.path().join(life.to_string()), &dir.path().join((*life + 1).to_string()));
                *life += 1;
                false
            }
        }
    }

    /// The files that hold records and their indexes, and those of recovery.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let all = match self {
            Machine::Simulated(env) => env.files(),
            Machine::Real { dir, life } => {
                let root = dir.path().join(life.to_string());
                let name = |file: &Path| format!("/log/{}", file.display());
                let files = support::all_files(&root).into_iter();
                files.map(|file| (name(&file), fs::read(root.join(file)).unwrap())).collect()
            }
        };
        let ours = |name: &String| {
            let kind = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default().to_string();
            name.contains("/t-")
                && ["log", "index", "timeindex", "txnindex", "snapshot"].contains(&kind.as_str())
        };
        all.into_iter().filter(|(name, _)| ours(name)).collect()
    }
}

struct Run {
    machine: Machine,
    log: Streamlog,
    durability: Durability,
    parts: Vec<Part>,
    serial: u64,
    /// Whether closing now leaves a clean directory: an opening that writes nothing leaves it as it was.
    closes_clean: bool,
}

impl Run {
    fn new(machine: Machine, durability: Durability) -> Run {
        let log = machine.open();
        let config = TopicConfig::default().partitions(PARTITIONS).durability(durability);
        let config = config.segment_bytes(700).index_interval_bytes(100).retention_time(None);
        log.create_topic("t", config).unwrap();
        Run {
            closes_clean: true,
            machine,
            log,
            durability,
            parts: vec![Part::default(); PARTITIONS as usize],
            serial: 0,
        }
    }

    fn partition(&self, index: u32) -> Partition {
        self.log.topic("t").unwrap().partition(index).unwrap()
    }

    fn make(&mut self, count: usize, size: usize) -> Vec<Rec> {
        let made = (0..count as u64).map(|i| Rec::make(self.serial + i, size)).collect();
        self.serial += count as u64;
        made
    }

    fn added(&mut self, partition: u32, record: Rec) -> u64 {
        let part = &mut self.parts[partition as usize];
        part.records.push(record);
        self.closes_clean = true;
        if self.durability == Durability::Flushed {
            part.durable = part.end();
        }
        part.end() - 1
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Append { partition, count, size } => self.append(partition, count, size),
            Op::Send { codec, count, size, pipelined } => self.send(CODECS[codec], count, size, pipelined),
            Op::Read { partition, from } => self.read(partition, from),
            Op::Backwards { partition, before } => self.backwards(partition, before),
            Op::Time { partition, at } => self.time(partition, at),
            Op::Seek { partition, to } => self.seek(partition, to),
            Op::Flush { partition } => {
                self.partition(partition).flush().unwrap();
                let part = &mut self.parts[partition as usize];
                part.durable = part.end();
            }
            Op::DeleteRecords { partition, before } => self.delete_records(partition, before),
            Op::Retention { bytes } => self.retention(bytes),
            Op::SegmentBytes { bytes } => self.set("segment.bytes", bytes),
            Op::Reopen => self.reopen(),
            Op::Die { crash, seed } => self.die(Crash::ALL[crash], seed),
        }
    }

    fn set(&self, key: &str, value: u64) {
        self.log.alter_topic("t", &[ConfigChange::set(key, value.to_string())]).unwrap();
    }

    fn append(&mut self, partition: u32, count: usize, size: usize) {
        let made = self.make(count, size);
        let data: Vec<_> = made.iter().map(Rec::data).collect();
        let offsets = self.partition(partition).append(&data).unwrap();
        let next = self.parts[partition as usize].end();
        assert_eq!((offsets.start.value(), offsets.end.value()), (next, next + count as u64));
        for record in made {
            self.added(partition, record);
        }
    }

    fn send(&mut self, codec: Compression, count: usize, size: usize, pipelined: bool) {
        let producer =
            self.log.producer_builder().compression(codec).linger(Duration::from_secs(1)).build().unwrap();
        let made = self.make(count, size);
        if pipelined {
            let deliveries: Vec<_> = made.iter().map(|r| producer.enqueue(r.produced()).unwrap()).collect();
            producer.flush().unwrap();
            for (record, delivery) in made.into_iter().zip(deliveries) {
                let metadata = delivery.wait().unwrap();
                assert_eq!(metadata.partition(), record.partition());
                assert_eq!(metadata.offset, self.added(metadata.partition(), record));
            }
        } else {
            for record in made {
                let metadata = producer.send(record.produced()).unwrap();
                assert_eq!(metadata.partition(), record.partition());
                assert_eq!(metadata.offset, self.added(metadata.partition(), record));
            }
        }
    }

    /// From `from` to the end, or the error that says where it could begin.
    fn read(&self, index: u32, from: u64) {
        let part = &self.parts[index as usize];
        let batches: Result<Vec<Batch>, Error> = self.partition(index).read(from).collect();
        if from < part.start || from > part.end() {
            let Err(Error::OffsetOutOfRange { requested, earliest, latest, .. }) = batches else {
                panic!("{batches:?}");
            };
            assert_eq!((requested.value(), earliest.value(), latest.value()), (from, part.start, part.end()));
            return;
        }
        let mut next = from;
        for batch in batches.unwrap() {
            for record in batch.into_reversed().iter().rev() {
                assert_eq!(record.offset, next);
                assert_eq!(Rec::found(record), part.records[next as usize]);
                next += 1;
            }
        }
        assert_eq!(next, part.end());
    }

    fn backwards(&self, index: u32, before: u64) {
        let part = &self.parts[index as usize];
        let mut next = before.min(part.end());
        for batch in self.partition(index).read_backwards(before) {
            for record in batch.unwrap().into_reversed() {
                next -= 1;
                assert_eq!(record.offset, next);
                assert_eq!(Rec::found(&record), part.records[next as usize]);
            }
        }
        assert_eq!(next, part.start.min(before).min(part.end()));
    }

    fn time(&self, index: u32, at: i64) {
        let part = &self.parts[index as usize];
        let found = self.partition(index).offset_for_timestamp(Timestamp::from_millis(at)).unwrap();
        let expected = (part.start..part.end()).find(|i| part.records[*i as usize].timestamp >= at);
        assert_eq!(found.map(|f| f.offset.value()), expected, "time {at}");
    }

    /// A consumer that stands there gets the record there.
    fn seek(&self, index: u32, to: u64) {
        let part = &self.parts[index as usize];
        if to < part.start || to >= part.end() {
            return;
        }
        let place = TopicPartition::new("t", index);
        let mut consumer = self.log.consumer_builder_without_group().build().unwrap();
        consumer.assign([place.clone()]).unwrap();
        consumer.seek(&place, to).unwrap();
        let records = consumer.poll(Duration::ZERO).unwrap();
        let first = records.into_iter().next().unwrap();
        assert_eq!(
            (first.offset.value(), first.value.as_deref()),
            (to, part.records[to as usize].value.as_deref())
        );
    }

    fn delete_records(&mut self, index: u32, before: u64) {
        let result = self.log.delete_records("t", index, before);
        let part = &mut self.parts[index as usize];
        if before > part.end() {
            assert!(matches!(result, Err(Error::OffsetOutOfRange { .. })), "{result:?}");
            return;
        }
        if before > part.start {
            part.start = before;
            part.durable = part.durable.max(before);
        }
        assert_eq!(result.unwrap(), part.start);
    }

    /// Which segments there are the model does not know; that no more go than must, sizes tell.
    fn retention(&mut self, bytes: u64) {
        self.set("retention.bytes", bytes);
        self.log.maintain().unwrap();
        for index in 0..PARTITIONS {
            let partition = self.partition(index);
            let part = &mut self.parts[index as usize];
            let start = partition.log_start_offset().value();
            assert!(part.start <= start && start <= part.end());
            assert!(
                start == part.start
                    || start <= part.durable.max(part.start)
                    || self.durability == Durability::Written
            );
            part.start = start;
            part.durable = part.durable.max(start);
        }
        self.log.alter_topic("t", &[ConfigChange::unset("retention.bytes")]).unwrap();
    }

    fn reopen(&mut self) {
        self.log.clone().close().unwrap();
        self.log = self.machine.open();
        assert!(self.log.recovery_report().was_clean || !self.closes_clean);
        self.parts.iter_mut().for_each(|part| part.durable = part.end());
        self.check();
    }

    fn die(&mut self, crash: Crash, seed: u64) {
        let power_cut = self.machine.die(crash, seed);
        // The old process's handle is let go of when the next one has its own files.
        self.log = self.machine.open();
        self.closes_clean = self.log.recovery_report().was_clean;
        for index in 0..PARTITIONS {
            let end = self.partition(index).log_end_offset().value();
            let part = &mut self.parts[index as usize];
            let promised = if power_cut { part.durable } else { part.end() };
            assert!(promised <= end && end <= part.end(), "{promised} <= {end} <= {}", part.end());
            part.records.truncate(end as usize);
            // What recovery found, it has flushed.
            part.durable = end;
        }
        self.check();
    }

    fn check(&self) {
        for index in 0..PARTITIONS {
            let (partition, part) = (self.partition(index), &self.parts[index as usize]);
            assert_eq!(partition.log_start_offset(), part.start);
            assert_eq!(partition.log_end_offset(), part.end());
            assert_eq!(partition.high_watermark(), part.end());
            self.read(index, part.start);
            self.backwards(index, part.end());
        }
    }
}

fn run_all(machine: Machine, durability: Durability, ops: &[Op]) -> BTreeMap<String, Vec<u8>> {
    let mut run = Run::new(machine, durability);
    for op in ops {
        run.run(op);
    }
    run.check();
    run.reopen();
    run.log.clone().close().unwrap();
    run.machine.files()
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn both_file_systems_do_what_the_model_says(ops in ops(), flushed in any::<bool>(), seed in any::<u64>()) {
        let durability = if flushed { Durability::Flushed } else { Durability::Written };
        let simulated = run_all(Machine::Simulated(SimEnv::new(seed)), durability, &ops);
        let real = run_all(Machine::Real { dir: support::quick_dir(), life: 0 }, durability, &ops);
        if !ops.iter().any(|op| matches!(op, Op::Die { .. })) {
            for (name, bytes) in &simulated {
                assert!(real.get(name) == Some(bytes), "{name} differs");
            }
            prop_assert_eq!(simulated.len(), real.len());
        }
    }
}
