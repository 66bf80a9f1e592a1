//! Zigzag varints of records.
