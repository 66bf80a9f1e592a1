//! The five codecs in Kafka's framings.
