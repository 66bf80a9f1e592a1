//! Asserts what `streamlog::fuzzing::pages` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamlog::fuzzing::pages(data));
