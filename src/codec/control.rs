//! Control records: transaction markers and their like.
