//! Bytes to values and back, without I/O: Kafka's formats and our own.
//!
//! Everything here is pure. What a file means, where it lies and what to do about damage is decided above; a decoder
//! says only what is wrong and where, as a [`DecodeError`] whose position is relative to the bytes it was given.
//! Every length is bounded before it is used, and no declared size drives an allocation.

pub mod batch;
pub mod builder;
pub mod checkpoint;
pub mod compress;
pub mod control;
pub mod coordinator;
pub mod crc;
mod cursor;
pub mod epochs;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod index;
pub mod keys;
pub mod manifest;
pub mod mark;
pub mod message;
pub mod named;
pub mod pages;
pub mod record;
mod siphash;
pub mod snapshot;
pub mod unpacked;
pub mod varint;
#[cfg(test)]
mod vectors;

use crate::types::Compression;
use std::{borrow::Cow, fmt};

/// Why bytes could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes break a rule of their format.
    Malformed {
        /// Where, in bytes from the start of what was decoded.
        position: u64,
        /// The rule, what was expected and what was found.
        reason: Cow<'static, str>,
    },
    /// The bytes are of a version that this release does not know.
    Unsupported {
        /// What they claim to be.
        found: String,
        /// What this release reads.
        supported: &'static str,
    },
    /// The records are compressed with a codec that this build does not contain.
    CodecUnavailable(Compression),
    /// Decompressed, the records have more bytes than these, which are all that was allowed.
    TooLarge(usize),
    /// Decompressed, the records have at least this many bytes, for which there is no memory. It says nothing about the bytes.
    OutOfMemory(usize),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Malformed { position, reason } => write!(f, "at byte {position}: {reason}"),
            DecodeError::Unsupported { found, supported } => {
                write!(f, "found {found}, this release reads {supported}")
            }
            DecodeError::CodecUnavailable(codec) => write!(f, "compression '{codec}' is not in this build"),
            DecodeError::TooLarge(max) => {
                write!(f, "decompressed, it is larger than the {max} bytes allowed")
            }
            DecodeError::OutOfMemory(bytes) => {
                write!(f, "decompressed, it has at least {bytes} bytes, for which there is no memory")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

impl DecodeError {
    /// A broken rule at `position`.
    pub fn malformed(position: impl TryInto<u64>, reason: impl Into<Cow<'static, str>>) -> Self {
        DecodeError::Malformed { position: position.try_into().unwrap_or(u64::MAX), reason: reason.into() }
    }

    /// The same error about bytes that begin `by` later.
    #[must_use]
    pub fn shifted(self, by: u64) -> Self {
        match self {
            DecodeError::Malformed { position, reason } => {
                DecodeError::Malformed { position: position.saturating_add(by), reason }
            }
            other => other,
        }
    }

    /// The error as the crate's own, about `path`, whose byte `base` the decoded bytes began at.
    pub fn in_file(self, path: &std::path::Path, base: u64) -> crate::error::Error {
        match self {
            DecodeError::Malformed { position, reason } => {
                crate::error::Error::corrupt(path, base.saturating_add(position), reason)
            }
            DecodeError::Unsupported { found, supported } => crate::error::Error::UnsupportedFormat {
                path: path.to_path_buf(),
                found,
                supported: supported.to_string(),
            },
            DecodeError::CodecUnavailable(codec) => crate::error::Error::CodecUnavailable {
                codec,
                place: Some((path.to_path_buf(), base)),
                next_offset: None,
            },
            error @ DecodeError::TooLarge(_) => crate::error::Error::corrupt(path, base, error.to_string()),
            error @ DecodeError::OutOfMemory(_) => {
                let reason = format!("the batch at byte {base}: {error}");
                let source = std::io::Error::new(std::io::ErrorKind::OutOfMemory, reason);
                crate::error::Error::io("decompress a batch of", path, source)
            }
        }
    }
}
