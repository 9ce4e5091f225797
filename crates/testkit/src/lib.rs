//! Tests topologies without a broker, and checks that every transport behaves the same.
//!
//! * [`TopologyTest`]: a topology's real tasks in virtual time; send records in, take records out,
//!   crash.
//! * [`Simulation`]: several instances in a simulated world where everything goes wrong;
//!   [`simulate`] runs many.
//! * [`Calls`]: a service for agents to call, with latencies and failures chosen by a seed.
//! * [`conformance`]: one suite of cases that runs against any
//!   [`Transport`](runtime::transport::Transport): the embedded log, a real Kafka broker, or a
//!   transport of your own.
//! * [`faults`]: a transport that fails, loses replies, is killed or freezes when told to.

mod calls;
pub mod conformance;
mod dice;
pub mod faults;
pub mod kafka_proxy;
mod lock;
mod sim;
mod topology_test;
mod virtual_time;

pub use calls::{CallCounts, CallError, Calls};
pub use dice::Dice;
pub use sim::{
    Incident, Incidents, Outcome, OutcomeError, SimError, Simulation, Summary, simulate,
};
pub use topology_test::{TestError, TopologyTest};
