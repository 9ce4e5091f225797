//! Fetched messages as a batch of records, decoded from where librdkafka fetched them to.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::slice;
use std::sync::Arc;

use rdkafka::bindings as rd;
use streams_core::{Headers, RawRecord, RecordBatch};

use super::queue::Message;
use crate::consumer::Consumer;

/// Messages of one partition, in order.
pub(crate) struct MessageBatch {
    /// Before the consumer in order of declaration: messages are destroyed first.
    messages: Vec<Message>,
    _consumer: Arc<Consumer>,
}

impl MessageBatch {
    pub(crate) fn new(messages: Vec<Message>, consumer: Arc<Consumer>) -> Self {
        Self { messages, _consumer: consumer }
    }
}

impl RecordBatch for MessageBatch {
    fn len(&self) -> usize {
        self.messages.len()
    }

    fn record(&self, index: usize) -> RawRecord<'_> {
        let message = &self.messages[index];
        let raw = message.raw();
        RawRecord {
            offset: raw.offset,
            timestamp: message.timestamp(),
            // SAFETY: key and payload are null or valid for their lengths as long as the message
            // lives.
            key: unsafe { bytes(raw.key, raw.key_len) },
            // SAFETY: as above.
            value: unsafe { bytes(raw.payload, raw.len) },
        }
    }

    fn headers(&self, index: usize, headers: &mut Headers) {
        let native = self.messages[index].headers();
        if native.is_null() {
            return;
        }
        let mut name: *const c_char = ptr::null();
        let (mut value, mut size) = (ptr::null::<c_void>(), 0);
        for position in 0.. {
            // SAFETY: the headers belong to the message; on success name is a NUL-terminated string
            // and value null or valid for size bytes, both as long as the message
            // lives.
            unsafe {
                let got =
                    rd::rd_kafka_header_get_all(native, position, &mut name, &mut value, &mut size);
                if got != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return;
                }
                headers.push(&CStr::from_ptr(name).to_string_lossy(), bytes(value, size));
            }
        }
    }
}

/// # Safety
/// `start` is null, or valid for `length` bytes for as long as the caller uses the result.
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: by the caller's word.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), length) })
}
