//! Who a producer is in the logs: an id and an epoch, once it has one.
//!
//! A producer without a name has none until its first transaction that needs one. A named one claims its id when it is built.
//! The epoch changes with each transaction that was decided, so that a late batch of the one before is known by it.
//!
//! A producer has at most one transaction open. As long as that is so, records that are sent beside it are refused.

use crate::{
    env::sync::{AtomicBool, Mutex, OnceLock, Ordering},
    error::{Error, Result},
    partition::state::append_as::Claimed,
};
use std::{
    any::Any,
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

/// Who gives producers their ids: the coordinator of transactions, which lies above.
pub trait Names: Any + Send + Sync {
    /// Claims the name for this caller, durably. Whoever had it before is fenced. Its transactions may be open for `timeout`.
    fn claim(&self, name: &str, timeout: Duration) -> Result<Claimed>;

    /// Forgets the name, durably: its next claim draws a new id. Returns the id that it had, if there is such a name.
    fn forget(&self, name: &str) -> Result<Option<i64>>;
}

/// The longest name, in bytes.
const NAME_MAX: usize = 255;

/// Says, once, who has taken the name of a producer over.
type Fence = OnceLock<String>;

/// The producers of this process that have a name: a later claim fences an earlier one.
#[derive(Default)]
pub(super) struct Holders(Mutex<HashMap<Arc<str>, Weak<Fence>>>);

impl Holders {
    /// Claims a name for a producer, and fences the one that had it.
    pub(super) fn claim(
        &self,
        names: Arc<dyn Names>,
        name: &str,
        timeout: Duration,
    ) -> Result<ProducerIdentity> {
        check_name(name)?;
        let mut holders = self.0.lock();
        let claimed = names.claim(name, timeout)?;
        let (name, fence) = (Arc::<str>::from(name), Arc::<Fence>::default());
        let by = format!(
            "a newer producer took the name '{name}' over, as {} in epoch {}",
            claimed.id, claimed.epoch
        );
        let before = holders.insert(Arc::clone(&name), Arc::downgrade(&fence));
        unless_planted!(a_name_has_two_holders => end(before, by));
        let identity = ProducerIdentity::anonymous(Some(names));
        Ok(ProducerIdentity { name: Some((name, fence)), claimed: Mutex::new(Some(claimed)), ..identity })
    }

    /// The name was taken from its producer, for nobody.
    pub(super) fn fence(&self, name: &str) {
        end(self.0.lock().remove(name), format!("the name '{name}' was taken away by an administrator"));
    }

    /// Forgets a name, and fences its producer. Returns the id that it had.
    pub(super) fn forget(&self, names: &dyn Names, name: &str) -> Result<Option<i64>> {
        check_name(name)?;
        let mut holders = self.0.lock();
        let id = names.forget(name)?;
        end(holders.remove(name), format!("the name '{name}' was forgotten"));
        Ok(id)
    }
}

fn end(holder: Option<Weak<Fence>>, by: String) {
    if let Some(fence) = holder.and_then(|fence| fence.upgrade()) {
        let _ = fence.set(by);
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_MAX {
        let reason = format!("a producer's name has 1 to {NAME_MAX} bytes, and this one {}", name.len());
        return Err(Error::InvalidArgument { reason });
    }
    Ok(())
}

/// See the head of the file.
pub(crate) struct ProducerIdentity {
    names: Option<Arc<dyn Names>>,
    name: Option<(Arc<str>, Arc<Fence>)>,
    claimed: Mutex<Option<Claimed>>,
    in_transaction: AtomicBool,
}

impl fmt::Debug for ProducerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerIdentity").field("name", &self.name()).finish_non_exhaustive()
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
        self.name.as_ref().map(|(name, _)| name)
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

    /// The id and epoch of a producer with a name; `None` for one without. An error once another one has the name.
    pub(crate) fn checked_claim(&self) -> Result<Option<Claimed>> {
        let Some((_, fence)) = &self.name else { return Ok(None) };
        match fence.get() {
            Some(by) => Err(Error::Fenced { reason: by.clone() }),
            None => Ok(self.claimed()),
        }
    }

    /// Its name is of no use any more to this producer, for this reason.
    pub(crate) fn give_up_name(&self, reason: &str) {
        if let Some((name, fence)) = &self.name {
            let _ = fence.set(format!("the name '{name}' cannot be used here any more: {reason}"));
        }
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
