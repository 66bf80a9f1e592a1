//! LZ4 frames (version 1) of independent blocks.
//!
//! Magic, a descriptor (flags, block size, perhaps the content's size, and one byte of its xxHash32), blocks, four
//! zero bytes. A block is its length (32 bits, little-endian; the top bit says that it is stored as it is), its bytes,
//! and perhaps their xxHash32. Written like Kafka: blocks of 64 KiB, neither sizes nor checksums. Read like Kafka:
//! block sizes up to 4 MiB, checksums of blocks verified, one of the content skipped, bytes behind the frame passed over;
//! what else the flags can ask for is refused.

use super::{output::Output, xxh32::xxh32};
use crate::{codec::DecodeError, error::Error};

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Flags (version 1, independent blocks), block size (64 KiB), and the checksum of the two.
const DESCRIPTOR: [u8; 3] = [0x60, 0x40, 0x82];
const BLOCK: usize = 64 * 1024;
const STORED: u32 = 1 << 31;

const HAS_CONTENT_CHECKSUM: u8 = 1 << 2;
const HAS_CONTENT_SIZE: u8 = 1 << 3;
const HAS_BLOCK_CHECKSUMS: u8 = 1 << 4;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&DESCRIPTOR);
    for block in input.chunks(BLOCK) {
        let start = out.len();
        let room = start + 4;
        out.resize(room + lz4_flex::block::get_maximum_output_size(block.len()), 0);
        let packed = lz4_flex::block::compress_into(block, &mut out[room..]).ok();
        let word = match packed {
            Some(length) if length < block.len() => {
                out.truncate(room + length);
                length as u32
            }
            _ => {
                out.truncate(room);
                out.extend_from_slice(block);
                block.len() as u32 | STORED
            }
        };
        out[start..room].copy_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&[0; 4]);
    Ok(())
}

pub(super) fn decompress(input: &[u8], mut out: Output) -> Result<Vec<u8>, DecodeError> {
    let mut frame = Frame::open(input)?;
    while frame.block(&mut out)? {}
    if frame.flags & HAS_CONTENT_CHECKSUM != 0 {
        // Kafka does not verify it either: the batch has a checksum of its own.
        frame.take(4)?;
    }
    // Nor does it look at what lies behind.
    Ok(out.finish())
}

/// A frame whose descriptor was read.
struct Frame<'a> {
    input: &'a [u8],
    rest: &'a [u8],
    flags: u8,
    block_max: usize,
}

impl<'a> Frame<'a> {
    fn open(input: &'a [u8]) -> Result<Self, DecodeError> {
        let mut frame = Frame { input, rest: input, flags: 0, block_max: 0 };
        if frame.take(4)? != MAGIC {
            return Err(DecodeError::malformed(0u64, "there is no lz4 frame"));
        }
        let descriptor = frame.rest;
        let &[flags, size] = frame.take(2)? else { return Err(frame.malformed("no descriptor")) };
        // Version 1, independent blocks, no reserved bit, no dictionary.
        if flags & 0b1110_0011 != 0b0110_0000 {
            return Err(frame.malformed("the lz4 frame has flags that Kafka does not read"));
        }
        if !matches!(size, 0x40 | 0x50 | 0x60 | 0x70) {
            return Err(frame.malformed("the lz4 frame has a block size that does not exist"));
        }
        if flags & HAS_CONTENT_SIZE != 0 {
            frame.take(8)?;
        }
        let covered = &descriptor[..descriptor.len() - frame.rest.len()];
        if frame.take(1)? != [(xxh32(covered) >> 8) as u8] {
            return Err(frame.malformed("the checksum of the lz4 frame's descriptor is wrong"));
        }
        frame.flags = flags;
        frame.block_max = 1 << (8 + 2 * (size >> 4));
        Ok(frame)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.malformed("the lz4 frame is cut off"));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32, DecodeError> {
        let word = self.take(4)?;
        Ok(word.first_chunk().map_or(0, |word| u32::from_le_bytes(*word)))
    }

    /// Appends the next block to `out`; false at the end mark.
    fn block(&mut self, out: &mut Output) -> Result<bool, DecodeError> {
        let word = self.word()?;
        if word == 0 {
            return Ok(false);
        }
        let length = (word & !STORED) as usize;
        if length > self.block_max {
            return Err(self.malformed("an lz4 block is larger than its frame allows"));
        }
        let block = self.take(length)?;
        if self.flags & HAS_BLOCK_CHECKSUMS != 0 && self.word()? != xxh32(block) {
            return Err(self.malformed("the checksum of an lz4 block is wrong"));
        }
        if word & STORED == 0 {
            self.unpack(block, out)?;
        } else {
            out.push(block)?;
        }
        Ok(true)
    }

    fn unpack(&self, block: &[u8], out: &mut Output) -> Result<(), DecodeError> {
        let start = out.len();
        // A byte of a block yields at most 255, so that a short block never gets much room.
        let likely = self.block_max.min(block.len().saturating_mul(255).saturating_add(64));
        let room = likely.min(out.left());
        match lz4_flex::block::decompress_into(block, out.room(room)?) {
            Ok(length) => out.keep(start + length),
            // There is no room for one byte more than is allowed.
            Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if room < likely => {
                out.room(1).map(drop)
            }
            Err(error) => Err(self.malformed(format!("the lz4 block is bad: {error}"))),
        }
    }

    fn malformed(&self, reason: impl Into<std::borrow::Cow<'static, str>>) -> DecodeError {
        DecodeError::malformed(self.input.len() - self.rest.len(), reason)
    }
}
