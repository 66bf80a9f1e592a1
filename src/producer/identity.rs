//! Who a producer is in the logs: an id and an epoch, once it has one.
//!
//! A producer without a name has none until its first transaction that needs one. A named one claims its id when it is built.
//! The epoch changes with each transaction that was decided, so that a late batch of the one before is known by it.
//!
//! A producer has at most one transaction open. As long as that is so, records that are sent beside it are refused.

use crate::{
    env::sync::{AtomicBool, Mutex, Ordering},
    error::{Error, Result},
    partition::state::append_as::Claimed,
};
use std::{any::Any, fmt, sync::Arc};

/// Who gives producers their ids: the coordinator of transactions, which lies above.
pub trait Names: Any + Send + Sync {
    /// Claims the name for this caller, durably. Whoever had it before is fenced.
    fn claim(&self, name: &str) -> Result<Claimed>;
}

/// See the head of the file.
pub(crate) struct ProducerIdentity {
    names: Option<Arc<dyn Names>>,
    name: Option<Arc<str>>,
    claimed: Mutex<Option<Claimed>>,
    in_transaction: AtomicBool,
}

impl fmt::Debug for ProducerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerIdentity").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ProducerIdentity {
    /// A producer that is known by no name. `names` are those of its log.
    pub(super) fn anonymous(names: Option<Arc<dyn Names>>) -> Self {
        ProducerIdentity {
            names,
            name: None,
            claimed: Mutex::new(None),
            in_transaction: AtomicBool::new(false),
        }
    }

    /// Its name, if it has one.
    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// Whoever gives ids, as what it is.
    pub(crate) fn names<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let names: Arc<dyn Any + Send + Sync> = self.names.clone()?;
        names.downcast().ok()
    }

    /// Its id and epoch now.
    pub(crate) fn claimed(&self) -> Option<Claimed> {
        *self.claimed.lock()
    }

    /// From now on it writes as this one.
    pub(crate) fn become_known_as(&self, claimed: Claimed) {
        *self.claimed.lock() = Some(claimed);
    }

    /// A transaction begins. An error where one is open.
    pub(crate) fn enter_transaction(&self) -> Result<()> {
        if self.in_transaction.swap(true, Ordering::AcqRel) {
            let reason = "this producer has a transaction open: commit or abort it first".to_string();
            return Err(Error::InvalidTransactionState { reason });
        }
        Ok(())
    }

    /// Its transaction has ended.
    pub(crate) fn leave_transaction(&self) {
        self.in_transaction.store(false, Ordering::Release);
    }

    /// Refuses what is sent beside an open transaction.
    #[inline]
    pub(super) fn check_outside(&self) -> Result<()> {
        if self.in_transaction.load(Ordering::Relaxed) { Err(sent_beside()) } else { Ok(()) }
    }
}

#[cold]
fn sent_beside() -> Error {
    let reason =
        "a transaction of this producer is open: send with the transaction, or end it first".to_string();
    Error::InvalidTransactionState { reason }
}
