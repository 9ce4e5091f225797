//! Headers on their way to librdkafka.

use std::ffi::{c_char, c_void};
use std::ptr;

use rdkafka::bindings as rd;
use streams_core::Headers;

/// librdkafka's headers, owned until a produced record takes them.
pub(crate) struct NativeHeaders(*mut rd::rd_kafka_headers_t);

impl NativeHeaders {
    pub(crate) fn of(headers: &Headers) -> Self {
        // SAFETY: the result is owned.
        let native = unsafe { rd::rd_kafka_headers_new(headers.len()) };
        for (name, value) in headers.iter() {
            let (start, length) = value.map_or((ptr::null(), 0), |value| {
                (value.as_ptr().cast::<c_void>(), value.len() as isize)
            });
            // SAFETY: the name is given with its length, the value is null or valid for its; both
            // are copied.
            unsafe {
                let name_start = name.as_ptr().cast::<c_char>();
                rd::rd_kafka_header_add(native, name_start, name.len() as isize, start, length);
            }
        }
        Self(native)
    }

    pub(crate) fn ptr(&self) -> *mut rd::rd_kafka_headers_t {
        self.0
    }

    /// A record has taken them.
    pub(crate) fn taken(self) {
        std::mem::forget(self);
    }
}

impl Drop for NativeHeaders {
    fn drop(&mut self) {
        // SAFETY: they are owned, and destroyed once.
        unsafe { rd::rd_kafka_headers_destroy(self.0) };
    }
}
