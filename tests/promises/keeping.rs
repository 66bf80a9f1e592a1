//! Durability, the manifest, large batches, retention, sidecars, opening and recovery.

use crate::{Promise, promises, world::*};
use streamlog::{ProducerRecord, sim::Crash};

promises! {
    what_was_acknowledged_survives_a_power_cut: "src/manual/durability.rs",
        "its flush has returned | all of it survives | all of it survives" => [acknowledge_before_flush];
}

pub const ELSEWHERE: &[Promise] = &[];

fn what_was_acknowledged_survives_a_power_cut() {
    let world = World::new(1);
    world.log.producer().unwrap().send(ProducerRecord::new("t", "kept")).unwrap();
    let after = open(&world.env.crash(Crash::Nothing, 1));
    assert_eq!(after.topic("t").unwrap().partition(0).unwrap().log_end_offset(), 1);
}
