//! The marks: where each partition's durable data ends.
