//! Asserts what `streamlog::fuzzing::checkpoint` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamlog::fuzzing::checkpoint(data));
