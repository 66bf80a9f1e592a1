//! Asserts what `streamlog::fuzzing::operations` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamlog::fuzzing::operations(data));
