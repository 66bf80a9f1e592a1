//! Why a log cannot be used at all: it could not be opened, or not be followed.

use crate::{
    env::sync::{AtomicBool, Mutex, Ordering},
    error::Error,
};

/// Why a log cannot be used, if that is so. Every fetch asks, so there is no lock on the way of logs that can.
#[derive(Debug, Default)]
pub(in crate::partition) struct Unusable {
    is_so: AtomicBool,
    why: Mutex<Option<Error>>,
}

impl Unusable {
    pub fn set(&self, why: Option<Error>) {
        let mut guard = self.why.lock();
        self.is_so.store(why.is_some(), Ordering::SeqCst);
        *guard = why;
    }

    pub fn why(&self) -> Option<Error> {
        if self.is_so.load(Ordering::Relaxed) { self.why.lock().clone() } else { None }
    }
}
