//! Asserts what `streamlog::fuzzing::manifest` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamlog::fuzzing::manifest(data));
