//! Records as they are fetched and as they are sent: borrowed, never copied for the caller.

use std::sync::Arc;

/// A record that was fetched, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchedRecord<'a> {
    /// Its offset in its partition.
    pub offset: i64,
    /// Its timestamp in milliseconds; −1 where the producer gave none.
    pub timestamp: i64,
    /// Its key; `None` is the null key, which differs from an empty one.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// A record to send, borrowed from the sender's buffers.
#[derive(Clone, Copy)]
pub struct ProducerRecord<'a> {
    /// The topic.
    pub topic: &'a Arc<str>,
    /// The partition. With `None`, the key decides as in the Java client; records without a key are
    /// spread.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The timestamp in milliseconds, not negative.
    pub timestamp: i64,
    /// The headers; `None` for none.
    pub headers: Option<&'a dyn RecordHeaders>,
}

/// The headers of a record to send, wherever the caller keeps them.
pub trait RecordHeaders {
    /// How many there are.
    fn count(&self) -> usize;

    /// Hands each header to `visit`, in order: its name, and its value or null.
    fn visit(&self, visit: &mut dyn FnMut(&str, Option<&[u8]>));
}

impl RecordHeaders for &[(&str, Option<&[u8]>)] {
    fn count(&self) -> usize {
        self.len()
    }

    fn visit(&self, visit: &mut dyn FnMut(&str, Option<&[u8]>)) {
        self.iter().for_each(|(name, value)| visit(name, *value));
    }
}
