//! Kafka itself, and what else runs in a JVM. They do not run here: `kafka/measure.py` measures them in turns with
//! streamlog, and `--with` puts their figures beside the others.

use crate::subject::{Mark, Subject};

pub const LAYER: Subject = Subject { name: "Kafka's log layer", marks: &[Mark::Jvm], ..Subject::NONE };
pub const BROKER: Subject =
    Subject { name: "Kafka, a broker", marks: &[Mark::Jvm, Mark::Socket], ..Subject::NONE };
pub const CHRONICLE: Subject =
    Subject { name: "Chronicle Queue", marks: &[Mark::Jvm, Mark::NoChecksum], ..Subject::NONE };
