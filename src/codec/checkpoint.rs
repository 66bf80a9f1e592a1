//! Kafka's text checkpoints and property files.
