//! Idling: partitions (a thousand; a hundred in a quick round) that nobody uses, and what opening them takes and leaves
//! behind.

use super::place;
use crate::child::{self, Task};
use crate::workload::{Better, Workload};

pub const IDLE: Workload = Workload {
    name: "idle partitions",
    figures: &[
        ("open with idle partitions", "ms"),
        ("threads for them", "threads"),
        ("mappings for them", "mappings"),
        ("memory for them", "KiB"),
    ],
    better: Better::Less,
    durability: "",
    steady: false,
    prepare: |subject, scale, dir| {
        let (Some(make), Some(_)) = (subject.idle, subject.open_idle) else { return Ok(None) };
        make(&place(dir, 0), scale.idle_partitions)?;
        Ok(Some(Box::new(move || child::run(subject, dir, Task::OpenIdle))))
    },
};
