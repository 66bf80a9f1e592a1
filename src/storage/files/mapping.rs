//! A mapping that is made when it is needed and given back when there are too many.

use super::{cap::Evictable, caps::Caps};
use crate::{
    env::{
        Region,
        sync::{AtomicBool, Mutex, Ordering},
    },
    error::{Error, Result},
};
use bytes::Bytes;
use std::{
    io,
    ops::Range,
    sync::{Arc, Weak},
};

/// A mapping of a file, or the wish to make one.
pub(super) struct Mapping {
    caps: Arc<Caps>,
    used: AtomicBool,
    /// The file system maps no such file: it is not asked again.
    unsupported: AtomicBool,
    region: Mutex<Option<Arc<dyn Region>>>,
}

impl Mapping {
    pub(super) fn new(caps: Arc<Caps>) -> Self {
        Mapping {
            caps,
            used: AtomicBool::new(false),
            unsupported: AtomicBool::new(false),
            region: Mutex::new(None),
        }
    }

    /// The bytes of `range`; where what is mapped is too short for `capacity`, `map` maps as much anew. `None` where the
    /// system maps no such file, or nothing more now. An error of the mapping becomes one of the file through `in_file`.
    #[inline]
    pub(super) fn bytes(
        self: &Arc<Self>,
        range: Range<u64>,
        capacity: u64,
        map: impl FnOnce(u64) -> Result<Mapped>,
        in_file: impl Fn(io::Error) -> Error,
    ) -> Result<Option<Bytes>> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        let mut guard = self.region.lock();
        match guard.as_ref() {
            // Under the lock, which is one count less to go up and down.
            Some(region) if region.capacity() >= capacity => {
                return region.get(range).map(Some).map_err(in_file);
            }
            _ => {}
        }
        if self.unsupported.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let region = match map(capacity)? {
            Mapped::Region(region) => region,
            Mapped::Refused { forever } => {
                self.unsupported.store(forever, Ordering::Relaxed);
                return Ok(None);
            }
        };
        let fresh = guard.replace(Arc::clone(&region)).is_none();
        drop(guard);
        if fresh {
            self.caps.regions.admit(Arc::downgrade(self) as Weak<dyn Evictable>);
        }
        region.get(range).map(Some).map_err(in_file)
    }

    /// What is mapped now.
    pub(super) fn region(&self) -> Option<Arc<dyn Region>> {
        self.region.lock().clone()
    }

    /// Gives back what is mapped: another file has taken the name.
    pub(super) fn replaced(&self) {
        if self.region.lock().take().is_some() {
            self.caps.regions.released();
        }
    }
}

/// What the system said to the wish for a mapping.
pub(super) enum Mapped {
    Region(Arc<dyn Region>),
    /// There is none; `forever` where no such file is ever mapped.
    Refused {
        forever: bool,
    },
}

impl Evictable for Mapping {
    fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    fn evict(&self) -> bool {
        let Some(mut region) = self.region.try_lock() else { return false };
        if region.take().is_some() {
            self.caps.regions.released();
        }
        true
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.region.get_mut().is_some() {
            self.caps.regions.released();
        }
    }
}
