//! The five codecs in Kafka's framings.
//!
//! * gzip: one RFC 1952 stream with the header that Kafka writes (no name, no time, unknown system).
//! * snappy: blocks in the stream format of snappy-java, see [`snappy`].
//! * lz4: a frame of independent blocks of 64 KiB, see [`lz4`].
//! * zstd: an ordinary frame, streamed, so without its content's size.
//!
//! Each needs the cargo feature of its name. Always true when decompressing: what comes out is counted while it comes out,
//! and one byte more than allowed, or than the records need, is an error (see [`output`]); what a stream says of its own
//! size is a hint to nobody; where there is no memory for it, that is an error as well. What lies behind the end of a stream
//! is passed over where Kafka's readers do: behind a gzip stream what does not begin like another one, behind an lz4 frame
//! everything, behind the last chunk of snappy up to three bytes, behind a zstd frame nothing. (zstd reserves the window
//! that a frame asks for, up to 128 MiB as Kafka does, but touches of it only what it fills.)

#[cfg(feature = "lz4")]
mod lz4;
#[cfg(any(feature = "gzip", feature = "lz4", feature = "snappy", feature = "zstd"))]
mod output;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "lz4")]
mod xxh32;

use super::DecodeError;
use crate::{error::Error, types::Compression};
#[cfg(any(feature = "gzip", feature = "lz4", feature = "snappy", feature = "zstd"))]
use output::Output;

/// How far decompression of one batch goes: what has more is neither written nor read.
pub const MAX_DECOMPRESSED: usize = 1 << 30;

/// Whether this build contains a codec.
pub const fn is_available(compression: Compression) -> bool {
    match compression {
        Compression::None => true,
        Compression::Gzip => cfg!(feature = "gzip"),
        Compression::Snappy => cfg!(feature = "snappy"),
        Compression::Lz4 => cfg!(feature = "lz4"),
        Compression::Zstd => cfg!(feature = "zstd"),
    }
}

/// Compresses `input` onto the end of `out`. `level` is the codec's own, where it has levels that matter.
pub fn compress(
    compression: Compression,
    #[cfg_attr(not(any(feature = "gzip", feature = "zstd")), expect(unused, reason = "no codec has levels"))]
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    match compression {
        Compression::None => {
            out.extend_from_slice(input);
            Ok(())
        }
        #[cfg(feature = "gzip")]
        Compression::Gzip => gzip::compress(level, input, out),
        #[cfg(feature = "snappy")]
        Compression::Snappy => snappy::compress(input, out),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4::compress(input, out),
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstd_frame::compress(level, input, out),
        #[allow(unreachable_patterns, reason = "reached in builds without some codec")]
        codec => Err(Error::no_codec(codec)),
    }
}

/// Decompresses `input`, which may be anything, into at most `max` bytes.
#[cfg(any(test, feature = "__fuzzing"))]
pub fn decompress(compression: Compression, input: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
    decompress_some(compression, input, None, max)
}

/// Decompresses `input` into at most `max` bytes of this many records; bytes that are no record end it early.
pub fn decompress_records(
    compression: Compression,
    input: &[u8],
    records: u32,
    max: usize,
) -> Result<Vec<u8>, DecodeError> {
    decompress_some(compression, input, Some(records), max)
}

fn decompress_some(
    compression: Compression,
    input: &[u8],
    #[cfg_attr(
        not(any(feature = "gzip", feature = "lz4", feature = "snappy", feature = "zstd")),
        expect(unused, reason = "no codec looks at them")
    )]
    records: Option<u32>,
    max: usize,
) -> Result<Vec<u8>, DecodeError> {
    match compression {
        Compression::None if input.len() > max => Err(DecodeError::TooLarge(max)),
        Compression::None => Ok(input.to_vec()),
        #[cfg(feature = "gzip")]
        Compression::Gzip => gzip::decompress(input, Output::new(max, records)),
        #[cfg(feature = "snappy")]
        Compression::Snappy => snappy::decompress(input, Output::new(max, records)),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4::decompress(input, Output::new(max, records)),
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstd_frame::decompress(input, Output::new(max, records)),
        #[allow(unreachable_patterns, reason = "reached in builds without some codec")]
        codec => Err(DecodeError::CodecUnavailable(codec)),
    }
}

#[cfg(feature = "gzip")]
mod gzip {
    use super::*;
    use std::io::Write;

    /// Deflate, no flags, no time, no extra flags, unknown system: at every level, as Java writes it.
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

    /// Header, an empty block, trailer.
    const SHORTEST: usize = 20;

    pub(super) fn compress(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let level = match level {
            None | Some(-1) => flate2::Compression::default(),
            Some(level @ 1..=9) => flate2::Compression::new(level as u32),
            Some(level) => {
                let reason = format!("gzip has levels 1 to 9 and -1, not {level}");
                return Err(Error::InvalidArgument { reason });
            }
        };
        out.extend_from_slice(&HEADER);
        let mut deflate = flate2::write::DeflateEncoder::new(&mut *out, level);
        let done = deflate.write_all(input).and_then(|()| deflate.finish().map(|_| ()));
        done.map_err(|error| Error::InvalidArgument { reason: format!("gzip failed: {error}") })?;
        out.extend_from_slice(&crate::codec::crc::crc32(input).to_le_bytes());
        // Modulo 2^32, by the format.
        out.extend_from_slice(&(input.len() as u32).to_le_bytes());
        Ok(())
    }

    pub(super) fn decompress(input: &[u8], mut out: Output) -> Result<Vec<u8>, DecodeError> {
        out.expect(input.len().saturating_mul(4));
        let mut rest = input;
        loop {
            let mut stream = flate2::bufread::GzDecoder::new(rest);
            // As Java's GZIPInputStream: another stream may follow, anything else is no concern of the reader's.
            if rest.len() < input.len() && (rest.len() < SHORTEST || stream.header().is_none()) {
                return Ok(out.finish());
            }
            out.take_all(&mut stream)?;
            rest = stream.into_inner();
        }
    }
}

#[cfg(feature = "zstd")]
mod zstd_frame {
    use super::*;
    use std::io::Write;

    pub(super) fn compress(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let level = level.unwrap_or(3);
        if !(-131_072..=22).contains(&level) {
            let reason = format!("zstd has levels -131072 to 22, not {level}");
            return Err(Error::InvalidArgument { reason });
        }
        // In two steps, so that the frame does not know its content's size, like Kafka's.
        let done = zstd::stream::Encoder::new(out, level).and_then(|mut encoder| {
            encoder.write_all(input)?;
            encoder.finish().map(|_| ())
        });
        done.map_err(|error| Error::InvalidArgument { reason: format!("zstd failed: {error}") })
    }

    pub(super) fn decompress(input: &[u8], mut out: Output) -> Result<Vec<u8>, DecodeError> {
        if input.is_empty() {
            return Err(DecodeError::malformed(0u64, "there is no zstd frame"));
        }
        let decoder = zstd::stream::Decoder::with_buffer(input)
            .map_err(|error| DecodeError::malformed(0u64, format!("zstd failed: {error}")))?;
        out.expect(input.len().saturating_mul(4));
        out.take_all(decoder).map(|()| out.finish())
    }
}

#[cfg(test)]
mod tests;
