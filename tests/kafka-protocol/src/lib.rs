//! Nothing is here but a place for the tests in `tests/`.
