//! From async code: what blocks, and how to call it.
//!
//! Every call returns when it is done; there are no futures. A call that waits for a disk or for other threads must not run
//! on a runtime's worker thread:
//!
//! | call | may wait for | from a worker |
//! |---|---|---|
//! | [`Producer::try_enqueue`](crate::Producer::try_enqueue) | a batch's worth of writing to the page cache | yes |
//! | [`Producer::enqueue`](crate::Producer::enqueue) | room in the buffer, for [`max_block`](crate::clients::ProducerBuilder::max_block) at most, by default a minute | only with a short `max_block`; with zero a full buffer is `QueueFull` immediately |
//! | [`Delivery::try_result`](crate::Delivery::try_result), [`is_done`](crate::Delivery::is_done) | nothing | yes |
//! | [`Producer::send`](crate::Producer::send), [`flush`](crate::Producer::flush), [`Delivery::wait`](crate::Delivery::wait) | a flush of the medium | no |
//! | [`Consumer::poll`](crate::Consumer::poll) | records, for its timeout at most; with `Duration::ZERO`, file reads | no |
//! | [`Consumer::commit_sync`](crate::Consumer::commit_sync), topics, settings, [`maintain`](crate::Streamlog::maintain), [`maintain_for`](crate::Streamlog::maintain_for) | flushes | no |
//! | [`Streamlog::open`](crate::Streamlog::open) | recovery after a crash: seconds if much data was not checkpointed | no |
//! | [`Streamlog::close`](crate::Streamlog::close), and dropping the last handle | flushes; on a full disk as long as producers wait | no |
//!
//! * **`spawn_blocking`** (tokio's name for it) is for calls that end: opening, closing, an important `send`, a commit,
//!   administration. Handles are cheap to clone: move a clone in.
//! * **A thread of its own** is for a consumer's loop, which does not end. A runtime's pool for blocking calls is limited,
//!   and a pool full of sleeping polls runs nothing else. A [wake-up handle](crate::Consumer::wakeup_handle) ends a sleep at
//!   shutdown: keep one for each consumer, call them all, then join. A channel of the runtime carries the records over; a
//!   bounded one (`blocking_send`) slows the consumer down as it should.
//! * **`try_enqueue` and one waiting thread** is for many producing tasks. The thread waits for deliveries in the order in
//!   which they were made, and each completes a oneshot of the runtime. `QueueFull` hands the record back: answer "busy", or
//!   sleep with the runtime's timer and try again.
//!
//! The program below uses nothing but the standard library. With tokio, `Slot` is a `tokio::sync::oneshot` channel, and
//! `block_on` is the runtime.
//!
//! ```
//! use std::{
//!     future::{Future, poll_fn},
//!     pin::pin,
//!     sync::{Arc, Mutex, mpsc},
//!     task::{Context, Poll, Wake, Waker},
//!     thread,
//! };
//! use streamlog::{Delivery, Offset, Producer, ProducerRecord, Result, Streamlog, TopicConfig};
//!
//! /// Where the waiting thread puts the result, and the waker it calls.
//! type Slot = Arc<Mutex<(Option<Result<Offset>>, Option<Waker>)>>;
//!
//! #[derive(Clone)]
//! struct AsyncProducer {
//!     producer: Producer,
//!     waiting: mpsc::Sender<(Delivery, Slot)>,
//! }
//!
//! impl AsyncProducer {
//!     fn new(producer: Producer) -> (AsyncProducer, thread::JoinHandle<()>) {
//!         let (waiting, deliveries) = mpsc::channel::<(Delivery, Slot)>();
//!         // In the order of enqueueing, so that no delivery waits long after it is done.
//!         let waiter = thread::spawn(move || {
//!             for (delivery, slot) in deliveries {
//!                 let result = delivery.wait().map(|sent| sent.offset);
//!                 let mut slot = slot.lock().unwrap();
//!                 slot.0 = Some(result);
//!                 slot.1.take().into_iter().for_each(Waker::wake);
//!             }
//!         });
//!         (AsyncProducer { producer, waiting }, waiter)
//!     }
//!
//!     /// Acknowledged when it is ready. A full buffer is an immediate error.
//!     async fn send(&self, record: ProducerRecord<'_>) -> Result<Offset> {
//!         let delivery = self.producer.try_enqueue(record)?;
//!         let slot = Slot::default();
//!         self.waiting.send((delivery, Arc::clone(&slot))).expect("the waiter lives as long as its channel");
//!         poll_fn(|context| {
//!             let mut slot = slot.lock().unwrap();
//!             slot.1 = Some(context.waker().clone());
//!             slot.0.take().map_or(Poll::Pending, Poll::Ready)
//!         })
//!         .await
//!     }
//! }
//!
//! /// A runtime of one task.
//! fn block_on<T>(future: impl Future<Output = T>) -> T {
//!     struct Unpark(thread::Thread);
//!     impl Wake for Unpark {
//!         fn wake(self: Arc<Self>) {
//!             self.0.unpark();
//!         }
//!     }
//!     let waker = Waker::from(Arc::new(Unpark(thread::current())));
//!     let mut future = pin!(future);
//!     loop {
//!         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
//!             Poll::Ready(done) => return done,
//!             Poll::Pending => thread::park(),
//!         }
//!     }
//! }
//!
//! let log = Streamlog::in_memory()?; // in a program: opened in `spawn_blocking`
//! log.create_topic("orders", TopicConfig::default())?;
//! let (producer, waiter) = AsyncProducer::new(log.producer()?);
//! block_on(async {
//!     assert_eq!(producer.send(ProducerRecord::new("orders", "a loom")).await?, 0);
//!     assert_eq!(producer.send(ProducerRecord::new("orders", "a compiler")).await?, 1);
//!     Ok::<(), streamlog::Error>(())
//! })?;
//! drop(producer); // ends the waiter's channel, and so the waiter
//! waiter.join().unwrap();
//! log.close()?; // in a program: in `spawn_blocking`
//! # Ok::<(), streamlog::Error>(())
//! ```
