//! Slots of the marks file.
