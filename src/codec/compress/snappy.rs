//! Snappy blocks in the stream format of snappy-java ("xerial").
//!
//! A header of 16 bytes (8 of magic, a version and the oldest compatible one, 32 bits each), then for each 32 KiB of
//! input the length of a block (32 bits, big-endian) and a raw Snappy block. Where a length would be, the magic of
//! another header may stand: streams can be put one behind the other. Without the magic at the front, everything is
//! one raw block.
//!
//! A raw block says how long it will be, which is believed only as far as a block of its size can go.

use super::output::Output;
use crate::{codec::DecodeError, error::Error};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const CHUNK: usize = 32 * 1024;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    out.extend_from_slice(&HEADER);
    let mut encoder = snap::raw::Encoder::new();
    for chunk in input.chunks(CHUNK) {
        let start = out.len();
        let room = start + 4;
        out.resize(room + snap::raw::max_compress_len(chunk.len()), 0);
        let written = encoder
            .compress(chunk, &mut out[room..])
            .map_err(|error| Error::InvalidArgument { reason: format!("snappy failed: {error}") })?;
        out[start..room].copy_from_slice(&(written as u32).to_be_bytes());
        out.truncate(room + written);
    }
    Ok(())
}

pub(super) fn decompress(input: &[u8], mut out: Output) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = snap::raw::Decoder::new();
    if !input.starts_with(&MAGIC) {
        block(&mut decoder, input, &mut out)?;
        return Ok(out.finish());
    }
    let mut rest = skip_header(input).ok_or_else(|| torn(input, input))?;
    // Fewer bytes than a length has are an end to Kafka.
    while rest.len() >= 4 {
        if rest.starts_with(&MAGIC) {
            rest = skip_header(rest).ok_or_else(|| torn(input, rest))?;
            continue;
        }
        let (length, after) = rest.split_first_chunk().ok_or_else(|| torn(input, rest))?;
        let (chunk, after) = usize::try_from(u32::from_be_bytes(*length))
            .ok()
            .and_then(|length| after.split_at_checked(length))
            .ok_or_else(|| torn(input, rest))?;
        block(&mut decoder, chunk, &mut out)
            .map_err(|error| error.shifted((input.len() - rest.len()) as u64 + 4))?;
        rest = after;
    }
    Ok(out.finish())
}

/// The versions in the header are not looked at: no other was ever written.
fn skip_header(input: &[u8]) -> Option<&[u8]> {
    input.get(HEADER.len()..)
}

fn torn(input: &[u8], rest: &[u8]) -> DecodeError {
    DecodeError::malformed(input.len() - rest.len(), "a snappy chunk or header does not fit in its batch")
}

fn block(decoder: &mut snap::raw::Decoder, block: &[u8], out: &mut Output) -> Result<(), DecodeError> {
    let malformed =
        |error: snap::Error| DecodeError::malformed(0u64, format!("the snappy block is bad: {error}"));
    let length = snap::raw::decompress_len(block).map_err(malformed)?;
    // The element that yields most makes 64 bytes of 3.
    if length / 22 > block.len() {
        let reason = format!("a snappy block of {} bytes cannot become {length}", block.len());
        return Err(DecodeError::malformed(0u64, reason));
    }
    let end = out.len() + length;
    decoder.decompress(block, out.room(length)?).map_err(malformed)?;
    out.keep(end)
}
