//! Mistakes that can be switched on, one at a time, to see whether the tests notice.
//!
//! Each is a statement on a line of its own, where it would be made:
//!
//! ```text
//! planted!(acknowledge_at_once => return Ok(()));   what is done instead of what follows, or done as well
//! unless_planted!(no_flush => file.sync()?);        what is forgotten
//! ```
//!
//! Without the feature `__planted` the first leaves nothing in the code, and the second leaves its step. With it, they are
//! switches of the calling thread, off unless `plant` turned them on.
//!
//! Each mistake is noticed by a test: those listed here by the one that the list names, all others by that of the promise they
//! break. The table of `tests/promises` has them all and sees to it that none is forgotten.

/// Makes the mistake of this name, where it was asked for.
#[cfg(not(feature = "__planted"))]
macro_rules! planted {
    ($name:ident => $($mistake:tt)+) => {
        if false {
            $($mistake)+;
        }
    };
}

/// Makes the mistake of this name, where it was asked for.
#[cfg(feature = "__planted")]
macro_rules! planted {
    ($name:ident => $($mistake:tt)+) => {
        if $crate::planted::is_planted(stringify!($name)) {
            $($mistake)+;
        }
    };
}

/// Does this step, unless the mistake of this name was asked for, which forgets it.
#[cfg(not(feature = "__planted"))]
macro_rules! unless_planted {
    ($name:ident => $($step:tt)+) => {
        $($step)+
    };
}

/// Does this step, unless the mistake of this name was asked for, which forgets it.
#[cfg(feature = "__planted")]
macro_rules! unless_planted {
    ($name:ident => $($step:tt)+) => {
        if !$crate::planted::is_planted(stringify!($name)) {
            $($step)+;
        }
    };
}

#[cfg(feature = "__planted")]
mod switch {
    use std::{
        cell::Cell,
        panic::{AssertUnwindSafe, catch_unwind},
    };

    thread_local! {
        static PLANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// From now on this thread makes this mistake, or none.
    pub fn plant(name: Option<&'static str>) {
        PLANTED.set(name);
    }

    /// Panics unless the claim holds as it is and fails with each of these mistakes. An error that is unwrapped is a failure
    /// of the claim only where it is named (`a_mistake by Closed`): elsewhere the claim did not come to its point.
    pub fn hold(claim: impl Fn(), mistakes: &[&'static str]) {
        claim();
        for line in mistakes {
            let (mistake, error) = line.split_once(" by ").unwrap_or((line, ""));
            println!("-- with {mistake} planted, what follows must fail");
            plant(Some(mistake));
            let noticed = catch_unwind(AssertUnwindSafe(&claim));
            plant(None);
            assert!(noticed.is_err(), "the claim holds with {mistake} planted, and should not");
            let text = noticed.err().and_then(|panic| panic.downcast::<String>().ok()).unwrap_or_default();
            if let Some(unwrapped) = text.strip_prefix("called `Result::unwrap()` on an `Err` value: ") {
                let is_named = !error.is_empty() && unwrapped.starts_with(error);
                assert!(is_named, "with {mistake} planted, the claim fails with an error: {unwrapped}");
            }
        }
    }

    /// Whether this thread makes the mistake of this name.
    pub fn is_planted(name: &str) -> bool {
        PLANTED.get().is_some_and(|planted| planted == name)
    }

    /// Those that show on a disk, and the crash campaign is to notice. Other mistakes stand beside the promises that they
    /// break, in `tests/promises`.
    pub const NAMES: &[&str] = &[
        "acknowledge_before_flush",
        "publish_before_flush",
        "no_flush_on_roll",
        "no_directory_flush",
        "no_manifest_flush",
        "retry_a_failed_flush",
        "trust_the_cache_after_a_failed_flush",
        "trust_the_cache_at_a_segments_beginning",
        "believe_what_was_not_flushed",
        "truncate_without_flush",
        "cut_to_nothing_of_a_segment",
        "keep_what_lies_behind_a_hole",
        "believe_without_checksums",
        "begin_at_a_lost_segment",
        "recover_where_no_segment_is",
        "leave_strays",
        "forget_to_flush_what_was_found",
        "forget_to_flush_names_that_were_found",
        "mark_ahead_of_the_flush",
        "checkpoint_without_flush",
        "close_without_flush",
        "files_go_before_the_manifest_says_so",
        "retention_leaves_a_nameless_segment",
        "start_that_is_not_durable",
        "delete_that_is_not_durable",
        "create_without_directory_flush",
        "alter_without_flush",
        "manifest_renamed_without_flush",
        "no_incarnation",
        "close_ends_a_life_unnoted",
        "ignore_a_short_write",
        "offsets_with_gaps",
        "trust_an_index",
        "forget_the_latest_time",
        "seal_with_the_wrong_size",
        "commit_acknowledged_before_flush",
        "commit_without_its_data",
        "commit_in_pieces",
        "commit_beyond_the_end",
        "commit_of_a_deleted_topic",
        "forget_before_the_values_are_there_again",
        "forget_before_the_values_are_durable_again",
        "remember_what_was_forgotten",
        "a_reset_is_not_reported",
        "enqueued_is_acknowledged_unflushed",
        "a_full_disk_is_final",
        "a_purge_spares_the_newest_segment",
    ];

    /// Those that show only on a real kernel, and the tests with strace are to notice.
    pub const OUTSIDE: &[&str] =
        &["ignore_a_failed_write", "give_up_when_interrupted", "take_space_for_granted"];

    /// Those that a test beside the code plants itself, which `tests/promises` names: they cost time or memory and change no
    /// answer, or are made where no public call leads.
    pub const INSIDE: &[&str] = &[
        "try_what_cannot_be_read_again",
        "decompress_without_a_look",
        "forget_producers_of_what_goes",
        "torn_end_cut_without_flush",
        "a_retired_segment_reads_by_name",
        "an_unknown_index_checksum_is_believed",
        "a_swap_is_taken_for_damage",
        "a_decided_swap_is_forgotten",
        "swap_before_it_is_decided",
        "swap_names_that_are_not_durable",
        "the_first_of_a_swap_goes_first",
        "a_purge_misses_a_record",
        "retention_passes_a_marker",
        "close_owing_a_marker",
        "four_headers_of_a_producer_stay",
        "a_marker_goes_before_its_data",
        "aborted_records_live",
        "aborted_transactions_are_not_indexed",
        "rewritten_keys_forget_producers",
        "an_emptied_marker_says_nothing",
        "a_removed_marker_leaves_its_transaction_open",
        "a_decision_is_believed_without_its_ends",
        "ends_of_no_incarnation",
        "a_marker_before_the_decision",
        "what_a_crash_left_open_stays_open",
        "no_abort_after_a_failed_flush",
        "an_abort_is_not_indexed",
        "a_pending_marker_waits_for_ever",
        "written_after_its_end",
        "decisions_go_before_their_markers_are_durable",
        "a_position_of_another_life_is_taken",
        "a_transaction_that_goes_on_is_forgotten",
    ];

    /// Those that show only where threads meet, and the tests of interleavings are to notice.
    pub const RACES: &[&str] = &[
        "believe_a_flush_that_runs",
        "a_flush_wakes_nobody",
        "take_the_epoch_too_late",
        "show_the_end_before_the_bytes",
        "roll_in_two_steps",
        "removed_files_are_missed",
        "append_to_a_log_that_closes",
        "a_failed_flush_wakes_nobody",
        "append_wakes_no_consumer",
        "a_close_wakes_no_consumer",
        "a_poll_looks_before_the_epoch",
        "a_wakeup_notifies_before_it_is_noted",
        "a_topic_that_goes_wakes_nobody",
        "a_batch_on_its_way_is_forgotten",
        "a_helper_wakes_nobody",
        "a_look_takes_back_an_earlier_time",
        "a_wake_up_reaches_the_other_task",
        "a_close_wakes_one_task",
        "what_is_freed_wakes_nobody",
        "alter_flushes_only_before",
        "forget_what_came_during_a_flush",
        "look_at_the_clock_before_the_end_is_known",
    ];
}

#[cfg(feature = "__planted")]
pub use switch::{INSIDE, NAMES, OUTSIDE, RACES, hold, is_planted, plant};

/// Without the feature, that the claim holds is all there is to see.
#[cfg(all(test, not(feature = "__planted")))]
pub fn hold(claim: impl Fn(), _mistakes: &[&'static str]) {
    claim();
}
