//! What a manifest can say: one [`Entry`] per fact, and the bytes of its payload.
//!
#![doc = include_str!("../layout/manifest-entries.md")]
//!
//! A payload is read back to exactly the entry it was written from, or refused: counts are checked against the bytes
//! that are there before anything is set aside for them, and no byte is left over. Sealed segments are written in one form
//! and read in two.

use super::{
    input::Input,
    seal::{self, Seal},
};
use crate::codec::DecodeError;
use crate::types::{Offset, Timestamp, TopicId, name::TopicName};

/// A fact about topics, partitions and segments. Facts are in the order in which they became true.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A topic exists; its partitions have the marks slots from `first_slot` on.
    TopicCreated {
        id: TopicId,
        name: TopicName,
        internal: bool,
        partitions: u32,
        first_slot: u32,
        config: Vec<(String, String)>,
    },
    /// The topic's configuration is now this one, whole.
    TopicConfigured { id: TopicId, config: Vec<(String, String)> },
    /// The topic now has `count` partitions; the slots of the added ones begin at `first_slot`.
    PartitionsAdded { id: TopicId, count: u32, first_slot: u32 },
    /// The topic is gone, and its id and slots never return.
    TopicDeleted { id: TopicId },
    /// A segment exists and takes appends.
    SegmentCreated { id: TopicId, partition: u32, base: Offset },
    /// A segment takes no more appends, or what is known of a sealed one changed.
    SegmentSealed { id: TopicId, partition: u32, base: Offset, sealed: Seal },
    /// Every segment whose base is less than `below` is gone.
    SegmentsRemoved { id: TopicId, partition: u32, below: Offset },
    /// The segments with `from <= base < to` gave way to others in the same range.
    SegmentsReplaced { id: TopicId, partition: u32, from: Offset, to: Offset, with: Vec<(Offset, Seal)> },
    /// The partition begins at this offset.
    LogStart { id: TopicId, partition: u32, offset: Offset },
    /// The partition ends at `next_offset`: segments behind it are gone, the one that contains it is active again.
    /// A segment that begins there stays only if it is the first.
    Truncated { id: TopicId, partition: u32, next_offset: Offset },
    /// Offsets from `first_offset` on belong to this life of the partition.
    Incarnation { id: TopicId, partition: u32, number: u32, first_offset: Offset },
    /// Someone writes to the log, and has not closed it.
    Opened { epoch: u64 },
    /// The log was closed cleanly, and its partitions were like this.
    Closed { partitions: Vec<(TopicId, u32, PartitionClosed)> },
    /// Slots below `next` were used, by topics that may be gone. Written when history is dropped.
    SlotsUsed { next: u32 },
    /// The batches of these offsets were appended by another writer while the log was closed, a broker for one.
    TakenIn { id: TopicId, partition: u32, taken_in: TakenIn },
    /// The file is the `number`-th manifest of the log, and the marks say in `slot` how much of it is durable.
    Numbered { number: u64, slot: u32 },
    /// The marks were durable when they said that so many bytes of this file were.
    MarksDurable { said: u64 },
}

/// Batches that another writer appended to a log. Their leader epochs are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenIn {
    /// The offset of the first.
    pub from: Offset,
    /// The offset behind the last.
    pub next: Offset,
    /// The leader epoch of the last, which what is appended behind it carries.
    pub leader_epoch: i32,
}

/// A partition at a clean close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionClosed {
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The offset that the next record gets.
    pub next_offset: Offset,
    /// The first offset of the earliest open transaction, or `next_offset`.
    pub last_stable_offset: Offset,
    /// The size of the active segment's `.log`.
    pub size: u64,
    /// The largest timestamp of the partition.
    pub largest_timestamp: Timestamp,
    /// The checksum of what the active segment's indexes were; 0 when it is not known.
    pub index_checksum: u32,
}

/// The type of a record that may be skipped by who does not know it.
pub(super) const COMPATIBLE: u16 = 0x8000;

const NUMBERED: u16 = 25 | COMPATIBLE;
const MARKS_DURABLE: u16 = 26 | COMPATIBLE;

const CLOSED_BYTES: usize = 64;

impl Entry {
    /// The number that says which entry it is. Numbers are never given again.
    pub(super) fn code(&self) -> u16 {
        match self {
            Entry::TopicCreated { .. } => 2,
            Entry::TopicConfigured { .. } => 3,
            Entry::PartitionsAdded { .. } => 4,
            Entry::TopicDeleted { .. } => 5,
            Entry::SegmentCreated { .. } => 6,
            Entry::SegmentSealed { .. } => 16,
            Entry::SegmentsRemoved { .. } => 8,
            Entry::SegmentsReplaced { .. } => 17,
            Entry::LogStart { .. } => 10,
            Entry::Truncated { .. } => 11,
            Entry::Incarnation { .. } => 12,
            Entry::Opened { .. } => 13,
            Entry::Closed { .. } => 14,
            Entry::SlotsUsed { .. } => 15,
            Entry::TakenIn { .. } => 24,
            Entry::Numbered { .. } => NUMBERED,
            Entry::MarksDurable { .. } => MARKS_DURABLE,
        }
    }

    /// Appends the payload to `out`.
    pub(super) fn encode_payload(&self, out: &mut Vec<u8>) {
        match self {
            Entry::TopicCreated { id, name, internal, partitions, first_slot, config } => {
                out.extend(id.as_bytes());
                put_text(out, name);
                out.push(u8::from(*internal));
                out.extend(partitions.to_be_bytes());
                out.extend(first_slot.to_be_bytes());
                put_config(out, config);
            }
            Entry::TopicConfigured { id, config } => {
                out.extend(id.as_bytes());
                put_config(out, config);
            }
            Entry::PartitionsAdded { id, count, first_slot } => {
                put_partition(out, id, *count);
                out.extend(first_slot.to_be_bytes());
            }
            Entry::TopicDeleted { id } => out.extend(id.as_bytes()),
            Entry::SegmentCreated { id, partition, base: offset }
            | Entry::SegmentsRemoved { id, partition, below: offset }
            | Entry::LogStart { id, partition, offset }
            | Entry::Truncated { id, partition, next_offset: offset } => {
                put_partition(out, id, *partition);
                put_offset(out, *offset);
            }
            Entry::SegmentSealed { id, partition, base, sealed } => {
                put_partition(out, id, *partition);
                sealed.put(*base, out);
            }
            Entry::SegmentsReplaced { id, partition, from, to, with } => {
                put_partition(out, id, *partition);
                put_offset(out, *from);
                put_offset(out, *to);
                put_count(out, with.len());
                with.iter().for_each(|(base, sealed)| sealed.put(*base, out));
            }
            Entry::Incarnation { id, partition, number, first_offset } => {
                put_partition(out, id, *partition);
                out.extend(number.to_be_bytes());
                put_offset(out, *first_offset);
            }
            Entry::Opened { epoch } => out.extend(epoch.to_be_bytes()),
            Entry::Closed { partitions } => {
                put_count(out, partitions.len());
                for (id, partition, closed) in partitions {
                    put_partition(out, id, *partition);
                    put_offset(out, closed.log_start);
                    put_offset(out, closed.next_offset);
                    put_offset(out, closed.last_stable_offset);
                    out.extend(closed.size.to_be_bytes());
                    out.extend(closed.largest_timestamp.as_millis().to_be_bytes());
                    out.extend(closed.index_checksum.to_be_bytes());
                }
            }
            Entry::SlotsUsed { next } => out.extend(next.to_be_bytes()),
            Entry::TakenIn { id, partition, taken_in } => {
                put_partition(out, id, *partition);
                put_offset(out, taken_in.from);
                put_offset(out, taken_in.next);
                out.extend(taken_in.leader_epoch.to_be_bytes());
            }
            Entry::Numbered { number, slot } => {
                out.extend(number.to_be_bytes());
                out.extend(slot.to_be_bytes());
            }
            Entry::MarksDurable { said } => out.extend(said.to_be_bytes()),
        }
    }

    /// The entry with this number and payload; `None` when the number is not known.
    pub(super) fn decode(code: u16, payload: &[u8]) -> Result<Option<Entry>, DecodeError> {
        let mut input = Input { bytes: payload, position: 0 };
        let entry = input.entry(code)?;
        if entry.is_some() && input.position != payload.len() {
            let left = payload.len() - input.position;
            return Err(DecodeError::malformed(
                input.position,
                format!("{left} bytes more than an entry of type {code} has"),
            ));
        }
        Ok(entry)
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // More than fit make a record far beyond its cap, which is refused before it is written.
    out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend(text.as_bytes());
}

fn put_config(out: &mut Vec<u8>, config: &[(String, String)]) {
    put_count(out, config.len());
    for (key, value) in config {
        put_text(out, key);
        put_text(out, value);
    }
}

fn put_partition(out: &mut Vec<u8>, id: &TopicId, partition: u32) {
    out.extend(id.as_bytes());
    out.extend(partition.to_be_bytes());
}

fn put_offset(out: &mut Vec<u8>, offset: Offset) {
    out.extend(offset.value().to_be_bytes());
}

/// Entries out of payloads.
impl Input<'_> {
    fn entry(&mut self, code: u16) -> Result<Option<Entry>, DecodeError> {
        Ok(Some(match code {
            2 => {
                let (id, name) = (self.id()?, self.topic_name()?);
                Entry::TopicCreated {
                    id,
                    internal: self.internal(&name)?,
                    name,
                    partitions: self.partitions()?,
                    first_slot: self.u32()?,
                    config: self.config()?,
                }
            }
            3 => Entry::TopicConfigured { id: self.id()?, config: self.config()? },
            4 => {
                Entry::PartitionsAdded { id: self.id()?, count: self.partitions()?, first_slot: self.u32()? }
            }
            5 => Entry::TopicDeleted { id: self.id()? },
            6 => Entry::SegmentCreated { id: self.id()?, partition: self.u32()?, base: self.offset()? },
            7 => self.segment_sealed(Seal::read_first_form)?,
            16 => self.segment_sealed(Seal::read)?,
            8 => Entry::SegmentsRemoved { id: self.id()?, partition: self.u32()?, below: self.offset()? },
            9 => self.segments_replaced(seal::FIRST_FORM_BYTES, Seal::read_first_form)?,
            17 => self.segments_replaced(seal::LEAST_BYTES, Seal::read)?,
            10 => Entry::LogStart { id: self.id()?, partition: self.u32()?, offset: self.offset()? },
            11 => Entry::Truncated { id: self.id()?, partition: self.u32()?, next_offset: self.offset()? },
            12 => Entry::Incarnation {
                id: self.id()?,
                partition: self.u32()?,
                number: self.u32()?,
                first_offset: self.offset()?,
            },
            13 => Entry::Opened { epoch: self.u64()? },
            14 => Entry::Closed { partitions: self.many(CLOSED_BYTES, Self::closed)? },
            15 => Entry::SlotsUsed { next: self.u32()? },
            NUMBERED => Entry::Numbered { number: self.u64()?, slot: self.u32()? },
            MARKS_DURABLE => Entry::MarksDurable { said: self.u64()? },
            24 => Entry::TakenIn {
                id: self.id()?,
                partition: self.u32()?,
                taken_in: TakenIn {
                    from: self.offset()?,
                    next: self.offset()?,
                    leader_epoch: i32::from_be_bytes(self.array()?),
                },
            },
            _ => return Ok(None),
        }))
    }

    fn segment_sealed(
        &mut self,
        seal: impl Fn(&mut Self) -> Result<(Offset, Seal), DecodeError>,
    ) -> Result<Entry, DecodeError> {
        let (id, partition) = (self.id()?, self.u32()?);
        let (base, sealed) = seal(self)?;
        Ok(Entry::SegmentSealed { id, partition, base, sealed })
    }

    /// Segments in the place of others, each of `least` bytes or more.
    fn segments_replaced(
        &mut self,
        least: usize,
        seal: impl Fn(&mut Self) -> Result<(Offset, Seal), DecodeError>,
    ) -> Result<Entry, DecodeError> {
        Ok(Entry::SegmentsReplaced {
            id: self.id()?,
            partition: self.u32()?,
            from: self.offset()?,
            to: self.offset()?,
            with: self.many(least, seal)?,
        })
    }

    fn closed(&mut self) -> Result<(TopicId, u32, PartitionClosed), DecodeError> {
        let (id, partition) = (self.id()?, self.u32()?);
        let closed = PartitionClosed {
            log_start: self.offset()?,
            next_offset: self.offset()?,
            last_stable_offset: self.offset()?,
            size: self.size()?,
            largest_timestamp: self.timestamp()?,
            index_checksum: self.u32()?,
        };
        Ok((id, partition, closed))
    }
}
