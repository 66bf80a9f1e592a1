//! The header of a record batch (magic 2) and the batch as a whole.
