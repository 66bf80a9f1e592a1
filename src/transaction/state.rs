//! What is known of all names, and all decisions: a map that is the sum of the records of `__transaction_state`.
//!
//! The entries are the last value of each name. The decisions are those of every Prepare record since the log was
//! rewritten, by the producer id and the epoch of the transaction's batches: the key of a name may say the next
//! transaction while a log lacks the marker of this one.
//!
//! Rewriting drops the decisions that are complete, after the table's hook has made their markers durable, and the entries
//! of producers without a name whose last transaction is complete. Names are kept until they are forgotten.

use super::{
    TRANSACTION_TOPIC,
    doubts::Doubts,
    entry::{decided, outcome},
    name::is_anonymous,
    record,
};
use crate::{
    codec::{
        DecodeError,
        coordinator::transactions::{
            TransactionKey, TransactionStatus, TransactionValue, decode_transaction_key,
            decode_transaction_value,
            ends::{ENDS_HEADER, End, decode_ends},
            outcome::{EarlierOutcome, OUTCOME_HEADER, decode_outcome},
            sidecar::{
                DecisionEntry, TransactionSnapshot, decode_transaction_snapshot, encode_transaction_snapshot,
            },
        },
        record::Record,
    },
    error::{self, Error},
    partition::state::append_as::Claimed,
    table::{SidecarPoint, State, TableRecord},
    types::{Offset, ProducerEpoch},
};
use std::collections::{BTreeMap, BTreeSet};

/// The last value of a name, and the offset of its record.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value: TransactionValue,
    at: Offset,
}

/// A decision.
#[derive(Clone, Debug)]
pub(super) struct KnownDecision {
    pub(super) name: String,
    /// The epoch of its markers.
    pub(super) marker_epoch: i16,
    pub(super) commit: bool,
    /// How far the logs must reach for it to count; `None` in a broker's, which counts by itself.
    pub(super) ends: Option<Vec<End>>,
    /// The value of its Prepare record, until its markers are written.
    pub(super) open: Option<TransactionValue>,
    /// The offset of its record.
    at: Offset,
}

/// What is known of all names, and all decisions.
#[derive(Debug, Default)]
pub(crate) struct TransactionState {
    entries: BTreeMap<String, Entry>,
    /// By producer id and epoch of the batches.
    decisions: BTreeMap<(i64, i16), KnownDecision>,
    doubts: Doubts,
    /// All records below are in it.
    pub(super) next_offset: Offset,
}

impl State for TransactionState {
    const TOPIC: &'static str = TRANSACTION_TOPIC;
    const SIDECAR: &'static str = "transactions.snapshot";

    fn apply(
        &mut self,
        record: &Record<'_>,
        _by: Option<ProducerEpoch>,
        unreadable: &dyn Fn(DecodeError) -> Error,
    ) {
        let next = record.offset + 1;
        let name = match record.key.map(decode_transaction_key) {
            Some(Ok(TransactionKey::TransactionalId(name))) => Ok(name),
            // Kinds that came later are skipped, as in Kafka.
            None | Some(Ok(TransactionKey::Unknown(_))) => return self.next_offset = next,
            Some(Err(error)) => Err((None, error)),
        };
        let applied = name.and_then(|name| self.apply_to(&name, record).map_err(|error| (Some(name), error)));
        if let Err((name, error)) = applied {
            self.doubts.raise(name, next, unreadable(error));
        }
        self.next_offset = next;
    }

    fn pass_over(&mut self, until: Offset, error: Error) {
        self.doubts.raise(None, until, error);
        self.next_offset = until;
    }

    fn is_whole(&self) -> bool {
        self.doubts.are_none()
    }

    fn snapshot(&self) -> Vec<TableRecord> {
        let mut open: BTreeMap<&str, Vec<(Claimed, &KnownDecision)>> = BTreeMap::new();
        for ((id, epoch), decision) in self.decisions.iter().filter(|(_, decision)| decision.open.is_some()) {
            let of = Claimed { id: *id, epoch: *epoch };
            open.entry(&decision.name).or_default().push((of, decision));
        }
        let mut records = Vec::new();
        for (name, Entry { value, .. }) in &self.entries {
            // The value of the name comes last.
            let earlier = open.remove(name.as_str()).unwrap_or_default();
            if !earlier.is_empty() || !is_over(name, value) {
                put_earlier(&mut records, name, Some(value), &earlier);
            }
        }
        // Of names that were forgotten since.
        open.iter().for_each(|(name, earlier)| put_earlier(&mut records, name, None, earlier));
        record::rewritten(records)
    }

    fn encode_sidecar(&self, at: SidecarPoint) -> Vec<u8> {
        let SidecarPoint { topic_id, incarnation, next_offset } = at;
        let entries = self.entries.iter().map(|(name, entry)| (name.clone(), entry.value.clone())).collect();
        let decisions = self.decisions.iter().map(|((producer_id, epoch), decision)| DecisionEntry {
            transactional_id: decision.name.clone(),
            producer_id: *producer_id,
            epoch: *epoch,
            marker_epoch: decision.marker_epoch,
            committed: decision.commit,
            ends: decision.ends.clone(),
            open: decision.open.clone(),
        });
        let decisions = decisions.collect();
        let snapshot = TransactionSnapshot { topic_id, incarnation, next_offset, entries, decisions };
        encode_transaction_snapshot(&snapshot)
    }

    fn decode_sidecar(bytes: &[u8]) -> Result<(SidecarPoint, Self), DecodeError> {
        let TransactionSnapshot { topic_id, incarnation, next_offset, entries, decisions } =
            decode_transaction_snapshot(bytes)?;
        // Only a state without doubts is written: nothing asks where in the log these lay.
        let at = Offset::ZERO;
        let entries = entries.into_iter().map(|(name, value)| (name, Entry { value, at })).collect();
        let decisions = decisions.into_iter().map(|decision| {
            let DecisionEntry { transactional_id: name, marker_epoch, committed: commit, ends, open, .. } =
                decision;
            let decided = KnownDecision { name, marker_epoch, commit, ends, open, at };
            ((decision.producer_id, decision.epoch), decided)
        });
        let decisions = decisions.collect();
        let state = TransactionState { entries, decisions, doubts: Doubts::default(), next_offset };
        Ok((SidecarPoint { topic_id, incarnation, next_offset }, state))
    }
}

/// Whether nobody asks for the entry again: its producer has no name, and its last transaction is complete.
fn is_over(name: &str, value: &TransactionValue) -> bool {
    is_anonymous(name) && outcome(value.status).is_some_and(|(is_complete, _)| is_complete)
}

/// The records of a name: its open decisions, and its value, which is the last of them.
fn put_earlier(
    records: &mut Vec<TableRecord>,
    name: &str,
    value: Option<&TransactionValue>,
    open: &[(Claimed, &KnownDecision)],
) {
    let is_prepared =
        |value: &&TransactionValue| outcome(value.status).is_some_and(|(is_complete, _)| !is_complete);
    let last = value.filter(is_prepared).map(decided);
    let (last, earlier): (Vec<_>, Vec<_>) = open.iter().partition(|(of, _)| Some(*of) == last);
    for (_, decision) in earlier.into_iter().chain(last.clone()) {
        let value = decision.open.as_ref();
        records.extend(value.map(|value| record::decision(name, value, decision.ends.as_deref())));
    }
    if last.is_empty() {
        records.push(match value.filter(is_prepared) {
            // Its markers are written, which a later record said.
            Some(prepared) => {
                let (of, commit) = (decided(prepared), prepared.status == TransactionStatus::PrepareCommit);
                let ended =
                    EarlierOutcome { producer_id: of.id, epoch: of.epoch, committed: commit, complete: true };
                record::earlier(name, value, &ended)
            }
            None => record::entry(name, value),
        });
    }
}

impl TransactionState {
    fn apply_to(&mut self, name: &str, record: &Record<'_>) -> Result<(), DecodeError> {
        let value = record.value.map(decode_transaction_value).transpose()?;
        if let Some(value) = &value {
            check_numbers(value)?;
        }
        let header = |wanted: &str| record.headers.into_iter().find(|(name, _)| *name == wanted)?.1;
        if header(record::REWRITTEN_HEADER).is_some() {
            self.begin_anew();
        }
        if let Some(bytes) = header(OUTCOME_HEADER) {
            self.apply_earlier(&decode_outcome(bytes)?);
        } else if let Some(value) = &value {
            let ends = header(ENDS_HEADER).map(decode_ends).transpose()?;
            self.apply_decision(name, value, ends, record.offset);
        }
        match value {
            Some(value) => _ = self.entries.insert(name.to_string(), Entry { value, at: record.offset }),
            None => {
                self.entries.remove(name);
                self.doubts.forgotten(name, record.offset);
            }
        }
        Ok(())
    }

    /// The log was rewritten: what is left out of that is forgotten here too.
    fn begin_anew(&mut self) {
        self.decisions.retain(|_, decision| decision.open.is_some());
        let open: BTreeSet<&str> = self.decisions.values().map(|decision| &*decision.name).collect();
        self.entries.retain(|name, entry| open.contains(name.as_str()) || !is_over(name, &entry.value));
    }

    fn apply_decision(&mut self, name: &str, value: &TransactionValue, ends: Option<Vec<End>>, at: Offset) {
        let Some((is_complete, commit)) = outcome(value.status) else { return };
        let of = decided(value);
        if is_complete {
            let (producer_id, epoch) = (of.id, of.epoch);
            return self.apply_earlier(&EarlierOutcome {
                producer_id,
                epoch,
                committed: commit,
                complete: true,
            });
        }
        planted!(last_decision_per_name => self.decisions.retain(|_, decision| decision.name != name));
        let (name, marker_epoch, open) = (name.to_string(), value.producer_epoch, Some(value.clone()));
        self.decisions
            .insert((of.id, of.epoch), KnownDecision { name, marker_epoch, commit, ends, open, at });
    }

    /// Notes how an earlier decision ended.
    fn apply_earlier(&mut self, outcome: &EarlierOutcome) {
        let Some(decision) = self.decisions.get_mut(&(outcome.producer_id, outcome.epoch)) else { return };
        decision.commit = outcome.committed;
        if outcome.complete {
            decision.open = None;
        } else if let (Some(value), false) = (&mut decision.open, outcome.committed) {
            value.status = TransactionStatus::PrepareAbort;
        }
    }

    /// The last value of `name`.
    ///
    /// # Errors
    ///
    /// The error of a record that cannot be read and may be a later one.
    pub(super) fn entry(&self, name: &str) -> error::Result<Option<&TransactionValue>> {
        let entry = self.entries.get(name);
        match self.doubts.about_entry(name, entry.map(|entry| entry.at)) {
            Some(error) => Err(error),
            None => Ok(entry.map(|entry| &entry.value)),
        }
    }

    /// What was read of the last value of `name`, whatever else there may be.
    pub(super) fn known_entry(&self, name: &str) -> Option<&TransactionValue> {
        self.entries.get(name).map(|entry| &entry.value)
    }

    /// All entries that can be read, by their names.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &TransactionValue)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), &entry.value))
    }

    /// The decision about a transaction, by the producer of its batches.
    ///
    /// # Errors
    ///
    /// The error of a record that cannot be read and may be the decision, or change it.
    pub(super) fn decision(&self, of: Claimed) -> error::Result<Option<&KnownDecision>> {
        let found = self.decisions.get(&(of.id, of.epoch));
        let doubt = match found {
            // Its end was read: nothing changes it any more.
            Some(KnownDecision { open: None, .. }) => None,
            Some(KnownDecision { name, at, .. }) => self.doubts.about_decision(Some(name), Some(*at)),
            None => self.doubts.about_decision(self.name_of(of.id), None),
        };
        match doubt {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }

    /// What was read of the decision, whatever else there may be.
    pub(super) fn known_decision(&self, of: Claimed) -> Option<&KnownDecision> {
        self.decisions.get(&(of.id, of.epoch))
    }

    /// The decisions whose markers may not be written.
    #[cfg(test)]
    pub(super) fn open_decisions(&self) -> impl Iterator<Item = (Claimed, &KnownDecision)> {
        let open = self.decisions.iter().filter(|(_, decision)| decision.open.is_some());
        open.map(|((id, epoch), decision)| (Claimed { id: *id, epoch: *epoch }, decision))
    }

    /// The name that has or had a producer id. It goes through all names: only damage leads here.
    fn name_of(&self, id: i64) -> Option<&str> {
        if self.doubts.are_none() {
            return None;
        }
        let decided =
            self.decisions.range((id, i16::MIN)..=(id, i16::MAX)).map(|(_, decision)| &*decision.name);
        let had = |value: &TransactionValue| [value.producer_id, value.previous_producer_id].contains(&id);
        let mut holders = self.entries().filter(|(_, value)| had(value)).map(|(name, _)| name);
        decided.into_iter().next().or_else(|| holders.next())
    }
}

/// Refuses numbers that no producer has.
fn check_numbers(value: &TransactionValue) -> Result<(), DecodeError> {
    if value.producer_id < 0 || value.producer_epoch < 0 {
        let reason = format!("producer id {} at epoch {}", value.producer_id, value.producer_epoch);
        return Err(DecodeError::malformed(0u64, reason));
    }
    Ok(())
}
