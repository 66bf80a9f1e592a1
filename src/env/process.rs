//! Which process this is, so that what one has opened is not used by a child that it forked.
//!
//! A forked child has a copy of its parent's memory and none of its threads: what it wrote through an inherited handle
//! would lie where the parent writes next, a lock that another thread held stays locked forever, and a thread to be
//! joined is not there. So whatever is opened remembers its [`Process`], and asks before it locks, waits or writes.
//!
//! The question costs two loads where the system clears a page of memory in every child (Linux since 4.14). Elsewhere it
//! costs a system call, or, for one who asks per record, [`Process::seems_this`] believes the last answer.

use super::mapped;
use std::sync::atomic::{AtomicU64, Ordering};

/// A process, as distinct from its parent, its children and later processes with its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(u64);

/// How many processes of the line that leads to this one have asked.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// Where no page is cleared: the last answer, the process id in its upper half and a count in the lower.
static LAST: AtomicU64 = AtomicU64::new(0);

impl Process {
    /// The one that calls.
    pub fn this() -> Process {
        Process(match mapped::cleared_in_children() {
            Some(word) => by_word(word),
            None => by_id(&LAST, std::process::id()),
        })
    }

    /// Whether it is the one that calls.
    #[inline]
    pub fn is_this(self) -> bool {
        self == Process::this() && !pretended()
    }

    /// As [`is_this`](Self::is_this), without a system call. Where the system does not clear memory in a child, that child
    /// is taken for its parent until something in it asks for certain.
    #[inline]
    pub fn seems_this(self) -> bool {
        let known = match mapped::cleared_in_children() {
            Some(word) => word.load(Ordering::Acquire),
            None => LAST.load(Ordering::Acquire),
        };
        self.0 == known && !pretended()
    }
}

#[inline]
fn by_word(word: &AtomicU64) -> u64 {
    match word.load(Ordering::Acquire) {
        0 => first_answer(word),
        known => known,
    }
}

/// The count continues in every child from its parent's: no two processes of one line have the same number.
#[cold]
fn first_answer(word: &AtomicU64) -> u64 {
    let next = ASKED.fetch_add(1, Ordering::SeqCst) + 1;
    word.compare_exchange(0, next, Ordering::SeqCst, Ordering::SeqCst).map_or_else(|other| other, |_| next)
}

fn by_id(last: &AtomicU64, id: u32) -> u64 {
    let known = last.load(Ordering::Acquire);
    if known >> 32 == u64::from(id) {
        return known;
    }
    let next = u64::from(id) << 32 | u64::from((known as u32).wrapping_add(1));
    last.compare_exchange(known, next, Ordering::SeqCst, Ordering::SeqCst)
        .map_or_else(|other| other, |_| next)
}

#[cfg(not(test))]
#[inline(always)]
fn pretended() -> bool {
    false
}

#[cfg(test)]
pub(crate) use pretence::in_a_child;
#[cfg(test)]
use pretence::pretended;

/// A test runs in threads, and a fork takes one of them: unit tests only say that they are in a child.
#[cfg(test)]
mod pretence {
    use std::cell::Cell;

    thread_local! {
        static IN_A_CHILD: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn pretended() -> bool {
        IN_A_CHILD.get()
    }

    /// Runs `work` as if the calling thread were that of a child which was forked a moment ago.
    pub(crate) fn in_a_child<T>(work: impl FnOnce() -> T) -> T {
        struct Back;
        impl Drop for Back {
            fn drop(&mut self) {
                IN_A_CHILD.set(false);
            }
        }
        IN_A_CHILD.set(true);
        let _back = Back;
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_and_not_its_child() {
        let process = Process::this();
        assert!(process.is_this() && process.seems_this() && process == Process::this());
        in_a_child(|| assert!(!process.is_this() && !process.seems_this()));
        assert!(process.is_this());
    }

    #[test]
    fn a_cleared_word_is_a_new_process() {
        let word = AtomicU64::new(0);
        let parent = by_word(&word);
        assert_eq!(by_word(&word), parent);
        // What a fork does to it.
        word.store(0, Ordering::SeqCst);
        let child = by_word(&word);
        assert!(child != parent && child != 0 && by_word(&word) == child);
    }

    #[test]
    fn an_id_that_is_used_again_is_another_process() {
        let last = AtomicU64::new(0);
        let grandparent = by_id(&last, 7);
        assert_eq!(by_id(&last, 7), grandparent);
        let parent = by_id(&last, 8);
        let child = by_id(&last, 7);
        assert!(child != grandparent && child != parent);
    }
}
