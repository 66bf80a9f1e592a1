//! Who wrote a batch: a producer in one of its epochs.

/// A producer's id and epoch, as they stand in the header of its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerEpoch {
    /// The producer's id; not negative.
    pub id: i64,
    /// Its epoch: of two holders of one id, the one with the larger epoch came later.
    pub epoch: i16,
}
