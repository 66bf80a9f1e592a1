//! Kafka's own situations of its cleaner with producers, transactions and markers: the same is left, but for the headers of
//! a producer's last batches, of which Kafka keeps one and five stay here.
//!
//! A history is written as `P1[2,3]` for a batch of producer 1 with these keys, in a transaction where it is `T1[2,3]`,
//! `N[2]` for one of nobody, `C1` and `A1` for the markers that commit and abort, `|` for a roll. Offsets count from 0.
//!
//! After each cleaning, whatever it is about: what the log knows of producers, where readers of committed records stop, and
//! what they see of each key is as it was, in this life, after a clean close, and where a kill took all snapshots and
//! transaction indexes. Every batch that a producer might send again is there already.

use super::cleaning::Cleaning;
use crate::{
    Partition, Streamlog, TopicConfig,
    codec::{
        builder::{BatchBuilder, SealedBatch},
        control::marker_batch,
        snapshot::{BatchMeta, ProducerBatches, ProducerEntry},
    },
    config::{Builder, CleanupPolicy, ConfigChange},
    partition::{
        log::Log,
        read::aborted::aborted_between,
        tests::{producers_of, segments_of},
        write::{cleanable::CleaningTurn, gate::Origin},
    },
    planted::hold,
    sim::{Crash, SimEnv},
    storage::scan::{ScanItem, Scanner},
    types::{Compression, IsolationLevel, Offset, Timestamp},
};
use std::{collections::BTreeMap, time::Duration};

const RETENTION: Duration = Duration::from_secs(100);
const START: i64 = 1_767_225_600_000;

/// A log, and what its producers have sent.
pub(super) struct History {
    pub env: SimEnv,
    pub handle: Streamlog,
    /// By producer, the sequence of its next batch.
    sequences: BTreeMap<i64, i32>,
    /// What came before anything was cleaned: of each key the newest offset that is committed.
    newest: BTreeMap<String, u64>,
    /// Whether what is appended is durable.
    is_durable: bool,
}

/// What a log knows of its producers, without times.
type Known = (Vec<ProducerEntry>, Vec<ProducerBatches>);

pub(super) fn open(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/data").background_thread(false).open().unwrap()
}

fn partition_of(handle: &Streamlog) -> Partition {
    handle.topic("t").unwrap().partition(0).unwrap()
}

pub(super) fn known(log: &Log) -> Known {
    let (mut entries, mut batches) = producers_of(log);
    for entry in &mut entries {
        (entry.timestamp, entry.coordinator_epoch) = (Timestamp::NONE, 0);
    }
    for batch in batches.iter_mut().flat_map(|producer| &mut producer.batches) {
        *batch = BatchMeta { timestamp: Timestamp::NONE, ..*batch };
    }
    (entries, batches)
}

/// Of each key, the newest offset that a reader of committed records sees.
fn newest(partition: &Partition) -> BTreeMap<String, u64> {
    let records = partition.records_with(0, IsolationLevel::ReadCommitted).map(|record| record.unwrap());
    records.filter_map(|r| Some((r.key_str()?.to_string(), r.offset.value()))).collect()
}

impl History {
    /// One that begins with these steps.
    pub fn of(steps: &str) -> Self {
        let env = SimEnv::new(1);
        env.set_wall_clock(Timestamp::from_millis(START));
        let handle = open(&env);
        let config =
            TopicConfig::default().cleanup_policy(CleanupPolicy::Compact).delete_retention(RETENTION);
        handle.create_topic("t", config).unwrap();
        let mut history =
            History { env, handle, sequences: BTreeMap::new(), newest: BTreeMap::new(), is_durable: true };
        history.go_on(steps);
        history
    }

    pub fn partition(&self) -> Partition {
        partition_of(&self.handle)
    }

    /// Takes more steps.
    pub fn go_on(&mut self, steps: &str) -> &mut Self {
        for step in steps.split_whitespace() {
            let (kind, rest) = step.split_at(1);
            let (producer, keys) = rest.split_once('[').unwrap_or((rest, ""));
            let producer: i64 = producer.parse().unwrap_or(-1);
            let keys: Vec<&str> = keys.trim_end_matches(']').split(',').collect();
            match kind {
                "|" => drop(self.turn().seal_all().unwrap()),
                "C" | "A" => self.end(producer, kind == "C"),
                "P" | "T" | "N" | "S" => drop(self.send(kind, producer, &keys)),
                _ => panic!("{step}"),
            }
        }
        self.newest.extend(newest(&self.partition()));
        self
    }

    fn append(&self, mut batch: SealedBatch, origin: Origin) -> (u64, bool) {
        let partition = self.partition();
        let appended = partition.log().append_from(&mut batch, origin).unwrap();
        partition.log().acknowledge(appended.next_offset, self.is_durable).unwrap();
        (appended.base_offset.value(), appended.duplicate)
    }

    fn end(&self, producer: i64, commit: bool) {
        let at = Timestamp::from_millis(START);
        self.append(marker_batch(producer, 0, commit, 0, at), Origin::Coordinator);
    }

    /// A batch that begins at sequence 0 each time where it is of kind `S`.
    fn send(&mut self, kind: &str, producer: i64, keys: &[&str]) -> (u64, bool) {
        let next = self.sequences.entry(producer).or_default();
        let sequence = if kind == "S" { 0 } else { *next };
        *next += keys.len() as i32;
        self.send_again(kind, producer, sequence, keys)
    }

    fn send_again(&self, kind: &str, producer: i64, sequence: i32, keys: &[&str]) -> (u64, bool) {
        let mut builder = BatchBuilder::new();
        for key in keys {
            // The key of a marker that commits.
            let key = if *key == "marker" { &b"\0\0\0\x01"[..] } else { key.as_bytes() };
            builder.append(Timestamp::from_millis(START), Some(key), Some(b"value"), &[]).unwrap();
        }
        let mut batch = builder.seal(Compression::None, None).unwrap();
        if producer >= 0 {
            batch.set_producer(producer, 0, sequence);
            batch.set_transactional(matches!(kind, "T" | "S"));
        }
        let origin = if kind == "S" { Origin::Coordinator } else { Origin::Producer };
        self.append(batch, origin)
    }

    /// Its process dies, and it is opened again.
    pub fn reopen(&mut self) {
        self.env = self.env.crash(Crash::Everything, 1);
        self.handle = open(&self.env);
    }

    pub fn turn(&self) -> CleaningTurn {
        CleaningTurn::take(self.partition().log()).unwrap()
    }

    /// Cleans what is sealed.
    fn round(&self) {
        let mut cleaning = Cleaning::new(self.turn(), false, true);
        while cleaning.step(&mut |_| Ok(())).unwrap() {}
    }

    /// Cleans what is sealed, and compares what is to be as it was.
    pub fn clean(&mut self) -> &mut Self {
        let partition = self.partition();
        let before = (known(partition.log()), partition.last_stable_offset());
        self.round();
        self.check(&before);
        self
    }

    /// Cleans now, and once more when the horizons that were set are over.
    pub fn clean_twice(&mut self) -> &mut Self {
        self.clean().later().clean()
    }

    /// The horizons that were set are over.
    pub fn later(&mut self) -> &mut Self {
        self.env.advance(RETENTION + Duration::from_secs(10));
        self
    }

    fn check(&self, before: &(Known, Offset)) {
        let check = |handle: &Streamlog, when: &str| {
            let partition = partition_of(handle);
            assert!(partition.log().damage().is_none(), "{when}");
            let now = (known(partition.log()), partition.last_stable_offset());
            assert_eq!(now, *before, "{when}");
            assert_eq!(newest(&partition), self.newest, "{when}");
        };
        check(&self.handle, "after a cleaning");
        let env = self.env.crash(Crash::Everything, 1);
        check(&open(&env), "after a kill");
        for lost in [&[".snapshot", ".producers"][..], &[".snapshot", ".producers", ".txnindex"]] {
            let env = self.env.crash(Crash::Everything, 1);
            self.lose(&env, lost, 0);
            check(&open(&env), "without snapshots");
        }
        // The first snapshots are there, which know nothing of what was removed later.
        for left in 0..3 {
            let env = self.env.crash(Crash::Everything, 1);
            self.lose(&env, &[".snapshot", ".producers"], left);
            check(&open(&env), "with old snapshots");
        }
        let env = self.env.crash(Crash::Everything, 1);
        open(&env).close().unwrap();
        let handle = open(&env);
        assert!(handle.recovery_report().was_clean);
        check(&handle, "after a clean close");
    }

    /// Overwrites the files with these endings but for the first few of each.
    fn lose(&self, env: &SimEnv, endings: &[&str], left: usize) {
        for ending in endings {
            let files =
                env.files().into_keys().filter(|path| path.contains("/t-0/") && path.ends_with(ending));
            files.skip(left).for_each(|path| env.overwrite(path, b"").unwrap());
        }
    }

    /// The last offsets of all batches, the offsets of all records, markers among them, and the keys.
    pub fn left(&self) -> (Vec<u64>, Vec<u64>, Vec<String>) {
        let (mut ends, mut offsets, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        let partition = self.partition();
        for segment in segments_of(partition.log()).iter() {
            let mut scanner = Scanner::new(segment.source(), segment.readable(), 0, segment.base(), true);
            while let ScanItem::Batch(batch, _) = scanner.next().unwrap() {
                let header = batch.header();
                ends.push(header.last_offset().value());
                let records = batch.records(1 << 20).unwrap().validate().unwrap();
                for record in records.iter() {
                    offsets.push(record.offset.value());
                    if !header.is_control() {
                        keys.push(String::from_utf8_lossy(record.key.unwrap()).into_owned());
                    }
                }
            }
        }
        (ends, offsets, keys)
    }

    #[track_caller]
    fn expect(&mut self, ends: &str, offsets: &str, keys: &str) -> &mut Self {
        let numbers = |list: &str| list.split_whitespace().map(|n| n.parse().unwrap()).collect::<Vec<u64>>();
        let left = self.left();
        assert_eq!(left.2.join(" "), keys, "keys");
        assert_eq!(left.1, numbers(offsets), "offsets");
        assert_eq!(left.0, numbers(ends), "last offsets of batches");
        self
    }

    /// The aborted transactions: producer, first offset, marker, last stable offset.
    fn aborted(&self) -> Vec<(i64, u64, u64, u64)> {
        let partition = self.partition();
        let list = aborted_between(partition.log(), Offset::ZERO, partition.log_end_offset()).unwrap();
        let facts = list.into_iter().map(|one| {
            let [first, last, stable] =
                [one.first_offset, one.last_offset, one.last_stable_offset].map(Offset::value);
            (one.producer_id, first, last, stable)
        });
        facts.collect()
    }
}

#[test]
fn a_batch_of_a_producer_whose_records_went_keeps_its_sequence() {
    // testDuplicateCheckAfterCleaning.
    let mut history = History::of("P1[1,2,3] P2[3,1,4] P3[1,4] |");
    history.clean().expect("2 5 7", "1 3 6 7", "2 3 1 4");
    let retry = |history: &History| {
        assert_eq!(history.send_again("P", 1, 0, &["1", "2", "3"]), (0, true));
        assert_eq!(history.send_again("P", 2, 0, &["3", "1", "4"]), (3, true));
        assert_eq!(history.send_again("P", 3, 0, &["1", "4"]), (6, true));
    };
    retry(&history);
    history.reopen();
    retry(&history);
    history.go_on("P4[2] |").clean().expect("2 5 7 8", "3 6 7 8", "3 1 4 2");
    history.reopen();
    retry(&history);
}

#[test]
fn aborted_records_go_and_markers_stay_while_a_batch_of_theirs_is_there() {
    hold(aborted_records_go, &["aborted_records_live", "aborted_transactions_are_not_indexed"]);
}

fn aborted_records_go() {
    // testBasicTransactionAwareCleaning.
    let mut history = History::of("T1[1,2] T2[2,3] T1[3,4] A1 C2 T1[2] C1 |");
    let aborted = history.aborted();
    history.clean().expect("1 3 5 6 7 8 9", "3 6 7 8 9", "3 2");
    assert_eq!(history.aborted(), aborted);
    // testCleanWithTransactionsSpanningSegments.
    let mut history =
        History::of("T1[1,2] T3[2,3] T2[3,4] | T2[5,6] T3[6,7] T1[7,8] A2 T3[8,9] C3 T1[9,10] A1");
    let ends = "1 3 5 7 9 11 12 14 15 17 18";
    let offsets = "2 3 6 7 8 9 10 11 12 13 14 15 16 17 18";
    history.clean().expect(ends, offsets, "2 3 5 6 6 7 7 8 8 9 9 10");
    history.go_on("| T2[11] T1[12]").clean();
    let ends = format!("{ends} 19 20");
    history.expect(&ends, "2 3 8 9 12 13 14 15 18 19 20", "2 3 6 7 8 9 11 12");
}

#[test]
fn commit_markers_stay_while_batches_of_their_transactions_are_there() {
    hold(commit_markers_stay, &["a_marker_goes_before_its_data", "rewritten_keys_forget_producers"]);
}

fn commit_markers_stay() {
    // testCommitMarkerRemoval.
    let mut history = History::of("T1[1] T1[2,3] C1 T1[2] C1 |");
    history.clean().expect("0 2 3 4 5", "0 2 3 4 5", "1 3 2");
    history.go_on("T1[1,3] C1 |").clean().expect("0 2 3 4 5 7 8", "3 4 5 6 7 8", "2 1 3");
    history.clean().expect("0 2 3 4 5 7 8", "3 4 5 6 7 8", "2 1 3");
    // Kafka has one batch of the producer by now, and no marker at 3. Here that goes with the fifth batch after the last of
    // its transaction.
    history.later().clean().expect("0 2 3 4 5 7 8", "3 4 5 6 7 8", "2 1 3");
    history.go_on("T1[4] C1 T1[5] C1 T1[6] C1 |").clean();
    history.expect("3 4 5 7 8 9 10 11 12 13 14", "3 4 5 6 7 8 9 10 11 12 13 14", "2 1 3 4 5 6");
    history.clean_twice();
    history.expect("4 5 7 8 9 10 11 12 13 14", "4 5 6 7 8 9 10 11 12 13 14", "2 1 3 4 5 6");
    // testCommitMarkerNotRemoved..., testDeletedBatchesWithNoMessagesRead.
    let mut history = History::of("T1[1] | C1 |");
    history.clean_twice().expect("0 1", "0 1", "1");
    let mut history = History::of("T1[1] A1 T1[2] T1[2] C1 |");
    history.clean_twice().expect("0 1 2 3 4", "1 3 4", "2");
}

#[test]
fn a_marker_without_data_gets_a_horizon_and_goes_after_it() {
    // testCommitMarkerRetentionWithEmptyBatch, the beginning of it; the producer's epoch stays.
    let mut history = History::of("C1 N[1] |");
    history.clean().expect("0 1", "0 1", "1");
    let horizon = |history: &History| {
        let partition = history.partition();
        let header = segments_of(partition.log())[0].header_at(0).unwrap().unwrap();
        assert_eq!((header.max_timestamp.as_millis(), header.is_transactional()), (START, true));
        header.delete_horizon()
    };
    let set = horizon(&history).unwrap();
    let now = START + RETENTION.as_millis() as i64;
    assert!((now..now + 4000).contains(&set.as_millis()), "{set:?}");
    history.env.set_wall_clock(set.minus(Duration::from_secs(5)));
    history.clean().expect("0 1", "0 1", "1");
    assert_eq!(horizon(&history), Some(set));
    history.env.set_wall_clock(set);
    history.clean().expect("0 1", "1", "1");
    assert_eq!(horizon(&history), None);
    history.clean_twice().expect("0 1", "1", "1");
}

#[test]
fn an_emptied_marker_says_the_epoch_of_its_producer() {
    hold(an_emptied_marker_says_the_epoch, &["an_emptied_marker_says_nothing"]);
}

fn an_emptied_marker_says_the_epoch() {
    // testEmptyBatchRemovalWithSequenceReuse..., testCleaningWithUncleanableSection: C16.
    let mut history = History::of("C1 N[2] N[3] |");
    history.clean_twice().expect("0 1 2", "1 2", "2 3");
    history.clean().expect("0 1 2", "1 2", "2 3");
}

#[test]
fn emptied_batches_of_transactions_stay_with_their_markers() {
    // testCommitMarkerRetentionWithEmptyBatch.
    let mut history = History::of("T1[2,3] | T2[2,3] C2 | N[2] N[3] C1 |");
    history.clean().expect("1 3 4 5 6 7", "4 5 6 7", "2 3");
    history.clean().expect("1 3 4 5 6 7", "4 5 6 7", "2 3");
    // Kafka drops the batch that ends at 3 now, and then the marker at 4.
    history.go_on("T2[1] C2 |").clean().expect("1 3 4 5 6 7 8 9", "4 5 6 7 8 9", "2 3 1");
    history.clean_twice().expect("1 3 4 5 6 7 8 9", "4 5 6 7 8 9", "2 3 1");
    history.go_on("T2[4] C2 T2[4] C2 T2[4] C2 T2[4] C2 |").clean_twice();
    history.expect("1 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "4 5 6 7 8 9 11 13 15 16 17", "2 3 1 4");
    history.clean_twice();
    history.expect("1 5 6 7 8 9 10 11 12 13 14 15 16 17", "5 6 7 8 9 11 13 15 16 17", "2 3 1 4");
    // testCleanEmptyControlBatch's sequences that all begin at 0: a group's coordinator.
    let mut history = History::of("S1[1] C1 S1[2] C1 N[1] N[2] |");
    history.clean_twice().expect("0 1 2 3 4 5", "1 3 4 5", "1 2");
}

#[test]
fn what_was_aborted_is_indexed_until_its_last_batch_is_gone() {
    // testAbortMarkerRemoval, testAbortMarkerRetentionWithEmptyBatch.
    let mut history = History::of("T1[1] | A1 |");
    history.clean().expect("0 1", "1", "").clean().expect("0 1", "1", "");
    let mut history = History::of("T1[1] T1[2,3] A1 T1[3] C1 |");
    history.clean_twice().expect("0 2 3 4 5", "3 4 5", "3");
    let mut history = History::of("T1[2,3] A1 |");
    history.clean_twice().expect("1 2", "2", "");
    assert_eq!(history.aborted(), [(1, 0, 2, 3)]);
    history.go_on("P1[1] |").clean_twice().expect("1 2 3", "2 3", "1");
    assert_eq!(history.aborted(), [(1, 0, 2, 3)], "it is one of the last five");
    history.go_on("P1[2] P1[2] P1[2] P1[2] |").clean().expect("2 3 4 5 6 7", "2 3 7", "1 2");
    assert_eq!(history.aborted(), [(1, 0, 2, 3)], "its last batch was still read");
    history.clean_twice().expect("3 4 5 6 7", "3 7", "1 2");
    assert_eq!(history.aborted(), []);
}

#[test]
fn transactions_that_cross_are_told_apart() {
    // testCleanSegmentsWithTransactions, in one round, for there is no map of offsets that could be full.
    let mut history =
        History::of("T1[1,2] T2[2,3] T1[3,4] C1 C2 T1[2,3] A1 T2[4,5] T1[5,6] C1 A2 T2[6,7] C2 |");
    let aborted = [(1, 8, 10, 11), (2, 11, 16, 17)];
    assert_eq!(history.aborted(), aborted);
    history.clean();
    history.expect("1 3 5 6 7 9 10 12 14 15 16 18 19", "0 2 4 5 6 7 10 13 15 16 17 18 19", "1 2 3 4 5 6 7");
    assert_eq!(history.aborted(), aborted);
}

#[test]
fn a_key_like_a_markers_is_none() {
    // testCleaningWithKeysConflictingWithTxnMarkerKeys.
    let mut history = History::of("T1[1] C1 T2[marker] C2 |");
    history.clean_twice().expect("0 1 2 3", "0 1 2 3", "1 \0\0\0\x01");
}

#[test]
fn the_last_five_batches_of_a_producer_stay_and_no_more() {
    hold(five_batches_stay, &["four_headers_of_a_producer_stay"]);
}

fn five_batches_stay() {
    let mut history = History::of("P1[k] P1[k] P1[k] P1[k] P1[k] P1[k] P1[k] N[k] |");
    history.clean().expect("2 3 4 5 6 7", "7", "k");
    for sequence in 2..7 {
        assert_eq!(history.send_again("P", 1, sequence, &["k"]), (sequence as u64, true));
    }
    // testCleanWithProducerId..., testClientHandlingOfCorruptMessageSet: those of other producers in between.
    let mut history = History::of("N[0] P1[0] P2[0] P3[0] P2[1] |");
    history.clean().expect("1 2 3 4", "3 4", "0 1");
    let mut history = History::of("T1[1] T1[2,3] A1 |");
    history.clean().expect("0 2 3", "3", "");
    history.go_on("P1[1,5] |").clean().expect("0 2 3 5", "3 4 5", "1 5");
}

#[test]
fn nothing_of_an_open_transaction_is_cleaned() {
    let mut history = History::of("N[1] N[1] | T1[1] N[1] T1[1] |");
    history.clean().expect("1 2 3 4", "1 2 3 4", "1 1 1 1");
    history.go_on("A1").clean().expect("2 3 4 5", "3 5", "1");
}

#[test]
fn a_producer_that_was_forgotten_keeps_nothing() {
    let mut history = History::of("T1[1] A1 N[2] |");
    history.clean().expect("0 1 2", "1 2", "2");
    history.env.advance(Duration::from_secs(25 * 60 * 60));
    // A checkpoint forgets it.
    history.go_on("N[3] |").round();
    history.expect("1 2 3", "1 2 3", "2 3");
    history.round();
    history.later().clean().expect("2 3", "2 3", "2 3");
    assert_eq!(history.aborted(), []);
}

#[test]
fn a_removed_marker_leaves_no_transaction_open_whatever_snapshot_is_left() {
    hold(no_snapshot_reopens_a_transaction, &["a_removed_marker_leaves_its_transaction_open"]);
}

fn no_snapshot_reopens_a_transaction() {
    // Snapshots at the second and the third segment list the transaction as open. The second one stays as it is, so that
    // neither is merged away.
    let mut history = History::of("T1[1] N[7] | N[9] | A1 N[8] P1[a] P1[b] P1[c] P1[d] P1[e] |");
    history.clean().expect("1 2 3 4 5 6 7 8 9", "1 2 3 4 5 6 7 8 9", "7 9 8 a b c d e");
    history.clean_twice().expect("1 2 4 5 6 7 8 9", "1 2 4 5 6 7 8 9", "7 9 8 a b c d e");
    history.go_on("T1[1]");
    let before = (known(history.partition().log()), history.partition().last_stable_offset());
    assert_eq!(before.1, 10);
    history.check(&before);
}

#[test]
fn five_batches_that_are_not_durable_push_out_none_that_are() {
    let mut history = History::of("");
    let change = ConfigChange::set("streamlog.durability", "written");
    history.handle.alter_topic("t", &[change]).unwrap();
    history.go_on("P1[k] P1[k] P1[k] P1[k] P1[k] N[k] |");
    history.is_durable = false;
    history.go_on("P1[k] P1[k] P1[k] P1[k] P1[k]");
    history.round();
    let env = history.env.crash(Crash::Nothing, 1);
    for end in [".snapshot", ".producers"] {
        history.lose(&env, &[end], 0);
    }
    let handle = open(&env);
    let last = known(partition_of(&handle).log()).1[0].batches.clone();
    let end = partition_of(&handle).log_end_offset();
    assert_eq!(last.len(), 5, "of a log that ends at {end}");
}

#[test]
fn a_transaction_that_goes_on_after_what_was_cleaned_is_aborted_whatever_snapshot_is_left() {
    hold(no_snapshot_commits_what_was_aborted, &["a_transaction_that_goes_on_is_forgotten"]);
}

fn no_snapshot_commits_what_was_aborted() {
    // The first segment alone is cleaned: the other transaction is open. The snapshot at the third one lists both.
    let mut history = History::of("T2[0] | T2[0] T1[0] | A2 |");
    history.clean().expect("0 1 2 3", "1 2 3", "0 0");
    history.go_on("C1 N[1] |").clean().expect("0 1 2 3 4 5", "2 3 4 5", "0 1");
}
