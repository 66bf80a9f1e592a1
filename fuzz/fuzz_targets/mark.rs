//! Asserts what `streamlog::fuzzing::mark` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamlog::fuzzing::mark(data));
