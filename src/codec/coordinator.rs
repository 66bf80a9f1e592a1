//! Messages of the internal topics.
