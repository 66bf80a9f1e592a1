//! Rewriting: neighbouring segments in which something is dead give way to one that has the rest.
//!
//! Batch by batch, by what lives of its offsets: all, and the bytes are copied, compressed ones never opened; some, and
//! those are written anew; none, and the batch is dropped, unless the log ends with it. Kafka's two phases let a tombstone
//! go: the first rewriting that meets one gives its batch a delete horizon, and one after that horizon removes it. Segments
//! are rewritten from the oldest on, and a round that fails goes no further, so no tombstone goes before what it deletes.
//!
//! So goes a marker of which no transaction is left. Of each producer that the log remembers the last batches stay, emptied if
//! need be.
//!
//! What is read is checked: each batch by its checksum, each page by its own where there is one.

use super::{decide::Lives, markers::Markers};
use crate::{
    codec::{
        DecodeError,
        batch::{BatchHeader, RecordBatch},
        compress::MAX_DECOMPRESSED,
        keys::KeysFlags,
        manifest::Seal,
        record::survivors::Survivors,
    },
    env::Env,
    error::Result,
    partition::write::cleanable::CleaningTurn,
    storage::{
        budget::{Budget, Charge},
        keys::{KeyFile, KeysOf, Merge, merge},
        layout::SegmentFile,
        scan::{Chunk, Scanner},
        segment::{
            Segment,
            output::{SegmentWriter, Written, remove_cleaned},
        },
        sidecar::take_name,
    },
    types::{Offset, Timestamp},
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How much is read before others get their turn.
const STEP: u64 = 4 << 20;

/// A sealed segment, its keys and what lives of it.
pub struct Source {
    pub segment: Arc<Segment>,
    pub seal: Seal,
    pub keys: Arc<KeyFile>,
    pub lives: Lives,
    pub markers: Markers,
}

/// What holds for a whole round.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The time that horizons are set and outlived by.
    pub now: Timestamp,
    /// The horizon that a batch gets.
    pub horizon: Timestamp,
    /// The offset that readers stop before: the batch that ends there stays.
    pub high_watermark: Offset,
    /// The most that a segment and an index have.
    pub segment_bytes: u64,
    pub index_bytes: u64,
    pub index_interval: u64,
    /// Whether nothing is to be written.
    pub is_rehearsal: bool,
}

/// What a rewriting did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that were read, and those that stay.
    pub records_before: u64,
    pub records_after: u64,
    /// Records without a key, which went.
    pub null_keys: u64,
    /// Tombstones whose time is over.
    pub tombstones: u64,
}

impl Counts {
    /// Adds what another rewriting did.
    pub fn add(&mut self, other: Counts) {
        self.records_before += other.records_before;
        self.records_after += other.records_after;
        self.null_keys += other.null_keys;
        self.tombstones += other.tombstones;
    }
}

/// What cleaning did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Records of the segments that were rewritten, before and after.
    pub counts: Counts,
    /// The bytes of those segments' batches, before and after.
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// How many segments were rewritten, and how many had nothing to be removed.
    pub rewritten: u64,
    pub untouched: u64,
    /// The log is clean below this offset.
    pub below: Offset,
}

/// What is to become of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its bytes are copied.
    Stays,
    /// Those that live are written anew, under this horizon; tombstones do not live any more where `ends`.
    Shrinks { horizon: Option<Timestamp>, ends: bool },
    /// Nothing lives; it has tombstones whose time is over. Its header may be needed.
    Goes { tombstones: bool },
}

impl Source {
    /// What is to become of a batch with this header.
    fn fate_of(&self, header: &BatchHeader, rules: &Rules) -> Fate {
        let base = self.keys.base();
        let first = relative(base, header.base_offset);
        let last = relative(base, header.last_offset());
        if header.is_control() {
            return self.fate_of_control(header, last, rules);
        }
        let tombstones = self.lives.tombstones.count(first, last);
        let live = self.lives.records.count(first, last);
        let horizon = header.delete_horizon();
        let mut ends = tombstones > 0;
        unless_planted!(a_tombstone_goes_when_it_is_met => ends &= horizon.is_some_and(|horizon| rules.now >= horizon));
        let left = if ends { live - tombstones.min(live) } else { live };
        if left == 0 {
            return Fate::Goes { tombstones: tombstones > 0 };
        }
        let begins = tombstones > 0 && horizon.is_none();
        if left == header.record_count && !begins {
            return Fate::Stays;
        }
        Fate::Shrinks { horizon: horizon.or(begins.then_some(rules.horizon)), ends }
    }

    /// The same of a control batch.
    fn fate_of_control(&self, header: &BatchHeader, marker: u32, rules: &Rules) -> Fate {
        if header.record_count == 0 {
            return Fate::Goes { tombstones: false };
        }
        match header.delete_horizon() {
            _ if !self.markers.is_bare(marker) => Fate::Stays,
            None => Fate::Shrinks { horizon: Some(rules.horizon), ends: false },
            Some(horizon) if rules.now < horizon => Fate::Stays,
            Some(_) => Fate::Goes { tombstones: false },
        }
    }

    /// Whether the header of a batch stays though nothing of it lives.
    fn keeps(&self, header: &BatchHeader, rules: &Rules) -> bool {
        header.next_offset() == rules.high_watermark || self.markers.keeps(header)
    }

    /// Whether something in it is dead, or the horizon of a tombstone or a marker is to be set or is over.
    pub fn has_work(&self, rules: &Rules) -> Result<bool> {
        planted!(every_segment_is_rewritten => return Ok(true));
        let is_whole = self.lives.records.len() == u64::from(self.keys.count());
        if !is_whole || self.markers.has_work || self.keys.flags().say(KeysFlags::NULL_KEYS) {
            return Ok(true);
        }
        if self.lives.tombstones.len() == 0 {
            return Ok(false);
        }
        let mut position = 0;
        while let Some(header) = self.segment.header_at(position)? {
            if self.fate_of(&header, rules) != Fate::Stays && header.record_count > 0 {
                return Ok(true);
            }
            position += header.size();
        }
        Ok(false)
    }
}

fn relative(base: Offset, offset: Offset) -> u32 {
    offset.distance_from(base).min(u64::from(u32::MAX)) as u32
}

/// How far the reading of a source has come, and what was read ahead of that.
#[derive(Clone, Debug)]
pub struct Place {
    position: u64,
    expected: Offset,
    chunk: Chunk,
}

impl Place {
    /// Where a source begins.
    pub fn start_of(source: &Source) -> Self {
        Place { position: 0, expected: source.segment.base(), chunk: Chunk::default() }
    }
}

/// The writing of one group of neighbours.
pub struct Rewriting {
    env: Arc<dyn Env>,
    budget: Arc<Budget>,
    dir: PathBuf,
    rules: Rules,
    generation: u32,
    writer: Option<SegmentWriter>,
    outputs: Vec<(Written, Offset)>,
    /// What they take of the disk budget.
    pub charges: Vec<Charge>,
    /// Where files were begun.
    bases: Vec<Offset>,
    pub counts: Counts,
}

impl Rewriting {
    /// Segments of this generation are to be written.
    pub fn new(turn: &CleaningTurn, rules: Rules, generation: u32) -> Self {
        Rewriting {
            env: Arc::clone(turn.env()),
            budget: Arc::clone(turn.budget()),
            dir: turn.dir().to_path_buf(),
            rules,
            generation,
            writer: None,
            outputs: Vec::new(),
            charges: Vec::new(),
            bases: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Writes what lives of the next few mebibytes of a source, the one after those before. `goes_on` is asked after about
    /// each mebibyte. `false` at the end of the source.
    pub fn add(
        &mut self,
        source: &mut Source,
        place: &mut Place,
        goes_on: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<bool> {
        let segment = Arc::clone(&source.segment);
        if self.writer.is_none() {
            self.writer = Some(self.begin(source.keys.base())?);
        }
        let mut scanner =
            Scanner::new(segment.source(), source.seal.bytes, place.position, place.expected, true)
                .of_epoch(segment.leader_epoch())
                .checking(segment.known_pages()?)
                .with_chunk(std::mem::take(&mut place.chunk));
        let until = source.seal.bytes.min(place.position + STEP);
        let mut asked = place.position;
        while scanner.position() < until {
            let Some((batch, position)) = scanner.next_sealed()? else { break };
            self.add_batch(source, &batch, position)?;
            if scanner.position() - asked >= 1 << 20 {
                goes_on(scanner.position() - asked)?;
                asked = scanner.position();
            }
        }
        goes_on(scanner.position() - asked)?;
        (place.position, place.expected) = (scanner.position(), scanner.expected());
        place.chunk = scanner.into_chunk();
        Ok(place.position < source.seal.bytes)
    }

    fn add_batch(&mut self, source: &mut Source, batch: &RecordBatch, position: u64) -> Result<()> {
        let header = batch.header();
        let records =
            |header: &BatchHeader| if header.is_control() { 0 } else { u64::from(header.record_count) };
        self.counts.records_before += records(header);
        match source.fate_of(header, &self.rules) {
            Fate::Stays => {
                self.counts.records_after += records(header);
                self.push(header, batch.bytes())?;
            }
            Fate::Shrinks { horizon, ends } => {
                let path = source.segment.path().to_path_buf();
                let left = self.survivors(source, batch, horizon, ends);
                let bytes = left.map_err(|error| error.in_file(&path, position))?.encode()?;
                let header = BatchHeader::parse(&bytes).map_err(|error| error.in_file(&path, position))?;
                self.counts.records_after += records(&header);
                self.push(&header, &bytes)?;
            }
            Fate::Goes { tombstones } => {
                let path = source.segment.path().to_path_buf();
                // They are counted, and tombstones live no more.
                let is_looked_at = tombstones || source.keys.flags().say(KeysFlags::NULL_KEYS);
                if records(header) > 0 && is_looked_at {
                    let none = self.survivors(source, batch, None, true);
                    none.map_err(|error| error.in_file(&path, position))?;
                }
                if !source.keeps(header, &self.rules) {
                    return Ok(());
                }
                let emptied = header.emptied();
                self.push(&emptied, &emptied.to_bytes())?;
            }
        }
        let aborted = source.markers.aborted_by(header.last_offset()).filter(|_| header.is_control());
        if let (Some(aborted), Some(writer)) = (aborted, &mut self.writer) {
            unless_planted!(aborted_transactions_are_not_indexed => writer.add_aborted(aborted));
        }
        Ok(())
    }

    /// The records of a batch that live, and the end of the life of its tombstones where that has come.
    fn survivors(
        &mut self,
        source: &mut Source,
        batch: &RecordBatch,
        horizon: Option<Timestamp>,
        ends: bool,
    ) -> Result<Survivors, DecodeError> {
        let (base, counts, lives) = (source.keys.base(), &mut self.counts, &mut source.lives);
        let is_control = batch.header().is_control();
        batch.records(MAX_DECOMPRESSED)?.survivors(batch.header(), horizon, |record| {
            if is_control {
                return true;
            }
            let at = relative(base, record.offset);
            if record.key.is_none() {
                counts.null_keys += 1;
                return false;
            }
            let lived = lives.records.contains(at);
            if lived && ends && lives.tombstones.contains(at) {
                counts.tombstones += 1;
                lives.records.remove(at);
                return false;
            }
            lived
        })
    }

    fn begin(&mut self, base: Offset) -> Result<SegmentWriter> {
        self.bases.push(base);
        let Rules { index_interval, is_rehearsal, .. } = self.rules;
        let (env, budget, dir) = (&self.env, &self.budget, &self.dir);
        SegmentWriter::begin(env, budget, dir, base, self.generation, index_interval, is_rehearsal)
    }

    fn push(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<()> {
        let Rules { segment_bytes, index_bytes, .. } = self.rules;
        let has_room = |writer: &SegmentWriter| {
            writer.has_room_for(bytes.len() as u64, header.last_offset(), segment_bytes, index_bytes)
        };
        if !self.writer.as_ref().is_some_and(has_room) {
            self.end_output(header.base_offset)?;
            self.writer = Some(self.begin(header.base_offset)?);
        }
        self.writer.as_mut().map_or(Ok(()), |writer| writer.push(header, bytes))
    }

    fn end_output(&mut self, next: Offset) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            let (written, charge) = writer.finish()?;
            self.outputs.push((written, next));
            self.charges.push(charge);
        }
        Ok(())
    }

    /// Ends the writing of these sources, which were added, with the files of keys; `next` is the offset after the last.
    pub fn finish(&mut self, sources: &[Source], next: Offset) -> Result<Vec<(Offset, Seal)>> {
        self.end_output(next)?;
        // As Kafka gives a cleaned file the time of its last source.
        let sealed_at = sources.iter().filter_map(|source| source.seal.sealed_at).max();
        let mut seals = Vec::new();
        for (written, next) in &self.outputs {
            if !self.rules.is_rehearsal {
                write_keys(&*self.env, &self.dir, sources, written, *next)?;
            }
            seals.push((written.base, written.seal(*next, sealed_at)));
        }
        Ok(seals)
    }

    /// Removes what was written.
    pub fn discard(&mut self) {
        self.writer = None;
        for base in self.bases.iter().filter(|_| !self.rules.is_rehearsal) {
            let _ = remove_cleaned(&*self.env, &self.dir, *base);
        }
    }
}

/// Writes the keys of a segment: those of its sources that live, without a look at a record.
fn write_keys(env: &dyn Env, dir: &Path, sources: &[Source], written: &Written, next: Offset) -> Result<()> {
    let Some(first) = sources.first() else { return Ok(()) };
    let path = SegmentFile::Keys.cleaned_path(dir, written.base);
    let Written { base, generation, bytes: size, has_producers, .. } = *written;
    let mut flags = KeysFlags::default();
    if has_producers {
        unless_planted!(rewritten_keys_forget_producers => flags.add(KeysFlags::PRODUCERS));
    }
    let of = KeysOf { generation, size, base, next };
    let left: Vec<_> = sources.iter().map(|source| Left { source, offsets: base..next }).collect();
    let count = left.iter().map(Left::count).sum();
    let beside = merge(env, &path, of, (first.keys.seed(), flags), &left, count)?;
    take_name(env, &beside, &path)
}

/// The records of a source that live and lie between these offsets.
struct Left<'a> {
    source: &'a Source,
    offsets: Range<Offset>,
}

impl Left<'_> {
    fn count(&self) -> u32 {
        let (base, Range { start, end }) = (self.source.keys.base(), self.offsets.clone());
        if end <= base {
            return 0;
        }
        let first = if start > base { relative(base, start) } else { 0 };
        self.source.lives.records.count(first, relative(base, end) - 1)
    }
}

impl Merge for Left<'_> {
    fn file(&self) -> &KeyFile {
        &self.source.keys
    }

    fn place(&self, of: u32) -> Option<u32> {
        let offset = self.source.keys.base() + u64::from(of);
        let goes_over = self.source.lives.records.contains(of) && self.offsets.contains(&offset);
        goes_over.then(|| relative(self.offsets.start, offset))
    }
}
