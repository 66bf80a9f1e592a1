//! An environment without a disk.
