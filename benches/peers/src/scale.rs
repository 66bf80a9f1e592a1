//! How much of everything: a short round for a look, a full one for figures.

/// The sizes of a run.
#[derive(Clone, Debug)]
pub struct Scale {
    pub quick: bool,
    /// How many rounds count.
    pub rounds: usize,
    /// Bytes of records in an append or a scan.
    pub bytes: usize,
    /// Bytes of records in the work that watches memory; four times as many follow.
    pub grown: usize,
    /// Records sent one at a time.
    pub sends: usize,
    /// Records sent and flushed one at a time, by each thread.
    pub flushes: usize,
    /// Records that hop.
    pub hops: usize,
    /// Bytes of a log that is opened, and how many of them were not flushed when its writer was killed: less than a quarter,
    /// so that what is not flushed lies in the last of its segments alone.
    pub opened: usize,
    pub unflushed: usize,
    /// Bytes of a file in the work that rolls.
    pub segment: u64,
    pub idle_partitions: usize,
}

impl Scale {
    /// For a look: under a minute.
    pub fn quick() -> Self {
        Scale {
            quick: true,
            rounds: 5,
            bytes: 16 << 20,
            grown: 4 << 20,
            sends: 10_000,
            flushes: 20,
            hops: 300,
            opened: 8 << 20,
            unflushed: 1 << 20,
            segment: 2 << 20,
            idle_partitions: 100,
        }
    }

    /// For figures.
    pub fn full() -> Self {
        Scale {
            quick: false,
            rounds: 5,
            bytes: 128 << 20,
            grown: 128 << 20,
            sends: 300_000,
            flushes: 1_000,
            hops: 5_000,
            opened: 1 << 30,
            unflushed: 64 << 20,
            segment: 64 << 20,
            idle_partitions: 1_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_killed_has_a_segment_that_was_flushed_and_one_that_was_not() {
        for scale in [Scale::quick(), Scale::full()] {
            assert!(4 * scale.unflushed < scale.opened, "{scale:?}");
            assert!(scale.opened < 2 << 30, "a segment holds no more: {scale:?}");
        }
    }
}
