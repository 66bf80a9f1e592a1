//! Records of `__consumer_offsets`: what groups committed, and the groups themselves.
//!
//! A [key](keys) begins with an i16 that is a kind of record rather than a version. The value of a committed offset
//! ([`offsets`]) or of a group ([`groups`]) begins with its version: 3 is written, 0 to 4 are read; of the flexible version 4
//! unknown tagged fields are skipped by their size. A null value (a tombstone) never comes here. Strings have at most
//! [`MAX_STRING_LEN`](super::message::MAX_STRING_LEN) bytes.
//!
//! [`committed`] joins them to what the library needs: a committed offset with the life it belongs to.
//! [`committed_snapshot`] is a file of all of them.
//!
//! The records of `__transaction_state` have a page of their own: [`transactions`].

pub mod committed;
pub mod committed_snapshot;
pub mod groups;
mod keys;
mod offsets;
pub mod transactions;

pub use keys::*;
pub use offsets::*;

use super::{DecodeError, cursor::Cursor, message::Fields};

/// The first version of either value in the flexible encoding, and the last that is read.
const FLEXIBLE_VALUE: i16 = 4;

/// A value's version, and its fields in the encoding that goes with it.
fn versioned<'a>(bytes: &'a [u8], what: &str) -> Result<(i16, Fields<'a>), DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let version = cursor.i16()?;
    if !(0..=FLEXIBLE_VALUE).contains(&version) {
        let found = format!("{what} of version {version}");
        return Err(DecodeError::Unsupported { found, supported: "versions 0 to 4" });
    }
    Ok((version, Fields::new(cursor, version >= FLEXIBLE_VALUE)))
}
