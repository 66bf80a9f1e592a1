//! An error of one partition's files is that partition's: the others are opened, and it answers with the error. And a
//! close after an opening that recovered is a clean one, though nothing was appended. (I1, I14, I15)

use streamlog::{
    Durability, ErrorKind, Partition, RecordData, Result, Streamlog, TopicConfig,
    admin::RecoveryVerdict,
    config::Builder,
    sim::{Crash, Fault, FaultKind, Operation, SimEnv},
};

fn builder(env: &SimEnv) -> Builder {
    Builder::env(env, "/data").background_thread(false)
}

fn partition(log: &Streamlog, topic: &str) -> Partition {
    log.topic(topic).unwrap().partition(0).unwrap()
}

fn count(partition: &Partition) -> Result<usize> {
    partition.read(0u64).try_fold(0, |sum, batch| Ok(sum + batch?.iter().count()))
}

fn fill(partition: &Partition, records: usize) {
    for _ in 0..records {
        partition.append(&[RecordData::new("value")]).unwrap();
    }
}

/// Two topics of three records; closed, or killed.
fn two_topics(durability: Durability, closed: bool) -> SimEnv {
    let env = SimEnv::new(3);
    let log = builder(&env).open().unwrap();
    for topic in ["bad", "good"] {
        let topic = log.create_topic(topic, TopicConfig::default().durability(durability)).unwrap();
        fill(&topic.partition(0).unwrap(), 3);
    }
    if closed {
        log.close().unwrap();
    }
    env.crash(if closed { Crash::Everything } else { Crash::Kill }, 1)
}

#[test]
fn whatever_one_partitions_files_answer_the_others_are_opened() {
    let operations = [
        Operation::Open,
        Operation::Read,
        Operation::Metadata,
        Operation::List,
        Operation::Sync,
        Operation::SetLen,
    ];
    let mut refused = 0;
    for closed in [true, false] {
        for read_only in [true, false] {
            for kind in [FaultKind::Io, FaultKind::TooManyFiles, FaultKind::DiskFull] {
                for operation in operations {
                    let env = two_topics(Durability::Written, closed);
                    env.inject(Fault::new(kind).on(operation).path("bad-0").forever());
                    let context =
                        format!("closed {closed}, read-only {read_only}, {kind:?} at {operation:?}");
                    let log = builder(&env).read_only(read_only).open().expect(&context);
                    let good = partition(&log, "good");
                    assert_eq!(count(&good).unwrap(), 3, "{context}");
                    if !read_only {
                        fill(&good, 1);
                    }
                    let bad = partition(&log, "bad");
                    let report = log.recovery_report().partitions.iter();
                    let found = report.clone().find(|found| &*found.partition.topic == "bad");
                    let Some(RecoveryVerdict::NotOpened { kind, .. }) = found.map(|found| &found.verdict)
                    else {
                        env.clear_faults();
                        continue;
                    };
                    refused += 1;
                    assert!(!log.recovery_report().was_clean, "{context}");
                    assert_eq!(count(&bad).unwrap_err().kind(), *kind, "{context}");
                    let appended = bad.append(&[RecordData::new("no")]).unwrap_err().kind();
                    assert!(appended == *kind || read_only, "{context}: {appended:?}");
                    let health = log.health();
                    assert_eq!(health.refusing.len(), 1, "{context}");
                    assert_eq!(&*health.refusing[0].0.topic, "bad", "{context}");
                    log.close().unwrap();
                    // The next opening tries again.
                    env.clear_faults();
                    let log = builder(&env).open().unwrap();
                    assert_eq!(count(&partition(&log, "bad")).unwrap(), 3, "{context}");
                    assert!(log.health().is_good(), "{context}");
                    log.close().unwrap();
                    assert!(builder(&env).open().unwrap().recovery_report().was_clean, "{context}");
                }
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn a_missing_directory_is_damage_of_its_partition() {
    for closed in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let log = Streamlog::open(root.path()).unwrap();
        for topic in ["bad", "good"] {
            fill(&log.create_topic(topic, TopicConfig::default()).unwrap().partition(0).unwrap(), 3);
        }
        if closed {
            log.close().unwrap();
        } else {
            let copy = root.path().join("copy");
            std::fs::create_dir(&copy).unwrap();
            drop(log);
        }
        std::fs::remove_dir_all(root.path().join("bad-0")).unwrap();
        for read_only in [true, false] {
            let log = Streamlog::builder(root.path()).read_only(read_only).open().unwrap();
            assert_eq!(count(&partition(&log, "good")).unwrap(), 3);
            assert_eq!(count(&partition(&log, "bad")).unwrap_err().kind(), ErrorKind::Corrupt);
            assert!(!log.health().is_good());
        }
    }
}

#[test]
fn a_reader_follows_the_others_while_one_partition_cannot_be_followed() {
    let env = two_topics(Durability::Flushed, false);
    let log = builder(&env).open().unwrap();
    let reading = builder(&env).read_only(true).open().unwrap();
    ["bad", "good"].iter().for_each(|topic| fill(&partition(&log, topic), 2));
    env.inject(Fault::new(FaultKind::Io).on(Operation::Read).path("bad-0").forever());
    reading.refresh().unwrap();
    assert_eq!(count(&partition(&reading, "good")).unwrap(), 5);
    assert_eq!(count(&partition(&reading, "bad")).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(reading.health().refusing.len(), 1);
    env.clear_faults();
    reading.refresh().unwrap();
    assert_eq!(count(&partition(&reading, "bad")).unwrap(), 5);
    assert!(reading.health().is_good());
}

#[test]
fn a_close_after_a_recovery_that_appended_nothing_is_a_clean_one() {
    for durability in [Durability::Flushed, Durability::Written] {
        for crash in Crash::ALL {
            let killed = two_topics(durability, false).crash(crash, 7);
            let before = killed.files();
            let log = builder(&killed).open().unwrap();
            assert!(!log.recovery_report().was_clean);
            let counts = ["bad", "good"].map(|topic| count(&partition(&log, topic)).unwrap());
            let is_whole =
                log.recovery_report().partitions.iter().all(|p| p.verdict == RecoveryVerdict::Whole);
            if is_whole {
                let mut after = killed.files();
                after.remove("/data/LOCK");
                assert!(
                    after.iter().all(|(path, content)| before[path] == *content),
                    "opening writes nothing"
                );
            }
            log.close().unwrap();
            let log = builder(&killed).open().unwrap();
            assert!(log.recovery_report().was_clean, "{durability:?} {crash:?}");
            assert_eq!(["bad", "good"].map(|topic| count(&partition(&log, topic)).unwrap()), counts);
            for topic in ["bad", "good"] {
                let path = format!("/data/{topic}-0/00000000000000000000.log");
                assert_eq!(killed.files()[&path].len() as u64, partition(&log, topic).size());
            }
        }
    }
}

#[test]
fn a_close_after_a_recovery_for_which_there_is_no_space_costs_nothing() {
    let env = two_topics(Durability::Written, false);
    let log = builder(&env).open().unwrap();
    env.set_capacity(Some(env.used()));
    env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).forever());
    log.close().unwrap();
    env.clear_faults();
    env.set_capacity(None);
    let log = builder(&env).open().unwrap();
    assert!(!log.recovery_report().was_clean);
    assert_eq!(count(&partition(&log, "good")).unwrap(), 3);
}
