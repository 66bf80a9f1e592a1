//! What this process has written into the lock files that it holds: so a second comer is told for certain whether it would
//! wait for another process, or for its own.
//!
//! A process id alone does not tell: containers that share a directory often have the same ones.

use super::process::Process;
use std::sync::{Mutex, MutexGuard, TryLockError};

static HELD: Mutex<Vec<(Process, String)>> = Mutex::new(Vec::new());

/// As long as it lives, this process is known to hold a lock with this text.
#[derive(Debug)]
pub struct Held(String);

/// From now on a lock whose file has this text is this process's.
pub fn hold(text: &str) -> Held {
    if let Some(mut list) = list() {
        list.push((Process::this(), text.to_string()));
    }
    Held(text.to_string())
}

/// Whether this process, and not the one that forked it, holds a lock whose file has this text.
pub fn holds(text: &str) -> bool {
    list().is_some_and(|list| list.iter().any(|(process, held)| process.is_this() && held == text))
}

/// The list; `None` where somebody has it in hand. In a forked child that may be a thread which it does not have.
fn list() -> Option<MutexGuard<'static, Vec<(Process, String)>>> {
    for _ in 0..1000 {
        match HELD.try_lock() {
            Ok(list) => return Some(list),
            Err(TryLockError::Poisoned(list)) => return Some(list.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(mut list) = list() else { return };
        if let Some(at) = list.iter().position(|(_, held)| *held == self.0) {
            list.swap_remove(at);
        }
    }
}
