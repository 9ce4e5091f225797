//! Holds every transport to one meaning.
//!
//! * [`conformance`]: one suite of cases that runs against any
//!   [`Transport`](runtime::transport::Transport): the embedded log, a real Kafka broker, or a
//!   transport of your own.

pub mod conformance;
