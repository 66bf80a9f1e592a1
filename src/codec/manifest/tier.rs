//! The tier of a sealed segment: the place where its bytes lie. The manifest is the truth about that, too.
//!
//! This release knows the local tier alone, and refuses a manifest that names another: a remote segment must not be taken
//! for a local one whose file is missing. A second tier is a line of [`Tier`], a field of a [`Seal`](super::Seal), and a
//! source of bytes (`storage/segment/source.rs`), chosen where an opening makes a segment of what the manifest lists
//! (`partition/open/segments.rs`).

use super::input::Input;
use crate::codec::DecodeError;

/// Where the bytes of a sealed segment lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    /// In a file of the partition's directory. The number of a remote store is 1, kept for later.
    Local = 0,
}

impl Tier {
    /// The number that stands for it.
    pub(super) fn number(self) -> u8 {
        self as u8
    }

    /// Reads one.
    pub(super) fn read(input: &mut Input<'_>) -> Result<Tier, DecodeError> {
        match input.u8()? {
            0 => Ok(Tier::Local),
            other => Err(super::unsupported(format!(
                "a sealed segment in tier {other}, which is not the local one"
            ))),
        }
    }
}
