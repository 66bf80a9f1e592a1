//! The records of a queued batch: as they were put in, or sealed.

use crate::{
    codec::{
        builder::{BatchBuilder, SealedBatch},
        named::NamedSequences,
    },
    partition::state::log_config::LogConfig,
    types::Compression,
};
use std::sync::Arc;

/// See the head of the file.
pub(super) enum Body {
    /// Not compressed yet, with the settings under which the batch was begun.
    Filled(BatchBuilder, Arc<LogConfig>),
    /// As it is written.
    Sealed(SealedBatch),
}

impl Body {
    /// How many records there are.
    pub(super) fn count(&self) -> u32 {
        match self {
            Body::Filled(builder, _) => builder.count(),
            Body::Sealed(sealed) => sealed.count(),
        }
    }

    /// Their numbers, where their producer has a name.
    pub(super) fn sequences(&self) -> Option<NamedSequences> {
        match self {
            Body::Filled(builder, _) => builder.sequences(),
            Body::Sealed(sealed) => sealed.sequences(),
        }
    }

    /// How many bytes they take.
    pub(super) fn len(&self) -> usize {
        match self {
            Body::Filled(builder, _) => builder.len(),
            Body::Sealed(sealed) => usize::try_from(sealed.size()).unwrap_or(usize::MAX),
        }
    }

    /// The batch, sealed as it is.
    pub(super) fn into_plain(self) -> Option<SealedBatch> {
        match self {
            Body::Filled(builder, _) => builder.seal(Compression::None, None).ok(),
            Body::Sealed(sealed) => Some(sealed),
        }
    }
}
