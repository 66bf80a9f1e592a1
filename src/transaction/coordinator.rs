//! The coordinator of transactions: one per open log. It knows what is open, who may write under which name, and what was
//! decided.
//!
//! Locks, in this order: a transaction's progress, the table of decisions, a log's writer. The list of open transactions is
//! held over no call.

use super::{
    claims::Claims,
    open::{Ended, Open, Progress},
};
use crate::{
    consumer::Consumer,
    env::sync::{AtomicU64, Mutex, Ordering},
    error::{Error, Result},
    group::OffsetStore,
    partition::{
        state::append_as::Claimed,
        write::end_transaction::{TransactionEnd, end_transaction, make_markers_durable, owes_markers},
    },
    producer::{Producer, identity::Names},
    table::CompactionThresholds,
    topic::{
        caretaker::{Attended, Caretaker},
        catalog::Catalog,
        duty::Duty,
    },
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

/// See the head of the file.
pub(crate) struct TransactionCoordinator {
    me: Weak<TransactionCoordinator>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) claims: Claims,
    pub(super) offsets: Arc<OffsetStore>,
    open: Mutex<BTreeMap<u64, Weak<Open>>>,
    begun: AtomicU64,
}

impl fmt::Debug for TransactionCoordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionCoordinator")
            .field("open", &self.open.lock().len())
            .finish_non_exhaustive()
    }
}

impl TransactionCoordinator {
    /// The coordinator of the transactions in the topics of `catalog`.
    pub(crate) fn new(
        catalog: Arc<Catalog>,
        upkeep: CompactionThresholds,
        offsets: Arc<OffsetStore>,
    ) -> Arc<Self> {
        let logs = Arc::clone(&catalog);
        let claims = Claims::new(Arc::clone(&catalog), upkeep, move || {
            planted!(decisions_go_before_their_markers_are_durable => return Ok(()));
            logs.logs().iter().try_for_each(|log| make_markers_durable(log))
        });
        let (open, begun) = (Mutex::default(), AtomicU64::new(0));
        Arc::new_cyclic(|me| TransactionCoordinator {
            me: Weak::clone(me),
            catalog,
            claims,
            offsets,
            open,
            begun,
        })
    }

    /// What time it is, on the monotonic clock.
    pub(super) fn monotonic(&self) -> Duration {
        self.catalog.data_dir().env.monotonic()
    }

    /// Whether `consumer` reads the same log.
    pub(super) fn is_of(&self, consumer: &Consumer) -> bool {
        Arc::ptr_eq(consumer.catalog(), &self.catalog)
    }

    /// Begins a transaction of `producer`, which has said that it has none open.
    pub(super) fn begin(&self, producer: &Producer) -> Arc<Open> {
        let env = &self.catalog.data_dir().env;
        let name = producer.identity().name().cloned();
        let open = Open::new(name, producer.transaction_timeout(), env.monotonic(), env.now());
        let open = Arc::new(open);
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let mut list = self.open.lock();
        list.insert(number, Arc::downgrade(&open));
        open
    }

    /// Those that are open.
    pub(super) fn list(&self) -> Vec<Arc<Open>> {
        let mut list = self.open.lock();
        list.retain(|_, open| open.strong_count() > 0);
        let open: Vec<Arc<Open>> = list.values().filter_map(Weak::upgrade).collect();
        drop(list);
        open
    }

    /// The handle of a transaction lets go of it: what is still open is aborted, and the producer may begin the next one.
    pub(super) fn end(&self, producer: &Producer, open: &Arc<Open>) {
        let mut progress = open.progress();
        if progress.ended.is_none() {
            self.abort_in(&mut progress);
            progress.ended = Some(Ended::ByItself);
        }
        self.leave(producer, &progress);
        drop(progress);
        self.open.lock().retain(|_, other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(open)));
    }

    /// What `producer` is to be known as after this transaction.
    pub(super) fn leave(&self, producer: &Producer, progress: &Progress) {
        if let Some(claimed) = progress.claimed {
            producer.identity().become_known_as(claimed);
        }
        producer.identity().leave_transaction();
    }

    /// Aborts a transaction for this reason, which its handle gets from now on, unless it has ended. An append or a commit in
    /// flight is waited for.
    pub(super) fn abort(&self, open: &Open, reason: Error) -> bool {
        let mut progress = open.progress();
        if progress.ended.is_some() {
            return false;
        }
        self.abort_in(&mut progress);
        unless_planted!(written_after_its_end => progress.ended = Some(Ended::ByOther(reason)));
        true
    }

    /// Takes back what was written. It needs nothing of the disk: what has no decision is aborted by every opening.
    pub(super) fn abort_in(&self, progress: &mut Progress) {
        let Some(claimed) = progress.claimed.filter(|_| !progress.written.is_empty()) else { return };
        // The next transaction has an epoch of its own, if that can be written down now.
        let decided = self.claims.append_decision(claimed, &progress.verdict(false), &[]);
        let next = decided.map_or(claimed, |decided| decided.next);
        if self.mark(progress, claimed, next, false) && next != claimed {
            let _ = self.claims.append_complete(claimed, false);
        }
        progress.claimed = Some(next);
    }

    /// Ends the transaction in every log that it has written to. A log that cannot be written keeps its marker pending; one that
    /// was poisoned or closed learns the outcome from its next opening. Returns whether every marker was written.
    pub(super) fn mark(&self, progress: &Progress, claimed: Claimed, next: Claimed, commit: bool) -> bool {
        let marker_epoch = if next.id == claimed.id { next.epoch } else { i16::MAX };
        let end = TransactionEnd { producer_id: claimed.id, epoch: claimed.epoch, marker_epoch, commit };
        let mut all = true;
        for written in progress.written.values() {
            all &= end_transaction(&written.log, &end).is_ok() && !owes_markers(&written.log);
        }
        all
    }

    /// Aborts every transaction whose time is over. Returns when the next one's is.
    pub(crate) fn abort_late_ones(&self) -> Option<Duration> {
        let now = self.monotonic();
        let mut next: Option<Duration> = None;
        for open in self.list() {
            if open.is_late(now) {
                self.abort(&open, open.too_late());
            } else {
                next = Some(next.map_or(open.deadline, |next| next.min(open.deadline)));
            }
        }
        next
    }

    /// This one has written before its commit: when its time is over, somebody must end it.
    pub(super) fn watch(&self, open: &Open) {
        self.list_again(Duty::Transactions, open.deadline);
    }

    /// What is known of names.
    pub(crate) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Takes a name from its holder. Returns whether it was known.
    pub(crate) fn fence(&self, name: &str) -> Result<bool> {
        self.catalog.data_dir().check_writable()?;
        let fenced = self.claims.fence(name)?;
        self.fence_open(name);
        Ok(fenced.is_some())
    }

    /// Aborts the transaction that a producer of this handle has open. Returns whether there was one.
    pub(crate) fn abort_of(&self, producer_id: i64) -> bool {
        let reason =
            || Error::Fenced { reason: "the transaction was aborted by an administrator".to_string() };
        let of = |open: &Arc<Open>| open.progress().claimed.is_some_and(|claimed| claimed.id == producer_id);
        self.list().into_iter().filter(of).any(|open| self.abort(&open, reason()))
    }

    /// Aborts what is open under a name that has another holder now.
    pub(super) fn fence_open(&self, name: &str) {
        for open in self.list().into_iter().filter(|open| open.name.as_deref() == Some(name)) {
            let reason = format!("the name '{name}' has another holder now, and the transaction was aborted");
            self.abort(&open, Error::Fenced { reason });
        }
    }

    /// Aborts everything: the log is being closed.
    pub(crate) fn close(&self) {
        for open in self.list() {
            self.abort(&open, Error::closed("the log"));
        }
    }
}

impl Caretaker for TransactionCoordinator {
    fn attend(self: Arc<Self>, duty: Duty, _now: Duration) -> Attended {
        let next = if duty == Duty::Transactions { self.abort_late_ones() } else { None };
        Attended { next, wrote: false }
    }

    fn list_again(&self, duty: Duty, at: Duration) {
        drop(self.catalog.schedule().put(duty, at, Weak::clone(&self.me) as Weak<dyn Caretaker>));
    }
}

/// Who gets a name fences its holder before: what that has open is aborted.
impl Names for TransactionCoordinator {
    fn claim(&self, name: &str, timeout: Duration) -> Result<Claimed> {
        let claim = self.claims.claim(name, timeout)?;
        self.fence_open(name);
        Ok(claim.producer)
    }

    fn forget(&self, name: &str) -> Result<Option<i64>> {
        let id = self.claims.describe(name).ok().flatten().map(|known| known.producer_id);
        self.claims.forget(name)?;
        self.fence_open(name);
        Ok(id)
    }
}
