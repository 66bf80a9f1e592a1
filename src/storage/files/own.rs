//! Before a file is changed in place, it is ours alone.

use super::{Descriptor, PooledFile};
use crate::{env::sync::Ordering, error::Result, storage::apart::copy_anew};

impl Descriptor {
    /// Whether the file, which is opened for that, has no other name.
    fn is_own(&self) -> Result<bool> {
        self.check()?;
        let guard = self.handle.read();
        let own = match guard.as_ref() {
            Some(file) => !file.has_other_names(),
            None => {
                drop(guard);
                !self.reopen()?.has_other_names()
            }
        };
        let own = own || planted!(write_through_other_names);
        self.own.store(own, Ordering::Relaxed);
        Ok(own)
    }
}

impl PooledFile {
    /// Gives the name to a copy, where the file has other names as well.
    pub(super) fn make_own(&self) -> Result<()> {
        if !self.descriptor.is_own()? {
            copy_anew(&**self.descriptor.pool.env(), self.path())?;
            self.replaced();
        }
        Ok(())
    }
}
