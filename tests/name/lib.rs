//! The library as the package `tests/` compiles it, under the name by which programs know it.
pub use streamlog_tests::*;
