//! Kafka itself. It does not run here: `kafka/measure.py` measures it, and `--with` puts its figures beside the others.

use crate::subject::{Mark, Subject};

pub const LAYER: Subject = Subject { name: "Kafka's log layer", marks: &[Mark::Jvm], ..Subject::NONE };
pub const BROKER: Subject =
    Subject { name: "Kafka, a broker", marks: &[Mark::Jvm, Mark::Socket], ..Subject::NONE };
