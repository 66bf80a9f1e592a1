//! Who wrote a batch: a producer in one of its epochs.

/// A producer's id and epoch, as they stand in the header of its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerEpoch {
    /// The producer's id; not negative.
    pub id: i64,
    /// Its epoch: of two holders of one id, the one with the larger epoch came later.
    pub epoch: i16,
}

impl ProducerEpoch {
    /// The ids of this library's producers begin here, and are drawn at random. A broker counts its own from 0.
    pub const OWN_IDS_FROM: i64 = 1 << 40;

    /// Whether the id was drawn by this library.
    pub fn is_ours(self) -> bool {
        self.id >= Self::OWN_IDS_FROM
    }
}
