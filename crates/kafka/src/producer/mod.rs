//! The two producers, and the choice between them.
//!
//! | file | what it is |
//! |---|---|
//! | `librdkafka.rs` | the first protocol of transactions, with any broker that knows them |
//! | `deliveries.rs` | what librdkafka reports of records that were sent |
//! | `v2/` | the second one (KIP-890), with brokers 4.0 and later |
//! | `choice.rs` | takes the second wherever the cluster and the properties allow it |

mod choice;
mod deliveries;
mod librdkafka;
pub(crate) mod v2;

pub(crate) use choice::Choice;
pub(crate) use librdkafka::LibrdkafkaProducer;
