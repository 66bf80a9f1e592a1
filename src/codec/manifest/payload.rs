//! The bytes of an [`Entry`]: the number of its type, and its payload.
//!
#![doc = include_str!("../layout/manifest-entries.md")]
//!
//! A payload is read back to exactly the entry it was written from, or refused; no byte is left over. Sealed segments are
//! written in one form and read in two.

use super::{
    entry::{Adopted, Entry, PartitionClosed},
    input::Input,
    output::Output,
    seal::{self, Seal},
};
use crate::{
    codec::DecodeError,
    types::{Offset, TopicId},
};

/// The type of a record that a reader which does not know it may skip.
pub(super) const COMPATIBLE: u16 = 0x8000;

const PRODUCERS_AT_START: u16 = 22 | COMPATIBLE;
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
            Entry::ProducersAtStart { .. } => PRODUCERS_AT_START,
            Entry::Cleaned { .. } => 18,
            Entry::Truncated { .. } => 11,
            Entry::Incarnation { .. } => 12,
            Entry::Opened { .. } => 13,
            Entry::Closed { .. } => 14,
            Entry::SlotsUsed { .. } => 15,
            Entry::Adopted { .. } => 24,
            Entry::Numbered { .. } => NUMBERED,
            Entry::MarksDurable { .. } => MARKS_DURABLE,
        }
    }

    /// Appends the payload to `out`.
    pub(super) fn encode_payload(&self, out: &mut Vec<u8>) {
        let out = &mut Output(out);
        match self {
            Entry::TopicCreated { id, name, internal, partitions, first_slot, config } => {
                out.id(id).text(name).flag(*internal).u32(*partitions).u32(*first_slot).config(config)
            }
            Entry::TopicConfigured { id, config } => out.id(id).config(config),
            Entry::PartitionsAdded { id, count, first_slot } => out.id(id).u32(*count).u32(*first_slot),
            Entry::TopicDeleted { id } => out.id(id),
            Entry::SegmentCreated { id, partition, base: offset }
            | Entry::SegmentsRemoved { id, partition, below: offset }
            | Entry::LogStart { id, partition, offset }
            | Entry::Cleaned { id, partition, offset }
            | Entry::Truncated { id, partition, next_offset: offset } => {
                out.id(id).u32(*partition).offset(*offset)
            }
            Entry::ProducersAtStart { id, partition, base, checksum } => {
                out.id(id).u32(*partition).offset(*base).u32(*checksum)
            }
            Entry::SegmentSealed { id, partition, base, sealed } => {
                sealed.put(*base, out.id(id).u32(*partition))
            }
            Entry::SegmentsReplaced { id, partition, from, to, with } => {
                let out = out.id(id).u32(*partition).offset(*from).offset(*to);
                out.many(with, |out, (base, sealed)| sealed.put(*base, out))
            }
            Entry::Incarnation { id, partition, number, first_offset } => {
                out.id(id).u32(*partition).u32(*number).offset(*first_offset)
            }
            Entry::Opened { epoch } => out.u64(*epoch),
            Entry::Closed { partitions } => out.many(partitions, Output::closed),
            Entry::SlotsUsed { next } => out.u32(*next),
            Entry::Adopted { id, partition, adopted } => out.id(id).u32(*partition).adopted(adopted),
            Entry::Numbered { number, slot } => out.u64(*number).u32(*slot),
            Entry::MarksDurable { said } => out.u64(*said),
        };
    }

    /// The entry with this number and payload; `None` when the number is not known.
    pub(super) fn decode(code: u16, payload: &[u8]) -> Result<Option<Entry>, DecodeError> {
        let mut input = Input::new(payload);
        let entry = input.entry(code)?;
        if entry.is_some() {
            input.end(code)?;
        }
        Ok(entry)
    }
}

impl Output<'_> {
    fn closed(&mut self, (id, partition, closed): &(TopicId, u32, PartitionClosed)) -> &mut Self {
        self.id(id)
            .u32(*partition)
            .offset(closed.log_start)
            .offset(closed.next_offset)
            .offset(closed.last_stable_offset)
            .u64(closed.size)
            .timestamp(closed.largest_timestamp)
            .u32(closed.index_checksum)
    }

    fn adopted(&mut self, adopted: &Adopted) -> &mut Self {
        self.offset(adopted.from).offset(adopted.next).i32(adopted.leader_epoch)
    }
}

impl Input<'_> {
    fn entry(&mut self, code: u16) -> Result<Option<Entry>, DecodeError> {
        Ok(Some(match code {
            2 => self.topic_created()?,
            3 => Entry::TopicConfigured { id: self.id()?, config: self.config()? },
            4 => {
                Entry::PartitionsAdded { id: self.id()?, count: self.partitions()?, first_slot: self.u32()? }
            }
            5 => Entry::TopicDeleted { id: self.id()? },
            6 => Entry::SegmentCreated { id: self.id()?, partition: self.u32()?, base: self.offset()? },
            7 => self.segment_sealed(Seal::read_first_form)?,
            8 => Entry::SegmentsRemoved { id: self.id()?, partition: self.u32()?, below: self.offset()? },
            9 => self.segments_replaced(seal::FIRST_FORM_BYTES, Seal::read_first_form)?,
            10 => Entry::LogStart { id: self.id()?, partition: self.u32()?, offset: self.offset()? },
            18 => Entry::Cleaned { id: self.id()?, partition: self.u32()?, offset: self.offset()? },
            11 => Entry::Truncated { id: self.id()?, partition: self.u32()?, next_offset: self.offset()? },
            12 => {
                let (id, partition, number) = (self.id()?, self.u32()?, self.u32()?);
                Entry::Incarnation { id, partition, number, first_offset: self.offset()? }
            }
            13 => Entry::Opened { epoch: self.u64()? },
            14 => Entry::Closed { partitions: self.many(CLOSED_BYTES, Self::closed)? },
            15 => Entry::SlotsUsed { next: self.u32()? },
            16 => self.segment_sealed(Seal::read)?,
            17 => self.segments_replaced(seal::LEAST_BYTES, Seal::read)?,
            24 => Entry::Adopted { id: self.id()?, partition: self.u32()?, adopted: self.adopted()? },
            PRODUCERS_AT_START => {
                let (id, partition, base) = (self.id()?, self.u32()?, self.offset()?);
                Entry::ProducersAtStart { id, partition, base, checksum: self.u32()? }
            }
            NUMBERED => Entry::Numbered { number: self.u64()?, slot: self.u32()? },
            MARKS_DURABLE => Entry::MarksDurable { said: self.u64()? },
            _ => return Ok(None),
        }))
    }

    fn topic_created(&mut self) -> Result<Entry, DecodeError> {
        let (id, name) = (self.id()?, self.topic_name()?);
        Ok(Entry::TopicCreated {
            id,
            internal: self.internal(&name)?,
            name,
            partitions: self.partitions()?,
            first_slot: self.u32()?,
            config: self.config()?,
        })
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
        let (id, partition, from, to) = (self.id()?, self.u32()?, self.offset()?, self.offset()?);
        Ok(Entry::SegmentsReplaced { id, partition, from, to, with: self.many(least, seal)? })
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

    fn adopted(&mut self) -> Result<Adopted, DecodeError> {
        let (from, next) = (self.offset()?, self.offset()?);
        Ok(Adopted { from, next, leader_epoch: i32::from_be_bytes(self.array()?) })
    }
}
