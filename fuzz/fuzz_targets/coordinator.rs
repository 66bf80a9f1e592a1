//! Asserts what `streamlog::fuzzing::coordinator` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamlog::fuzzing::coordinator(data));
