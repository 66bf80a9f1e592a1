//! The records that transactions write, in Kafka's format.

use crate::{
    codec::coordinator::transactions::{
        TransactionValue, encode_transaction_key, encode_transaction_value,
        ends::{ENDS_HEADER, End, encode_ends},
        outcome::{EarlierOutcome, OUTCOME_HEADER, encode_outcome},
    },
    table::TableRecord,
};

/// The header of the first record that a rewriting appends: the markers of all decisions that were complete before it are
/// durable, and nobody asks for those decisions any more.
pub(super) const REWRITTEN_HEADER: &str = "streamlog.rewritten";

/// What is known of `name` from now on; a tombstone without a value.
pub(super) fn entry(name: &str, value: Option<&TransactionValue>) -> TableRecord {
    let key = encode_transaction_key(name);
    TableRecord { key, value: value.map(encode_transaction_value), headers: Vec::new() }
}

/// A decision, and what it stands for; a broker's stands by itself.
pub(super) fn decision(name: &str, value: &TransactionValue, ends: Option<&[End]>) -> TableRecord {
    let headers = ends.map(|ends| (ENDS_HEADER.into(), Some(encode_ends(ends))));
    TableRecord { headers: headers.into_iter().collect(), ..entry(name, Some(value)) }
}

/// What became of an earlier decision, beside the entry as it is.
pub(super) fn earlier(name: &str, value: Option<&TransactionValue>, outcome: &EarlierOutcome) -> TableRecord {
    let headers = vec![(OUTCOME_HEADER.into(), Some(encode_outcome(outcome)))];
    TableRecord { headers, ..entry(name, value) }
}

/// The first of these begins the log anew.
pub(super) fn rewritten(mut records: Vec<TableRecord>) -> Vec<TableRecord> {
    let first = records.first_mut();
    first.into_iter().for_each(|first| first.headers.push((REWRITTEN_HEADER.into(), Some(Vec::new()))));
    records
}
