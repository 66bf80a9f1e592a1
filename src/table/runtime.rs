//! The table itself: reading the state, and updating it.

use super::{CHUNK_BYTES, CompactionThresholds, State, Update, View, batches::append, loaded::Loaded};
use crate::{
    env::sync::{AtomicU64, Mutex},
    error::Result,
    partition::{log::Log, state::append_as::AppendAs},
    topic::{catalog::Catalog, config::TopicConfig},
    types::{Durability, Offset},
};
use std::{fmt, ops::Range, sync::Arc};

/// Keeps a state in its internal topic. There is one per state and open log.
pub struct Table<S> {
    pub(super) catalog: Arc<Catalog>,
    pub(super) thresholds: CompactionThresholds,
    /// Held while appending.
    pub(super) appending: Mutex<()>,
    /// The state as of the last look; `None` before the first.
    loaded: Mutex<Option<Loaded<S>>>,
    /// The size of the log above which it is rewritten.
    pub(super) rewrite_above: AtomicU64,
    /// Called before records are removed.
    pub(super) before_rewriting: Option<Hook>,
}

/// A log, and the end below which it must become durable.
pub type Unflushed = (Arc<Log>, Offset);

/// The table's log, and where records lie in it.
pub type Place = (Arc<Log>, Range<Offset>);

type Hook = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// What an operation left in the log.
struct Written<A> {
    answer: A,
    /// `None` where nothing was written.
    place: Option<Place>,
    in_pieces: bool,
}

impl<S> fmt::Debug for Table<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

impl<S: State> Table<S> {
    /// The table in the topics of `catalog`. Nothing is read until it is asked for, and nothing is created before the
    /// first update.
    pub fn new(catalog: Arc<Catalog>, thresholds: CompactionThresholds) -> Self {
        Table {
            catalog,
            thresholds,
            appending: Mutex::new(()),
            loaded: Mutex::new(None),
            rewrite_above: AtomicU64::new(thresholds.rewrite_above),
            before_rewriting: None,
        }
    }

    /// The table that calls `hook` before rewriting removes records, in which other logs can be made durable. It is
    /// called while appending is locked: it must not call this table. While it fails, the log is not rewritten.
    #[must_use]
    #[allow(
        dead_code,
        reason = "decisions of transactions stay until the markers they stand for are durable"
    )]
    pub fn before_rewriting(self, hook: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        Table { before_rewriting: Some(Box::new(hook)), ..self }
    }

    /// Passes the current state to `look`.
    ///
    /// # Errors
    ///
    /// `Closed`, and those of the operating system. Records that cannot be read are reported by the state.
    pub fn read<T>(&self, look: impl FnOnce(&S) -> T) -> Result<T> {
        self.with_loaded(|loaded| match loaded {
            Some(loaded) => look(&loaded.state),
            None => look(&S::default()),
        })
    }

    /// Runs `operation` and writes the records that it returns. When this returns the answer, the records are durable
    /// and the state has them.
    ///
    /// # Errors
    ///
    /// Those of the operation, with nothing written; those of [`read`](Self::read); `ReadOnly`; and those of the
    /// operating system when the records are written.
    pub fn update<A>(&self, operation: impl FnOnce(View<'_, S>) -> Result<Update<A>>) -> Result<A> {
        let Written { answer, place, in_pieces } = self.write(operation, None)?;
        let Some((log, Range { end, .. })) = place else { return Ok(answer) };
        unless_planted!(commit_acknowledged_before_flush => log.acknowledge(end, true)?);
        // Updates in pieces delete entries: the next atomic one pays for the rewriting.
        if in_pieces {
            self.read(|_| ())?
        } else {
            self.settle()?
        }
        Ok(answer)
    }

    /// Runs `operation` and appends the records that it returns, which are not durable yet: besides the answer it
    /// returns the table's log and the end below which that must become so, or nothing where no record was written.
    /// Only after that flush, which the caller makes, does the state have them. [`settle`](Self::settle) comes after it.
    ///
    /// # Errors
    ///
    /// As for [`update`](Self::update).
    #[allow(dead_code, reason = "transactions flush their decisions together with their data")]
    pub fn append_only<A>(
        &self,
        operation: impl FnOnce(View<'_, S>) -> Result<Update<A>>,
    ) -> Result<(A, Option<Unflushed>)> {
        let Written { answer, place, .. } = self.write(operation, None)?;
        Ok((answer, place.map(|(log, offsets)| (log, offsets.end))))
    }

    /// The same for a batch that a producer writes in its transaction: the state has its records once somebody has
    /// flushed them, and what they mean until the transaction ends is up to it. Returns where the records lie; nothing
    /// where there are none.
    ///
    /// # Errors
    ///
    /// As for [`update`](Self::update), and `Fenced` where the producer has a later epoch.
    #[allow(dead_code, reason = "transactions send the offsets of their consumers with it")]
    pub fn append_of(
        &self,
        by: AppendAs,
        operation: impl FnOnce(View<'_, S>) -> Result<Update<()>>,
    ) -> Result<Option<Place>> {
        self.write(operation, Some(by)).map(|written| written.place)
    }

    /// What follows a flush of appended records: the state has them when this returns, and the log is kept short.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read). The records are durable all the same.
    pub fn settle(&self) -> Result<()> {
        self.read(|_| ())?;
        if self.rewrite_when_due().is_err()
            && let Some(Ok(log)) = self.catalog.find(S::TOPIC).map(|topic| topic.log(0))
        {
            // The update is done. If something is wrong with the log, the next one reports it.
            self.put_off(&log);
        }
        Ok(())
    }

    /// The records that `operation` returned are appended one after the other, in the order in which operations ran.
    fn write<A>(
        &self,
        operation: impl FnOnce(View<'_, S>) -> Result<Update<A>>,
        by: Option<AppendAs>,
    ) -> Result<Written<A>> {
        self.catalog.data_dir().check_writable()?;
        let _one_at_a_time = self.appending.lock();
        let now = self.catalog.data_dir().env.now();
        let Update { records, answer, in_pieces } = self.with_loaded(|loaded| match loaded {
            Some(loaded) => operation(View { state: &loaded.state, is_current: loaded.is_current(), now }),
            None => operation(View { state: &S::default(), is_current: true, now }),
        })??;
        if records.is_empty() {
            return Ok(Written { answer, place: None, in_pieces });
        }
        let log = self.log_for_writing()?;
        let piece = if in_pieces { CHUNK_BYTES } else { usize::MAX };
        let offsets = append(&log, &records, piece, now, by)?;
        Ok(Written { answer, place: Some((log, offsets)), in_pieces })
    }

    /// Passes the state of the log as it is now to `look`; `None` if there is no log yet.
    pub(super) fn with_loaded<T>(&self, look: impl FnOnce(Option<&mut Loaded<S>>) -> T) -> Result<T> {
        let data_dir = self.catalog.data_dir();
        data_dir.check_open()?;
        let mut follows = data_dir.read_only;
        planted!(an_observer_keeps_old_commits => follows = false);
        if follows {
            self.catalog.refresh()?;
        }
        let mut loaded = self.loaded.lock();
        let Some(topic) = self.catalog.find(S::TOPIC) else {
            *loaded = None;
            return Ok(look(None));
        };
        let log = topic.log(0)?;
        let mut current = match loaded.take() {
            Some(current) if Arc::ptr_eq(current.log(), &log) => current,
            _ => Loaded::open(&*data_dir.env, &log),
        };
        // An error drops `current`: the next look loads the state again.
        current.follow()?;
        if data_dir.read_only {
            // The records may refer to data that this handle has not seen yet.
            self.catalog.refresh()?;
        } else if current.since_sidecar >= self.thresholds.snapshot_every && current.state.is_whole() {
            // The sidecar only saves time: a look must not fail because of it.
            let _ = current.write_sidecar(&*data_dir.env);
        }
        Ok(look(Some(loaded.insert(current))))
    }

    fn log_for_writing(&self) -> Result<Arc<Log>> {
        let config = TopicConfig::default()
            .durability(Durability::Flushed)
            .segment_bytes(self.thresholds.segment_bytes)
            .max_message_bytes(self.thresholds.segment_bytes);
        self.catalog.internal(S::TOPIC, config)?.log(0)
    }
}
