//! Entries of the offset, time and transaction index.
