//! What a crash leaves of the pending changes, which no flush had covered.

use super::{
    disk::{Body, Change, Disk, apply_change},
    rng::Rng,
};
use std::sync::Arc;

const SECTOR: u64 = 512;

/// How a machine or a process dies, and which of the unflushed changes the medium has afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Crash {
    /// The process dies and the machine keeps running: the next process sees everything that was written, and its flush
    /// covers that. The cache still shows pages that a failed flush lost.
    Kill,
    /// Power goes, and nothing unflushed had reached the medium.
    Nothing,
    /// Power goes, and everything had.
    Everything,
    /// A prefix of the changes, in the order in which they were made.
    Prefix,
    /// Any subset of the changes: writes, lengths, names.
    Subset,
    /// As `Subset`, and of each write any subset of its sectors of 512 bytes.
    Sectors,
    /// Lengths and names; zeros instead of the written bytes.
    SizesZero,
    /// Lengths and names; garbage instead of the written bytes.
    SizesGarbage,
    /// Bytes, up to the old lengths, under the old names.
    DataWithoutSizes,
    /// All names, none of the contents.
    NamesOnly,
    /// All contents, none of the names: what was removed, renamed or replaced is back.
    ContentsOnly,
    /// All contents, and any subset of the changes of names, in any order.
    NamesSubset,
}

impl Crash {
    /// All of them.
    pub const ALL: [Crash; 12] = [
        Crash::Kill,
        Crash::Nothing,
        Crash::Everything,
        Crash::Prefix,
        Crash::Subset,
        Crash::Sectors,
        Crash::SizesZero,
        Crash::SizesGarbage,
        Crash::DataWithoutSizes,
        Crash::NamesOnly,
        Crash::ContentsOnly,
        Crash::NamesSubset,
    ];
}

/// The disk as the next process finds it.
pub(super) fn image(disk: &Disk, crash: Crash, rng: &mut Rng) -> Disk {
    if crash == Crash::Kill {
        return disk.clone();
    }
    let mut image = disk.bare();
    let prefix = rng.below(disk.pending.len() as u64 + 1) as usize;
    let mut order: Vec<&Change> = disk.pending.iter().collect();
    if crash == Crash::NamesSubset {
        shuffle_names(&mut order, rng);
    }
    for (i, change) in order.into_iter().enumerate() {
        let names = change.is_of_names();
        match crash {
            Crash::Kill | Crash::Nothing => {}
            Crash::Everything => apply_change(&mut image.nodes, change),
            Crash::Prefix if i < prefix => apply_change(&mut image.nodes, change),
            Crash::Prefix => {}
            Crash::Subset if rng.coin() => apply_change(&mut image.nodes, change),
            Crash::Sectors if names || matches!(change, Change::SetLen { .. }) => {
                if rng.coin() {
                    apply_change(&mut image.nodes, change);
                }
            }
            Crash::Sectors => some_sectors(&mut image, change, rng),
            Crash::Subset => {}
            Crash::SizesZero | Crash::SizesGarbage if names => apply_change(&mut image.nodes, change),
            Crash::SizesZero => size_of(&mut image, change, None),
            Crash::SizesGarbage => size_of(&mut image, change, Some(rng)),
            Crash::DataWithoutSizes => within_size(&mut image, change),
            Crash::NamesOnly if names => apply_change(&mut image.nodes, change),
            Crash::ContentsOnly if !names => apply_change(&mut image.nodes, change),
            Crash::NamesSubset if !names || rng.coin() => apply_change(&mut image.nodes, change),
            Crash::NamesOnly | Crash::ContentsOnly | Crash::NamesSubset => {}
        }
    }
    image.settle();
    image
}

/// Shuffles the changes of names among themselves.
fn shuffle_names(changes: &mut [&Change], rng: &mut Rng) {
    let places: Vec<usize> = (0..changes.len()).filter(|i| changes[*i].is_of_names()).collect();
    for (i, place) in places.iter().enumerate().skip(1) {
        changes.swap(*place, places[rng.below(i as u64 + 1) as usize]);
    }
}

fn some_sectors(image: &mut Disk, change: &Change, rng: &mut Rng) {
    let Change::Write { ino, at, data } = change else { return };
    let Body::File(content) = &mut image.nodes[*ino].live else { return };
    let content = Arc::make_mut(content);
    let mut done = 0;
    while done < data.len() {
        let position = at + done as u64;
        let n = ((SECTOR - position % SECTOR) as usize).min(data.len() - done);
        if rng.coin() {
            content.write(&data[done..done + n], position);
        }
        done += n;
    }
}

fn size_of(image: &mut Disk, change: &Change, garbage: Option<&mut Rng>) {
    match change {
        Change::Write { ino, at, data } => {
            let Body::File(content) = &mut image.nodes[*ino].live else { return };
            let content = Arc::make_mut(content);
            let (before, end) = (content.len(), at + data.len() as u64);
            if end <= before {
                return;
            }
            content.set_len(end);
            if let Some(rng) = garbage {
                let bytes: Vec<u8> = (before..end).map(|_| rng.next() as u8).collect();
                content.write(&bytes, before);
            }
        }
        other => apply_change(&mut image.nodes, other),
    }
}

fn within_size(image: &mut Disk, change: &Change) {
    let Change::Write { ino, at, data } = change else { return };
    if let Body::File(content) = &mut image.nodes[*ino].live {
        Arc::make_mut(content).write_within(data, *at);
    }
}
