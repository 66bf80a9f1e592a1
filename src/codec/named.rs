//! The sequences of a named producer, as the log has them: numbers that its source gave to its records.
//!
//! They are Kafka's headers, so that every reader of the format keeps them, and their bytes are:
//!
#![doc = include_str!("layout/sequence.md")]
//!
//! Always true: within a partition the sequences of a producer rise, and so do those of a batch.

use super::{DecodeError, batch::RecordBatch, compress::MAX_DECOMPRESSED};

/// The name of the header.
pub const SEQUENCE: &str = "streamlog.sequence";

/// The first and the last sequence of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NamedSequences {
    /// That of its first record.
    pub first: u64,
    /// That of its last record.
    pub last: u64,
}

/// What a batch says of the sequences of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// They have none: their producer has no name.
    Nothing,
    /// They are these.
    Sequences(NamedSequences),
    /// The record that would say it was removed, or cannot be read.
    Unreadable,
}

/// What a batch with one of our producer ids says of its sequences.
pub fn sequences_of(batch: &RecordBatch) -> Said {
    read(batch).unwrap_or(Said::Unreadable)
}

fn read(batch: &RecordBatch) -> Result<Said, DecodeError> {
    let records = batch.records(MAX_DECOMPRESSED)?.validate()?;
    let (mut all, mut begun, mut next) = (None::<NamedSequences>, batch.header().base_offset, None);
    for record in records.iter() {
        next = Some(record.offset + 1);
        let Some(last) = sequence_in(record.headers.raw()) else { continue };
        let Some(first) = last.checked_sub(record.offset.distance_from(begun)) else {
            return Ok(Said::Unreadable);
        };
        all = match all {
            None => Some(NamedSequences { first, last }),
            Some(before) if before.last < first => Some(NamedSequences { last, ..before }),
            Some(_) => return Ok(Said::Unreadable),
        };
        begun = record.offset + 1;
    }
    let end = batch.header().next_offset();
    Ok(match all {
        Some(all) if begun == end => Said::Sequences(all),
        None if next == Some(end) => Said::Nothing,
        _ => Said::Unreadable,
    })
}

/// The sequence among the headers of a record.
fn sequence_in<'a>(headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Option<u64> {
    let own = headers.filter(|(name, _)| *name == SEQUENCE.as_bytes());
    own.last().and_then(|(_, value)| Some(u64::from_be_bytes(value?.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::builder::{BatchBuilder, Stamp},
        types::{Compression, Offset, Timestamp},
    };
    use bytes::Bytes;

    /// What is read of a batch whose records say these sequences, or nothing, at these offset deltas.
    fn said(records: &[(i32, Option<&[u8]>)], end: i32) -> Said {
        let mut builder = BatchBuilder::new();
        for (delta, sequence) in records {
            let header = sequence.map(|value| (SEQUENCE, Some(value)));
            let headers: Vec<_> = header.into_iter().collect();
            builder.append_at(*delta, Timestamp::from_millis(1), None, Some(b"x"), &headers).unwrap();
        }
        let mut sealed = builder.seal(Compression::None, None).unwrap();
        sealed.set_last_offset_delta(end);
        sealed.finish(Offset::new(40), 0, Stamp::CreateTime);
        sequences_of(&RecordBatch::parse(Bytes::from(sealed.into_buffer())).unwrap())
    }

    fn sequences(first: u64, last: u64) -> Said {
        Said::Sequences(NamedSequences { first, last })
    }

    #[test]
    fn the_last_record_of_each_run_says_where_the_run_ends() {
        let be = |value: u64| value.to_be_bytes();
        let (seven, nine, hundred) = (be(7), be(9), be(100));
        assert_eq!(said(&[(0, None), (1, None), (2, Some(&nine))], 2), sequences(7, 9));
        assert_eq!(said(&[(0, Some(&seven))], 0), sequences(7, 7));
        assert_eq!(said(&[(0, None), (1, Some(&seven)), (2, Some(&hundred))], 2), sequences(6, 100));
        assert_eq!(said(&[(0, Some(&be(0))), (1, Some(&be(u64::MAX)))], 1), sequences(0, u64::MAX));
        assert_eq!(said(&[(0, None), (1, None)], 1), Said::Nothing);
    }

    #[test]
    fn what_is_not_in_order_or_not_there_any_more_is_not_guessed() {
        let be = |value: u64| value.to_be_bytes();
        let (one, seven) = (be(1), be(7));
        // Below zero; falling; overlapping; without an end; without a last record; of another length.
        assert_eq!(said(&[(0, None), (1, None), (2, Some(&one))], 2), Said::Unreadable);
        assert_eq!(said(&[(0, Some(&seven)), (1, Some(&one))], 1), Said::Unreadable);
        assert_eq!(said(&[(0, Some(&seven)), (1, None), (2, Some(&be(8)))], 2), Said::Unreadable);
        assert_eq!(said(&[(0, Some(&seven)), (1, None)], 1), Said::Unreadable);
        assert_eq!(said(&[(0, Some(&seven))], 1), Said::Unreadable);
        assert_eq!(said(&[(0, None)], 1), Said::Unreadable);
        assert_eq!(said(&[(0, Some(b"7"))], 0), Said::Nothing);
        // What was removed in the middle counts all the same.
        assert_eq!(said(&[(1, Some(&seven)), (4, Some(&be(10)))], 4), sequences(6, 10));
    }
}
