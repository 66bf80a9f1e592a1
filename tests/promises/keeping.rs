//! Durability, the manifest, large batches, retention, sidecars, opening and recovery.

use crate::{Promise, promises, world::*};
use streamlog::{ProducerRecord, sim::Crash};

promises! {
    what_was_acknowledged_survives_a_power_cut: "src/manual/durability.rs",
        "its flush has returned | all of it survives | all of it survives" => [acknowledge_before_flush];
    a_manifest_that_was_cut_short_is_no_log_with_fewer_topics: "src/manual/on_disk.rs",
        "Less, or another file, is no log with fewer topics but damage" => [forget_where_the_manifest_ends];
}

pub const ELSEWHERE: &[Promise] = &[];

fn what_was_acknowledged_survives_a_power_cut() {
    let world = World::new(1);
    world.log.producer().unwrap().send(ProducerRecord::new("t", "kept")).unwrap();
    let after = open(&world.env.crash(Crash::Nothing, 1));
    assert_eq!(after.topic("t").unwrap().partition(0).unwrap().log_end_offset(), 1);
}

fn a_manifest_that_was_cut_short_is_no_log_with_fewer_topics() {
    let world = World::new(1);
    world.log.create_topic("u", streamlog::TopicConfig::default()).unwrap();
    let after = world.env.crash(Crash::Kill, 1);
    let manifest = &after.files()["/log/manifest"];
    let name = manifest.windows(5).rposition(|bytes| bytes == b"\0\0\0\x01u").unwrap();
    after.overwrite("/log/manifest", &manifest[..name]).unwrap();
    let opened = streamlog::Builder::env(&after, "/log").read_only(true).open();
    assert_eq!(opened.unwrap_err().kind(), streamlog::ErrorKind::Corrupt);
}
