//! CRC-32C, and how two of them join.
