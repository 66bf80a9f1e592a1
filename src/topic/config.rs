//! A topic's configuration.
