//! Failures that the campaign once found, by name. They are tried first, with every crash at every operation.
//!
//! A new one is added with its workload spelled out, as a replay prints it, for what a seed draws changes with the
//! alphabet. `STREAMLOG_REPLAY=k=NAME` tries one alone.
//!
//! Each names the planted mistake that takes out what mended it, and the campaign sees to it that the workload fails
//! then: one that no longer can is no guard.

use crate::workload::{Full, How, Op, Workload};
use streamlog::Durability::{self, Flushed, Written};

struct Known {
    name: &'static str,
    /// What went wrong.
    why: &'static str,
    /// The planted mistake that brings it back.
    without: &'static str,
    ops: Vec<Op>,
    full: Option<Full>,
    /// Whether it takes an error in the opening after a crash.
    behind_a_crash: bool,
}

fn create(durability: Durability, retention: bool) -> Op {
    Op::Create { topic: "a", durability, partitions: 1, segment_bytes: 512, retention, codec: None }
}

/// Flushes the manifest, and with it what is in there of `a`.
fn create_b() -> Op {
    let (topic, durability, codec) = ("b", Written, None);
    Op::Create { topic, durability, partitions: 1, segment_bytes: 512, retention: false, codec }
}

fn append(count: u32, size: u32) -> Op {
    append_to("a", count, size)
}

fn append_to(topic: &'static str, count: u32, size: u32) -> Op {
    Op::Append { topic, partition: 0, count, size, how: How::Partition }
}

const FLUSH: Op = Op::Flush { topic: "a", partition: 0 };
const START: Op = Op::AdvanceStart { topic: "a", partition: 0, quarters: 4 };

fn list() -> Vec<Known> {
    let known = |name, why, without, ops: &[Op]| {
        let (ops, full, behind_a_crash) = (ops.to_vec(), None, false);
        Known { name, why, without, ops, full, behind_a_crash }
    };
    vec![
        known(
            "last_segment_lost",
            "a last segment whose file was lost left the one before without its index",
            "begin_at_a_lost_segment",
            &[create(Written, false), append(1, 250), FLUSH, append(1, 250)],
        ),
        known(
            "cut_at_a_segments_beginning",
            "a log cut at the very beginning of a segment lost that segment from the manifest, and what came after",
            "cut_to_nothing_of_a_segment",
            &[
                create(Written, false),
                append(1, 250),
                append(1, 250),
                append(1, 250),
                create_b(),
                append(1, 20),
            ],
        ),
        known(
            "built_on_unflushed_names",
            "an opening after a death built on names that nobody had flushed; a power cut took back what had been read",
            "forget_to_flush_names_that_were_found",
            &[create(Flushed, false), append(1, 20), append(1, 250), append(1, 250)],
        ),
        known(
            "nothing_retained",
            "retention that removed every segment left the new first one without a durable name",
            "retention_leaves_a_nameless_segment",
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
            "close_ends_a_life_unnoted",
            &[
                create(Written, false),
                create_b(),
                append_to("b", 1, 20),
                append_to("b", 1, 20),
                append(1, 20),
            ],
        ),
        known(
            "the_cache_lies_at_a_segments_beginning",
            "after a failed flush, a segment that begins at the flushed end was read from the cache that lies",
            "trust_the_cache_at_a_segments_beginning",
            &[
                create(Flushed, false),
                append(1, 250),
                append(1, 250),
                append(1, 250),
                append(1, 250),
                append(1, 250),
            ],
        ),
        Known {
            behind_a_crash: true,
            ..known(
                "not_flushed_and_read_past_the_cache",
                "an opening whose flush failed read past the cache and showed what no flush had covered; a power cut took \
                 it back",
                "believe_what_was_not_flushed",
                &[create(Flushed, false), append(1, 20), append(1, 20), append(1, 20), append(1, 20)],
            )
        },
        Known {
            // The second append rolls, and finds no room behind that.
            full: Some(Full { calls: 3..4, room: 100 }),
            ..known(
                "a_mark_in_a_segment_without_a_name",
                "a checkpoint right behind a roll led to a segment that the manifest did not durably name; without it the \
                 one before was cut to nothing",
                "recover_where_no_segment_is",
                &[
                    create(Flushed, false),
                    create_b(),
                    append(1, 250),
                    append(1, 250),
                    FLUSH,
                    append_to("b", 1, 20),
                    append_to("b", 1, 20),
                    append_to("b", 1, 20),
                ],
            )
        },
    ]
}

/// A failure of the past.
pub struct Past {
    pub workload: Workload,
    /// What went wrong.
    pub why: &'static str,
    /// The planted mistake that brings it back.
    pub without: &'static str,
    /// Whether it takes an error in the opening after a crash.
    pub behind_a_crash: bool,
}

/// The workloads of past failures.
pub fn past() -> Vec<Past> {
    let past = |(seed, known): (u64, Known)| {
        let name = format!("k={}", known.name);
        let workload = Workload { name, seed, background: false, full: known.full, ops: known.ops };
        Past { workload, why: known.why, without: known.without, behind_a_crash: known.behind_a_crash }
    };
    (0..).zip(list()).map(past).collect()
}
