//! Asserts what `streamlog::fuzzing::decompression` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamlog::fuzzing::decompression(data));
