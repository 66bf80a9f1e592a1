//! Closing a log.
//!
//! A clean close checkpoints every partition, writes Kafka's checkpoints for Kafka's tools, then the manifest's closing
//! record, and Kafka's mark of a clean stop last. If a partition cannot be closed cleanly, none of this is written, and
//! the next opening recovers. Nor is it written if the log was found closed and nothing was changed.

use super::{Inner, Streamlog};
use crate::{
    codec::{
        checkpoint::encode_offsets,
        manifest::{Entry, PartitionClosed},
    },
    env::sync::Ordering,
    error::{Error, Result},
    partition::write::close::close,
    storage::{
        layout::{
            CLEAN_SHUTDOWN, CLEAN_SHUTDOWN_CONTENT, CLEANER_OFFSETS, HIGH_WATERMARKS, LOG_STARTS,
            RECOVERY_POINTS,
        },
        manifest::Flush,
        sidecar::replace_file,
    },
    types::{TopicId, TopicPartition},
};
use std::time::Duration;

/// How long dropping the last handle waits for disk space.
const DROP_TIME: Duration = Duration::from_secs(5);

type Closed = (TopicId, TopicPartition, PartitionClosed);

impl Streamlog {
    /// Closes the log for all clones, their producers and consumers, which get `Closed` from then on. Pending records
    /// are written and everything is flushed, so that the next opening is instant; after a recovery its result is
    /// written down too, even if nothing was appended. A sleeping [`poll`](crate::Consumer::poll) ends with `Closed`.
    /// On a full disk the close waits for space as long as its producers would
    /// ([`max_block`](crate::clients::ProducerBuilder::max_block)).
    ///
    /// Every later call of a handle fails with [`Closed`](Error::Closed), even if it would have had nothing to do. The
    /// exceptions only return what is in memory, and continue to answer as of the close: names, ids, configurations,
    /// offsets and sizes, `recovery_report`, `stats`, `health`, the consumer's `assignment`. So do records and batches
    /// that a call has returned or read ahead, and each [`Delivery`](crate::Delivery), whose result the close has
    /// decided. Closing the log or a producer again does nothing.
    ///
    /// In a forked child it returns `Ok` and leaves the log alone, which is the parent's.
    ///
    /// # Errors
    ///
    /// The first failure: `Undelivered` if records that a producer had accepted were not acknowledged, `DiskFull` if
    /// the close itself finds no space. The lock is released all the same, and acknowledged records stay acknowledged;
    /// the next opening recovers what the close could not finish.
    pub fn close(self) -> Result<()> {
        self.inner.close(Duration::MAX)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.close(DROP_TIME);
    }
}

impl Inner {
    /// Closes the log; writes that find the disk full are tried again for no longer than `patience`.
    pub(super) fn close(&self, patience: Duration) -> Result<()> {
        if !self.catalog.data_dir().process.is_this() {
            // The parent's lock lasts as long as any copy of its descriptor: this copy is closed.
            if let Some(mut lock) = self.lock.try_lock() {
                *lock = None;
            }
            return Ok(());
        }
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let clients = self.close_clients(patience);
        self.background.stop();
        self.cleaner.stop();
        self.background.retain_at_last(&self.catalog);
        // Even if producers failed: the logs are closed, or they would be written after the lock is released.
        let result = self.catalog.close_with(|| {
            let logs = self.close_logs();
            self.catalog.data_dir().close();
            clients.and(logs)
        });
        self.catalog.data_dir().pool.release();
        self.catalog.data_dir().env.end_job_threads();
        // Sleeping consumers notice.
        unless_planted!(a_close_wakes_no_consumer => self.catalog.changes.wake_all());
        unless_planted!(close_keeps_the_lock => *self.lock.lock() = None);
        drop(self.temporary.lock().take());
        match (result, self.background.take_error()) {
            // The work that a full disk kept the background from was done by this call.
            (Ok(()), Some(error)) if !error.can_pass() => Err(error),
            (result, _) => result,
        }
    }

    /// Writes what producers hold; from then on they get `Closed`.
    fn close_clients(&self, patience: Duration) -> Result<()> {
        if self.catalog.data_dir().read_only {
            return Ok(());
        }
        let closed = self.sender.close(patience);
        // Nobody begins another one.
        self.transactions.close();
        closed
    }

    fn close_logs(&self) -> Result<()> {
        let data_dir = self.catalog.data_dir();
        let has_written = data_dir.has_written();
        // If nothing was appended, the result of a recovery is written down here, so that the next opening need not
        // recover again.
        let begun = if !has_written && self.ends_a_recovery() { data_dir.begin_writing() } else { Ok(()) };
        match begun.and_then(|()| self.end_logs()) {
            // This loses nothing: the next opening recovers again.
            Err(Error::DiskFull { .. }) if !has_written => Ok(()),
            done => done,
        }
    }

    /// Whether the log was recovered, and every partition of it can be closed.
    fn ends_a_recovery(&self) -> bool {
        let data_dir = self.catalog.data_dir();
        let logs = self.catalog.logs();
        let recovered = !data_dir.manifest.state().is_clean() || logs.iter().any(|log| log.was_recovered());
        recovered && !data_dir.read_only && logs.iter().all(|log| log.refusal().is_none())
    }

    fn end_logs(&self) -> Result<()> {
        let mut closed = Vec::new();
        let mut lives = Vec::new();
        let mut first_error = None;
        let mut clean = true;
        for log in self.catalog.logs() {
            match close(&log) {
                Ok(Some(closing)) => {
                    lives.extend(closing.incarnation);
                    closed.push((log.identity.topic_id, log.identity.name.clone(), closing.facts));
                }
                Ok(None) => clean = false,
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) => Err(error),
            None if clean && self.catalog.data_dir().has_written() => self.write_closing(closed, lives),
            None => Ok(()),
        }
    }

    /// The incarnations that end with this close are noted in the same append.
    fn write_closing(&self, closed: Vec<Closed>, lives: Vec<Entry>) -> Result<()> {
        let data_dir = self.catalog.data_dir();
        self.write_kafkas_checkpoints(&closed)?;
        let partitions = closed.into_iter().map(|(id, name, facts)| (id, name.partition, facts)).collect();
        data_dir.marks.flush()?;
        planted!(kafkas_clean_mark_comes_first => self.write_kafkas_clean_mark()?);
        let entries: Vec<_> = lives.into_iter().chain([Entry::Closed { partitions }]).collect();
        data_dir.manifest.append_to_make_room(&entries, Flush::Now)?;
        self.write_kafkas_clean_mark()
    }

    fn write_kafkas_clean_mark(&self) -> Result<()> {
        let env = &*self.catalog.data_dir().env;
        replace_file(env, &self.dir.join(CLEAN_SHUTDOWN), CLEAN_SHUTDOWN_CONTENT)
    }

    fn write_kafkas_checkpoints(&self, closed: &[Closed]) -> Result<()> {
        let env = &*self.catalog.data_dir().env;
        let ends: Vec<_> = closed.iter().map(|(_, name, facts)| (name.clone(), facts.next_offset)).collect();
        let starts = closed.iter().filter(|(_, name, facts)| {
            let log = self.catalog.log(name).ok();
            log.is_none_or(|log| log.first_base().is_none_or(|base| facts.log_start > base))
        });
        let starts: Vec<_> = starts.map(|(_, name, facts)| (name.clone(), facts.log_start)).collect();
        replace_file(env, &self.dir.join(RECOVERY_POINTS), encode_offsets(&ends).as_bytes())?;
        replace_file(env, &self.dir.join(HIGH_WATERMARKS), encode_offsets(&ends).as_bytes())?;
        replace_file(env, &self.dir.join(LOG_STARTS), encode_offsets(&starts).as_bytes())?;
        self.write_kafkas_cleaner_checkpoint(closed)
    }

    /// Up to where each log was cleaned: below it, Kafka's tools expect that offsets are missing.
    fn write_kafkas_cleaner_checkpoint(&self, closed: &[Closed]) -> Result<()> {
        let data_dir = self.catalog.data_dir();
        let (env, path) = (&*data_dir.env, self.dir.join(CLEANER_OFFSETS));
        let state = data_dir.manifest.state();
        let clean = |(id, name, _): &Closed| {
            let below = state.partition(id, name.partition)?.clean_below()?;
            Some((name.clone(), below))
        };
        let clean: Vec<_> = closed.iter().filter_map(clean).collect();
        if clean.is_empty() {
            return Ok(());
        }
        replace_file(env, &path, encode_offsets(&clean).as_bytes())
    }

    /// `Closed` once the handle was closed, `Forked` in another process.
    pub(super) fn check_open(&self) -> Result<()> {
        self.catalog.data_dir().check_process()?;
        if self.closed.load(Ordering::SeqCst) { Err(Error::closed("the log")) } else { Ok(()) }
    }
}
