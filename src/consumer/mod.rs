//! Consumers: reading topics, and remembering how far a group has read.
//!
//! A [`Consumer`] has a position in each partition that it reads. A [poll](Consumer::poll) visits the partitions in
//! turn, takes the records that are available, and sleeps on one signal when there are none. Committed offsets are kept
//! behind the trait `Coordinator`; this room knows a group by its name alone.
//!
//! Always true: a position advances only past records that a poll returned, or that no poll returns; any other move is
//! made by the program or reported (see [`OffsetReset`]); a damaged batch is an error, not a gap.

mod builder;
mod commits;
pub(crate) mod coordinator;
mod fetch_position;
mod poll;
mod positions;
mod records;
mod reset;
mod stored_positions;
#[cfg(test)]
pub(crate) mod tests;
mod unstable;

pub use builder::ConsumerBuilder;
pub use commits::PolledRecord;
pub use coordinator::{CommittedOffset, OffsetAndMetadata};
pub use poll::WakeupHandle;
pub use records::{ConsumerRecord, ConsumerRecords, OwnedConsumerRecord, OwnedRecordIter, RecordIter};
pub use reset::{AutoOffsetReset, OffsetReset, ResetReason};
pub use stored_positions::Positions;

use crate::{
    env::sync::{AtomicBool, Signal},
    error::{Error, Result},
    partition::{keep_open::KeepOpen, log::Log},
    topic::{Topic, catalog::Catalog},
    types::TopicPartition,
};
pub(crate) use coordinator::Coordinator;
use fetch_position::{FetchPosition, Room};
use reset::Policy;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};
use unstable::{UnstableWait, committed_and_stable};

/// Reads records of topics, alone or for a group.
///
/// A consumer belongs to one thread at a time; it may be moved between threads, and [`WakeupHandle`]s reach it from
/// others. It keeps its [`Streamlog`](crate::Streamlog) open.
///
/// In this release a group has no members: each of its consumers reads every partition that it subscribes to, and the
/// last offset that any of them commits holds. The program commits the offsets itself, unless it turns on
/// [`auto_commit`](ConsumerBuilder::auto_commit).
///
/// ```
/// # use std::time::Duration;
/// # use streamlog::{ProducerRecord, Streamlog, TopicConfig};
/// # let log = Streamlog::in_memory()?;
/// # log.create_topic("orders", TopicConfig::default())?;
/// # log.producer()?.send(ProducerRecord::new("orders", "a loom"))?;
/// # fn bill(_: Option<&[u8]>) {}
/// let mut consumer = log.consumer("billing")?;
/// consumer.subscribe(["orders"])?;
/// loop {
///     let records = consumer.poll(Duration::from_secs(1))?;
///     for record in &records {
///         bill(record.value);
///     }
///     consumer.commit_sync()?;
/// #   break;
/// }
/// # Ok::<(), streamlog::Error>(())
/// ```
pub struct Consumer {
    catalog: Arc<Catalog>,
    coordinator: Arc<dyn Coordinator>,
    policy: Policy,
    room: Room,
    interest: Interest,
    /// In the order of their names.
    places: Vec<FetchPosition>,
    /// The place that the next poll visits first.
    turn: usize,
    /// Whether some place has no position yet.
    unbegun: bool,
    /// Since when it waits for the end of a transaction before it begins somewhere.
    unstable: UnstableWait,
    /// Whether a place has a failure to report.
    failing: bool,
    /// The catalog as the places know it.
    catalog_version: u64,
    signal: Arc<Signal>,
    woken: Arc<AtomicBool>,
    /// Resets that no poll has reported yet.
    resets: Vec<OffsetReset>,
    auto_commit: Option<AutoCommit>,
    /// When a read-only handle last looked at what the writer did.
    followed: Option<Duration>,
    /// Dropped last.
    _keep_open: KeepOpen,
}

/// What a consumer wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Interest {
    Nothing,
    Topics(Vec<Arc<str>>),
    Partitions,
}

/// When the program chose the partitions to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    /// In this call.
    Now,
    /// Earlier, before some of them existed.
    Before,
}

#[derive(Clone, Copy, Debug)]
struct AutoCommit {
    every: Duration,
    next: Duration,
}

impl Consumer {
    fn new(
        catalog: Arc<Catalog>,
        coordinator: Arc<dyn Coordinator>,
        policy: Policy,
        settings: &ConsumerBuilder,
    ) -> Self {
        let signal = Arc::new(Signal::new());
        catalog.changes.watch(&signal);
        let auto_commit = settings
            .auto_commit
            .map(|every| AutoCommit { every, next: policy.env.monotonic().saturating_add(every) });
        Consumer {
            catalog_version: catalog.changes.version(),
            catalog,
            coordinator,
            policy,
            room: Room { records: settings.max_poll_records, bytes: settings.max_poll_bytes },
            interest: Interest::Nothing,
            places: Vec::new(),
            turn: 0,
            unbegun: false,
            unstable: UnstableWait::default(),
            failing: false,
            signal,
            woken: Arc::new(AtomicBool::new(false)),
            resets: Vec::new(),
            auto_commit,
            followed: None,
            _keep_open: settings.keep_open.clone(),
        }
    }

    /// Reads all partitions of these topics, in place of those subscribed to before. Partitions that are added later
    /// are read as well, and so is a topic that is deleted and created again.
    ///
    /// In each partition it continues from what its group committed. Where the group has committed nothing, it begins
    /// as [`auto_offset_reset`](ConsumerBuilder::auto_offset_reset) says; [`AutoOffsetReset::Latest`] means the end at
    /// the time of this call.
    ///
    /// # Errors
    ///
    /// `UnknownTopic` when there is no such topic, where Kafka would wait, so that a misspelled name is noticed;
    /// `InvalidArgument` while partitions are [`assign`](Self::assign)ed; the failure of an automatic commit.
    pub fn subscribe<T: AsRef<str>>(&mut self, topics: impl IntoIterator<Item = T>) -> Result<()> {
        self.check_open()?;
        if self.interest == Interest::Partitions {
            return Err(mixed());
        }
        if self.catalog.data_dir().read_only {
            self.catalog.refresh()?;
        }
        // Partitions that were added since the last subscription are younger than that one.
        self.follow_catalog();
        let mut names = Vec::new();
        for topic in topics {
            names.push(Arc::clone(self.catalog.topic(topic.as_ref())?.shared_name()));
        }
        names.sort();
        names.dedup();
        self.commit_automatically()?;
        self.interest = if names.is_empty() { Interest::Nothing } else { Interest::Topics(names) };
        self.catalog_version = self.catalog.changes.version();
        self.read_what_is_of_interest(Chosen::Now);
        Ok(())
    }

    /// Reads these partitions, in place of those assigned before. Partitions that stay assigned keep their positions;
    /// in the others reading begins as after [`subscribe`](Self::subscribe).
    ///
    /// After a topic is deleted, each poll fails with `Closed` until its partitions are no longer assigned.
    ///
    /// # Errors
    ///
    /// `UnknownTopic`, `UnknownPartition`; `InvalidArgument` while topics are [`subscribe`](Self::subscribe)d to; the
    /// failure of an automatic commit.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<()> {
        self.check_open()?;
        if matches!(self.interest, Interest::Topics(_)) {
            return Err(mixed());
        }
        if self.catalog.data_dir().read_only {
            self.catalog.refresh()?;
        }
        let logs = partitions.into_iter().map(|p| self.catalog.log(&p)).collect::<Result<Vec<_>>>()?;
        self.commit_automatically()?;
        self.interest = if logs.is_empty() { Interest::Nothing } else { Interest::Partitions };
        self.read(logs, Chosen::Now);
        Ok(())
    }

    /// Ends the subscription or the assignment: the consumer then reads nothing.
    ///
    /// # Errors
    ///
    /// The failure of an automatic commit; the subscription or assignment then stays.
    pub fn unsubscribe(&mut self) -> Result<()> {
        self.check_open()?;
        unless_planted!(an_unsubscribe_commits_nothing => self.commit_automatically()?);
        self.interest = Interest::Nothing;
        self.read(Vec::new(), Chosen::Now);
        Ok(())
    }

    /// The partitions that are read, in their order.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.places.iter().map(|place| place.name().clone()).collect()
    }

    /// The topics that are subscribed to, in their order.
    pub fn subscription(&self) -> Vec<&str> {
        match &self.interest {
            Interest::Topics(names) => names.iter().map(|name| &**name).collect(),
            _ => Vec::new(),
        }
    }

    /// Ends the consumer, after an automatic commit if that is turned on. Dropping it does the same without the commit.
    /// In a forked child neither does anything.
    ///
    /// # Errors
    ///
    /// The failure of that commit. The consumer is closed all the same.
    pub fn close(mut self) -> Result<()> {
        if self.check_process().is_err() {
            return Ok(());
        }
        planted!(a_close_commits_nothing => return Ok(()));
        self.commit_automatically()
    }

    /// `Closed` once the log was closed, `Forked` in a child of the process that opened it.
    fn check_open(&self) -> Result<()> {
        self.catalog.data_dir().check_open()
    }

    /// `Forked` in a child of the process that opened the log.
    fn check_process(&self) -> Result<()> {
        self.catalog.data_dir().check_process()
    }

    /// Follows the catalog: topics and partitions that were added, topics that were deleted.
    fn follow_catalog(&mut self) {
        planted!(partitions_that_come_are_missed => return);
        let version = self.catalog.changes.version();
        if version == self.catalog_version {
            return;
        }
        self.catalog_version = version;
        self.read_what_is_of_interest(Chosen::Before);
    }

    fn read_what_is_of_interest(&mut self, chosen: Chosen) {
        match &self.interest {
            Interest::Nothing => self.read(Vec::new(), chosen),
            Interest::Topics(names) => {
                let topics: Vec<Topic> = names.iter().filter_map(|name| self.catalog.find(name)).collect();
                self.read(topics.iter().flat_map(|topic| topic.logs().to_vec()), chosen);
            }
            Interest::Partitions => {
                for place in &mut self.places {
                    let topic = self.catalog.find(&place.name().topic);
                    if topic.is_none_or(|topic| topic.id() != place.log().identity.topic_id) {
                        place.delete();
                    }
                }
            }
        }
    }

    /// Reads exactly these logs from now on.
    fn read(&mut self, logs: impl IntoIterator<Item = Arc<Log>>, chosen: Chosen) {
        let logs: BTreeMap<TopicPartition, Arc<Log>> =
            logs.into_iter().map(|log| (log.identity.name.clone(), log)).collect();
        let mut replaced = BTreeSet::new();
        self.places.retain(|place| {
            let log = logs.get(place.name());
            let mut stays = log.is_some_and(|log| Arc::ptr_eq(log, place.log()));
            planted!(assigning_again_begins_again => stays = false);
            if log.is_some() && !stays {
                replaced.insert(place.name().clone());
            }
            stays
        });
        for (name, log) in logs {
            if let Err(at) = self.places.binary_search_by(|place| place.name().cmp(&name)) {
                let mut is_younger = chosen == Chosen::Before || replaced.contains(&name);
                planted!(what_is_added_begins_at_its_end => is_younger = false);
                let since = (!is_younger).then(|| self.policy.now(&log));
                self.places.insert(at, FetchPosition::new(log, self.policy.isolation, &self.signal, since));
                self.unbegun = true;
            }
        }
    }

    /// Gives a position to every place that has none. A place that cannot have one gets a failure to report; one whose
    /// committed offset may change with the end of a transaction waits for that.
    fn begin(&mut self) -> Result<()> {
        self.unbegun = false;
        let names: Vec<TopicPartition> =
            self.places.iter().filter(|p| p.position().is_none()).map(|p| p.name().clone()).collect();
        let found = committed_and_stable(&*self.coordinator, self.policy.group.as_deref(), &names)
            .inspect_err(|_| self.unbegun = true)?;
        let waits = found.iter().any(Option::is_none);
        let waited = self.unstable.at(self.policy.env.monotonic(), waits);
        let unbegun = self.places.iter_mut().filter(|p| p.position().is_none());
        for (place, committed) in unbegun.zip(&found) {
            let Some(committed) = committed else {
                place.failure = unstable::complaint(waited);
                self.failing |= place.failure.is_some();
                self.unbegun = true;
                continue;
            };
            planted!(the_latest_is_decided_by_the_first_poll => place.since = Some(self.policy.now(place.log())));
            match self.policy.begin(place.log(), committed.as_ref(), place.since) {
                Ok((offset, reset)) => {
                    place.seek(offset);
                    place.committed = (committed.is_some() && reset.is_none()).then_some(offset);
                    self.resets.extend(reset);
                }
                Err(error) => {
                    place.failure = Some(error);
                    self.unbegun = true;
                    self.failing = true;
                }
            }
        }
        Ok(())
    }

    fn place(&self, partition: &TopicPartition) -> Result<&FetchPosition> {
        let found = self.places.binary_search_by(|place| place.name().cmp(partition));
        found.ok().and_then(|i| self.places.get(i)).ok_or_else(|| not_assigned(partition))
    }

    fn place_mut(&mut self, partition: &TopicPartition) -> Result<&mut FetchPosition> {
        let found = self.places.binary_search_by(|place| place.name().cmp(partition));
        found.ok().and_then(|i| self.places.get_mut(i)).ok_or_else(|| not_assigned(partition))
    }
}

fn not_assigned(partition: &TopicPartition) -> Error {
    Error::InvalidArgument { reason: format!("{partition} is not assigned to this consumer") }
}

fn mixed() -> Error {
    let reason = "a consumer either subscribes to topics or is assigned partitions: unsubscribe first";
    Error::InvalidArgument { reason: reason.to_string() }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.check_process().is_ok() {
            planted!(a_drop_commits => let _ = self.commit_automatically());
            self.catalog.changes.unwatch(&self.signal);
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("group", &self.policy.group)
            .field("subscription", &self.subscription())
            .field("assignment", &self.assignment().iter().map(|p| p.to_string()).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
