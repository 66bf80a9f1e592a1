//! The end of an opening.
//!
//! A clean close checkpoints every partition, writes Kafka's checkpoints for Kafka's tools, then the manifest's closing
//! record, and Kafka's mark of a clean stop last. Where a partition cannot be closed cleanly nothing of this is
//! written: the next opening then looks for itself. Nor is it where the log was found closed and nothing was written.

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
        layout::{CLEAN_SHUTDOWN, CLEAN_SHUTDOWN_CONTENT, HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS},
        manifest::Flush,
        sidecar::replace_file,
    },
    types::{TopicId, TopicPartition},
};
use std::time::Duration;

/// How long dropping the last handle waits for space.
const DROP_TIME: Duration = Duration::from_secs(5);

type Closed = (TopicId, TopicPartition, PartitionClosed);

impl Streamlog {
    /// Closes the log for all clones, their producers and consumers, which get `Closed` from then on: what waits is
    /// written and flushed, so that the next opening is instant. So is the end of a recovery, though nothing was appended.
    /// A [`poll`](crate::Consumer::poll) that sleeps ends with `Closed`. On a full disk it waits for space as long as its
    /// producers would ([`max_block`](crate::clients::ProducerBuilder::max_block)).
    ///
    /// Every call of a handle from then on is [`Closed`](Error::Closed), also those that would have had nothing to do. What
    /// only says what is in memory is none of these, and goes on to answer as of the close: names, ids, configurations,
    /// offsets and sizes, `recovery_report`, `stats`, `health`, the consumer's `assignment`. So does what a call has
    /// handed out or read ahead: records, batches, and each [`Delivery`](crate::Delivery), which close has decided. To
    /// close the log or a producer once more does nothing.
    ///
    /// In a forked child it leaves the log alone, which is its parent's, and says yes.
    ///
    /// # Errors
    ///
    /// The first failure: `Undelivered` where records that a producer had accepted were not acknowledged, `DiskFull` where
    /// the close itself finds no space. The lock is given up all the same, and what had been acknowledged stays so; the next
    /// opening recovers what the close could not finish.
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
    /// Closes the log; what finds the disk full is tried again for no longer than `patience`.
    pub(super) fn close(&self, patience: Duration) -> Result<()> {
        if !self.catalog.data_dir().process.is_this() {
            // The parent's lock lasts as long as any copy of its descriptor: this one goes.
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
        self.background.retain_at_last(&self.catalog);
        // Whatever became of the producers' records: the logs end, or they would be written after the lock is given up.
        let result = self.catalog.close_with(|| {
            let logs = self.close_logs();
            self.catalog.data_dir().close();
            clients.and(logs)
        });
        self.catalog.data_dir().pool.release();
        self.catalog.data_dir().env.end_job_threads();
        // Consumers that sleep find out.
        unless_planted!(a_close_wakes_no_consumer => self.catalog.changes.wake_all());
        unless_planted!(close_keeps_the_lock => *self.lock.lock() = None);
        drop(self.temporary.lock().take());
        match (result, self.background.take_error()) {
            // What a full disk kept the background from was done by this call.
            (Ok(()), Some(error)) if !error.can_pass() => Err(error),
            (result, _) => result,
        }
    }

    /// What producers hold goes out; from then on they get `Closed`.
    fn close_clients(&self, patience: Duration) -> Result<()> {
        if self.catalog.data_dir().read_only { Ok(()) } else { self.sender.close(patience) }
    }

    fn close_logs(&self) -> Result<()> {
        let data_dir = self.catalog.data_dir();
        let has_written = data_dir.has_written();
        // What a recovery found is written down here where nobody appended, so that the next opening need not look.
        let begun = if !has_written && self.ends_a_recovery() { data_dir.begin_writing() } else { Ok(()) };
        match begun.and_then(|()| self.end_logs()) {
            // Nothing of this handle's is lost with it: the next opening recovers again.
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

    /// `lives` that end with this close are noted in the same append.
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
        replace_file(env, &self.dir.join(LOG_STARTS), encode_offsets(&starts).as_bytes())
    }

    /// `Closed` once the handle was closed, `Forked` in another process.
    pub(super) fn check_open(&self) -> Result<()> {
        self.catalog.data_dir().check_process()?;
        if self.closed.load(Ordering::SeqCst) { Err(Error::closed("the log")) } else { Ok(()) }
    }
}
