//! Asserts what `streamlog::fuzzing::varint` says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamlog::fuzzing::varint(data));
