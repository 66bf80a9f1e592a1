//! What background work on a log has failed in, without a success since.
//!
//! A trouble ends when the same work succeeds, in the background or in a call. A trouble with a full disk also ends
//! when space was found for anything in the same directory; that is counted where it is rare, so that no append checks
//! for it.

use crate::{env::sync::Mutex, error::Error, types::Offset};

/// The background work on a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// A flush that its interval asks for.
    Flush,
    /// A checkpoint.
    Checkpoint,
    /// The removal of segments that are too old or too many.
    Retention,
}

#[derive(Clone, Debug)]
struct Trouble {
    chore: Chore,
    error: Error,
    at: Since,
}

/// The troubles of a log, the first of each kind of work.
#[derive(Debug, Default)]
pub(in crate::partition) struct Troubles {
    list: Mutex<Vec<Trouble>>,
}

/// What can end a trouble besides the success of the same work.
#[derive(Clone, Copy, Debug)]
pub(in crate::partition) struct Since {
    /// The end of what is durable now.
    pub flushed: Offset,
    /// How often space was found.
    pub spaces: u64,
}

impl Trouble {
    fn stands(&self, now: Since) -> bool {
        let is_flushed = self.chore == Chore::Flush && now.flushed > self.at.flushed;
        let has_space = matches!(self.error, Error::DiskFull { .. }) && now.spaces > self.at.spaces;
        !(is_flushed || has_space)
    }
}

impl Troubles {
    /// Records a failure of background work, unless that work is in trouble already.
    pub fn note(&self, chore: Chore, error: Error, now: Since) {
        let mut list = self.list.lock();
        list.retain(|trouble| trouble.stands(now));
        if list.iter().all(|trouble| trouble.chore != chore) {
            list.push(Trouble { chore, error, at: now });
        }
    }

    /// Work of this kind has succeeded.
    pub fn end(&self, chore: Chore) {
        planted!(trouble_that_never_ends => return);
        let mut list = self.list.lock();
        // A checkpoint flushes first.
        list.retain(|trouble| {
            trouble.chore != chore && !(chore == Chore::Checkpoint && trouble.chore == Chore::Flush)
        });
    }

    /// The first trouble that has not ended. All present ones are forgotten: each is reported once.
    pub fn take(&self, now: Since) -> Option<Error> {
        let list = std::mem::take(&mut *self.list.lock());
        list.into_iter().find(|trouble| trouble.stands(now)).map(|trouble| trouble.error)
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use crate::{
        Durability, ErrorKind, Partition, RecordData, Streamlog, TopicConfig,
        config::Builder,
        sim::{Fault, FaultKind, Operation, SimEnv},
    };
    use std::time::Duration;

    struct Machine {
        env: SimEnv,
        log: Streamlog,
        partition: Partition,
    }

    /// A log whose background work has just found the disk full, or failed in another way.
    fn in_trouble(kind: FaultKind, path: &str) -> Machine {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/data").open().unwrap();
        let config = TopicConfig::default().durability(Durability::Interval(Duration::from_secs(1)));
        let config = config.retention_time(Duration::from_secs(3600)).segment_bytes(100_000);
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        partition.append(&[RecordData::new("one")]).unwrap();
        env.pump(100);
        env.inject(Fault::new(kind).path(path).forever());
        env.advance(Duration::from_secs(11));
        env.pump(100);
        assert!(env.struck() > 0);
        Machine { env, log, partition }
    }

    fn large() -> Vec<u8> {
        vec![7; 90_000]
    }

    #[test]
    fn a_full_disk_that_has_passed_is_forgotten_with_the_first_success() {
        type Success = fn(&Machine);
        let successes: [Success; 5] = [
            |m| {
                m.partition.append(&[RecordData::new(large())]).unwrap();
            },
            |m| m.partition.flush().unwrap(),
            |m| {
                let other = m.log.create_topic("other", TopicConfig::default()).unwrap();
                other.partition(0).unwrap().append(&[RecordData::new("x")]).unwrap();
            },
            |m| {
                m.env.advance(Duration::from_secs(11));
                m.env.pump(100);
            },
            |m| {
                m.env.advance(Duration::from_secs(11));
                m.log.maintain().unwrap();
            },
        ];
        for (i, success) in successes.into_iter().enumerate() {
            let machine = in_trouble(FaultKind::DiskFull, "index");
            machine.env.clear_faults();
            success(&machine);
            let health = machine.log.health();
            assert!(health.is_good(), "{i}: {health}");
            machine.log.close().unwrap();
        }
    }

    #[test]
    fn a_full_disk_that_lasts_is_reported() {
        let machine = in_trouble(FaultKind::DiskFull, "index");
        // There is room in the file for this one.
        machine.partition.append(&[RecordData::new("x")]).unwrap();
        let health = machine.log.health();
        assert_eq!(health.background.map(|error| error.kind()), Some(ErrorKind::DiskFull));
        assert!(machine.log.health().is_good(), "it is reported once");
        machine.env.advance(Duration::from_secs(11));
        machine.env.pump(100);
        assert!(!machine.log.health().is_good(), "it was tried again");
    }

    fn segment_files(env: &SimEnv) -> usize {
        env.files().keys().filter(|path| path.ends_with(".log")).count()
    }

    #[test]
    fn retention_that_failed_is_reported_until_it_succeeds_by_health_or_by_close() {
        let failed = || {
            let env = SimEnv::new(1);
            let log = Builder::env(&env, "/data").open().unwrap();
            let config = TopicConfig::default().segment_bytes(600).retention_time(Duration::from_secs(3600));
            let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
            for _ in 0..4 {
                partition.append(&[RecordData::new(&[7; 400])]).unwrap();
            }
            env.inject(Fault::new(FaultKind::Io).on(Operation::Remove).path(".log").forever());
            env.advance(Duration::from_secs(7200));
            env.pump(100);
            assert!(env.struck() >= 4);
            assert_eq!(segment_files(&env), 5);
            (env, log)
        };
        let (_env, log) = failed();
        let reported = log.health().background.unwrap();
        assert_eq!(reported.kind(), ErrorKind::Io, "{reported}");
        log.close().unwrap();
        let (_env, log) = failed();
        assert_eq!(log.close().unwrap_err().kind(), ErrorKind::Io);
        let (env, log) = failed();
        env.clear_faults();
        env.advance(Duration::from_secs(7200));
        env.pump(100);
        assert!(log.health().is_good());
        assert_eq!(segment_files(&env), 1);
        log.close().unwrap();
    }

    #[test]
    fn a_close_reports_nothing_that_it_has_mended() {
        for kind in [FaultKind::Io, FaultKind::DiskFull] {
            let machine = in_trouble(kind, "index");
            machine.env.clear_faults();
            machine.log.close().unwrap();
        }
    }

    #[test]
    fn work_that_failed_is_tried_again_without_another_call() {
        let machine = in_trouble(FaultKind::Io, "marks");
        machine.env.clear_faults();
        machine.env.advance(Duration::from_secs(2));
        machine.env.pump(100);
        assert!(!machine.partition.log().is_dirty(), "the interval's flush");
        machine.env.advance(Duration::from_secs(10));
        machine.env.pump(100);
        assert!(machine.log.health().is_good());
    }
}
