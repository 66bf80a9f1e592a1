//! The alphabet of calls, and how a workload is drawn from a seed.

/// A partition, by its number in [`PLACES`].
pub type Place = usize;

/// The partitions that transactions write to: two of a `Flushed` topic, one of a `Written` one.
pub const PLACES: [(&str, u32); 3] = [("a", 0), ("a", 1), ("b", 0)];

/// How many producers there are.
pub const PRODUCERS: usize = 3;

/// A call. Those of a producer concern its transaction, if it has one open.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Begin(usize),
    Send {
        producer: usize,
        place: Place,
        size: usize,
    },
    /// The group's consumer polls, and its positions become part of the transaction.
    Offsets(usize),
    Commit(usize),
    Abort(usize),
    Drop(usize),
    /// A record outside of transactions.
    Plain {
        place: Place,
        size: usize,
    },
    /// Records for the group to read, which a power cut may take.
    Input(usize),
    /// Records go: of four quarters of what is stable, so many.
    Delete {
        place: Place,
        quarters: u64,
    },
    Flush(Place),
    /// More time passes than transactions have, and what is due is done.
    Late,
    Maintain,
    /// A clean close, and an opening.
    Reopen,
}

/// SplitMix64.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// How a log is opened, and what its topics are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// How large segments are.
    pub segment_bytes: u64,
    /// When the tables of the internal topics write sidecars and are written again: seldom, or all the time.
    pub upkeep: Option<(u64, u64, u64)>,
}

#[derive(Clone, Debug)]
pub struct Workload {
    pub seed: u64,
    pub settings: Settings,
    pub ops: Vec<Op>,
}

/// The workload of a seed: most transactions are begun, written and ended; now and then something else happens. It ends with a
/// close.
pub fn draw(seed: u64) -> Workload {
    let mut rng = Rng(seed ^ 0x7a5a);
    let segment_bytes = [600, 1000, 100_000][rng.below(3) as usize];
    let upkeep = [None, Some((8 << 20, 300, 1500)), Some((640, 100, 500))][rng.below(3) as usize];
    let count = 8 + rng.below(16);
    let mut ops = Vec::new();
    while (ops.len() as u64) < count {
        some(&mut rng, &mut ops);
    }
    ops.push(Op::Reopen);
    Workload { seed, settings: Settings { segment_bytes, upkeep }, ops }
}

fn some(rng: &mut Rng, ops: &mut Vec<Op>) {
    let producer = rng.below(PRODUCERS as u64) as usize;
    let place = rng.below(PLACES.len() as u64) as usize;
    let size = [0, 20, 200][rng.below(3) as usize];
    let other = (place + 1) % PLACES.len();
    match rng.below(28) {
        0..=2 => ops.push(Op::Begin(producer)),
        3..=7 => ops.extend([
            Op::Begin(producer),
            Op::Send { producer, place, size },
            Op::Send { producer, place: other, size },
        ]),
        8 | 9 => ops.push(Op::Send { producer, place, size }),
        10 | 11 => ops.push(Op::Offsets(producer)),
        12..=15 => ops.push(Op::Commit(producer)),
        16 => ops.push(Op::Abort(producer)),
        17 => ops.push(Op::Drop(producer)),
        18 | 19 => ops.push(Op::Plain { place, size }),
        20 => ops.push(Op::Input(1 + rng.below(4) as usize)),
        21 => ops.push(Op::Delete { place, quarters: 1 + rng.below(4) }),
        22 => ops.push(Op::Flush(place)),
        23 => ops.push(Op::Maintain),
        24 if rng.one_in(2) => ops.push(Op::Late),
        24 => ops.push(Op::Reopen),
        _ => ops.extend([
            Op::Begin(0),
            Op::Send { producer: 0, place, size },
            Op::Send { producer: 0, place: other, size },
            Op::Offsets(0),
            Op::Commit(0),
        ]),
    }
}
