//! Producer state on disk: Kafka's `.snapshot` (the newest batch of each producer) and our `.producers` (the last five).
//!
//! `.snapshot`, whose entries are [`ProducerEntry`], fields in order of declaration:
//!
#![doc = include_str!("layout/snapshot.md")]
//!
//! `.producers`, whose batches are [`BatchMeta`], fields in order of declaration:
//!
#![doc = include_str!("layout/producers.md")]
//!
//! A list in which nobody has a name is of version 1, which every release reads.
//!
//! Everything is big-endian; both are written in ascending order of producer ids, so that equal states are equal bytes.

use super::{DecodeError, crc::crc32c, cursor::Cursor, named::NamedSequences};
use crate::types::{Offset, Timestamp};

/// How many batches of a producer are remembered to recognise a retry.
pub const MAX_BATCHES: usize = 5;

const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_HEADER_LEN: usize = 10;
const ENTRY_LEN: usize = 46;
const PRODUCERS_MAGIC: [u8; 4] = *b"SLPB";
const PRODUCERS_VERSION: u16 = 1;
/// The version of a list with producers that have a name.
const NAMED_VERSION: u16 = 2;
const BATCH_LEN: usize = 24;
const SEQUENCES_LEN: usize = 16;

/// A producer in Kafka's snapshot, field for field. `last_sequence` and `last_offset` are -1 where no batch is known
/// (the producer's last act was a transaction marker).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ProducerEntry {
    /// The producer.
    pub producer_id: i64,
    /// Its newest epoch.
    pub producer_epoch: i16,
    /// The last sequence number of its newest batch.
    pub last_sequence: i32,
    /// The last offset of its newest batch.
    pub last_offset: i64,
    /// Last offset less first offset of that batch.
    pub offset_delta: i32,
    /// The largest timestamp of its last batch or marker, whichever came last.
    pub timestamp: Timestamp,
    /// The epoch of the transaction coordinator that wrote its last marker, or -1.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction.
    pub current_txn_first_offset: Option<Offset>,
}

/// A `.snapshot` file.
pub fn encode_snapshot(entries: &[ProducerEntry]) -> Vec<u8> {
    let mut sorted: Vec<&ProducerEntry> = entries.iter().collect();
    sorted.sort_by_key(|entry| entry.producer_id);
    let mut bytes = Vec::with_capacity(SNAPSHOT_HEADER_LEN + entries.len() * ENTRY_LEN);
    bytes.extend_from_slice(&(entries.len() as i32).to_be_bytes());
    for entry in sorted {
        bytes.extend_from_slice(&entry.producer_id.to_be_bytes());
        bytes.extend_from_slice(&entry.producer_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.last_sequence.to_be_bytes());
        bytes.extend_from_slice(&entry.last_offset.to_be_bytes());
        bytes.extend_from_slice(&entry.offset_delta.to_be_bytes());
        bytes.extend_from_slice(&entry.timestamp.as_millis().to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        let first_offset = entry.current_txn_first_offset.map_or(-1, Offset::to_i64);
        bytes.extend_from_slice(&first_offset.to_be_bytes());
    }
    let crc = crc32c(&bytes);
    [&SNAPSHOT_VERSION.to_be_bytes(), crc.to_be_bytes().as_slice(), &bytes].concat()
}

/// The producers of a `.snapshot` file, in the file's order.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Vec<ProducerEntry>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let version = cursor.i16()?;
    if version != SNAPSHOT_VERSION {
        let found = format!("a producer snapshot of version {version}");
        return Err(DecodeError::Unsupported { found, supported: "version 1" });
    }
    check_crc(&mut cursor, crc32c)?;
    let count = cursor.i32()?;
    if usize::try_from(count).ok().and_then(|count| count.checked_mul(ENTRY_LEN)) != Some(cursor.rest().len())
    {
        let reason = format!("{count} producers of {ENTRY_LEN} bytes are not {} bytes", cursor.rest().len());
        return Err(DecodeError::malformed(6u64, reason));
    }
    // The number of bytes at hand vouches for the count.
    let mut entries = Vec::with_capacity(cursor.rest().len() / ENTRY_LEN);
    while !cursor.rest().is_empty() {
        entries.push(decode_entry(&mut cursor)?);
    }
    Ok(entries)
}

fn decode_entry(cursor: &mut Cursor<'_>) -> Result<ProducerEntry, DecodeError> {
    Ok(ProducerEntry {
        producer_id: cursor.i64()?,
        producer_epoch: cursor.i16()?,
        last_sequence: cursor.i32()?,
        last_offset: cursor.i64()?,
        offset_delta: cursor.i32()?,
        timestamp: Timestamp::from_millis(cursor.i64()?),
        coordinator_epoch: cursor.i32()?,
        current_txn_first_offset: match cursor.i64()? {
            -1 => None,
            value => match Offset::from_i64(value) {
                None => return Err(cursor.malformed(format!("a transaction begins at offset {value}"))),
                offset => offset,
            },
        },
    })
}

/// One batch as a retry is recognised by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMeta {
    /// The batch's last sequence number.
    pub last_sequence: i32,
    /// The batch's last offset.
    pub last_offset: Offset,
    /// Last offset less base offset.
    pub offset_delta: u32,
    /// The batch's largest timestamp.
    pub timestamp: Timestamp,
    /// The sequences that a named producer's source gave; `None` where there are none, or they are not known.
    pub named: Option<NamedSequences>,
}

/// What is known of the sequences that a producer's source gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastNamed {
    /// It has no name.
    #[default]
    NoName,
    /// The last one.
    Is(u64),
    /// What would say it was lost.
    Lost,
}

impl BatchMeta {
    /// The batch's first offset.
    pub fn base_offset(&self) -> Offset {
        self.last_offset.saturating_sub(self.offset_delta.into())
    }

    /// The batch's first sequence number. Sequence numbers wrap from 2^31 - 1 to 0; a negative one means none.
    pub fn first_sequence(&self) -> i32 {
        if self.last_sequence < 0 {
            return self.last_sequence;
        }
        (i64::from(self.last_sequence) - i64::from(self.offset_delta)).rem_euclid(1 << 31) as i32
    }
}

/// The last batches of one producer, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerBatches {
    /// The producer.
    pub producer_id: i64,
    /// The epoch it wrote them in.
    pub producer_epoch: i16,
    /// Up to [`MAX_BATCHES`], oldest first.
    pub batches: Vec<BatchMeta>,
    /// The last sequence that its source gave. No epoch resets it, and no marker.
    pub last_named: LastNamed,
}

/// The checksum of a snapshot at a log's start, as the manifest has it: of both files, one after the other. 0 stands for
/// no files, which is not the checksum of any.
pub fn snapshot_checksum(snapshot: &[u8], producers: &[u8]) -> u32 {
    let mut hasher = super::crc::Crc32::new();
    hasher.update(snapshot);
    hasher.update(producers);
    hasher.finalize().max(1)
}

/// The largest size of a `.producers` file of this many producers.
pub fn encoded_producers_max(producers: usize) -> u64 {
    const HEADER: u64 = 4 + 2 + 4 + 4;
    const PRODUCER: u64 = 8 + 2 + 1 + 1 + 8 + (MAX_BATCHES * (BATCH_LEN + SEQUENCES_LEN)) as u64;
    HEADER + PRODUCER.saturating_mul(producers as u64)
}

/// A `.producers` file of producers named once each. Of each one's batches the newest [`MAX_BATCHES`] are kept.
pub fn encode_producers(producers: &[ProducerBatches]) -> Vec<u8> {
    let mut sorted: Vec<&ProducerBatches> = producers.iter().collect();
    sorted.sort_by_key(|producer| producer.producer_id);
    let is_any_named = producers.iter().any(|producer| producer.last_named != LastNamed::NoName);
    let version = if is_any_named { NAMED_VERSION } else { PRODUCERS_VERSION };
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&(producers.len() as u32).to_be_bytes());
    for producer in sorted {
        let kept = producer.batches.len().min(MAX_BATCHES);
        bytes.extend_from_slice(&producer.producer_id.to_be_bytes());
        bytes.extend_from_slice(&producer.producer_epoch.to_be_bytes());
        bytes.push(kept as u8);
        let batches = || producer.batches.iter().skip(producer.batches.len() - kept);
        for batch in batches() {
            bytes.extend_from_slice(&batch.last_sequence.to_be_bytes());
            bytes.extend_from_slice(&batch.last_offset.to_i64().to_be_bytes());
            bytes.extend_from_slice(&batch.offset_delta.to_be_bytes());
            bytes.extend_from_slice(&batch.timestamp.as_millis().to_be_bytes());
        }
        if is_any_named {
            encode_named(&mut bytes, producer.last_named, batches());
        }
    }
    let crc = crate::codec::crc::crc32(&bytes);
    [PRODUCERS_MAGIC.as_slice(), &version.to_be_bytes(), &crc.to_be_bytes(), &bytes].concat()
}

/// What stands for sequences that are not known.
const UNKNOWN: NamedSequences = NamedSequences { first: 1, last: 0 };

/// What version 2 adds after a producer.
fn encode_named<'a>(bytes: &mut Vec<u8>, last: LastNamed, batches: impl Iterator<Item = &'a BatchMeta>) {
    match last {
        LastNamed::NoName => return bytes.push(0),
        LastNamed::Is(last) => {
            bytes.push(1);
            bytes.extend_from_slice(&last.to_be_bytes());
        }
        LastNamed::Lost => bytes.push(2),
    }
    for batch in batches {
        let NamedSequences { first, last } = batch.named.unwrap_or(UNKNOWN);
        bytes.extend_from_slice(&first.to_be_bytes());
        bytes.extend_from_slice(&last.to_be_bytes());
    }
}

/// The producers of a `.producers` file.
pub fn decode_producers(bytes: &[u8]) -> Result<Vec<ProducerBatches>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    if cursor.array()? != PRODUCERS_MAGIC {
        return Err(DecodeError::malformed(0u64, "a list of producers begins with \"SLPB\""));
    }
    let version = cursor.u16()?;
    if version != PRODUCERS_VERSION && version != NAMED_VERSION {
        let found = format!("a list of producers of version {version}");
        return Err(DecodeError::Unsupported { found, supported: "versions 1 and 2" });
    }
    check_crc(&mut cursor, crate::codec::crc::crc32)?;
    let count = cursor.u32()?;
    let mut producers: Vec<ProducerBatches> = Vec::new();
    for _ in 0..count {
        // A count that lies runs out of bytes here: nothing was allocated for it.
        let before = cursor.position();
        let mut producer = decode_producer(&mut cursor)?;
        if version == NAMED_VERSION {
            decode_named(&mut cursor, &mut producer)?;
        }
        if producers.last().is_some_and(|last| last.producer_id >= producer.producer_id) {
            return Err(DecodeError::malformed(before, "producers are not in ascending order"));
        }
        producers.push(producer);
    }
    cursor.end()?;
    if version == NAMED_VERSION && producers.iter().all(|p| p.last_named == LastNamed::NoName) {
        return Err(DecodeError::malformed(4u64, "a list of version 2 has a producer with a name"));
    }
    Ok(producers)
}

/// Reads what version 2 adds after a producer.
fn decode_named(cursor: &mut Cursor<'_>, producer: &mut ProducerBatches) -> Result<(), DecodeError> {
    producer.last_named = match cursor.u8()? {
        0 => return Ok(()),
        1 => LastNamed::Is(u64::from_be_bytes(cursor.array()?)),
        2 => LastNamed::Lost,
        other => return Err(cursor.malformed(format!("{other} says nothing about a producer's name"))),
    };
    for batch in &mut producer.batches {
        let (first, last) = (u64::from_be_bytes(cursor.array()?), u64::from_be_bytes(cursor.array()?));
        let sequences = NamedSequences { first, last };
        if first > last && sequences != UNKNOWN {
            return Err(cursor.malformed(format!("sequences from {first} to {last}")));
        }
        batch.named = (first <= last).then_some(sequences);
    }
    Ok(())
}

fn decode_producer(cursor: &mut Cursor<'_>) -> Result<ProducerBatches, DecodeError> {
    let (producer_id, producer_epoch, count) = (cursor.i64()?, cursor.i16()?, cursor.u8()?);
    if usize::from(count) > MAX_BATCHES {
        return Err(
            cursor.malformed(format!("{count} batches of one producer, at most {MAX_BATCHES} are kept"))
        );
    }
    let mut batches: Vec<BatchMeta> = Vec::with_capacity(count.into());
    for _ in 0..count {
        let before = cursor.position();
        let batch =
            decode_batch(Cursor::new(cursor.slice(BATCH_LEN)?)).map_err(|e| e.shifted(before as u64))?;
        if batches.last().is_some_and(|last| last.last_offset >= batch.base_offset()) {
            return Err(DecodeError::malformed(before, "a producer's batches are not in order"));
        }
        batches.push(batch);
    }
    Ok(ProducerBatches { producer_id, producer_epoch, batches, last_named: LastNamed::NoName })
}

fn decode_batch(mut cursor: Cursor<'_>) -> Result<BatchMeta, DecodeError> {
    let (last_sequence, last_offset, offset_delta) = (cursor.i32()?, cursor.i64()?, cursor.u32()?);
    let timestamp = Timestamp::from_millis(cursor.i64()?);
    match Offset::from_i64(last_offset) {
        Some(last_offset) if u64::from(offset_delta) <= last_offset.value() => {
            Ok(BatchMeta { last_sequence, last_offset, offset_delta, timestamp, named: None })
        }
        _ => Err(DecodeError::malformed(
            4u64,
            format!("a batch of {offset_delta} + 1 offsets ends at {last_offset}"),
        )),
    }
}

/// Reads a checksum and compares it with that of everything after it.
fn check_crc(cursor: &mut Cursor<'_>, crc: impl Fn(&[u8]) -> u32) -> Result<(), DecodeError> {
    let before = cursor.position();
    let (expected, found) = (cursor.u32()?, crc(cursor.rest()));
    if expected != found {
        return Err(DecodeError::malformed(
            before,
            format!("checksum {expected:08x} expected, {found:08x} found"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::hex;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_snapshot_is_kafkas_bytes() {
        let entry = ProducerEntry {
            producer_id: 9,
            producer_epoch: 2,
            last_sequence: 44,
            last_offset: 14,
            offset_delta: 4,
            timestamp: Timestamp::from_millis(2000),
            coordinator_epoch: 5,
            current_txn_first_offset: None,
        };
        let bytes = hex(
            "00012c9093f900000001000000000000000900020000002c000000000000000e0000000400000000000007d000000005ffffffffffffffff",
        );
        assert_eq!(encode_snapshot(&[entry]), bytes);
        assert_eq!(decode_snapshot(&bytes), Ok(vec![entry]));
        assert_eq!(encode_snapshot(&[]).len(), 10);
        assert_eq!(decode_snapshot(&encode_snapshot(&[])), Ok(vec![]));
    }

    #[test]
    fn a_snapshot_of_another_version_length_or_checksum_is_refused() {
        let bytes = encode_snapshot(&[]);
        let resealed = |mut bytes: Vec<u8>| {
            let crc = crc32c(&bytes[6..]).to_be_bytes();
            bytes[2..6].copy_from_slice(&crc);
            decode_snapshot(&bytes)
        };
        assert!(decode_snapshot(&bytes[..9]).is_err());
        assert!(matches!(decode_snapshot(&[0, 2]), Err(DecodeError::Unsupported { .. })));
        assert!(resealed([bytes.as_slice(), &[0]].concat()).is_err());
        for count in [1i32, i32::MAX, -1, i32::MIN] {
            let lying = [&bytes[..6], &count.to_be_bytes()].concat();
            assert!(matches!(resealed(lying), Err(DecodeError::Malformed { position: 6, .. })));
        }
    }

    fn batch(last_sequence: i32, last_offset: u64, offset_delta: u32) -> BatchMeta {
        BatchMeta {
            last_sequence,
            last_offset: last_offset.into(),
            offset_delta,
            timestamp: Timestamp::from_millis(7),
            named: None,
        }
    }

    #[test]
    fn sequence_numbers_wrap_below_zero() {
        assert_eq!(batch(44, 14, 4).first_sequence(), 40);
        assert_eq!(batch(4, 14, 4).first_sequence(), 0);
        assert_eq!(batch(3, 14, 4).first_sequence(), i32::MAX);
        assert_eq!(batch(-1, 14, 0).first_sequence(), -1);
        assert_eq!(batch(0, 14, 4).first_sequence(), i32::MAX - 3, "0 is a sequence number like others");
        assert_eq!(batch(44, 14, 4).base_offset(), 10);
    }

    #[test]
    fn a_producers_first_batch_may_be_the_logs_first() {
        let one = ProducerBatches {
            producer_id: 0,
            producer_epoch: 0,
            batches: vec![batch(4, 4, 4)],
            last_named: LastNamed::NoName,
        };
        assert_eq!(decode_producers(&encode_producers(std::slice::from_ref(&one))), Ok(vec![one]));
    }

    #[test]
    fn a_list_of_producers_has_a_fixed_layout() {
        let one = ProducerBatches {
            producer_id: 9,
            producer_epoch: 2,
            batches: vec![batch(44, 14, 4)],
            last_named: LastNamed::NoName,
        };
        let bytes = encode_producers(std::slice::from_ref(&one));
        let body = "00000001 0000000000000009 0002 01 0000002c 000000000000000e 00000004 0000000000000007";
        assert_eq!(bytes[10..], hex(body));
        assert_eq!(bytes[..6], *b"SLPB\x00\x01");
        for count in [0, 1, 3] {
            let batches: Vec<_> = (0..MAX_BATCHES).map(|i| batch(i as i32, i as u64, 0)).collect();
            let one = |producer_id| ProducerBatches {
                producer_id,
                producer_epoch: 0,
                batches: batches.clone(),
                last_named: LastNamed::NoName,
            };
            let all: Vec<_> = (0..count).map(one).collect();
            assert!(encoded_producers_max(all.len()) >= encode_producers(&all).len() as u64);
        }
        assert_eq!(bytes[6..10], crate::codec::crc::crc32(&hex(body)).to_be_bytes());
        assert_eq!(decode_producers(&bytes), Ok(vec![one]));
    }

    #[test]
    fn the_newest_five_batches_are_kept_and_ids_are_sorted() {
        let batches: Vec<_> = (0..7).map(|i| batch(i, i as u64, 0)).collect();
        let producer = |producer_id| ProducerBatches {
            producer_id,
            producer_epoch: 0,
            batches: batches.clone(),
            last_named: LastNamed::NoName,
        };
        let decoded = decode_producers(&encode_producers(&[producer(4), producer(3)])).unwrap();
        assert_eq!(decoded.iter().map(|p| p.producer_id).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(decoded[0].batches, batches[2..]);
    }

    #[test]
    fn lists_that_break_a_rule_are_refused_though_their_checksum_holds() {
        let resealed = |body: &str| {
            let body = hex(body);
            decode_producers(
                &[b"SLPB\x00\x01".as_slice(), &crate::codec::crc::crc32(&body).to_be_bytes(), &body].concat(),
            )
        };
        let batch = "0000002c 000000000000000e 00000004 0000000000000007";
        assert!(resealed(&format!("00000001 0000000000000009 0002 01 {batch}")).is_ok());
        assert!(resealed("ffffffff").is_err());
        assert!(resealed("00000000 00").is_err());
        assert!(resealed(&format!("00000001 0000000000000009 0002 02 {batch} {batch}")).is_err());
        let overlapping = "0000002f 0000000000000012 00000004 0000000000000007";
        assert!(resealed(&format!("00000001 0000000000000009 0002 02 {batch} {overlapping}")).is_err());
        assert!(resealed(&format!("00000001 0000000000000009 0002 06 {}", batch.repeat(6))).is_err());
        assert!(resealed("00000002 0000000000000009 0002 00 0000000000000009 0002 00").is_err());
        let short = "0000002c 0000000000000003 00000004 0000000000000007";
        assert!(resealed(&format!("00000001 0000000000000009 0002 01 {short}")).is_err());
        assert!(matches!(decode_producers(b"SLPB\x00\x03"), Err(DecodeError::Unsupported { .. })));
        assert!(decode_producers(b"SLPX\x00\x01").is_err());
    }

    #[test]
    fn a_list_with_a_named_producer_has_a_fixed_layout() {
        let named = |first, last| Some(NamedSequences { first, last });
        let batches = vec![BatchMeta { named: named(3, 7), ..batch(44, 14, 4) }, batch(45, 15, 0)];
        let one =
            ProducerBatches { producer_id: 9, producer_epoch: 2, batches, last_named: LastNamed::Is(8) };
        let plain = ProducerBatches {
            producer_id: 10,
            batches: Vec::new(),
            last_named: LastNamed::NoName,
            ..one.clone()
        };
        let lost = ProducerBatches { producer_id: 11, last_named: LastNamed::Lost, ..plain.clone() };
        let list = [one, plain, lost];
        let bytes = encode_producers(&list);
        let first = "0000000000000009 0002 02 0000002c 000000000000000e 00000004 0000000000000007 \
            0000002d 000000000000000f 00000000 0000000000000007 01 0000000000000008 \
            0000000000000003 0000000000000007 0000000000000001 0000000000000000";
        let others = "000000000000000a 0002 00 00 000000000000000b 0002 00 02";
        assert_eq!(bytes[..6], *b"SLPB\x00\x02");
        assert_eq!(bytes[10..], hex(&format!("00000003 {first} {others}")));
        assert_eq!(decode_producers(&bytes), Ok(list.to_vec()));
        let all = |one: &ProducerBatches| {
            let batches = (0..MAX_BATCHES as u64).map(|i| batch(i as i32, i, 0)).collect();
            ProducerBatches { batches, ..one.clone() }
        };
        let largest = encode_producers(&[all(&list[0])]);
        assert_eq!(encoded_producers_max(1), largest.len() as u64);
    }

    #[test]
    fn a_list_with_names_that_breaks_a_rule_is_refused_though_its_checksum_holds() {
        let resealed = |body: &str| {
            let body = hex(body);
            let crc = crate::codec::crc::crc32(&body).to_be_bytes();
            decode_producers(&[b"SLPB\x00\x02".as_slice(), &crc, &body].concat())
        };
        let head = "00000001 0000000000000009 0002";
        assert!(resealed(&format!("{head} 00 02")).is_ok());
        assert!(resealed(&format!("{head} 00 03")).is_err(), "no such word");
        assert!(resealed(&format!("{head} 00 00")).is_err(), "nobody has a name");
        assert!(resealed(&format!("{head} 00 01 00000000")).is_err(), "cut short");
        let batch = "0000002c 000000000000000e 00000004 0000000000000007";
        let falling = "0000000000000002 0000000000000001";
        assert!(resealed(&format!("{head} 01 {batch} 02 {falling}")).is_err());
    }

    fn entries() -> impl Strategy<Value = Vec<ProducerEntry>> {
        let entry =
            (any::<i16>(), any::<i32>(), any::<i64>(), any::<i32>(), any::<i64>(), any::<Option<u32>>());
        prop::collection::vec(entry, 0..6).prop_map(|fields| {
            let numbered = fields.into_iter().enumerate();
            numbered
                .map(|(i, (producer_epoch, last_sequence, last_offset, offset_delta, millis, first))| {
                    ProducerEntry {
                        producer_id: i as i64,
                        producer_epoch,
                        last_sequence,
                        last_offset,
                        offset_delta,
                        timestamp: Timestamp::from_millis(millis),
                        coordinator_epoch: offset_delta,
                        current_txn_first_offset: first.map(|first| Offset::new(first.into())),
                    }
                })
                .collect()
        })
    }

    fn producers() -> impl Strategy<Value = Vec<ProducerBatches>> {
        let batches = prop::collection::vec((any::<i32>(), 0u32..9), 0..=MAX_BATCHES);
        prop::collection::vec((any::<i16>(), batches), 0..6).prop_map(|fields| {
            let numbered = fields.into_iter().enumerate();
            numbered
                .map(|(i, (producer_epoch, batches))| ProducerBatches {
                    producer_id: i as i64,
                    producer_epoch,
                    batches: (1u64..).zip(batches).map(|(i, (s, delta))| batch(s, i * 10, delta)).collect(),
                    last_named: LastNamed::NoName,
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(entries in entries(), producers in producers()) {
            prop_assert_eq!(decode_snapshot(&encode_snapshot(&entries)), Ok(entries));
            prop_assert_eq!(decode_producers(&encode_producers(&producers)), Ok(producers));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_snapshot(&body);
            let _ = decode_producers(&body);
            let _ = decode_snapshot(&[[0, 1].as_slice(), &crc32c(&body).to_be_bytes(), &body].concat());
            let sealed = [b"SLPB\x00\x01".as_slice(), &crate::codec::crc::crc32(&body).to_be_bytes(), &body].concat();
            let _ = decode_producers(&sealed);
        }

        #[test]
        fn a_flipped_bit_is_noticed(entries in entries(), producers in producers(), at in any::<prop::sample::Index>()) {
            for (mut bytes, kafkas) in [(encode_snapshot(&entries), true), (encode_producers(&producers), false)] {
                let bit = at.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                let refused =
                    if kafkas { decode_snapshot(&bytes).is_err() } else { decode_producers(&bytes).is_err() };
                prop_assert!(refused);
            }
        }
    }
}
