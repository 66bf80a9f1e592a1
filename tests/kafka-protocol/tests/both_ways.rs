//! Batches of ours through `kafka-protocol`'s decoder, and batches of its encoder through our reader, with every codec:
//! offsets, timestamps, keys, values and headers come out as they went in.

use bytes::{Bytes, BytesMut};
use indexmap::IndexMap;
use kafka_protocol::{
    protocol::StrBytes,
    records as theirs,
    records::{RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions},
};
use std::{fs, path::Path};
use streamlog::{
    RecordData, Streamlog, Timestamp, TopicConfig,
    config::{Compression, TimestampType},
    dir::PartitionDir,
};

const CODECS: [(Compression, theirs::Compression); 5] = [
    (Compression::None, theirs::Compression::None),
    (Compression::Gzip, theirs::Compression::Gzip),
    (Compression::Snappy, theirs::Compression::Snappy),
    (Compression::Lz4, theirs::Compression::Lz4),
    (Compression::Zstd, theirs::Compression::Zstd),
];

/// A record, in words that both sides are translated to.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Record `i`: nulls, empty values, values of every size class up to several blocks of each codec, and headers.
fn plain(i: i64) -> Plain {
    let value: Vec<u8> = match i % 7 {
        0 => Vec::new(),
        // More than any codec's block, and not the same all over.
        3 if i % 3 == 0 => (0..200_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect(),
        _ => format!("value {i} ").repeat(i as usize % 90 + 1).into_bytes(),
    };
    let header = |n: i64| (format!("h{n}-é"), Some(vec![n as u8; n as usize % 5]));
    Plain {
        offset: i,
        timestamp: 1_700_000_000_000 + (i * 7919) % 1000,
        key: (i % 4 != 1).then(|| format!("key {}", i % 5).into_bytes()),
        value: (i % 5 != 2).then_some(value),
        headers: (0..i % 4).map(header).collect(),
    }
}

fn append(log: &Streamlog, topic: &str, config: TopicConfig, count: i64) {
    let partition = log.create_topic(topic, config).unwrap().partition(0).unwrap();
    let records: Vec<Plain> = (0..count).map(plain).collect();
    for batch in records.chunks(9) {
        let batch: Vec<RecordData> = batch.iter().map(ours).collect();
        partition.append(&batch).unwrap();
    }
}

fn ours(record: &Plain) -> RecordData<'_> {
    let mut data = match (&record.value, &record.key) {
        (Some(value), _) => RecordData::new(value),
        (None, Some(key)) => RecordData::tombstone(key),
        (None, None) => RecordData::default(),
    };
    if let Some(key) = &record.key {
        data = data.key(key);
    }
    for (name, value) in &record.headers {
        data = data.header(name, value.as_ref().unwrap());
    }
    data.timestamp(Timestamp::from_millis(record.timestamp))
}

/// Every record in the `.log` files of a directory, as their decoder sees them, with the codec of its batch.
fn decoded_by_them(dir: &Path) -> Vec<(Plain, theirs::Record, theirs::Compression)> {
    let mut logs: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.sort();
    let mut records = Vec::new();
    for path in logs {
        let mut bytes = Bytes::from(fs::read(&path).unwrap());
        let name: i64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        assert_eq!(name, records.len() as i64, "a segment is named after its first offset");
        for set in RecordBatchDecoder::decode_all(&mut bytes).unwrap() {
            assert_eq!(set.version, 2);
            for record in set.records {
                records.push((plain_of(&record), record, set.compression));
            }
        }
    }
    records
}

fn plain_of(record: &theirs::Record) -> Plain {
    Plain {
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.as_ref().map(|key| key.to_vec()),
        value: record.value.as_ref().map(|value| value.to_vec()),
        headers: record
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_ref().map(|v| v.to_vec())))
            .collect(),
    }
}

#[test]
fn what_we_write_is_what_they_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = Streamlog::open(dir.path()).unwrap();
    for (codec, _) in CODECS {
        let config = TopicConfig::default().compression(codec).segment_bytes(1 << 20);
        append(&log, codec.name(), config, 300);
    }
    log.close().unwrap();
    for (codec, their_codec) in CODECS {
        let found = decoded_by_them(&dir.path().join(format!("{}-0", codec.name())));
        assert_eq!(found.len(), 300, "{codec}");
        for (i, (record, whole, compression)) in found.into_iter().enumerate() {
            assert_eq!(record, plain(i as i64), "{codec}");
            assert_eq!(compression, their_codec);
            assert_eq!(whole.timestamp_type, theirs::TimestampType::Creation);
            assert!(!whole.transactional && !whole.control && !whole.delete_horizon);
            assert_eq!((whole.producer_id, whole.producer_epoch), (-1, -1));
        }
    }
}

#[test]
fn they_see_the_time_of_the_append() {
    let dir = tempfile::tempdir().unwrap();
    let log = Streamlog::open(dir.path()).unwrap();
    let config = TopicConfig::default().message_timestamp_type(TimestampType::LogAppendTime);
    append(&log, "t", config, 20);
    log.close().unwrap();
    let found = decoded_by_them(&dir.path().join("t-0"));
    assert_eq!(found.len(), 20);
    for (_, whole, _) in found {
        assert_eq!(whole.timestamp_type, theirs::TimestampType::LogAppend);
    }
}

/// Record `i` as theirs, with a header that is null, which our records can hold as well.
fn their_record(i: i64) -> theirs::Record {
    let record = plain(i);
    let mut headers: IndexMap<StrBytes, Option<Bytes>> = IndexMap::new();
    for (name, value) in record.headers {
        headers.insert(StrBytes::from_string(name), value.map(Bytes::from));
    }
    if i % 3 == 0 {
        headers.insert(StrBytes::from_static_str("null"), None);
    }
    theirs::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 4,
        producer_id: 77,
        producer_epoch: 2,
        timestamp_type: theirs::TimestampType::Creation,
        offset: record.offset,
        sequence: record.offset as i32,
        timestamp: record.timestamp,
        key: record.key.map(Bytes::from),
        value: record.value.map(Bytes::from),
        headers,
    }
}

#[test]
fn what_they_write_is_what_we_read() {
    for (codec, their_codec) in CODECS {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("t-0");
        fs::create_dir(&dir).unwrap();
        let records: Vec<theirs::Record> = (0..300).map(their_record).collect();
        let mut bytes = BytesMut::new();
        for batch in records.chunks(9) {
            let options = RecordEncodeOptions { version: 2, compression: their_codec };
            RecordBatchEncoder::encode(&mut bytes, batch, &options).unwrap();
        }
        fs::write(dir.join("00000000000000000000.log"), &bytes).unwrap();

        let partition = PartitionDir::open_read_only(&dir).unwrap();
        assert_eq!(partition.log_end_offset(), 300, "{codec}: {:?}", partition.report());
        let mut expected = records.iter();
        let mut batches = 0;
        for batch in partition.read(0) {
            let batch = batch.unwrap();
            assert_eq!((batch.compression(), batch.leader_epoch()), (codec, 4));
            for record in &batch {
                let found = Plain {
                    offset: record.offset.value() as i64,
                    timestamp: record.timestamp.as_millis(),
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: record.headers.map(|(n, v)| (n.to_string(), v.map(<[u8]>::to_vec))).collect(),
                };
                assert_eq!(found, plain_of(expected.next().unwrap()), "{codec}");
            }
            batches += 1;
        }
        assert!(expected.next().is_none());
        assert_eq!(batches, 300usize.div_ceil(9));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "reading writes nothing");
    }
}
