//! What became of an earlier decision: the header `streamlog.outcome` of a record whose value speaks of a later one.
//!
//! A transactional id has one value, and that is of its last transaction. The markers of an earlier one may be written
//! after a later one was decided: its end is then noted beside the value, which stays what it is.
//!
//! The bytes: version 1 (1), producer id (8), epoch of the transaction (2), and flags (1): committed, complete.

use crate::codec::{DecodeError, cursor::Cursor};

/// The record header that holds an outcome.
pub const OUTCOME_HEADER: &str = "streamlog.outcome";

const VERSION: u8 = 1;
const COMMITTED: u8 = 1;
const COMPLETE: u8 = 2;

/// How a transaction that was decided earlier ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlierOutcome {
    /// Its producer.
    pub producer_id: i64,
    /// The epoch of its batches.
    pub epoch: i16,
    /// Whether it is committed.
    pub committed: bool,
    /// Whether its markers are written.
    pub complete: bool,
}

/// The header's value.
pub fn encode_outcome(outcome: &EarlierOutcome) -> Vec<u8> {
    let flags = (u8::from(outcome.committed) * COMMITTED) | (u8::from(outcome.complete) * COMPLETE);
    let (id, epoch) = (outcome.producer_id.to_be_bytes(), outcome.epoch.to_be_bytes());
    [&[VERSION][..], &id, &epoch, &[flags]].concat()
}

/// What a header's value says.
pub fn decode_outcome(bytes: &[u8]) -> Result<EarlierOutcome, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let version = cursor.u8()?;
    if version != VERSION {
        let found = format!("the outcome of a transaction of version {version}");
        return Err(DecodeError::Unsupported { found, supported: "version 1" });
    }
    let (producer_id, epoch, flags) = (cursor.i64()?, cursor.i16()?, cursor.u8()?);
    if flags > COMMITTED | COMPLETE {
        return Err(cursor.malformed(format!("flags {flags:#04x} of an outcome")));
    }
    cursor.end()?;
    let (committed, complete) = (flags & COMMITTED != 0, flags & COMPLETE != 0);
    Ok(EarlierOutcome { producer_id, epoch, committed, complete })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fixtures::hex;

    #[test]
    fn an_outcome_is_twelve_bytes() {
        let outcome = EarlierOutcome { producer_id: 9, epoch: 2, committed: true, complete: false };
        let bytes = hex("01 0000000000000009 0002 01");
        assert_eq!(encode_outcome(&outcome), bytes);
        assert_eq!(decode_outcome(&bytes), Ok(outcome));
        for (committed, complete) in [(false, false), (true, true), (false, true)] {
            let other = EarlierOutcome { committed, complete, ..outcome };
            assert_eq!(decode_outcome(&encode_outcome(&other)), Ok(other));
        }
        for i in 0..bytes.len() {
            assert!(decode_outcome(&bytes[..i]).is_err());
        }
        for bad in
            ["02 0000000000000009 0002 01", "01 0000000000000009 0002 04", "01 0000000000000009 0002 01 00"]
        {
            assert!(decode_outcome(&hex(bad)).is_err(), "{bad}");
        }
    }
}
