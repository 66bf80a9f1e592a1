//! Creating partitions: any number of them, all or none.
//!
//! All directories and files come first; then they are made durable; then one append to the manifest names them all. A
//! crash before that leaves files that the manifest does not name. A disk manages about a hundred flushes a second, and
//! a partition needs three: many partitions are flushed by flushing the whole file system, where it has a call for
//! that.

use super::{catalog::Catalog, config::TopicConfig, log_config};
use crate::{
    codec::manifest::Entry,
    error::{Error, Result},
    partition::{log::Log, open::create, state::identity::Identity, write::commit::run_all},
    storage::manifest::Flush,
    types::Offset,
};
use std::{iter, sync::Arc};

/// From this many partitions on, the whole file system is flushed. For fewer, flushing the data of other programs might
/// take longer.
const MANY: usize = 32;

impl Catalog {
    /// Creates partitions, which the manifest names by `named`. They are durable when this returns.
    pub(super) fn make(
        &self,
        identities: Vec<Identity>,
        named: Entry,
        config: &TopicConfig,
    ) -> Result<Vec<Arc<Log>>> {
        let data_dir = self.data_dir();
        self.prepare(&identities)?;
        // From here on a mark that cannot be read counts as lost.
        data_dir.marks.flush()?;
        self.sync_dir()?;
        let first_segment = |identity: &Identity| identity.id().segment_created(Offset::ZERO);
        let entries: Vec<Entry> = iter::once(named).chain(identities.iter().map(first_segment)).collect();
        data_dir.manifest.append(&entries, Flush::Now)?;
        let shared = log_config(config);
        Ok(identities
            .into_iter()
            .map(|identity| create::created(data_dir, identity, Arc::clone(&shared)))
            .collect())
    }

    /// Creates the files of partitions, durable except for the names of their directories.
    fn prepare(&self, identities: &[Identity]) -> Result<()> {
        let data_dir = self.data_dir();
        if identities.len() >= MANY {
            let at = |e| Error::io("flush", &data_dir.dir, e);
            if let Some(whole) = data_dir.env.whole_file_system(&data_dir.dir).map_err(at)? {
                identities.iter().try_for_each(|identity| create::prepare(data_dir, identity, false))?;
                return whole.sync_data().map_err(at);
            }
        }
        let one = |identity: &Identity| {
            let (data_dir, identity) = (Arc::clone(data_dir), identity.clone());
            move || create::prepare(&data_dir, &identity, true)
        };
        run_all(data_dir, identities.iter().map(one))
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use super::MANY;
    use crate::{
        ErrorKind, RecordData, Streamlog, TopicConfig,
        codec::checkpoint::decode_partition_metadata,
        config::Builder,
        sim::{Crash, Fault, FaultKind, Operation, SimEnv},
    };

    const FEW: u32 = 3;
    const LOTS: u32 = MANY as u32 + 1;

    fn open(env: &SimEnv) -> Streamlog {
        Builder::env(env, "/data").background_thread(false).open().unwrap()
    }

    /// The partitions that there are, each of which has all that a broker asks for and takes records.
    fn partitions(env: &SimEnv) -> u32 {
        let log = open(env);
        let Ok(topic) = log.topic("t") else { return 0 };
        for partition in topic.partitions() {
            let dir = format!("/data/t-{}", partition.index());
            let metadata = env.files()[&format!("{dir}/partition.metadata")].clone();
            assert_eq!(decode_partition_metadata(str::from_utf8(&metadata).unwrap()).unwrap(), topic.id());
            assert!(env.files()[&format!("{dir}/leader-epoch-checkpoint")].starts_with(b"0\n1\n0 0"));
            partition.append(&[RecordData::new("x")]).unwrap();
        }
        topic.partition_count()
    }

    #[test]
    fn a_crash_while_partitions_are_made_leaves_all_of_them_or_none() {
        for (before, count) in [(0, FEW), (0, LOTS), (2, 2 + FEW), (2, 2 + LOTS)] {
            let env = SimEnv::new(1);
            let log = open(&env);
            let config = TopicConfig::default();
            if before > 0 {
                log.create_topic("t", config.clone().partitions(before)).unwrap();
            }
            env.record();
            match before {
                0 => drop(log.create_topic("t", config.partitions(count)).unwrap()),
                _ => drop(log.add_partitions("t", count).unwrap()),
            }
            let recording = env.recording();
            let (mut cursor, mut step) = (recording.cursor(), 0);
            while cursor.advance().is_some() {
                step += 1;
                // Every flush, and some of the many other steps.
                if count > FEW + 2 && step % 41 != 0 && cursor.pending() > 0 {
                    continue;
                }
                for crash in [Crash::Nothing, Crash::Subset, Crash::SizesZero] {
                    let left = cursor.crash(crash, step);
                    let found = partitions(&left);
                    assert!([before, count].contains(&found), "step {step}, {crash:?}: {found} of {count}");
                    // What was left half made is not in the way.
                    if found < count {
                        let log = open(&left);
                        match found {
                            0 => {
                                drop(log.create_topic("t", TopicConfig::default().partitions(count)).unwrap())
                            }
                            _ => drop(log.add_partitions("t", count).unwrap()),
                        }
                        drop(log);
                        assert_eq!(partitions(&left), count, "step {step}, {crash:?}");
                    }
                }
            }
            assert_eq!(partitions(&env.crash(Crash::Nothing, 1)), count);
        }
    }

    #[test]
    fn many_partitions_take_as_many_flushes_as_one() {
        let flushes = |count: u32| {
            let env = SimEnv::new(1);
            let log = open(&env);
            log.create_topic("first", TopicConfig::default()).unwrap();
            env.record();
            log.create_topic("t", TopicConfig::default().partitions(count)).unwrap();
            let recording = env.recording();
            let is_flush = |o: Operation| matches!(o, Operation::Sync | Operation::SyncDir);
            let numbers = recording.operations().filter(|(_, o, _)| is_flush(*o)).map(|(number, ..)| number);
            numbers.collect::<std::collections::BTreeSet<_>>().len()
        };
        assert!(flushes(500) <= flushes(1), "{} and {}", flushes(500), flushes(1));
    }

    #[test]
    fn partitions_whose_flush_fails_are_not_made_and_can_be_made_again() {
        for (count, path) in [(FEW, "t-1/"), (LOTS, "/")] {
            let env = SimEnv::new(1);
            let log = open(&env);
            log.create_topic("first", TopicConfig::default()).unwrap();
            env.inject(Fault::new(FaultKind::Io).on(Operation::Sync).path(path));
            let config = || TopicConfig::default().partitions(count);
            assert_eq!(log.create_topic("t", config()).unwrap_err().kind(), ErrorKind::Io);
            assert!(log.topic("t").is_err());
            log.create_topic("t", config()).unwrap();
            drop(log);
            assert_eq!(partitions(&env), count);
        }
    }
}
