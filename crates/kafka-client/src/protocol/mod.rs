//! What all requests of Kafka's protocol share.
//!
//! | file | what it is |
//! |---|---|
//! | `api.rs` | which requests this client knows, in which versions |
//! | `buffer.rs` | the protocol's numbers, strings and arrays, in both of its encodings |
//! | `error_code.rs` | the error codes of responses |

mod api;
mod buffer;
mod error_code;

pub(crate) use api::{Api, VersionRange};
pub(crate) use buffer::{Malformed, Read, RequestWriter, ResponseReader, unsigned_varint};
pub(crate) use error_code::ErrorCode;
