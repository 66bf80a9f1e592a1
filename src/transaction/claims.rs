//! What is asked of names and decisions, and what is done with them: claims, decisions, their ends.
//!
//! Claims, fences and forgetting are durable when they return. Decisions and their ends are appended, and become durable
//! with the caller's flush: that of a decision goes in one round with that of its data.
//!
//! An operation looks at the last entry of its name, durable or not ([`in_flight`](super::in_flight)), under the lock of the
//! table that orders all of them. So of two claims that race one comes second, and its holder is the winner.

use super::{
    entry::{self, Verdict},
    in_flight::{InFlight, Ticket},
    name::{anonymous_name, check_name, check_timeout, is_anonymous, producer_id},
    record,
    state::{KnownDecision, TransactionState},
};
pub(crate) use crate::codec::coordinator::transactions::ends::End;
use crate::{
    codec::coordinator::transactions::{TransactionStatus, TransactionValue, outcome::EarlierOutcome},
    env::sync::Mutex,
    error::{Error, Result},
    partition::{log::Log, state::append_as::Claimed},
    table::{CompactionThresholds, Table, TableRecord, Update, View},
    topic::catalog::Catalog,
    types::{Offset, Timestamp},
};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

/// The names of producers, and the decisions of their transactions. There is one per open log.
pub(crate) struct Claims {
    catalog: Arc<Catalog>,
    pub(super) table: Table<TransactionState>,
    pub(super) in_flight: Mutex<InFlight>,
    /// The names that were claimed in this life, by the producer ids that they got.
    names: Mutex<BTreeMap<i64, Arc<str>>>,
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").finish_non_exhaustive()
    }
}

/// A name that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// As whom its holder writes.
    pub producer: Claimed,
    /// The producer id of the name before this one, if that was used up: the logs know its sequences under that.
    pub previous_id: Option<i64>,
}

/// A decision that was appended.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    /// As whom the producer writes its next transaction. Within one id, its epoch is that of this one's markers; otherwise
    /// theirs is 32767.
    pub next: Claimed,
    /// The log of the decision, which the caller flushes.
    pub log: Arc<Log>,
    /// The end below which that must be durable.
    pub end: Offset,
}

/// A decision, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Commit or abort.
    pub commit: bool,
    /// The epoch of its markers.
    pub marker_epoch: i16,
    /// How far the logs must reach for it to count; empty for a broker's, which counts by itself.
    pub ends: Vec<End>,
    /// Whether all its markers were written once. They may not have been durable.
    pub is_complete: bool,
}

/// What an operation sees of a name.
struct Seen<'a> {
    last: Option<TransactionValue>,
    state: &'a TransactionState,
    /// Whether something about the name is in flight.
    is_in_flight: bool,
    now: Timestamp,
}

/// What it does: a record, the entry of the name from then on, and the answer.
struct Step<A> {
    writes: Option<(TableRecord, Option<TransactionValue>)>,
    answer: A,
}

/// The answer, and the end below which a log must be durable for it, where something was written.
type Appended<A> = (A, Option<(Arc<Log>, Offset)>);

impl Claims {
    /// The claims in the topics of `catalog`. `markers_are_durable` is called before decisions go that are complete: it
    /// flushes the logs whose markers may not be durable. It must not call these claims.
    pub(crate) fn new(
        catalog: Arc<Catalog>,
        upkeep: CompactionThresholds,
        markers_are_durable: impl Fn() -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let table = Table::new(Arc::clone(&catalog), upkeep).before_rewriting(markers_are_durable);
        Claims { catalog, table, in_flight: Mutex::default(), names: Mutex::default() }
    }

    /// A producer id, at epoch 0, for a producer without a name. Nothing is written.
    pub(crate) fn draw(&self) -> Claimed {
        Claimed { id: producer_id(self.catalog.data_dir().env.random()), epoch: 0 }
    }

    /// Claims `name`: durable when it returns. Its holder before is fenced. A transaction stays open for `timeout` at most.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a name that no producer can have, `InvalidConfig` for a time of zero or above 15 minutes,
    /// `ReadOnly`; `Corrupt` where a record that cannot be read may be the last one of the name: [`forget`](Self::forget)
    /// ends that. Those of the operating system.
    pub(crate) fn claim(&self, name: &str, timeout: Duration) -> Result<Claim> {
        self.catalog.data_dir().check_writable()?;
        check_name(name)?;
        let timeout_ms = check_timeout(timeout)?;
        let fresh = self.draw().id;
        let claim = self.durably(name, |seen| {
            let value = match &seen.last {
                Some(last) => entry::claimed_again(last, timeout_ms, fresh, seen.now),
                None => entry::first(fresh, timeout_ms, seen.now),
            };
            let claim = Claim { producer: entry::holder(&value), previous_id: entry::previous_id(&value) };
            Ok(Step { writes: Some((record::entry(name, Some(&value)), Some(value))), answer: claim })
        })?;
        self.names.lock().insert(claim.producer.id, name.into());
        Ok(claim)
    }

    /// Fences the holder of `name` without holding it oneself: its next decision is refused. `None` for an unknown name.
    ///
    /// # Errors
    ///
    /// As for [`claim`](Self::claim).
    pub(crate) fn fence(&self, name: &str) -> Result<Option<Claimed>> {
        let fresh = self.draw().id;
        self.durably(name, |seen| {
            let Some(last) = &seen.last else { return Ok(Step { writes: None, answer: None }) };
            let value = entry::claimed_again(last, last.timeout_ms, fresh, seen.now);
            let answer = Some(entry::holder(&value));
            Ok(Step { writes: Some((record::entry(name, Some(&value)), Some(value))), answer })
        })
    }

    /// Forgets `name`, and returns whether it was known. Its holder is fenced; the next one gets a new producer id. This
    /// also ends a doubt about what the name did last.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, `ReadOnly`, and those of the operating system.
    pub(crate) fn forget(&self, name: &str) -> Result<bool> {
        self.catalog.data_dir().check_writable()?;
        check_name(name)?;
        let mut ticket = None;
        let known = self.table.update(|view| {
            let mut in_flight = self.in_flight.lock();
            in_flight.applied(view.state.next_offset);
            let entry = view.state.entry(name);
            let is_known =
                in_flight.last(name).map(Option::is_some).or(entry.as_ref().ok().map(Option::is_some));
            let records = match is_known {
                Some(false) => vec![],
                // Where that is in doubt, it is forgotten all the same.
                Some(true) | None => vec![record::entry(name, None)],
            };
            ticket = (!records.is_empty()).then(|| in_flight.add(name, None));
            Ok(Update::atomic(records, is_known.unwrap_or(true)))
        });
        self.landed(name, ticket, None);
        known
    }

    /// Appends the decision about the transaction of `claimed`, which counts once every log has reached its end of `ends`.
    ///
    /// # Errors
    ///
    /// `Fenced`, naming the winner, if the name has another holder by now; `ReadOnly`, and those of the operating system.
    /// Then nothing is decided.
    pub(crate) fn append_decision(
        &self,
        claimed: Claimed,
        verdict: &Verdict,
        ends: &[End],
    ) -> Result<Decided> {
        let name = self.name_of(claimed, None);
        let fresh = self.draw();
        let (next, end) = self.appended(&name, |seen| {
            check_holder(&name, claimed, seen.last.as_ref())?;
            let last = seen.last.unwrap_or_else(|| entry::first(claimed.id, 0, seen.now));
            // Without a name, the next transaction has a name of its own.
            let fresh_id = (!is_anonymous(&name)).then_some(fresh.id);
            let value = entry::prepared(&last, claimed, verdict, fresh_id, seen.now);
            let next = entry::holder(&value);
            let next = if next.epoch == i16::MAX { fresh } else { next };
            let record = record::decision(&name, &value, Some(ends));
            Ok(Step { writes: Some((record, Some(value))), answer: next })
        })?;
        if next.id != claimed.id && !is_anonymous(&name) {
            self.names.lock().insert(next.id, name.as_str().into());
        }
        let (log, end) = end.ok_or_else(|| Error::closed("the log"))?;
        Ok(Decided { next, log, end })
    }

    /// Decides over a commit of `claimed` whose data may not be durable: it is aborted. Returns the end below which the
    /// decision's log must be durable for that.
    ///
    /// # Errors
    ///
    /// `ReadOnly`, and those of the operating system.
    pub(crate) fn decide_over(&self, claimed: Claimed, decided: &Decided) -> Result<Offset> {
        let name = self.name_of(claimed, None);
        let (_, end) = self.appended(&name, |seen| {
            let (last, now) = (seen.last.as_ref(), seen.now);
            let writes = if let Some(prepared) = last.filter(|value| is_prepared(value, claimed)) {
                let status = TransactionStatus::PrepareAbort;
                let value = TransactionValue { status, last_update: now, ..prepared.clone() };
                (record::decision(&name, &value, Some(&[])), Some(value))
            } else {
                (record::earlier(&name, last, &outcome(claimed, false, false)), last.cloned())
            };
            Ok(Step { writes: Some(writes), answer: () })
        })?;
        Ok(end.map_or(decided.end, |(_, end)| end))
    }

    /// Appends that all markers of a decision are written. Nobody waits for that to become durable.
    ///
    /// # Errors
    ///
    /// `ReadOnly`, and those of the operating system.
    pub(crate) fn append_complete(&self, claimed: Claimed, commit: bool) -> Result<()> {
        let known = self.table.read(|state| state.known_decision(claimed).map(|known| known.name.clone()))?;
        let name = self.name_of(claimed, known);
        self.appended(&name, |seen| {
            let (last, now) = (seen.last.as_ref(), seen.now);
            let writes = if let Some(prepared) = last.filter(|value| is_prepared(value, claimed)) {
                let value = entry::completed(prepared, commit, now);
                Some((record::entry(&name, Some(&value)), Some(value)))
            } else if seen.is_in_flight || seen.state.known_decision(claimed).is_some() {
                Some((record::earlier(&name, last, &outcome(claimed, commit, true)), last.cloned()))
            } else {
                None
            };
            Ok(Step { writes, answer: () })
        })?;
        Ok(())
    }

    /// What follows the flush of a decision.
    ///
    /// # Errors
    ///
    /// Those of the operating system. The decision is durable all the same.
    pub(crate) fn settle(&self) -> Result<()> {
        self.table.settle()
    }

    /// The decision about the transaction whose batches have this id and epoch.
    ///
    /// # Errors
    ///
    /// `Corrupt` where a record that cannot be read may be the decision, or change it: nobody knows. Those of the operating
    /// system.
    pub(crate) fn decision(&self, of: Claimed) -> Result<Option<Decision>> {
        self.table.read(|state| Ok(state.decision(of)?.map(Decision::from)))?
    }

    /// The decisions whose markers may never have been written.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    #[cfg(test)]
    pub(crate) fn open_decisions(&self) -> Result<Vec<(Claimed, Decision)>> {
        self.table.read(|state| state.open_decisions().map(|(of, decision)| (of, decision.into())).collect())
    }

    /// The name under which the transactions of `claimed` are recorded.
    fn name_of(&self, claimed: Claimed, known: Option<String>) -> String {
        let claimed_here = self.names.lock().get(&claimed.id).map(ToString::to_string);
        claimed_here.or(known).unwrap_or_else(|| anonymous_name(claimed.id))
    }

    /// Makes a step whose record is durable when this returns.
    fn durably<A>(&self, name: &str, step: impl FnOnce(Seen<'_>) -> Result<Step<A>>) -> Result<A> {
        let mut ticket = None;
        let answer = self.table.update(|view| self.step(name, view, step, &mut ticket));
        // The state has the record now, or nobody holds what it would have said.
        self.landed(name, ticket, None);
        answer
    }

    /// Makes a step whose record is appended.
    fn appended<A>(&self, name: &str, step: impl FnOnce(Seen<'_>) -> Result<Step<A>>) -> Result<Appended<A>> {
        let mut ticket = None;
        let appended = self.table.append_only(|view| self.step(name, view, step, &mut ticket));
        let end = appended.as_ref().ok().and_then(|(_, unflushed)| Some(unflushed.as_ref()?.1));
        self.landed(name, ticket, end);
        appended
    }

    fn step<A>(
        &self,
        name: &str,
        view: View<'_, TransactionState>,
        step: impl FnOnce(Seen<'_>) -> Result<Step<A>>,
        ticket: &mut Option<Ticket>,
    ) -> Result<Update<A>> {
        let (state, now) = (view.state, view.now);
        let mut in_flight = self.in_flight.lock();
        in_flight.applied(state.next_offset);
        let flying = in_flight.last(name);
        let last = match flying {
            Some(value) => value.clone(),
            // Its producer id was drawn in this life: what cannot be read is not about it.
            None if is_anonymous(name) => state.known_entry(name).cloned(),
            None => state.entry(name)?.cloned(),
        };
        let Step { writes, answer } = step(Seen { last, state, is_in_flight: flying.is_some(), now })?;
        let Some((record, value)) = writes else { return Ok(Update::atomic(vec![], answer)) };
        *ticket = Some(in_flight.add(name, value));
        Ok(Update::atomic(vec![record], answer))
    }

    /// The change of this ticket ends there in the log, or is not in flight any more.
    fn landed(&self, name: &str, ticket: Option<Ticket>, end: Option<Offset>) {
        if let Some(ticket) = ticket {
            self.in_flight.lock().appended(name, ticket, end);
        }
    }
}

impl From<&KnownDecision> for Decision {
    fn from(known: &KnownDecision) -> Self {
        Decision {
            commit: known.commit,
            marker_epoch: known.marker_epoch,
            ends: known.ends.clone().unwrap_or_default(),
            is_complete: known.open.is_none(),
        }
    }
}

fn outcome(claimed: Claimed, committed: bool, complete: bool) -> EarlierOutcome {
    EarlierOutcome { producer_id: claimed.id, epoch: claimed.epoch, committed, complete }
}

/// Whether the entry is the decision about the transaction of `claimed`, whose end it does not say.
fn is_prepared(value: &TransactionValue, claimed: Claimed) -> bool {
    entry::outcome(value.status).is_some_and(|(is_complete, _)| !is_complete)
        && entry::decided(value) == claimed
}

/// Refuses a decision of a holder that was fenced.
fn check_holder(name: &str, claimed: Claimed, last: Option<&TransactionValue>) -> Result<()> {
    let here = format!("this one writes at epoch {} of producer id {}", claimed.epoch, claimed.id);
    let reason = match last {
        Some(value) if entry::holder(value) == claimed => return Ok(()),
        // Once its last transaction was complete, the entry may have gone.
        None if is_anonymous(name) => return Ok(()),
        Some(value) => {
            let Claimed { id, epoch } = entry::holder(value);
            let since = value.last_update;
            format!(
                "the name '{name}' has another holder, at epoch {epoch} of producer id {id} since {since}; {here}"
            )
        }
        None => format!("the name '{name}' was forgotten; {here}"),
    };
    Err(Error::Fenced { reason })
}
