//! Looks into the files that are repeated, because they may have met the work of a removal, or of a writer in another
//! process.

use crate::{
    error::{Error, Result},
    partition::{log::Log, read::damage},
    types::Offset,
};

/// How often a look is repeated beside a writer that keeps writing: files that show something else each time are not
/// its work.
pub(super) const LOOKS: usize = 16;

/// Runs `look`, which reads segments, and repeats it where it failed and retention has removed one of them in between;
/// `Closed` where the topic was deleted.
pub(super) fn retry_after_trim<T>(log: &Log, look: impl Fn() -> Result<T>) -> Result<T> {
    let mut looks = 0;
    log.check_open()?;
    damage::record(log, log.check_owner(), Offset::ZERO)?;
    loop {
        log.check_open()?;
        let state = || (log.segments.version(), log.offsets.log_start());
        let before = state();
        let has_changed = || {
            planted!(removed_files_are_missed => return false);
            state() != before
        };
        match look() {
            // The failure may be a segment that is gone; a missing file is reported as damage.
            Err(Error::Io { .. } | Error::Corrupt { .. } | Error::OffsetOutOfRange { .. })
                if looks < LOOKS && has_changed() => {}
            Err(Error::Io { .. } | Error::Corrupt { .. })
                if looks < LOOKS && was_left_behind(log, looks == 0) => {}
            Err(error @ (Error::Io { .. } | Error::Corrupt { .. })) => {
                return damage::record(log, Err(log.check_open().err().unwrap_or(error)), Offset::ZERO);
            }
            done => return done,
        }
        looks += 1;
    }
}

/// After a failed look at a log that follows a writer: catches up with the writer, and says whether to look again. What
/// was found missing or damaged may have been removed, or replaced; the `first` look is repeated in any case, for
/// another thread may have caught up in between. Where the writer cannot be followed, the caller gets the error of its
/// own look.
#[cold]
pub(super) fn was_left_behind(log: &Log, first: bool) -> bool {
    planted!(believe_a_list_that_may_be_old => return false);
    if !log.data_dir.read_only {
        return false;
    }
    let state = || (log.segments.version(), log.offsets.log_start());
    let before = state();
    // A failure here may concern another partition.
    let _ = log.data_dir.follow_writer();
    first || state() != before
}
