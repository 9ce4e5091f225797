//! librdkafka queues: where fetched messages wait, and how they are routed to a thread of ours.

use std::ffi::{CStr, CString, c_int};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::consumer::Consumer as _;
use streams_core::TopicPartition;

use crate::consumer::Consumer;

/// A queue of a consumer, which it keeps alive.
pub(crate) struct Queue {
    ptr: *mut rd::rd_kafka_queue_t,
    /// Outlives the queue.
    _consumer: Arc<Consumer>,
}

// SAFETY: librdkafka's queues are locked inside; the consumer outlives the queue because it is held
// here.
unsafe impl Send for Queue {}
// SAFETY: as above: every operation on a queue takes the queue's own lock.
unsafe impl Sync for Queue {}

impl Queue {
    /// A new, empty queue.
    pub(crate) fn new(consumer: &Arc<Consumer>) -> Self {
        // SAFETY: the client pointer is valid as long as the consumer lives; the call returns an
        // owned queue.
        let ptr = unsafe { rd::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Self { ptr, _consumer: Arc::clone(consumer) }
    }

    /// The queue that a partition's messages arrive in; `None` if librdkafka does not know the
    /// partition.
    pub(crate) fn of_partition(
        consumer: &Arc<Consumer>,
        partition: &TopicPartition,
    ) -> Option<Self> {
        let topic = CString::new(&*partition.topic).ok()?;
        // SAFETY: the client pointer is valid, the name is NUL-terminated and only read during the
        // call; the result is an owned reference or null.
        let ptr = unsafe {
            rd::rd_kafka_queue_get_partition(
                consumer.client().native_ptr(),
                topic.as_ptr(),
                partition.partition,
            )
        };
        (!ptr.is_null()).then(|| Self { ptr, _consumer: Arc::clone(consumer) })
    }

    /// Sends what arrives here to another queue; `None`: keeps it here.
    pub(crate) fn forward(&self, to: Option<&Queue>) {
        let to = to.map_or(ptr::null_mut(), |queue| queue.ptr);
        // SAFETY: both queues are alive; librdkafka takes its own reference to the target.
        unsafe { rd::rd_kafka_queue_forward(self.ptr, to) };
    }

    /// Ends a wait in [`take`](Self::take).
    pub(crate) fn wake(&self) {
        // SAFETY: the queue is alive.
        unsafe { rd::rd_kafka_queue_yield(self.ptr) };
    }

    pub(crate) fn raw(&self) -> *mut rd::rd_kafka_queue_t {
        self.ptr
    }

    /// Waits at most `timeout` for a message, then takes what is there, at most `max`.
    ///
    /// One by one: the batch call takes the end of a partition for a record, and goes on one offset
    /// too late when the partition is resumed after a pause, its own pauses in rebalances included.
    pub(crate) fn take(&self, timeout: Duration, max: usize, into: &mut Vec<Message>) {
        let mut wait = millis(timeout);
        for _ in 0..max.max(1) {
            // SAFETY: the queue is alive; the call returns an owned message or null.
            let message = unsafe { rd::rd_kafka_consume_queue(self.ptr, wait) };
            if message.is_null() {
                return;
            }
            into.push(Message(message));
            wait = 0;
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference was owned and is given back once.
        unsafe { rd::rd_kafka_queue_destroy(self.ptr) };
    }
}

/// Rounded up: who waits for less than a millisecond would not wait at all, again and again.
pub(crate) fn millis(timeout: Duration) -> c_int {
    c_int::try_from(timeout.as_micros().div_ceil(1_000)).unwrap_or(c_int::MAX)
}

/// A fetched message, or an event of a partition that comes the same way. Must not outlive its
/// consumer.
pub(crate) struct Message(*mut rd::rd_kafka_message_t);

// SAFETY: a message taken from its queue belongs to whoever holds it; nothing in it is tied to a
// thread.
unsafe impl Send for Message {}

impl Message {
    pub(crate) fn raw(&self) -> &rd::rd_kafka_message_t {
        // SAFETY: the pointer came from librdkafka, is not null and is owned by self until dropped.
        unsafe { &*self.0 }
    }

    /// The topic's name.
    pub(crate) fn topic(&self) -> &str {
        let topic = self.raw().rkt;
        if topic.is_null() {
            return "";
        }
        // SAFETY: the topic handle lives as long as the message; its name is a NUL-terminated
        // string.
        let name = unsafe { CStr::from_ptr(rd::rd_kafka_topic_name(topic)) };
        name.to_str().unwrap_or("")
    }

    pub(crate) fn timestamp(&self) -> i64 {
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, the type is written to a valid place.
        unsafe { rd::rd_kafka_message_timestamp(self.0, &mut kind) }
    }

    /// The message's headers; null if it has none.
    pub(crate) fn headers(&self) -> *mut rd::rd_kafka_headers_t {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive; the headers stay its own.
        unsafe { rd::rd_kafka_message_headers(self.0, &mut headers) };
        headers
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the message was owned and is destroyed once.
        unsafe { rd::rd_kafka_message_destroy(self.0) };
    }
}
