//! Histories of producers, transactions and markers against a model that has every batch: what is left after each cleaning
//! are the batches, records and horizons that Kafka's rules leave, and the headers of each producer's last five batches.
//!
//! What must be as it was, whatever is left, [`History::clean`] compares.

use super::kafka_cases::{History, open};
use crate::sim::Crash;
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::Path,
    process::Command,
};

#[derive(Clone, Debug)]
enum Step {
    /// A batch of a producer, or of nobody, with these keys; in a transaction if it likes, or one is open.
    Send(i64, Vec<u8>, bool),
    /// The open transaction of a producer ends.
    End(i64, bool),
    Roll,
    Clean,
    /// The horizons that were set are over.
    Later,
    Reopen,
}

/// A batch as it is by now.
#[derive(Clone, Debug)]
struct Batch {
    last: u64,
    producer: i64,
    /// The number of its transaction, and whether it ends that.
    transaction: Option<usize>,
    is_marker: bool,
    /// Offset and key, or the marker's without one.
    records: Vec<(u64, Option<u8>)>,
    /// How often horizons were over when it got its own.
    horizon: Option<u32>,
}

#[derive(Default)]
struct Model {
    batches: Vec<Batch>,
    next: u64,
    /// Where segments end.
    rolls: Vec<u64>,
    /// By producer, the number of the transaction that is open, and where it began.
    open: BTreeMap<i64, (usize, u64)>,
    aborted: BTreeSet<usize>,
    transactions: usize,
    /// By producer, the last offsets of its last batches.
    last: BTreeMap<i64, VecDeque<u64>>,
    laters: u32,
}

impl Model {
    /// The step in the words of a history; `None` where it means nothing.
    fn take(&mut self, step: &Step) -> Option<String> {
        match step {
            Step::Send(producer, keys, likes) => {
                let in_transaction = *producer > 0 && (*likes || self.open.contains_key(producer));
                self.send(*producer, keys, in_transaction);
                let keys: Vec<_> = keys.iter().map(u8::to_string).collect();
                let kind = if *producer == 0 {
                    'N'
                } else if in_transaction {
                    'T'
                } else {
                    'P'
                };
                let producer = if *producer == 0 { String::new() } else { producer.to_string() };
                Some(format!("{kind}{producer}[{}]", keys.join(",")))
            }
            Step::End(producer, commit) => {
                let (transaction, _) = self.open.remove(producer)?;
                if !commit {
                    self.aborted.insert(transaction);
                }
                let batch = Batch {
                    transaction: Some(transaction),
                    is_marker: true,
                    ..self.batch(*producer, &[None])
                };
                self.batches.push(batch);
                Some(format!("{}{producer}", if *commit { 'C' } else { 'A' }))
            }
            Step::Roll => {
                self.rolls.push(self.next);
                Some("|".into())
            }
            _ => None,
        }
    }

    fn batch(&mut self, producer: i64, keys: &[Option<u8>]) -> Batch {
        let records: Vec<_> = (self.next..).zip(keys.iter().copied()).collect();
        self.next += keys.len() as u64;
        let last = self.next - 1;
        Batch { last, producer, transaction: None, is_marker: false, records, horizon: None }
    }

    fn send(&mut self, producer: i64, keys: &[u8], in_transaction: bool) {
        let base = self.next;
        let keys: Vec<_> = keys.iter().copied().map(Some).collect();
        let mut batch = self.batch(producer, &keys);
        if in_transaction {
            let transactions = &mut self.transactions;
            let open = self.open.entry(producer).or_insert_with(|| {
                *transactions += 1;
                (*transactions, base)
            });
            batch.transaction = Some(open.0);
        }
        if producer > 0 {
            let last = self.last.entry(producer).or_default();
            last.push_back(batch.last);
            if last.len() > 5 {
                last.pop_front();
            }
        }
        self.batches.push(batch);
    }

    fn clean(&mut self) {
        let stable = self.open.values().map(|(_, first)| *first).min().unwrap_or(self.next);
        let end = self.rolls.iter().copied().filter(|roll| *roll <= stable).max().unwrap_or(0);
        let below = self.batches.partition_point(|batch| batch.last < end);
        let mut newest = BTreeMap::new();
        let left: BTreeSet<_> =
            self.batches.iter().filter(|one| !one.is_marker).filter_map(|one| one.transaction).collect();
        for batch in &self.batches[..below] {
            if !batch.transaction.is_some_and(|one| self.aborted.contains(&one)) {
                newest.extend(batch.records.iter().filter_map(|(offset, key)| Some(((*key)?, *offset))));
            }
        }
        for batch in &mut self.batches[..below] {
            match batch.transaction {
                Some(one) if batch.is_marker && !batch.records.is_empty() && !left.contains(&one) => {
                    if self.laters > *batch.horizon.get_or_insert(self.laters) {
                        batch.records.clear();
                        batch.horizon = None;
                    }
                }
                Some(one) if !batch.is_marker && self.aborted.contains(&one) => batch.records.clear(),
                _ => batch
                    .records
                    .retain(|(offset, key)| key.is_none_or(|key| newest.get(&key) == Some(offset))),
            }
        }
        let (next, last) = (self.next, &self.last);
        let stays = |batch: &Batch| {
            let is_known =
                !batch.is_marker && last.get(&batch.producer).is_some_and(|last| last.contains(&batch.last));
            batch.last >= end || !batch.records.is_empty() || is_known || batch.last + 1 == next
        };
        self.batches.retain(stays);
    }

    /// Of batches the last offsets, and the offsets of all records.
    fn left(&self) -> (Vec<u64>, Vec<u64>) {
        let records = self.batches.iter().flat_map(|batch| &batch.records).map(|(offset, _)| *offset);
        (self.batches.iter().map(|batch| batch.last).collect(), records.collect())
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = prop::collection::vec(0u8..6, 1..4);
    let step = prop_oneof![
        10 => (0i64..4, keys, any::<bool>()).prop_map(|(producer, keys, likes)| Step::Send(producer, keys, likes)),
        5 => (1i64..4, any::<bool>()).prop_map(|(producer, commit)| Step::End(producer, commit)),
        3 => Just(Step::Roll),
        3 => Just(Step::Clean),
        1 => Just(Step::Later),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..50)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn any_history_of_transactions_keeps_what_kafka_keeps(steps in steps()) {
        let (mut history, mut model) = (History::of(""), Model::default());
        let all = [Step::Roll, Step::Clean, Step::Later, Step::Clean];
        for step in steps.iter().chain(&all) {
            match step {
                Step::Clean => {
                    model.clean();
                    history.clean();
                    let (ends, offsets, _) = history.left();
                    prop_assert_eq!((ends, offsets), model.left());
                }
                Step::Later => {
                    model.laters += 1;
                    history.later();
                }
                Step::Reopen => history.reopen(),
                step => {
                    if let Some(words) = model.take(step) {
                        history.go_on(&words);
                    }
                }
            }
        }
    }
}

#[test]
fn a_strict_reader_of_kafkas_files_accepts_what_is_left_of_transactions() {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = above.map(|dir| dir.join("shared/tools/kafkafiles.py")).find(|path| path.is_file());
    let Some(reader) = found else {
        eprintln!("SKIPPED: no shared/tools/kafkafiles.py beside the repository");
        return;
    };
    for steps in [
        "P1[1,2,3] P2[3,1,4] P3[1,4] | P1[1] P1[1] P1[1] P1[1] P1[1] |",
        "T1[1,2] T3[2,3] T2[3,4] | T2[5,6] T3[6,7] T1[7,8] A2 T3[8,9] C3 T1[9,10] A1 | T2[11] T1[12] A1",
        "T1[2,3] A1 | P1[1] P1[2] P1[2] P1[2] P1[2] |",
        "C1 N[2] N[3] |",
    ] {
        let mut history = History::of(steps);
        for round in 0..3 {
            history.clean().later();
            let env = history.env.crash(Crash::Everything, 1);
            open(&env).close().unwrap();
            let dir = tempfile::tempdir().unwrap();
            for (path, content) in env.files() {
                let Some(path) = path.strip_prefix("/data/") else { continue };
                let path = dir.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            let done = Command::new("python3").arg(&reader).arg("check").arg(dir.path()).output();
            let Ok(done) = done else { return eprintln!("SKIPPED: no python3, which kafkafiles.py needs") };
            let said = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success(), "{steps}, round {round}: {said}");
        }
    }
}
