//! Which offsets of one segment live.
//!
//! A block of 65,536 offsets holds the few that live in it, two bytes each, or a bit for each offset once they are many:
//! about a bit a record where nothing was cleaned yet, and never more than four bytes a record where little is left of
//! many offsets.

const BLOCK_BITS: u32 = 16;
const WORDS: usize = (1 << BLOCK_BITS) / 64;
/// Half as many as take the room of all bits: a list may have doubled its room a moment ago.
const FEW: usize = WORDS * 64 / 16 / 2;

/// Offsets, counted from the base of their segment.
#[derive(Clone, Debug)]
pub struct LiveSet {
    blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
enum Block {
    Few(Vec<u16>),
    Many(Box<[u64; WORDS]>),
}

impl LiveSet {
    /// None of `span` offsets.
    pub fn new(span: u64) -> Self {
        let blocks = span.min(1 << 31).div_ceil(1 << BLOCK_BITS) as usize;
        LiveSet { blocks: vec![Block::Few(Vec::new()); blocks] }
    }

    /// How many bytes the set of so many records in `span` offsets takes at most.
    pub fn most_bytes(records: u32, span: u64) -> u64 {
        let blocks = span.min(1 << 31).div_ceil(1 << BLOCK_BITS);
        let all = (WORDS * 8) as u64;
        // A list has room for four, of which one is twice what is counted for it.
        blocks * (size_of::<Block>() as u64 + 4) + (u64::from(records) * 4).min(blocks * all)
    }

    /// Adds an offset. [`settle`](Self::settle) comes before the first question.
    pub fn insert(&mut self, relative: u32) {
        let (block, low) = split(relative);
        match self.blocks.get_mut(block) {
            Some(Block::Many(bits)) => set(bits, low),
            Some(Block::Few(list)) if list.len() < FEW => list.push(low),
            Some(few) => {
                let mut bits = Box::new([0; WORDS]);
                if let Block::Few(list) = few {
                    list.iter().for_each(|low| set(&mut bits, *low));
                }
                set(&mut bits, low);
                *few = Block::Many(bits);
            }
            None => {}
        }
    }

    /// Nothing more is added.
    pub fn settle(&mut self) {
        for block in &mut self.blocks {
            if let Block::Few(list) = block {
                list.sort_unstable();
                list.dedup();
            }
        }
    }

    /// Whether an offset lives.
    pub fn contains(&self, relative: u32) -> bool {
        let (block, low) = split(relative);
        match self.blocks.get(block) {
            Some(Block::Few(list)) => list.binary_search(&low).is_ok(),
            Some(Block::Many(bits)) => {
                bits.get(usize::from(low) / 64).is_some_and(|word| word >> (low % 64) & 1 == 1)
            }
            None => false,
        }
    }

    /// An offset lives no more.
    pub fn remove(&mut self, relative: u32) {
        let (block, low) = split(relative);
        match self.blocks.get_mut(block) {
            Some(Block::Few(list)) => {
                if let Ok(at) = list.binary_search(&low) {
                    list.remove(at);
                }
            }
            Some(Block::Many(bits)) => {
                if let Some(word) = bits.get_mut(usize::from(low) / 64) {
                    *word &= !(1 << (low % 64));
                }
            }
            None => {}
        }
    }

    /// How many live from `first` to `last`.
    pub fn count(&self, first: u32, last: u32) -> u32 {
        let ((first_block, first_low), (last_block, last_low)) = (split(first), split(last));
        let blocks = self.blocks.iter().enumerate().skip(first_block);
        let counts = blocks.take((last_block + 1).saturating_sub(first_block)).map(|(i, block)| {
            let from = if i == first_block { first_low } else { 0 };
            let to = if i == last_block { last_low } else { u16::MAX };
            match block {
                Block::Few(list) => {
                    list.partition_point(|low| *low <= to) as u32
                        - list.partition_point(|low| *low < from) as u32
                }
                Block::Many(bits) => count_bits(bits, from, to),
            }
        });
        counts.sum()
    }

    /// How many live.
    pub fn len(&self) -> u64 {
        let counts = self.blocks.iter().map(|block| match block {
            Block::Few(list) => list.len() as u64,
            Block::Many(bits) => bits.iter().map(|word| u64::from(word.count_ones())).sum(),
        });
        counts.sum()
    }
}

fn split(relative: u32) -> (usize, u16) {
    ((relative >> BLOCK_BITS) as usize, relative as u16)
}

fn set(bits: &mut [u64; WORDS], low: u16) {
    if let Some(word) = bits.get_mut(usize::from(low) / 64) {
        *word |= 1 << (low % 64);
    }
}

/// The bits from `from` to `to`, both of them counted.
fn count_bits(bits: &[u64; WORDS], from: u16, to: u16) -> u32 {
    let (first, last) = (usize::from(from) / 64, usize::from(to) / 64);
    let words = bits.iter().enumerate().skip(first).take((last + 1).saturating_sub(first));
    let counts = words.map(|(i, word)| {
        let mut word = *word;
        if i == first {
            word &= u64::MAX << (from % 64);
        }
        if i == last {
            word &= u64::MAX >> (63 - to % 64);
        }
        word.count_ones()
    });
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_holds_what_was_put_in_and_not_taken_out(
            dense in 0u32..7000, step in 1u32..9,
            sparse in prop::collection::vec(0u32..500_000, 0..60),
            ranges in prop::collection::vec((0u32..500_000, 0u32..200_000), 1..20),
        ) {
            let mut set = LiveSet::new(500_000);
            let mut model = BTreeSet::new();
            for relative in (0..dense).map(|i| 60_000 + i * step).chain(sparse.iter().copied()) {
                set.insert(relative);
                model.insert(relative);
            }
            set.settle();
            for relative in sparse.iter().step_by(2) {
                set.remove(*relative);
                model.remove(relative);
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            for (first, more) in ranges {
                let last = first + more;
                prop_assert_eq!(set.count(first, last) as usize, model.range(first..=last).count());
                prop_assert_eq!(set.contains(first), model.contains(&first));
            }
        }
    }

    /// The bytes that a set has taken from the allocator.
    fn bytes(set: &LiveSet) -> u64 {
        let of_block = |block: &Block| match block {
            Block::Few(list) => list.capacity() * size_of::<u16>(),
            Block::Many(bits) => size_of_val(&**bits),
        };
        let blocks = set.blocks.capacity() * size_of::<Block>();
        (blocks + set.blocks.iter().map(of_block).sum::<usize>()) as u64
    }

    #[test]
    fn a_set_takes_no_more_than_is_said_before_it_is_there() {
        for span in [1, 100, 65_536, 65_537, 1_000_000] {
            for step in [1, 2, 3, 15, 16, 17, 100, 5000, 70_000] {
                let mut set = LiveSet::new(span);
                for (count, relative) in (1..).zip((0..span as u32).step_by(step)) {
                    set.insert(relative);
                    let (taken, most) = (bytes(&set), LiveSet::most_bytes(count, span));
                    assert!(
                        taken <= most,
                        "{taken} bytes for {count} of {span} offsets, {most} were counted"
                    );
                }
            }
        }
    }

    #[test]
    fn an_offset_outside_the_segment_does_not_live() {
        let mut set = LiveSet::new(10);
        set.insert(70_000);
        set.insert(u32::MAX);
        set.settle();
        assert!(!set.contains(70_000) && set.len() == 0 && set.count(0, u32::MAX) == 0);
    }
}
