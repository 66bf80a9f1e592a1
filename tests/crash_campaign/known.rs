//! Failures that the campaign once found, by name. They are tried first, with every crash at every operation.
//!
//! A new one is added with its workload spelled out, as a replay prints it, for what a seed draws changes with the
//! alphabet. `STREAMLOG_REPLAY=k=NAME` tries one alone.

use crate::workload::{How, Op, Workload};
use streamlog::Durability::{self, Flushed, Written};

struct Known {
    name: &'static str,
    /// What went wrong.
    why: &'static str,
    ops: Vec<Op>,
}

fn create(durability: Durability, retention: bool) -> Op {
    Op::Create { topic: "a", durability, partitions: 1, segment_bytes: 512, retention, codec: None }
}

fn append(count: u32, size: u32) -> Op {
    Op::Append { topic: "a", partition: 0, count, size, how: How::Partition }
}

const START: Op = Op::AdvanceStart { topic: "a", partition: 0, quarters: 4 };

fn list() -> Vec<Known> {
    let known = |name, why, ops: &[Op]| Known { name, why, ops: ops.to_vec() };
    vec![
        known(
            "last_segment_lost",
            "a last segment whose file was lost left the one before without its index",
            &[create(Written, false), append(1, 250), append(1, 250), append(1, 250), Op::Reopen],
        ),
        known(
            "cut_at_a_segments_beginning",
            "a log cut at the very beginning of a segment lost that segment from the manifest, and what came after",
            &[create(Written, false), append(2, 60), append(1, 200), append(1, 250), append(1, 20)],
        ),
        known(
            "built_on_unflushed_names",
            "an opening after a death built on names that nobody had flushed; a power cut took back what had been read",
            &[create(Flushed, false), append(1, 20), append(1, 250), append(1, 250)],
        ),
        known(
            "nothing_retained",
            "retention that removed every segment left the new first one without a durable name",
            &[
                create(Written, true),
                append(1, 250),
                append(1, 250),
                Op::Maintain { after_secs: 8000 },
                START,
            ],
        ),
        known(
            "a_life_ended_unnoted",
            "a clean close after an unclean opening ended a life that had lost records; a lost offset came back in it",
            &[create(Written, false), append(1, 20), append(1, 20), Op::Reopen, append(1, 20)],
        ),
        known(
            "the_cache_lies_at_a_segments_beginning",
            "after a failed flush, a segment that begins at the flushed end was read from the cache that lies",
            &[create(Flushed, false), append(1, 250), append(1, 250), append(1, 250)],
        ),
    ]
}

/// The workloads of past failures, each with what went wrong.
pub fn workloads() -> Vec<(Workload, &'static str)> {
    let workload = |(seed, known): (u64, Known)| {
        let name = format!("k={}", known.name);
        (Workload { name, seed, background: false, full: None, ops: known.ops }, known.why)
    };
    (0..).zip(list()).map(workload).collect()
}
