//! Directories of a partition full of transactions, written byte by byte as a broker would.

use super::bytes;
use std::{
    fs::File,
    io::{BufWriter, Write},
};
use streamlog::dir::PartitionDir;
use tempfile::TempDir;

const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
/// As many producers take turns.
const PRODUCERS: u64 = 8;

/// A partition of one-record transactions, each a record of 100 bytes and its marker.
pub struct Transactions {
    pub partition: PartitionDir,
    _dir: TempDir,
}

impl Transactions {
    /// So many, of which every `aborted`th was aborted; none for 0.
    pub fn new(count: u64, aborted: u64) -> Self {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let path = dir.path().join("t-0");
        std::fs::create_dir(&path).expect("a directory");
        let create = |kind: &str| {
            BufWriter::new(File::create(path.join(format!("{:020}.{kind}", 0))).expect("a file"))
        };
        let (mut log, mut index) = (create("log"), create("txnindex"));
        let value = bytes(100);
        for number in 0..count {
            let (offset, producer, sequence) = (2 * number, number % PRODUCERS, number / PRODUCERS);
            let is_aborted = aborted != 0 && number % aborted == 0;
            let data = record(None, &value);
            log.write_all(&batch(offset, producer, sequence as i32, TRANSACTIONAL, &data)).expect("space");
            let key = [0, 0, 0, u8::from(!is_aborted)];
            let marker = record(Some(&key), &[0; 6]);
            log.write_all(&batch(offset + 1, producer, -1, TRANSACTIONAL | CONTROL, &marker)).expect("space");
            if is_aborted {
                let fields = [producer, offset, offset + 1, offset + 2].map(u64::to_be_bytes).concat();
                index.write_all(&[&[0, 0], &fields[..]].concat()).expect("space");
            }
        }
        log.flush().and_then(|()| index.flush()).expect("space");
        let partition = PartitionDir::open_read_only(&path).expect("a partition");
        assert_eq!(partition.log_end_offset(), 2 * count);
        assert_eq!(partition.last_stable_offset(), 2 * count);
        Transactions { partition, _dir: dir }
    }
}

/// A record without headers; its lengths take one byte, or two where they are 64 or more.
fn record(key: Option<&[u8]>, value: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 0];
    varint(&mut body, key.map_or(-1, |key| key.len() as i64));
    body.extend_from_slice(key.unwrap_or_default());
    varint(&mut body, value.len() as i64);
    body.extend_from_slice(value);
    body.push(0);
    let mut record = Vec::new();
    varint(&mut record, body.len() as i64);
    record.extend_from_slice(&body);
    record
}

fn varint(into: &mut Vec<u8>, number: i64) {
    let mut left = ((number << 1) ^ (number >> 63)) as u64;
    while left >= 0x80 {
        into.push(left as u8 | 0x80);
        left >>= 7;
    }
    into.push(left as u8);
}

fn batch(base: u64, producer: u64, sequence: i32, attributes: i16, record: &[u8]) -> Vec<u8> {
    let mut covered = Vec::new();
    covered.extend_from_slice(&attributes.to_be_bytes());
    covered.extend_from_slice(&0_i32.to_be_bytes());
    covered.extend_from_slice(&1_000_000_i64.to_be_bytes());
    covered.extend_from_slice(&1_000_000_i64.to_be_bytes());
    covered.extend_from_slice(&producer.to_be_bytes());
    covered.extend_from_slice(&0_i16.to_be_bytes());
    covered.extend_from_slice(&sequence.to_be_bytes());
    covered.extend_from_slice(&1_i32.to_be_bytes());
    covered.extend_from_slice(record);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &covered) as u32;
    let mut batch = Vec::new();
    batch.extend_from_slice(&base.to_be_bytes());
    batch.extend_from_slice(&(covered.len() as i32 + 9).to_be_bytes());
    batch.extend_from_slice(&0_i32.to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc.to_be_bytes());
    batch.extend_from_slice(&covered);
    batch
}
