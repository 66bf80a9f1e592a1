//! Asserts what `streamlog::fuzzing::snapshot` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamlog::fuzzing::snapshot(data));
