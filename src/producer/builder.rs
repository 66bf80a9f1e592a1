//! The settings of a producer.

use super::Producer;
use crate::{
    codec::compress::is_available,
    error::{Error, Result},
    partition::keep_open::KeepOpen,
    producer::{
        accumulators::Accumulators,
        context::{Context, Settings},
        identity::{Names, ProducerIdentity},
        sender::{Client, Sender},
    },
    topic::partitioner::{DefaultPartitioner, Partitioner},
    types::Compression,
};
use std::{fmt, sync::Arc, time::Duration};

/// Builds a [`Producer`]. Producers built from clones of one builder share its partitioner, if one was given.
///
/// ```
/// # use std::time::Duration;
/// # let log = streamlog::Streamlog::in_memory()?;
/// let producer = log.producer_builder().linger(Duration::from_millis(5)).build()?;
/// # Ok::<(), streamlog::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ProducerBuilder {
    sender: Arc<Sender>,
    settings: Settings,
    partitioner: Option<Arc<dyn Partitioner>>,
    names: Option<Arc<dyn Names>>,
    name: Option<String>,
    keep_open: KeepOpen,
}

impl fmt::Debug for ProducerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The smallest batch: one with a record of a few hundred bytes.
const MIN_BATCH_SIZE: usize = 512;

/// The longest time that a transaction may be open (Kafka's `transaction.max.timeout.ms`).
pub(crate) const LONGEST_TRANSACTION: Duration = Duration::from_secs(15 * 60);

impl ProducerBuilder {
    pub(crate) fn new(sender: Arc<Sender>) -> Self {
        let settings = Settings {
            batch_size: 64 << 10,
            linger: Duration::from_millis(1),
            buffer_memory: 8 << 20,
            max_block: Duration::from_secs(60),
            compression: Compression::None,
            transaction_timeout: Duration::from_secs(60),
            transaction_buffer: 1 << 20,
        };
        ProducerBuilder {
            sender,
            settings,
            partitioner: None,
            names: None,
            name: None,
            keep_open: KeepOpen::default(),
        }
    }

    /// Transactions get their ids here.
    pub(crate) fn with_names(mut self, names: Arc<dyn Names>) -> Self {
        self.names = Some(names);
        self
    }

    /// The producer keeps its log open.
    pub(crate) fn keeping_open(mut self, keep_open: KeepOpen) -> Self {
        self.keep_open = keep_open;
        self
    }

    /// How large a batch of enqueued records becomes, in bytes before compression. Default: 64 KiB. A larger record
    /// gets a batch of its own.
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.settings.batch_size = bytes;
        self
    }

    /// How long an enqueued record waits for others to share its batch. Default: one millisecond.
    /// [`send`](Producer::send) never waits.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.linger = linger;
        self
    }

    /// How many bytes of enqueued records may wait to be acknowledged, in all partitions together. Default: 8 MiB.
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.settings.buffer_memory = bytes;
        self
    }

    /// How long [`enqueue`](Producer::enqueue) waits for room in a full buffer before it fails with `Timeout`; with
    /// zero it fails immediately, with `QueueFull`. Also how long a batch that finds the disk full is tried again
    /// before its records are [`Undelivered`](crate::Error::Undelivered); with zero the first failure is final.
    /// Default: one minute.
    pub fn max_block(mut self, time: Duration) -> Self {
        self.settings.max_block = time;
        self
    }

    /// How long a transaction may be open, from its beginning to its commit. One that takes longer is aborted, also where its
    /// program has forgotten it. Default: one minute; at most 15 minutes (Kafka's `transaction.timeout.ms`).
    pub fn transaction_timeout(mut self, time: Duration) -> Self {
        self.settings.transaction_timeout = time;
        self
    }

    /// How many bytes of records a transaction keeps in memory. What goes beyond is written before the commit, so that readers
    /// of `read_committed` wait for the end of the transaction at what follows it in the same partitions. Default: 1 MiB.
    pub fn transaction_buffer(mut self, bytes: u64) -> Self {
        self.settings.transaction_buffer = bytes;
        self
    }

    /// How batches are compressed in topics that leave it to the producer. Default: [`Compression::None`].
    pub fn compression(mut self, compression: Compression) -> Self {
        self.settings.compression = compression;
        self
    }

    /// Chooses the partition of each record that does not name one. Default: [`DefaultPartitioner`], which chooses as
    /// Kafka does.
    pub fn partitioner(mut self, partitioner: impl Partitioner + 'static) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }

    /// Gives the producer a name, by which it is known beyond the life of its process. It is Kafka's transactional id, with or
    /// without transactions. A producer with a name writes no record twice: each has a number, its
    /// [`sequence`](crate::ProducerRecord::sequence), and one that is not above the last number of its partition is answered
    /// as a duplicate. Without numbers of their own, records get the next ones. [`last_sequence`](Producer::last_sequence)
    /// tells a source where to go on after a crash.
    ///
    /// The name has one holder: building another producer of the same name, here or in a later process, fences the one before,
    /// whose calls all fail with `Fenced`. The name is kept until it is forgotten, however long it is silent.
    ///
    /// After an [`Undelivered`](crate::Error::Undelivered) the failed numbers are given back: send those records before any
    /// later ones, since a lower number counts as sent.
    ///
    /// ```
    /// # use streamlog::{ProducerRecord, Streamlog};
    /// # let log = Streamlog::in_memory()?;
    /// # log.create_topic("readings", streamlog::TopicConfig::default())?;
    /// let producer = log.producer_builder().named("sensor-7").build()?;
    /// let first = producer.send(ProducerRecord::new("readings", "21.5").sequence(1))?;
    /// let again = producer.send(ProducerRecord::new("readings", "21.5").sequence(1))?;
    /// assert!(again.duplicate && again.offset == first.offset);
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Builds the producer.
    ///
    /// # Errors
    ///
    /// `InvalidConfig` names the setting and what it must be; `CodecUnavailable` when this build lacks the codec;
    /// `ReadOnly` and `Closed` when nothing can be written.
    pub fn build(self) -> Result<Producer> {
        let ProducerBuilder { sender, settings, partitioner, names, name, keep_open } = self;
        sender.catalog().data_dir().check_writable()?;
        check(&settings)?;
        let random = sender.env().random();
        let identity = match (name, names) {
            (None, names) => ProducerIdentity::anonymous(names),
            (Some(name), Some(names)) => {
                sender.holders().claim(names, &name, settings.transaction_timeout)?
            }
            (Some(_), None) => return Err(Error::closed("the log")),
        };
        let context = Context::new(Arc::clone(&sender), settings, identity);
        let accumulators = Accumulators::new(context);
        let client: Arc<dyn Client> = Arc::clone(&accumulators) as Arc<dyn Client>;
        sender.join(Arc::downgrade(&client))?;
        let default = || Choice::Default(DefaultPartitioner::new(settings.batch_size as u64, random));
        Ok(Producer::new(accumulators, partitioner.map_or_else(default, Choice::Custom), keep_open))
    }
}

/// What chooses partitions.
pub(super) enum Choice {
    Default(DefaultPartitioner),
    Custom(Arc<dyn Partitioner>),
}

fn check(settings: &Settings) -> Result<()> {
    let invalid = |key: &str, reason: String| Err(Error::InvalidConfig { key: key.to_string(), reason });
    if settings.batch_size < MIN_BATCH_SIZE {
        let reason = format!("{} bytes are less than {MIN_BATCH_SIZE}", settings.batch_size);
        return invalid("batch_size", reason);
    }
    if i32::try_from(settings.batch_size).is_err() {
        return invalid(
            "batch_size",
            format!("{} bytes are more than a batch can have", settings.batch_size),
        );
    }
    if settings.transaction_timeout.is_zero() || settings.transaction_timeout > LONGEST_TRANSACTION {
        let reason = format!("{:?} is not between zero and 15 minutes", settings.transaction_timeout);
        return invalid("transaction_timeout", reason);
    }
    if settings.buffer_memory < settings.batch_size {
        let reason = format!("{} bytes do not hold one batch", settings.buffer_memory);
        return invalid("buffer_memory", reason);
    }
    match is_available(settings.compression) {
        true => Ok(()),
        false => Err(Error::no_codec(settings.compression)),
    }
}
