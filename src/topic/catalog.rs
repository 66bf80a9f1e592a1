//! All topics of a directory: which exist, and how they are created and deleted.
//!
//! The manifest is the truth. A creation makes the files first and then the entry; a deletion removes the entry first
//! and then the files. A crash in between leaves files without an entry, never an entry without files. Administrative
//! calls run one at a time.

use super::{
    Topic,
    change_signals::ChangeSignals,
    config::{ConfigChange, MAX_PARTITIONS, TopicConfig},
    log_config, name,
};
use crate::{
    codec::manifest::Entry,
    env::{
        sync::{Mutex, MutexGuard, OnceLock, RwLock},
        trace::event,
    },
    error::{Error, Result},
    partition::{
        log::Log,
        open::{
            clean,
            follower::Follower,
            recover::recover,
            report::{PartitionRecovery, RecoveryVerdict},
        },
        state::{hold::Hold, identity::Identity, log_config::LogConfig},
        write::drop_oldest::drop_oldest,
    },
    storage::{
        data_dir::DataDir,
        foreign_files::sync_dir,
        manifest::{Flush, ManifestState, PartitionState, TopicState},
    },
    topic::{
        caretaker::{Caretaker, duty_of},
        deleted_dirs, missing_dirs, missing_manifest,
        schedule::Schedule,
    },
    types::{Offset, TopicId, TopicPartition},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Weak},
    time::Duration,
};

/// What an opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Whether the directory is new, or was closed cleanly and its partitions are as they were then. Nothing was
    /// checked in that case.
    pub was_clean: bool,
    /// The partitions whose tails were checked, and those that could not be opened.
    pub partitions: Vec<PartitionRecovery>,
    /// How long it took.
    pub elapsed: Duration,
}

/// How far an opening has come, for [`on_recovery_progress`](crate::config::Builder::on_recovery_progress).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryProgress {
    /// The partition that is being checked.
    pub partition: TopicPartition,
    /// How many partitions are done.
    pub partitions_done: usize,
    /// How many partitions there are.
    pub partitions_total: usize,
    /// How many bytes were read, in all.
    pub bytes_read: u64,
}

/// Called with how far an opening has come; returns whether to continue.
pub type OnProgress<'a> = dyn FnMut(&RecoveryProgress) -> bool + 'a;

/// What adding partitions did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "keys may have moved: see `keys_move`"]
pub struct AddedPartitions {
    /// How many partitions the topic had.
    pub before: u32,
    /// How many it has now.
    pub now: u32,
    /// Whether the topic had records: the same key may now go to another partition than before, so order per key does
    /// not hold across the change.
    pub keys_move: bool,
}

/// All topics of a directory.
#[derive(Debug)]
pub struct Catalog {
    data_dir: Arc<DataDir>,
    schedule: Arc<Schedule>,
    topics: RwLock<BTreeMap<Arc<str>, Topic>>,
    /// Held by the one administrative call that runs.
    admin: Mutex<()>,
    /// What a read-only opening follows.
    followers: Mutex<Vec<Follower>>,
    /// The state of the manifest that the topics were last brought up to date with.
    followed: Mutex<Arc<ManifestState>>,
    /// New topics and partitions, and deleted topics.
    pub changes: ChangeSignals,
    /// What holds segments against retention.
    hold: OnceLock<Weak<dyn Hold>>,
}

impl Catalog {
    /// Opens every topic that the manifest names.
    pub fn open(
        data_dir: Arc<DataDir>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<(Catalog, RecoveryReport)> {
        data_dir.before_writing(deleted_dirs::clean_up);
        missing_manifest::check(&data_dir)?;
        data_dir.manifest.check_end()?;
        missing_dirs::check(&data_dir)?;
        let catalog = Catalog {
            topics: RwLock::default(),
            admin: Mutex::new(()),
            followers: Mutex::default(),
            followed: Mutex::new(data_dir.manifest.state()),
            changes: ChangeSignals::default(),
            hold: OnceLock::new(),
            schedule: Schedule::new(Arc::clone(&data_dir.env)),
            data_dir: Arc::clone(&data_dir),
        };
        let begun = data_dir.env.monotonic();
        let (states, was_clean): (Vec<Arc<TopicState>>, bool) = {
            let state = catalog.followed.lock();
            (state.shared_topics().cloned().collect(), state.is_clean())
        };
        if !was_clean {
            unless_planted!(forget_to_flush_what_was_found => data_dir.manifest.flush_found()?);
        }
        let mut report = RecoveryReport { was_clean, ..RecoveryReport::default() };
        let total = states.iter().map(|t| t.partitions.len()).sum();
        let mut done = 0;
        let mut bytes_before = 0;
        for state in &states {
            let config = stored_config(&data_dir, state)?;
            let topic: Arc<str> = Arc::from(state.name.as_str());
            let shared = log_config(&config);
            let mut logs = Vec::with_capacity(state.partitions.len());
            for (number, partition) in (0u32..).zip(&state.partitions) {
                let identity = catalog.identity(state.id, &topic, number, partition.slot);
                let name = identity.name.clone();
                let mut bytes_read = bytes_before;
                let mut go_on = |bytes: u64| {
                    bytes_read += bytes;
                    on_progress(&RecoveryProgress {
                        partition: name.clone(),
                        partitions_done: done,
                        partitions_total: total,
                        bytes_read,
                    })
                };
                logs.push(catalog.open_log(identity, &shared, partition, &mut report, &mut go_on)?);
                bytes_before = bytes_read;
                done += 1;
            }
            catalog.insert(state.id, topic, state.internal, config, logs);
        }
        report.elapsed = data_dir.env.monotonic().saturating_sub(begun);
        Ok((catalog, report))
    }

    fn open_log(
        &self,
        identity: Identity,
        config: &Arc<LogConfig>,
        state: &PartitionState,
        report: &mut RecoveryReport,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Arc<Log>> {
        let opened = self.try_open_log(identity.clone(), Arc::clone(config), state, go_on);
        let (log, recovery) = match opened {
            // An error of one partition does not keep the others from being opened.
            Err(error) if self.concerns(&identity, &error) => {
                let recovery = PartitionRecovery::not_opened(&identity.name, state, &error);
                (clean::unopened(&self.data_dir, identity, Arc::clone(config), state, error), Some(recovery))
            }
            other => other?,
        };
        let Some(recovery) = recovery else {
            return Ok(log);
        };
        // A partition that was not closed is always checked.
        report.was_clean &= state.closed.is_none();
        match &recovery.verdict {
            RecoveryVerdict::Whole if recovery.is_unremarkable() => {
                event!(DEBUG, partition = %recovery.partition, bytes_read = recovery.bytes_read, "recovered")
            }
            #[allow(unused_variables, reason = "only the event shows it")]
            verdict => {
                event!(WARN, partition = %recovery.partition, ?verdict, "recovered with losses or damage")
            }
        }
        report.partitions.push(recovery);
        Ok(log)
    }

    fn try_open_log(
        &self,
        identity: Identity,
        config: Arc<LogConfig>,
        state: &PartitionState,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(Arc<Log>, Option<PartitionRecovery>)> {
        if self.data_dir.read_only {
            let follower = Follower::open(&self.data_dir, identity, config, state)?;
            let (log, found) = (Arc::clone(follower.log()), follower.found().cloned());
            self.followers.lock().push(follower);
            return Ok((log, found));
        }
        match &state.closed {
            Some(closed) => clean::open_closed(&self.data_dir, identity, config, state, closed, go_on),
            None => {
                let (log, recovery) = recover(&self.data_dir, identity, config, state, go_on)?;
                Ok((log, Some(recovery)))
            }
        }
    }

    /// Whether an error concerns this partition alone: its own files, and not the marks, the manifest or the caller.
    fn concerns(&self, identity: &Identity, error: &Error) -> bool {
        error.path().is_some_and(|path| path.starts_with(&identity.dir))
            && !self.data_dir.manifest.is_poisoned()
    }

    fn insert(
        &self,
        id: TopicId,
        name: Arc<str>,
        internal: bool,
        config: TopicConfig,
        logs: Vec<Arc<Log>>,
    ) -> Topic {
        self.watch(&logs);
        let topic = Topic::new(&self.data_dir, id, name, internal, config, logs);
        self.topics.write().insert(Arc::clone(topic.shared_name()), topic.clone());
        topic
    }

    /// From now on these logs are attended when they have something to do.
    fn watch(&self, logs: &[Arc<Log>]) {
        if let Some(hold) = self.hold.get() {
            logs.iter().for_each(|log| log.ask_before_removals(Weak::clone(hold)));
        }
        for log in logs.iter().filter(|_| !self.data_dir.read_only) {
            let (schedule, watched) = (Arc::clone(&self.schedule), Arc::downgrade(log));
            log.on_due(Box::new(move |due, at| {
                let watched = Weak::clone(&watched) as Weak<dyn Caretaker>;
                drop(schedule.put(duty_of(due), at, watched));
            }));
        }
    }

    /// From now on retention of every topic, also of those to come, asks `hold` what groups have not read.
    pub fn ask_before_removals(&self, hold: Weak<dyn Hold>) {
        self.logs().iter().for_each(|log| log.ask_before_removals(Weak::clone(&hold)));
        let _ = self.hold.set(hold);
    }

    /// From now on old segments of all topics make room where the disk budget has none.
    pub fn make_room_on_request(self: &Arc<Self>) {
        let catalog = Arc::downgrade(self);
        self.data_dir.space.on_full(Box::new(move |bytes| {
            catalog.upgrade().is_some_and(|catalog| drop_oldest(&catalog.logs(), bytes))
        }));
    }

    fn identity(&self, topic_id: TopicId, topic: &Arc<str>, partition: u32, slot: u32) -> Identity {
        let name = TopicPartition::new(Arc::clone(topic), partition);
        let dir = self.data_dir.dir.join(name::dir_name(topic, partition));
        Identity { topic_id, name, dir, slot, internal: name::is_internal(topic) }
    }

    /// What the logs of the directory share.
    pub fn data_dir(&self) -> &Arc<DataDir> {
        &self.data_dir
    }

    /// When background work is due.
    pub fn schedule(&self) -> &Arc<Schedule> {
        &self.schedule
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Result<Topic> {
        self.data_dir.check_open()?;
        self.find(name)
            .ok_or_else(|| Error::UnknownTopic { name: name.to_string(), read_only: self.data_dir.read_only })
    }

    /// The topic of this name, if there is one.
    pub fn find(&self, name: &str) -> Option<Topic> {
        self.topics.read().get(name).cloned()
    }

    /// All topics, sorted by name; internal ones if asked for.
    pub fn topics(&self, internal: bool) -> Vec<Topic> {
        self.topics.read().values().filter(|t| internal || !t.is_internal()).cloned().collect()
    }

    /// All logs.
    pub fn logs(&self) -> Vec<Arc<Log>> {
        self.topics.read().values().flat_map(|t| t.logs().to_vec()).collect()
    }

    /// Whether segments of any topic are removed after some time, or beyond some size, or because too much is used.
    pub fn has_retention(&self) -> bool {
        self.data_dir.space.is_to_shrink()
            || self.topics.read().values().any(|topic| topic.config().has_retention())
    }

    /// The logs of which a cleaner keeps the newest record of each key. What the library keeps of itself is not among them.
    pub fn compacted_logs(&self) -> Vec<Arc<Log>> {
        let topics = self.topics.read();
        let compacted = topics.values().filter(|topic| !topic.is_internal() && topic.config().compacts());
        compacted.flat_map(|topic| topic.logs().to_vec()).collect()
    }

    /// The log of a partition.
    pub fn log(&self, partition: &TopicPartition) -> Result<Arc<Log>> {
        self.topic(&partition.topic)?.log(partition.partition)
    }

    /// Creates a topic; it is durable when this returns.
    pub fn create(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        if name::is_internal(name) {
            let reason = "it is the name of an internal topic, which only the library creates".to_string();
            return Err(Error::InvalidTopic { name: name.to_string(), reason });
        }
        self.create_any(name, false, config)
    }

    /// The internal topic of this name, created if it does not exist.
    pub fn internal(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        match self.find(name) {
            Some(topic) => Ok(topic),
            None => match self.create_any(name, true, config) {
                Err(Error::TopicExists { .. }) => self.topic(name),
                other => other,
            },
        }
    }

    fn create_any(&self, name: &str, internal: bool, config: TopicConfig) -> Result<Topic> {
        self.data_dir.check_writable()?;
        let valid = name::validate(name)?;
        config.validate()?;
        config.check_codec()?;
        let count = config.partition_count();
        if count == 0 || count > MAX_PARTITIONS {
            let reason = format!("a topic has 1 to {MAX_PARTITIONS} partitions, not {count}");
            return Err(Error::InvalidConfig { key: "partitions".into(), reason });
        }
        let _one_at_a_time = self.admin.lock();
        self.data_dir.check_writable()?;
        self.check_free(name)?;
        self.data_dir.begin_writing()?;
        let id = self.fresh_id();
        let first_slot = self.free_slots(count)?;
        let shared_name: Arc<str> = Arc::from(name);
        let identities: Vec<Identity> =
            (0..count).map(|p| self.identity(id, &shared_name, p, first_slot + p)).collect();
        let named = Entry::TopicCreated {
            id,
            name: valid,
            internal,
            partitions: count,
            first_slot,
            config: config.to_properties(),
        };
        let logs = self.make(identities, named, &config)?;
        // As the next opening will read it.
        let config = config.partitions(count);
        event!(INFO, topic = name, partitions = count, "created a topic");
        let topic = self.insert(id, shared_name, internal, config, logs);
        self.changes.happened();
        Ok(topic)
    }

    fn check_free(&self, name: &str) -> Result<()> {
        if self.topics.read().contains_key(name) {
            return Err(Error::TopicExists { name: name.to_string() });
        }
        match self.data_dir.manifest.state().topic_like(name) {
            None => Ok(()),
            Some(TopicState { name: other, .. }) => Err(Error::InvalidTopic {
                name: name.to_string(),
                reason: format!(
                    "it differs from '{other}' only by '.' for '_', or by case, which some systems ignore"
                ),
            }),
        }
    }

    fn fresh_id(&self) -> TopicId {
        loop {
            let (a, b) = (self.data_dir.env.random(), self.data_dir.env.random());
            let id = TopicId::from_bytes((u128::from(a) << 64 | u128::from(b)).to_be_bytes());
            // Kafka reserves the ids 0 and 1 and avoids those whose text begins with a dash.
            if a != 0 && !id.to_string().starts_with('-') {
                return id;
            }
        }
    }

    /// The first of `count` slots among the marks that were never used.
    fn free_slots(&self, count: u32) -> Result<u32> {
        let first = self.data_dir.manifest.state().free_slot();
        let fits = first.checked_add(count).is_some();
        fits.then_some(first).ok_or_else(|| Error::InvalidArgument {
            reason: format!("this log has had {first} partitions in all, and {count} more are too many"),
        })
    }

    pub(super) fn sync_dir(&self) -> Result<()> {
        planted!(create_without_directory_flush => return Ok(()));
        sync_dir(&*self.data_dir.env, &self.data_dir.dir)
    }

    /// Adds partitions, so that the topic has `count`.
    pub fn add_partitions(&self, name: &str, count: u32) -> Result<AddedPartitions> {
        self.data_dir.check_writable()?;
        let _one_at_a_time = self.admin.lock();
        let topic = self.topic(name)?;
        let before = topic.partition_count();
        if count <= before || count > MAX_PARTITIONS {
            let reason = match count > before {
                true => {
                    format!("{count} partitions are more than the {MAX_PARTITIONS} that a topic can have")
                }
                false => format!(
                    "topic '{name}' has {before} partitions, none of which can be removed: ask for more than {before}, not for {count}"
                ),
            };
            return Err(Error::InvalidArgument { reason });
        }
        let keys_move = topic.logs().iter().any(|log| log.offsets().log_end() > Offset::ZERO);
        self.data_dir.begin_writing()?;
        let id = topic.id();
        let first_slot = self.free_slots(count - before)?;
        let slots =
            (before..count).map(|p| self.identity(id, topic.shared_name(), p, first_slot + (p - before)));
        let identities: Vec<Identity> = slots.collect();
        let named = Entry::PartitionsAdded { id, count, first_slot };
        let logs = self.make(identities, named, &topic.config())?;
        self.watch(&logs);
        topic.add_logs(logs);
        self.changes.happened();
        Ok(AddedPartitions { before, now: count, keys_move })
    }

    /// Changes settings of a topic; they hold from the next call on, and are durable when this returns.
    pub fn alter(&self, name: &str, changes: &[ConfigChange]) -> Result<()> {
        self.data_dir.check_writable()?;
        let _one_at_a_time = self.admin.lock();
        let topic = self.topic(name)?;
        self.change(&topic, changes)
    }

    /// Held by the one administrative call that runs.
    pub(super) fn one_admin(&self) -> MutexGuard<'_, ()> {
        self.admin.lock()
    }

    /// Changes settings of a topic, as the one administrative call that runs.
    pub(super) fn change(&self, topic: &Topic, changes: &[ConfigChange]) -> Result<()> {
        let config = topic.config().altered(changes)?;
        config.check_codec()?;
        self.data_dir.begin_writing()?;
        // A stronger durability holds only for records to come, so the existing ones are made durable first.
        for log in topic.logs().iter() {
            unless_planted!(alter_without_flush => log.flush()?);
        }
        let entry = Entry::TopicConfigured { id: topic.id(), config: config.to_properties() };
        self.data_dir.manifest.append_to_make_room(&[entry], Flush::Now)?;
        topic.set_config(config);
        planted!(alter_without_flush => return Ok(()));
        planted!(alter_flushes_only_before => return Ok(()));
        // Records appended in between were appended under the old settings, and are visible.
        topic.logs().iter().try_for_each(|log| log.flush())
    }

    /// Deletes a topic, durably when this returns. Readers that hold its data keep it until they drop it.
    pub fn delete(&self, name: &str) -> Result<Topic> {
        self.data_dir.check_writable()?;
        let _one_at_a_time = self.admin.lock();
        let topic = self.topic(name)?;
        self.data_dir.begin_writing()?;
        let mut flush = Flush::Now;
        planted!(delete_that_is_not_durable => flush = Flush::Later);
        if let Err(error) =
            self.data_dir.manifest.append_to_make_room(&[Entry::TopicDeleted { id: topic.id() }], flush)
        {
            // The topic may be gone at the next opening, with all records acknowledged until then. If the manifest was
            // poisoned before, nothing was written.
            let may_be_gone =
                !matches!(error, Error::Poisoned { .. }) && self.data_dir.manifest.is_poisoned();
            if may_be_gone {
                topic.logs().iter().for_each(|log| drop(log.poison(&error)));
            }
            return Err(error);
        }
        event!(INFO, topic = name, "deleted a topic");
        topic.mark_deleted();
        self.topics.write().remove(name);
        self.changes.happened();
        // The topic is deleted even if its files cannot be removed now: `maintain` and the next opening try again.
        if let Err(_error) = self.remove_dirs(&topic) {
            event!(WARN, topic = name, error = %_error, "files of a deleted topic could not be removed yet");
        }
        Ok(topic)
    }

    fn remove_dirs(&self, topic: &Topic) -> Result<()> {
        let remove = |log: &Arc<Log>| {
            // A checkpoint that is still running would write into the directory.
            log.settle();
            deleted_dirs::remove_dir(&self.data_dir, &log.identity.dir)
        };
        let results: Vec<Result<()>> = topic.logs().iter().map(remove).collect();
        self.sync_dir()?;
        results.into_iter().collect()
    }

    /// Removes the files of deletions that a crash or an error cut short.
    pub fn remove_leftovers(&self) -> Result<()> {
        let _one_at_a_time = self.admin.lock();
        deleted_dirs::remove_all(&self.data_dir)
    }

    /// Runs `end`, which ends all writing, while no administrative call runs; calls that wait find the log closed.
    pub fn close_with<T>(&self, end: impl FnOnce() -> T) -> T {
        let _one_at_a_time = self.admin.lock();
        end()
    }

    /// From now on a reader of a log that may be behind its writer can have the catalog follow that writer.
    pub fn follow_on_request(self: &Arc<Self>) {
        let catalog = Arc::downgrade(self);
        self.data_dir.on_follow(Box::new(move || {
            catalog.upgrade().map_or(Ok(()), |catalog| catalog.refresh().map(drop))
        }));
    }

    /// For a read-only opening: follows the writer. Returns whether topics were created or deleted.
    pub fn refresh(&self) -> Result<bool> {
        let _one_at_a_time = self.admin.lock();
        self.data_dir.check_open()?;
        self.data_dir.manifest.observe()?;
        let state = self.data_dir.manifest.state();
        // A partition may have refreshed the manifest in between.
        let mut changed = !Arc::ptr_eq(&state, &self.followed.lock());
        planted!(an_observer_knows_the_topics_of_its_opening => changed = false);
        if changed {
            self.follow_topics(&state)?;
            *self.followed.lock() = Arc::clone(&state);
            self.changes.happened();
        }
        for follower in self.followers.lock().iter_mut() {
            let identity = &follower.log().identity;
            let found = state.of(identity.id()).cloned();
            if let Some(partition) = found {
                match follower.refresh(&partition) {
                    // Its readers get the error until it passes; the other partitions are followed.
                    Err(error) if self.concerns(&follower.log().identity, &error) => follower.fail(error),
                    other => other?,
                }
            }
        }
        Ok(changed)
    }

    fn follow_topics(&self, state: &ManifestState) -> Result<()> {
        let states: Vec<Arc<TopicState>> = state.shared_topics().cloned().collect();
        let known: HashMap<TopicId, Topic> = self.topics(true).into_iter().map(|t| (t.id(), t)).collect();
        let there: HashSet<TopicId> = states.iter().map(|state| state.id).collect();
        let gone = known.values().filter(|topic| !there.contains(&topic.id()));
        let gone: HashSet<TopicId> = gone
            .map(|topic| {
                topic.mark_deleted();
                self.topics.write().remove(topic.name());
                topic.id()
            })
            .collect();
        self.followers.lock().retain(|o| !gone.contains(&o.log().identity.topic_id));
        for state in &states {
            let config = stored_config(&self.data_dir, state)?;
            let topic = known.get(&state.id);
            let have = topic.map_or(0, |t| t.logs().len());
            let name: Arc<str> = Arc::from(state.name.as_str());
            let shared = log_config(&config);
            let mut report = RecoveryReport::default();
            let mut logs = Vec::new();
            for (number, partition) in (0u32..).zip(&state.partitions).skip(have) {
                let identity = self.identity(state.id, &name, number, partition.slot);
                logs.push(self.open_log(identity, &shared, partition, &mut report, &mut |_| true)?);
            }
            match topic {
                Some(topic) => {
                    self.watch(&logs);
                    topic.add_logs(logs);
                    topic.set_config(config);
                }
                None => drop(self.insert(state.id, name, state.internal, config, logs)),
            }
        }
        Ok(())
    }
}

/// The configuration as the manifest has it. The error about a setting that this release refuses names the manifest.
fn stored_config(data_dir: &DataDir, state: &TopicState) -> Result<TopicConfig> {
    let properties = state.config.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let config =
        TopicConfig::from_kafka_properties(properties).map_err(|error| Error::UnsupportedFormat {
            path: data_dir.dir.join("manifest"),
            found: format!("a configuration of topic '{}' that is refused: {error}", state.name),
            supported: "the settings of this release".into(),
        })?;
    Ok(config.partitions(u32::try_from(state.partitions.len()).unwrap_or(u32::MAX)))
}
