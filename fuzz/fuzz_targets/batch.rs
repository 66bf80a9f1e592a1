//! Asserts what `streamlog::fuzzing::batch` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamlog::fuzzing::batch(data));
