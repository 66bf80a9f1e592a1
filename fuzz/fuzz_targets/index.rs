//! Asserts what `streamlog::fuzzing::index` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamlog::fuzzing::index(data));
