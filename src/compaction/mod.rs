//! Compaction: of each key the newest record stays, as Kafka's log cleaner keeps it.
//!
//! [`decide`] says by the files of keys which records live, [`rewrite`] writes the segments in which one does not, [`round`]
//! does both for as much of a log as memory has room for, and [`cleaning`] does rounds until the log is clean. Segments in
//! which nothing is dead are not touched. [`cleaner`] chooses which log is cleaned when, in the background, by [`dirt`].
//!
//! [`purge`] removes one key on demand, whatever lives.
//!
//! One cleaner at a time works on a log. What it writes has no meaning before the log has put it in the place of what it was
//! written for; whatever ends it early leaves the log as it was.

mod aborted;
pub mod cleaner;
#[cfg(test)]
#[cfg(feature = "sim")]
mod cleaner_tests;
mod cleaning;
mod decide;
mod dirt;
#[cfg(test)]
#[cfg(feature = "sim")]
mod kafka_cases;
mod live;
mod markers;
#[cfg(test)]
#[cfg(feature = "sim")]
mod model_tests;
mod purge;
mod rewrite;
mod round;
#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;
#[cfg(test)]
#[cfg(feature = "sim")]
mod transaction_model_tests;

pub use purge::Purge;
pub use rewrite::Cleaned;

use crate::{error::Result, partition::write::cleanable::CleaningTurn};
use cleaning::Cleaning;

/// How a log is cleaned now, however little of it is dirty.
pub struct Order<'a> {
    /// Whether nothing is to be written.
    pub is_rehearsal: bool,
    /// Asked after about each mebibyte, with how many bytes were read since; an error ends the cleaning.
    pub goes_on: &'a mut dyn FnMut(u64) -> Result<()>,
}

/// Cleans a log, and what was appended to it so far; a rehearsal leaves that out.
pub fn compact(turn: CleaningTurn, order: Order<'_>) -> Result<Cleaned> {
    if !order.is_rehearsal {
        turn.roll()?;
    }
    let mut cleaning = Cleaning::new(turn, order.is_rehearsal, true);
    while cleaning.step(order.goes_on)? {}
    Ok(cleaning.done())
}
