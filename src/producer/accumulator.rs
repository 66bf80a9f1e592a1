//! The batches of one producer for one partition, from a record to the queue of batches to be written.
//!
//! Always true: records lie in the open batch, the queue and the list of written batches in the order of
//! [`Accumulator::push`]; `state` is locked no longer than it takes to copy a record, and never while waiting or
//! writing; the bytes of all records are reserved; before `state` is unlocked, each new time at which the sender must
//! look here is in its schedule. How batches leave is in `drain`.

use super::{
    body::Body,
    delivery::{BatchResult, Delivery},
    stuck::Stuck,
};
use crate::{
    codec::{
        batch::HEADER_LEN,
        builder::{BatchBuilder, NUMBER_OVERHEAD, SealedBatch},
        named::NamedSequences,
    },
    env::sync::{AtomicBool, Mutex, MutexGuard, Ordering},
    error::{Error, Outcome, Result},
    partition::{
        log::Log,
        state::log_config::LogConfig,
        write::{
            append::Appended,
            encode::{RecordData, encode, encode_numbered},
        },
    },
    producer::{context::Context, sender::Drain},
    topic::{Topic, duty::Duty, schedule::Wake},
    types::{Compression, Timestamp},
};
use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::{Arc, Weak},
    time::Duration,
};

/// What a batch reserves at first; it doubles from there.
const FIRST_ROOM: usize = 4 << 10;

/// The most bytes of a record beside its key, value and headers, and of a header beside its name and value.
const RECORD_OVERHEAD: usize = 40;
const HEADER_OVERHEAD: usize = 10;

/// How many records share one look at the clock, if batches are short-lived.
const RECORDS_PER_LOOK: u32 = 32;
/// The longest linger time with which they are.
const SHORT_LINGER: Duration = Duration::from_millis(10);

/// See the head of the file.
pub(super) struct Accumulator {
    topic: Topic,
    log: Arc<Log>,
    context: Arc<Context>,
    /// For the schedule, which keeps nothing alive.
    me: Weak<Accumulator>,
    state: Mutex<State>,
    /// Whether `state` has anything that a send must deal with before it writes; changes under its lock.
    busy: AtomicBool,
    /// Held by the thread that writes: sealed batches reach the log in the order of the queue.
    pub(super) out: Mutex<()>,
}

/// The last number of a partition, as far as it is known here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum LastNumber {
    /// The log must be asked.
    #[default]
    Unknown,
    /// This one, or none.
    Is(Option<u64>),
}

/// The batches of the accumulator, and what their next calls return.
#[derive(Default)]
pub(super) struct State {
    pub(super) open: Option<OpenBatch>,
    pub(super) queue: VecDeque<QueuedBatch>,
    /// Whether a batch was taken from the queue and is not in the log yet.
    pub(super) writing: bool,
    /// Written, and waiting to be made durable.
    pub(super) written: VecDeque<WrittenBatch>,
    /// The failure that the next call returns.
    pub(super) error: Option<Error>,
    pub(super) closed: Option<&'static str>,
    /// Whether the sender writes the open batch before its deadline.
    pub(super) expedited: bool,
    /// Why the waiting batches make no progress, and when they are tried again.
    pub(super) stuck: Option<Stuck>,
    /// Of a producer with a name.
    pub(super) last_number: LastNumber,
}

/// The locked state. Dropping it notes whether a send has anything to deal with here, and then wakes the sender's task
/// if it must look here earlier than it expects.
pub(super) struct Locked<'a> {
    state: MutexGuard<'a, State>,
    accumulator: &'a Accumulator,
    /// Dropped when the state is unlocked, which wakes the task.
    wake: Option<Wake<'a>>,
}

impl Locked<'_> {
    /// Makes the sender look here at `at`.
    pub(super) fn schedule(&mut self, at: Duration) {
        let me: Weak<Accumulator> = self.accumulator.me.clone();
        let wake = self.accumulator.context.sender.schedule().put(Duty::Batches, at, me);
        self.wake = self.wake.take().or(wake);
    }
}

impl Deref for Locked<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        let (busy, is_busy) = (&self.accumulator.busy, self.state.is_busy());
        if is_busy != busy.load(Ordering::Relaxed) {
            busy.store(is_busy, Ordering::Release);
        }
    }
}

/// The batch that is being filled. It has at least one record.
pub(super) struct OpenBatch {
    builder: BatchBuilder,
    promise: Arc<BatchResult>,
    config: Arc<LogConfig>,
    /// What is reserved, and what may be.
    reserved: usize,
    limit: usize,
    pub(super) deadline: Duration,
    now: Timestamp,
    looks: u32,
}

/// A batch that waits to be written.
pub(super) struct QueuedBatch {
    pub(super) body: Body,
    pub(super) promise: Arc<BatchResult>,
    pub(super) reserved: usize,
}

/// A batch that is in its log.
pub(super) struct WrittenBatch {
    pub(super) appended: Appended,
    /// Its bytes, for the case that its flush fails.
    pub(super) sealed: SealedBatch,
    pub(super) promise: Arc<BatchResult>,
    pub(super) reserved: usize,
}

/// A record that is in its batch, and the bytes it took there.
pub(super) type Enqueued = (Delivery, usize);

/// What became of an attempt to push a record.
pub(super) enum Pushed {
    Queued(Enqueued),
    /// It is queued, and its batch must be written now.
    Full(Enqueued),
    /// A batch was closed to make room for it.
    Blocked,
    NoMemory,
}

impl Pushed {
    /// Whether the record is in its batch.
    pub(super) fn is_queued(&self) -> bool {
        matches!(self, Pushed::Queued(_) | Pushed::Full(_))
    }
}

impl State {
    /// Returns the last failure, once, and `Closed` after the end.
    pub(super) fn check(&mut self) -> Result<()> {
        match (self.error.take(), self.closed) {
            (Some(error), _) => Err(error.with_outcome(Outcome::NotAppended)),
            (None, Some(what)) => Err(Error::closed(what)),
            (None, None) => Ok(()),
        }
    }

    fn is_busy(&self) -> bool {
        let holds_records = self.open.is_some() || !self.queue.is_empty() || self.writing;
        holds_records || self.error.is_some() || self.closed.is_some()
    }

    /// Takes no more records into the open batch.
    pub(super) fn close_open(&mut self) {
        if let Some(open) = self.open.take() {
            let OpenBatch { builder, promise, config, reserved, .. } = open;
            self.queue.push_back(QueuedBatch { body: Body::Filled(builder, config), promise, reserved });
        }
    }
}

impl OpenBatch {
    /// The numbers of its records.
    pub(super) fn sequences(&self) -> Option<NamedSequences> {
        self.builder.sequences()
    }

    fn has_room(&self, bound: usize) -> bool {
        self.builder.len() + bound <= self.reserved
    }

    #[inline]
    fn push(&mut self, context: &Context, data: &RecordData<'_>, number: Option<u64>) -> Result<Enqueued> {
        unless_planted!(enqueue_what_has_no_key => self.config.check_key(data.key_bytes())?);
        let timestamp = match data.timestamp {
            Some(timestamp) => {
                self.config.check_timestamp(timestamp, || context.env().now())?;
                timestamp
            }
            None => self.time(context),
        };
        let (index, before) = (self.builder.count(), self.builder.len());
        data.put_numbered(&mut self.builder, timestamp, number)?;
        let delivery = Delivery::new(Arc::clone(&self.promise), index, timestamp);
        Ok((delivery, self.builder.len() - before))
    }

    #[inline]
    fn time(&mut self, context: &Context) -> Timestamp {
        if self.looks == 0 {
            self.now = context.env().now();
            self.looks = looks(context);
        }
        self.looks -= 1;
        self.now
    }
}

/// How many records may share one look at the clock. In a batch that stays open for long their timestamps would be too
/// old.
fn looks(context: &Context) -> u32 {
    if context.settings.linger <= SHORT_LINGER && !context.sender.is_inline() { RECORDS_PER_LOOK } else { 1 }
}

/// At least the bytes that a record takes in any batch.
#[inline]
pub(super) fn bound_of(data: &RecordData<'_>) -> usize {
    let fixed =
        RECORD_OVERHEAD + data.key_bytes().map_or(0, <[u8]>::len) + data.value_bytes().map_or(0, <[u8]>::len);
    data.headers.iter().fold(fixed, |sum, (name, value)| {
        sum.saturating_add(HEADER_OVERHEAD + name.len() + value.as_ref().map_or(0, |value| value.0.len()))
    })
}

/// How large a batch may grow before it is compressed: what a codec adds to data it cannot shrink must fit too.
pub(super) fn limit_of(config: &LogConfig, compression: Compression, batch_size: usize) -> usize {
    let max = usize::try_from(config.max_message_bytes.min(config.segment_bytes)).unwrap_or(usize::MAX);
    match config.codec(compression) {
        (Compression::None, _) => {
            planted!(a_batch_takes_what_comes => return max);
            batch_size.min(max)
        }
        _ => batch_size.min(max / 4 * 3),
    }
}

impl Accumulator {
    pub(super) fn new(topic: Topic, log: Arc<Log>, context: Arc<Context>) -> Arc<Self> {
        let (state, busy, out) = (Mutex::default(), AtomicBool::new(false), Mutex::new(()));
        let make = |me: &Weak<_>| Accumulator { topic, log, context, me: me.clone(), state, busy, out };
        Arc::new_cyclic(make)
    }

    #[inline]
    pub(super) fn lock(&self) -> Locked<'_> {
        Locked { state: self.state.lock(), accumulator: self, wake: None }
    }

    /// Whether a record enqueued before the call is not in the log yet, or the next call has an error to return.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(super) fn topic(&self) -> &Topic {
        &self.topic
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The batch that is being filled.
    pub(super) fn open_promise(&self) -> Option<Arc<BatchResult>> {
        self.lock().open.as_ref().map(|open| Arc::clone(&open.promise))
    }

    /// Whether its topic was deleted and nothing is left to do here.
    pub(super) fn is_over(&self) -> bool {
        self.topic.is_deleted() && self.is_done()
    }

    /// Whether everything that was enqueued is acknowledged or given up.
    pub(super) fn is_done(&self) -> bool {
        let state = self.lock();
        state.open.is_none() && state.queue.is_empty() && state.written.is_empty() && !state.writing
    }

    /// The error with which any record would be refused now. Returns the last failure, once.
    pub(super) fn check(&self) -> Result<()> {
        self.lock().check()?;
        self.log.refusal().map_or(Ok(()), Err)
    }

    /// Puts a record without a timestamp of its own into the open batch, if that has room. In all other cases it does
    /// nothing and returns `None`: [`Accumulator::push`] deals with them. Calling [`OpenBatch::push`] here, which
    /// copies the delivery once more, lowered the rate by a twentieth.
    #[inline(always)]
    pub(super) fn enqueue_quickly(&self, data: &RecordData<'_>) -> Option<Enqueued> {
        // The batch is open and stays open, so `busy` need not change.
        let mut state = self.state.lock();
        if state.error.is_some() || state.closed.is_some() || data.timestamp.is_some() {
            return None;
        }
        let open = state.open.as_mut().filter(|open| open.has_room(bound_of(data)))?;
        open.config.check_key(data.key_bytes()).ok()?;
        let timestamp = open.time(&self.context);
        let (index, before) = (open.builder.count(), open.builder.len());
        data.put(&mut open.builder, timestamp).ok()?;
        let bytes = open.builder.len() - before;
        Some((Delivery::new(Arc::clone(&open.promise), index, timestamp), bytes))
    }

    /// Puts a record into a batch that has room, or can be given some.
    #[inline]
    pub(super) fn push(self: &Arc<Self>, data: &RecordData<'_>, number: Option<u64>) -> Result<Pushed> {
        let state = &mut self.lock();
        if state.error.is_some() || state.closed.is_some() {
            state.check()?;
        }
        let bound = bound_of(data) + number.map_or(0, |_| NUMBER_OVERHEAD);
        match &mut state.open {
            Some(open) if open.has_room(bound) => open.push(&self.context, data, number).map(Pushed::Queued),
            _ => self.push_slowly(state, data, number, bound),
        }
    }

    #[cold]
    #[inline(never)]
    fn push_slowly(
        self: &Arc<Self>,
        state: &mut Locked<'_>,
        data: &RecordData<'_>,
        number: Option<u64>,
        bound: usize,
    ) -> Result<Pushed> {
        let Some(open) = &mut state.open else {
            return self.begin(state, data, number, bound);
        };
        let size = open.builder.len().saturating_add(bound);
        if size <= open.limit {
            let needed = size - open.reserved;
            let wanted = open.reserved.min(open.limit - open.reserved);
            if let Some(more) = self.context.memory.reserve_up_to(wanted, needed) {
                open.reserved += more;
                return open.push(&self.context, data, number).map(Pushed::Queued);
            }
        }
        state.close_open();
        Ok(Pushed::Blocked)
    }

    /// Begins a batch with a record. A refused record begins none.
    fn begin(
        self: &Arc<Self>,
        state: &mut Locked<'_>,
        data: &RecordData<'_>,
        number: Option<u64>,
        bound: usize,
    ) -> Result<Pushed> {
        let context = &self.context;
        let config = self.log.config();
        let limit = limit_of(&config, context.settings.compression, context.settings.batch_size);
        let needed = bound.saturating_add(HEADER_LEN);
        if needed > limit {
            return self.push_alone(state, data, number, &config);
        }
        let Some(reserved) = context.memory.reserve_up_to(FIRST_ROOM.min(limit), needed) else {
            return Ok(Pushed::NoMemory);
        };
        let mut open = OpenBatch {
            builder: BatchBuilder::with_buffer(context.memory.buffer()),
            promise: BatchResult::new(Arc::clone(self) as Arc<dyn Drain>),
            config,
            reserved,
            limit,
            deadline: context.env().monotonic().saturating_add(context.settings.linger),
            now: Timestamp::NONE,
            looks: 0,
        };
        match open.push(context, data, number) {
            Ok(enqueued) => {
                state.schedule(open.deadline);
                state.open = Some(open);
                Ok(Pushed::Queued(enqueued))
            }
            Err(error) => {
                context.memory.release(reserved);
                context.memory.recycle(open.builder.into_buffer());
                Err(error)
            }
        }
    }

    /// A record that does not fit into a batch of the usual size gets one of its own. It is refused immediately if its
    /// topic would not take it.
    fn push_alone(
        self: &Arc<Self>,
        state: &mut Locked<'_>,
        data: &RecordData<'_>,
        number: Option<u64>,
        config: &LogConfig,
    ) -> Result<Pushed> {
        let context = &self.context;
        let now = context.env().now();
        let codec = context.settings.compression;
        let sealed = match number {
            Some(number) => encode_numbered(data, number, config, codec, now)?,
            None => encode(std::slice::from_ref(data), config, codec, now)?,
        };
        let (size, max) = (sealed.size(), context.memory.limit());
        let reserved = usize::try_from(size).unwrap_or(usize::MAX);
        if reserved > max {
            return Err(Error::too_large(size, max as u64, "the producer's buffer_memory"));
        }
        if !context.memory.reserve(reserved) {
            return Ok(Pushed::NoMemory);
        }
        let promise = BatchResult::new(Arc::clone(self) as Arc<dyn Drain>);
        let delivery = Delivery::new(Arc::clone(&promise), 0, data.timestamp.unwrap_or(now));
        state.queue.push_back(QueuedBatch { body: Body::Sealed(sealed), promise, reserved });
        Ok(Pushed::Full((delivery, reserved.saturating_sub(HEADER_LEN))))
    }
}
