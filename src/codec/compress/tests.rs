//! What the codecs must hold: round trips, caps, framings, and strangers' bytes.

use super::*;
use proptest::prelude::*;

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn available() -> impl Iterator<Item = Compression> {
    CODECS.into_iter().filter(|codec| is_available(*codec))
}

fn packed(codec: Compression, input: &[u8]) -> Vec<u8> {
    let mut out = b"before".to_vec();
    compress(codec, None, input, &mut out).unwrap();
    assert_eq!(&out[..6], b"before", "what was there stays");
    out.split_off(6)
}

/// Bytes that compress by half or so.
fn text(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b"etaoinsh rdlu"[(state >> 28) as usize % 13]
    })
    .take(len)
    .collect()
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(len)
    .collect()
}

#[test]
fn a_codec_outside_this_build_is_named() {
    for codec in CODECS.into_iter().filter(|codec| !is_available(*codec)) {
        assert_eq!(decompress(codec, b"", 10), Err(DecodeError::CodecUnavailable(codec)));
        let error = compress(codec, None, b"", &mut Vec::new()).unwrap_err();
        assert!(matches!(error, Error::CodecUnavailable { codec: named, .. } if named == codec));
    }
}

#[test]
fn every_codec_gives_back_what_it_got() {
    for codec in available() {
        let mixed = [text(100_000), noise(70_000), vec![0; 200_000]].concat();
        for len in [0, 1, 2, 17, 1000, 32_768, 32_769, 65_536, 65_537, 131_072, mixed.len()] {
            for input in [&text(len)[..], &noise(len), &vec![0; len], &mixed[..len]] {
                let packed = packed(codec, input);
                assert_eq!(decompress(codec, &packed, len).unwrap(), input, "{codec} of {len}");
            }
        }
    }
}

#[test]
fn one_byte_more_than_allowed_is_refused_while_decoding() {
    for codec in available() {
        for input in [text(150_000), noise(150_000), vec![0; 150_000]] {
            let packed = packed(codec, &input);
            for max in [0, 1, 65_535, 65_536, input.len() - 1] {
                let error = decompress(codec, &packed, max).unwrap_err();
                assert!(error.to_string().contains("larger than"), "{codec}, {max}: {error}");
            }
        }
    }
}

#[test]
fn records_may_have_as_many_bytes_as_are_allowed() {
    for codec in available() {
        for len in [1, 7, 8 << 10, 150_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1] {
            let input = text(len);
            let packed = packed(codec, &input);
            assert!(decompress(codec, &packed, len).unwrap() == input, "{codec}, {len}");
            let error = decompress(codec, &packed, len - 1).unwrap_err();
            assert!(error.to_string().contains("larger than"), "{codec}, {len}: {error}");
        }
    }
}

#[test]
fn a_stream_that_is_cut_off_is_refused_and_what_lies_behind_one_is_read_as_kafka_reads_it() {
    for codec in available().filter(|codec| *codec != Compression::None) {
        let input = text(1000);
        let whole = packed(codec, &input);
        for end in 0..whole.len() {
            // Where a snappy stream is cut between two chunks, or in a chunk's length, it is whole again.
            let cut = decompress(codec, &whole[..end], 10_000);
            let between = codec == Compression::Snappy && (16..20).contains(&end);
            assert!(cut.is_err() || between, "{codec} cut at {end}");
        }
        for behind in
            [&[0; 3][..], &[0; 4], &[0; 100], b"more", b"more than anybody has asked for", &whole[..5]]
        {
            let passed_over = match codec {
                Compression::Gzip | Compression::Lz4 => true,
                Compression::Snappy => behind.len() < 4,
                _ => false,
            };
            let longer = [&whole[..], behind].concat();
            let found = decompress(codec, &longer, 10_000);
            assert_eq!(found.as_ref().is_ok_and(|found| *found == input), passed_over, "{codec} {behind:?}");
        }
    }
}

#[test]
fn a_flipped_bit_never_panics_nor_passes_the_cap() {
    for codec in available() {
        let mut packed = packed(codec, &text(600));
        for bit in 0..packed.len() * 8 {
            packed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(out) = decompress(codec, &packed, 700) {
                assert!(out.len() <= 700);
            }
            packed[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

proptest! {
    #[test]
    fn strangers_bytes_are_an_error_or_within_the_cap(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        keep in 0usize..20,
    ) {
        for codec in available() {
            let mut input = packed(codec, b"a start that is right, and then anything");
            input.truncate(keep);
            input.extend(&bytes);
            if let Ok(out) = decompress(codec, &input, 5000) {
                prop_assert!(out.len() <= 5000);
            }
        }
    }
}

#[cfg(feature = "gzip")]
mod gzip_stream {
    use super::*;

    #[test]
    fn the_header_is_kafkas_at_every_level() {
        for level in [None, Some(-1), Some(1), Some(9)] {
            let mut out = Vec::new();
            compress(Compression::Gzip, level, b"abc", &mut out).unwrap();
            assert_eq!(out[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
        }
        for level in [0, 10, -2] {
            assert!(compress(Compression::Gzip, Some(level), b"abc", &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn streams_behind_each_other_are_one() {
        let two = [packed(Compression::Gzip, b"abc"), packed(Compression::Gzip, b"def")].concat();
        assert_eq!(decompress(Compression::Gzip, &two, 10).unwrap(), b"abcdef");
        assert!(decompress(Compression::Gzip, &two, 5).is_err());
        // What begins like a stream must be one.
        assert!(decompress(Compression::Gzip, &two[..two.len() - 1], 10).is_err());
    }
}

#[cfg(feature = "snappy")]
mod snappy_stream {
    use super::*;

    const FOOBAR: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x09\x07\x18foobar\n";

    #[test]
    fn a_short_text_is_kafkas_byte_for_byte() {
        assert_eq!(packed(Compression::Snappy, b"foobar\n"), FOOBAR);
        assert_eq!(decompress(Compression::Snappy, FOOBAR, 7).unwrap(), b"foobar\n");
    }

    #[test]
    fn blocks_without_a_header_and_streams_behind_each_other_are_read() {
        assert_eq!(decompress(Compression::Snappy, b"\x07\x18foobar\n", 7).unwrap(), b"foobar\n");
        let two = [FOOBAR, FOOBAR].concat();
        assert_eq!(decompress(Compression::Snappy, &two, 14).unwrap(), b"foobar\nfoobar\n");
    }

    #[test]
    fn chunks_hold_exactly_32_kib_but_for_the_last() {
        let packed = packed(Compression::Snappy, &noise(70_000));
        let mut rest = &packed[16..];
        let mut sizes = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk() {
            let (chunk, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            sizes.push(snap::raw::decompress_len(chunk).unwrap());
            rest = after;
        }
        assert_eq!(sizes, [32_768, 32_768, 4_464]);
    }

    #[test]
    fn a_block_that_promises_more_than_it_can_hold_gets_no_memory() {
        let error = decompress(Compression::Snappy, b"\xff\xff\xff\xff\x0f\x00a", usize::MAX).unwrap_err();
        assert!(error.to_string().contains("cannot become"), "{error}");
    }

    #[test]
    fn whatever_is_wrong_is_refused_where_it_stands() {
        let refused_at = |bytes: &[u8]| match decompress(Compression::Snappy, bytes, 100) {
            Err(DecodeError::Malformed { position, .. }) => position,
            other => panic!("{other:?}"),
        };
        let behind = |bytes: &[u8]| [FOOBAR, bytes].concat();
        let end = FOOBAR.len() as u64;
        // A length without its block, half a header, a block that is none.
        assert_eq!(refused_at(&behind(&[0, 0, 0, 1])), end);
        assert_eq!(refused_at(&behind(&FOOBAR[..15])), end);
        assert_eq!(refused_at(&behind(&[0, 0, 0, 2, 9, 9])), end + 4);
        assert_eq!(refused_at(&FOOBAR[..15]), 0);
        // Kafka takes fewer bytes than a length has for the end.
        assert_eq!(decompress(Compression::Snappy, &behind(&[0, 0, 1]), 100).unwrap(), b"foobar\n");
        assert_eq!(decompress(Compression::Snappy, &behind(&FOOBAR[..16]), 100).unwrap(), b"foobar\n");
    }

    #[test]
    fn a_chunk_longer_than_the_batch_is_refused_where_it_stands() {
        let mut bytes = FOOBAR.to_vec();
        bytes[16] = 0x7f;
        let error = decompress(Compression::Snappy, &bytes, 100).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed { position: 16, .. }), "{error}");
    }
}

#[cfg(feature = "lz4")]
mod lz4_frame {
    use super::{super::xxh32::xxh32, *};

    /// A frame with the flags and size byte given, of one stored block.
    fn frame(flags: u8, size: u8, extra: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x04, 0x22, 0x4d, 0x18, flags, size];
        bytes.extend(extra);
        bytes.push((xxh32(&bytes[4..]) >> 8) as u8);
        bytes.extend((3u32 | 1 << 31).to_le_bytes());
        bytes.extend(b"abc");
        if flags & 1 << 4 != 0 {
            bytes.extend(xxh32(b"abc").to_le_bytes());
        }
        bytes.extend([0; 4]);
        if flags & 1 << 2 != 0 {
            bytes.extend([0xaa; 4]);
        }
        bytes
    }

    #[test]
    fn the_frame_is_kafkas() {
        assert_eq!(packed(Compression::Lz4, b"abc"), frame(0x60, 0x40, &[]));
        assert_eq!(packed(Compression::Lz4, b"")[..], *b"\x04\x22\x4d\x18\x60\x40\x82\0\0\0\0");
    }

    #[test]
    fn sizes_checksums_and_larger_blocks_are_read() {
        for bytes in [
            frame(0x60, 0x50, &[]),
            frame(0x60, 0x70, &[]),
            frame(0x64, 0x40, &[]),
            frame(0x68, 0x40, &[9; 8]),
            frame(0x70, 0x40, &[]),
            frame(0x7c, 0x60, &[9; 8]),
        ] {
            assert_eq!(decompress(Compression::Lz4, &bytes, 3).unwrap(), b"abc");
        }
    }

    #[test]
    fn a_frame_that_ends_inside_its_checksum_is_refused() {
        let bytes = frame(0x64, 0x40, &[]);
        assert!((1..=4).all(|less| decompress(Compression::Lz4, &bytes[..bytes.len() - less], 3).is_err()));
    }

    #[test]
    fn what_can_be_shrunk_is() {
        assert!(packed(Compression::Lz4, &vec![0; 150_000]).len() < 2000);
    }

    #[test]
    fn what_kafka_does_not_read_is_refused() {
        for (bytes, word) in [
            (frame(0x40, 0x40, &[]), "flags"),
            (frame(0xa0, 0x40, &[]), "flags"),
            (frame(0x61, 0x40, &[]), "flags"),
            (frame(0x62, 0x40, &[]), "flags"),
            (frame(0x60, 0x30, &[]), "block size"),
            (frame(0x60, 0xc0, &[]), "block size"),
            (frame(0x60, 0x41, &[]), "block size"),
        ] {
            let error = decompress(Compression::Lz4, &bytes, 3).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        let mut bytes = frame(0x60, 0x40, &[]);
        bytes[6] ^= 1;
        assert!(decompress(Compression::Lz4, &bytes, 3).is_err(), "the descriptor's checksum");
        let mut bytes = frame(0x70, 0x40, &[]);
        bytes[14] ^= 1;
        assert!(decompress(Compression::Lz4, &bytes, 3).is_err(), "a block's checksum");
    }
}

#[cfg(feature = "zstd")]
mod zstd_stream {
    use super::*;

    #[test]
    fn the_frame_says_neither_size_nor_checksum() {
        let bytes = packed(Compression::Zstd, &text(1000));
        assert_eq!(bytes[..4], [0x28, 0xb5, 0x2f, 0xfd]);
        assert_eq!(bytes[4], 0, "no content size, no single segment, no checksum, no dictionary");
    }

    #[test]
    fn frames_behind_each_other_are_one_and_levels_have_bounds() {
        let two = [packed(Compression::Zstd, b"abc"), packed(Compression::Zstd, b"def")].concat();
        assert_eq!(decompress(Compression::Zstd, &two, 10).unwrap(), b"abcdef");
        for (level, fits) in [(-5, true), (22, true), (23, false), (-131_073, false)] {
            assert_eq!(compress(Compression::Zstd, Some(level), b"a", &mut Vec::new()).is_ok(), fits);
        }
    }
}
