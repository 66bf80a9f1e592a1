//! Asserts what `streamlog::fuzzing::keys` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamlog::fuzzing::keys(data));
