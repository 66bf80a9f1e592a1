//! What must hold of every input, whoever made it: the bodies of the fuzz targets.
//!
//! Each function takes bytes, decodes them, and asserts what is true of any decoder here: it ends, never panics, gives
//! nothing beyond its cap, and what it gave encodes to what it came from or decodes again to itself. Not part of the
//! API: the module is there under the feature `__fuzzing` and in this crate's own tests, where every function meets a few
//! thousand inputs.
//!
//! Random bytes are stopped by the first magic number or checksum. So an input's first byte chooses: either the rest is
//! taken as it is, or it spells edits to something valid; and checksums are mended before decoding.

mod batch;
mod directory;
#[cfg(feature = "sim")]
mod faults;
mod manifest;
mod operations;
mod sidecars;

pub use batch::{batch, decompression};
pub use directory::directory;
pub use manifest::{manifest, mark};
pub use operations::operations;
pub use sidecars::{checkpoint, coordinator, index, keys, pages, snapshot, varint};

/// The bytes to decode: those behind the first byte of `data`, or `valid` with the edits that they spell.
fn input(data: &[u8], valid: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    match data.split_first() {
        Some((0..=63, raw)) => raw.to_vec(),
        Some((_, edits)) => edited(valid(), edits),
        None => Vec::new(),
    }
}

/// `bytes` with up to 16 edits, four bytes of `edits` for each: where (two bytes), what, and a value.
fn edited(mut bytes: Vec<u8>, edits: &[u8]) -> Vec<u8> {
    for edit in edits.as_chunks::<4>().0.iter().take(16) {
        let [high, low, what, value] = *edit;
        let Some(at) = usize::from(u16::from_be_bytes([high, low])).checked_rem(bytes.len()) else {
            return bytes;
        };
        match what % 8 {
            0 | 1 => bytes[at] = value,
            2 | 3 => bytes[at] ^= 1 << (value % 8),
            4 => bytes.insert(at, value),
            5 => drop(bytes.remove(at)),
            6 => bytes.truncate(at),
            _ => bytes.extend(std::iter::repeat_n(0, value.into())),
        }
    }
    bytes
}

/// Overwrites a checksum at `at`, if there is room for one, with that of the bytes from `from` to `to`.
fn mend(bytes: &mut [u8], at: usize, covered: std::ops::Range<usize>, crc: impl Fn(&[u8]) -> u32) {
    let sum = bytes.get(covered).map(crc);
    if let (Some(sum), Some(room)) = (sum, bytes.get_mut(at..at.saturating_add(4))) {
        room.copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough for numbers that are the same in every run (xorshift).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        /// Bytes of up to `len`, with runs of small ones: fields are rarely all random.
        fn bytes(&mut self, len: u64) -> Vec<u8> {
            let len = self.next() % (len + 1);
            let small = self.next().is_multiple_of(4);
            (0..len).map(|_| self.next() as u8 & if small { 3 } else { 255 }).collect()
        }
    }

    /// Gives `check` as many inputs as `FUZZ_INPUTS` says, of which the seed of the first bad one is printed.
    fn try_many(inputs: u64, check: impl Fn(&[u8])) {
        let inputs = std::env::var("FUZZ_INPUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(inputs);
        for seed in 1..=inputs {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let data = random.bytes(90);
            let told = Told { seed, data: &data };
            check(&data);
            drop(told);
        }
    }

    struct Told<'a> {
        seed: u64,
        data: &'a [u8],
    }

    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the input of seed {} was {:?}", self.seed, self.data);
            }
        }
    }

    type Target = fn(&[u8]);

    /// The bytes that a line of hexadecimal digits spells.
    fn unhex(line: &str) -> Vec<u8> {
        let byte = |i| u8::from_str_radix(&line[i..i + 2], 16).unwrap();
        (0..line.len()).step_by(2).map(byte).collect()
    }

    /// Inputs that libFuzzer kept because each reached something that no other did.
    #[test]
    fn no_input_that_was_kept_breaks_anything() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        if !dir.exists() {
            return println!("SKIPPED: no fuzz targets beside the library");
        }
        let targets: [(&str, Target); 13] = [
            ("batch", batch),
            ("checkpoint", checkpoint),
            ("coordinator", coordinator),
            ("decompression", decompression),
            ("directory", directory),
            ("index", index),
            ("keys", keys),
            ("manifest", manifest),
            ("mark", mark),
            ("operations", operations),
            ("pages", pages),
            ("snapshot", snapshot),
            ("varint", varint),
        ];
        assert_eq!(std::fs::read_dir(dir.join("fuzz_targets")).unwrap().count(), targets.len());
        for (name, check) in targets {
            let kept = std::fs::read_to_string(dir.join(format!("corpus/{name}.hex"))).unwrap();
            assert!(kept.lines().count() > 10, "{name}");
            for (seed, line) in (1..).zip(kept.lines()) {
                let data = unhex(line);
                let told = Told { seed, data: &data };
                check(&data);
                drop(told);
            }
        }
    }

    const MANY: u64 = if cfg!(miri) { 10 } else { 3000 };
    const SOME: u64 = if cfg!(miri) { 1 } else { 300 };

    #[test]
    fn no_input_breaks_record_batches() {
        try_many(MANY, batch);
        try_many(MANY, decompression);
    }

    #[test]
    fn no_input_breaks_sidecars() {
        try_many(MANY, index);
        try_many(MANY, snapshot);
        try_many(MANY, checkpoint);
        try_many(MANY, pages);
        try_many(MANY, keys);
        try_many(MANY, coordinator);
        try_many(MANY, varint);
    }

    #[test]
    fn no_input_breaks_the_manifest_and_its_marks() {
        try_many(MANY, manifest);
        try_many(MANY, mark);
    }

    #[test]
    fn no_damage_in_a_directory_shows_as_other_records() {
        try_many(SOME, directory);
    }

    #[test]
    fn no_sequence_of_calls_tells_a_log_from_its_model() {
        try_many(SOME, operations);
    }

    #[cfg(all(feature = "__planted", feature = "sim"))]
    #[test]
    fn mistakes_on_purpose_show_in_sequences_of_calls() {
        let mistakes = [
            "acknowledge_before_flush",
            "no_flush_on_roll",
            "no_directory_flush",
            "retry_a_failed_flush",
            "ignore_a_short_write",
            "offsets_with_gaps",
        ];
        for mistake in mistakes {
            crate::planted::plant(Some(mistake));
            let missed = std::panic::catch_unwind(|| try_many(2 * MANY, operations)).is_ok();
            crate::planted::plant(None);
            assert!(!missed, "{mistake} was not noticed");
        }
    }
}
