//! Asserts what `streamlog::fuzzing::directory` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamlog::fuzzing::directory(data));
