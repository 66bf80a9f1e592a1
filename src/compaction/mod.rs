//! Compaction: of each key the newest record stays, as Kafka's log cleaner keeps it.
//!
//! [`decide`] says by the files of keys which records live, [`rewrite`] writes the segments in which one does not, and
//! [`round`] does both for as much of a log as memory has room for. Segments in which nothing is dead are not touched.
//!
//! One cleaner at a time works on a log. What it writes has no meaning before the log has put it in the place of what it was
//! written for; whatever ends it early leaves the log as it was.

mod decide;
mod live;
mod rewrite;
mod round;
#[cfg(test)]
mod tests;

pub use round::Cleaned;

use crate::{
    error::Result,
    partition::{log::Log, write::replace::Replacement},
};
use round::{Pace, Swap, clean};

/// How a log is cleaned.
pub struct Order<'a> {
    /// Whether nothing is to be written.
    pub is_rehearsal: bool,
    /// Whether what was appended so far, and what is younger than the lag, is cleaned as well.
    pub everything: bool,
    /// Asked after about each mebibyte, with how many bytes were read since; an error ends the cleaning.
    pub goes_on: &'a mut dyn FnMut(u64) -> Result<()>,
}

/// Cleans a log; waits for whatever else cleans it.
pub fn compact(log: &Log, order: Order<'_>) -> Result<Cleaned> {
    let _alone = log.only_cleaner();
    if order.everything && !order.is_rehearsal {
        log.roll_for_cleaning()?;
    }
    let mut goes_on = |bytes: u64| log.check_cleaning().and_then(|()| (order.goes_on)(bytes));
    let mut swap = |swap: Swap| commit(log, swap);
    let mut pace = Pace {
        is_rehearsal: order.is_rehearsal,
        any_age: order.everything,
        goes_on: &mut goes_on,
        swap: &mut swap,
    };
    clean(log, log.cleaned(), &mut pace)
}

fn commit(log: &Log, Swap { sources, outputs, cleaned }: Swap) -> Result<bool> {
    match cleaned {
        Some(offset) if sources.is_empty() => log.note_cleaned(offset).map(|()| true),
        _ => {
            let also = cleaned.map(|offset| log.identity.id().cleaned(offset)).into_iter().collect();
            Replacement { sources, outputs, also }.commit(log)
        }
    }
}
