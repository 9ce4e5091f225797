//! The producer over `confluent-kafka`: transactions by the second protocol.
//!
//! There every transaction has an epoch of its own, so a request of an earlier transaction that
//! arrives late is refused: it cannot end, or write into, a later one. That is what librdkafka's
//! protocol cannot promise after a time-out.
//!
//! | file | what it does |
//! |---|---|
//! | `clients.rs` | the executor, and what the cluster says about itself and its topics |
//! | `delivery.rs` | what came of the records that were handed over |
//! | `error.rs` | what has to be done about an error |
//! | `producer.rs` | the transport's [`Producer`](runtime::transport::Producer) |
//! | `properties.rs` | librdkafka's properties in the other client's words |

mod clients;
mod delivery;
mod error;
mod producer;
mod properties;

pub(crate) use clients::Clients;
pub(crate) use producer::V2Producer;
pub(crate) use properties::translate;
