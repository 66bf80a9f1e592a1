//! Room for segments to grow: whether a medium that was full has space again, the free space below which none grows, and the
//! disk budget beyond which none grows.
//!
//! The medium is asked at most once a second. In between, what grew since the last answer is taken off it: other programs
//! are seen a second late, this handle's own segments immediately. A refusal asks no sooner, so appends resume within a
//! second after space is back.

use crate::{
    env::{
        Env,
        sync::{AtomicU64, Mutex, OnceLock, Ordering},
    },
    error::{Error, Result, SpaceLimit},
    storage::budget::{Budget, Charge},
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How long an answer of the medium counts.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The part of the floor that committed offsets leave free.
const SHARE_OF_COMMITS: u64 = 2;

/// Makes room for so many bytes in the budget, called without a lock of a log; returns whether it has made some, which is
/// none where there would not be enough.
pub type MakeRoom = Box<dyn Fn(u64) -> bool + Send + Sync>;

/// See the head of the file.
pub struct Space {
    env: Arc<dyn Env>,
    dir: PathBuf,
    found: AtomicU64,
    /// How many bytes stay free; 0 for no such setting, and nothing is asked.
    floor: AtomicU64,
    seen: Mutex<Option<Seen>>,
    /// What refused the last growth, with the free bytes that it would have needed.
    refused: Mutex<Option<(Error, u64)>>,
    /// What files take, and may take.
    pub budget: Arc<Budget>,
    make_room: OnceLock<MakeRoom>,
    /// Held by the one that makes room: what it has freed may be enough for the others.
    making_room: Mutex<()>,
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space").field("dir", &self.dir).field("budget", &self.budget).finish_non_exhaustive()
    }
}

/// An answer of the medium, less what grew since.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Duration,
    free: u64,
}

impl Space {
    /// The medium that `dir` is on, where files take what `budget` counts.
    pub fn new(env: Arc<dyn Env>, dir: &Path, budget: Arc<Budget>) -> Space {
        Space {
            env,
            dir: dir.to_path_buf(),
            found: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            seen: Mutex::default(),
            refused: Mutex::default(),
            budget,
            make_room: OnceLock::new(),
            making_room: Mutex::default(),
        }
    }

    /// A file grew, or new ones were written.
    pub fn found_again(&self) {
        unless_planted!(space_is_never_found => self.found.fetch_add(1, Ordering::Relaxed));
    }

    /// How often space was found so far.
    pub fn times_found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// From now on segments grow only if `bytes` stay free.
    pub fn keep_free(&self, bytes: u64) {
        self.floor.store(bytes, Ordering::Relaxed);
    }

    /// How many bytes stay free, as set.
    pub fn floor(&self) -> u64 {
        self.floor.load(Ordering::Relaxed)
    }

    /// The free bytes as last known; `None` if that was never asked, or the medium does not say.
    pub fn free_as_known(&self) -> Option<u64> {
        self.seen.lock().map(|seen| seen.free).filter(|free| *free < u64::MAX)
    }

    /// Whether `file` may grow by `bytes`. Files of `commits` may use half of the floor.
    ///
    /// # Errors
    ///
    /// `DiskFull`, with the floor; `Io` if the medium cannot be asked.
    pub fn admit(&self, file: &Path, bytes: u64, commits: bool) -> Result<()> {
        planted!(the_medium_is_filled_to_the_brim => return Ok(()));
        let mut floor = self.floor();
        if floor == 0 {
            return Ok(());
        }
        if commits {
            unless_planted!(commits_stop_at_the_whole_floor => floor /= SHARE_OF_COMMITS);
        }
        let needed = floor.saturating_add(bytes);
        let mut seen = self.seen.lock();
        let known = self.ask(&mut seen)?;
        if known.free < needed {
            drop(seen);
            let limit = SpaceLimit::MinFreeSpace { bytes: floor, free: known.free };
            let error = Error::DiskFull { operation: "grow", path: file.to_path_buf(), limit: Some(limit) };
            *self.refused.lock() = Some((error.clone(), needed));
            return Err(error);
        }
        // What a medium does not say stays unknown.
        let left = if known.free == u64::MAX { u64::MAX } else { known.free - bytes };
        *seen = Some(Seen { free: left, ..known });
        drop(seen);
        *self.refused.lock() = None;
        Ok(())
    }

    /// Charges what the files of a segment, among them `file`, are about to take. Those of `commits` are counted and never
    /// refused.
    ///
    /// # Errors
    ///
    /// `DiskFull`, with the budget.
    pub fn charge(&self, file: &Path, charge: &Charge, bytes: u64, commits: bool) -> Result<()> {
        let mut always = commits;
        planted!(commits_stop_at_the_budget => always = false);
        planted!(the_budget_is_overdrawn => always = true);
        if always {
            charge.set(bytes);
            return Ok(());
        }
        let needed = bytes.saturating_sub(charge.bytes());
        let Err(used) = charge.raise(bytes) else {
            *self.refused.lock() = None;
            return Ok(());
        };
        let bytes = self.budget.limit().unwrap_or(u64::MAX);
        let limit = SpaceLimit::DiskBudget { bytes, used, needed };
        let error = Error::DiskFull { operation: "grow", path: file.to_path_buf(), limit: Some(limit) };
        *self.refused.lock() = Some((error.clone(), needed));
        Err(error)
    }

    /// From now on `make_room` is called where the budget has no room.
    pub fn on_full(&self, make_room: MakeRoom) {
        let _ = self.make_room.set(make_room);
    }

    /// Whether what `error` has refused is worth another attempt: room was made for it, here or by somebody else since. The
    /// caller holds no lock of a log.
    #[cold]
    pub fn makes_room_for(&self, error: &Error) -> bool {
        let Error::DiskFull { limit: Some(SpaceLimit::DiskBudget { bytes, used, needed }), .. } = error
        else {
            return false;
        };
        if !self.budget.drops_oldest() {
            return false;
        }
        let _one_at_a_time = self.making_room.lock();
        let missing = used.saturating_add(*needed).saturating_sub(*bytes);
        self.budget.used() < *used || self.make_some_room(missing)
    }

    /// Makes room until no more is used than may be, as far as that goes.
    pub fn shrink_to_budget(&self) {
        let _one_at_a_time = self.making_room.lock();
        while self.is_to_shrink() && self.make_some_room(1) {}
    }

    /// Whether room is to be made without an append that needs it: as after an opening with a smaller budget.
    pub fn is_to_shrink(&self) -> bool {
        self.budget.drops_oldest() && self.budget.excess() > 0
    }

    fn make_some_room(&self, bytes: u64) -> bool {
        self.make_room.get().is_some_and(|make_room| make_room(bytes))
    }

    /// The last refusal, if the setting still is in the way.
    pub fn refusal(&self) -> Option<Error> {
        let (error, needed) = self.refused.lock().clone()?;
        if let Error::DiskFull { limit: Some(SpaceLimit::DiskBudget { .. }), .. } = &error {
            return (self.budget.left() < needed).then_some(error);
        }
        let known = self.ask(&mut self.seen.lock());
        known.is_ok_and(|known| known.free < needed).then_some(error)
    }

    fn ask(&self, seen: &mut Option<Seen>) -> Result<Seen> {
        let at = self.env.monotonic();
        if let Some(seen) = seen.filter(|seen| at < seen.at.saturating_add(ASK_EVERY)) {
            return Ok(seen);
        }
        let free = self.env.space(&self.dir);
        let free = free.map_err(|e| Error::io("ask for the free space of", &self.dir, e))?;
        Ok(*seen.insert(Seen { at, free: free.unwrap_or(u64::MAX) }))
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use super::*;
    use crate::sim::SimEnv;

    const KIB: u64 = 1 << 10;

    /// A medium of 100 KiB of which 20 stay free.
    fn medium() -> (SimEnv, Space) {
        let env = SimEnv::new(1);
        env.set_capacity(Some(100 * KIB));
        let space = Space::new(Arc::new(env.clone()), Path::new("/"), Arc::default());
        space.keep_free(20 * KIB);
        (env, space)
    }

    fn admits(space: &Space, bytes: u64) -> bool {
        match space.admit(Path::new("/file"), bytes, false) {
            Ok(()) => true,
            Err(Error::DiskFull { limit: Some(SpaceLimit::MinFreeSpace { .. }), .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_grew_since_the_medium_was_asked_counts_and_it_is_asked_after_a_second() {
        let (env, space) = medium();
        assert!(admits(&space, 50 * KIB) && space.free_as_known() == Some(50 * KIB));
        assert!(!admits(&space, 31 * KIB) && admits(&space, 30 * KIB) && !admits(&space, 1));
        env.set_capacity(Some(50 * KIB));
        env.advance(ASK_EVERY - Duration::from_nanos(1000));
        assert!(!admits(&space, 1), "nothing of it was taken, which is not known yet");
        env.advance(Duration::from_millis(1));
        assert!(admits(&space, 30 * KIB) && !admits(&space, 1));
    }

    #[test]
    fn a_refusal_lasts_until_the_medium_has_the_space() {
        let (env, space) = medium();
        assert!(space.refusal().is_none());
        assert!(!admits(&space, 90 * KIB) && space.refusal().is_some());
        env.set_capacity(Some(111 * KIB));
        env.advance(ASK_EVERY);
        assert!(space.refusal().is_none());
        assert!(!admits(&space, 92 * KIB) && admits(&space, KIB) && space.refusal().is_none());
    }

    #[test]
    fn without_a_floor_nothing_is_asked_and_a_medium_without_an_end_is_never_full() {
        let (env, space) = medium();
        space.keep_free(0);
        assert!(admits(&space, u64::MAX) && space.free_as_known().is_none());
        space.keep_free(KIB);
        env.set_capacity(None);
        assert!(admits(&space, 1 << 40) && admits(&space, 1 << 40) && space.free_as_known().is_none());
    }
}
