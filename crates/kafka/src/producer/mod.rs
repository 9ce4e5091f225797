//! The two producers, and the choice between them.
//!
//! | file | what it is |
//! |---|---|
//! | `choice.rs` | takes our own client wherever the cluster and the properties allow it |
//! | `deliveries.rs` | what librdkafka reports of records that were sent |
//! | `librdkafka.rs` | the first protocol of transactions, with any broker that knows them |

mod choice;
mod deliveries;
mod librdkafka;

pub(crate) use choice::Choice;
pub(crate) use librdkafka::LibrdkafkaProducer;
