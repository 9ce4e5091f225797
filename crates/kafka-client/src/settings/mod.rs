//! What the user sets, by librdkafka's names of properties.
//!
//! | file | what it is |
//! |---|---|
//! | `connection.rs` | how a cluster is reached, for all clients |
//! | `fetch.rs` | for fetching |
//! | `producer.rs` | for producing |
//! | `properties.rs` | the properties of one client, and those that this client does not know |

mod connection;
mod fetch;
mod producer;
mod properties;

pub use connection::ConnectionSettings;
pub(crate) use connection::Credentials;
pub use fetch::FetchSettings;
pub use producer::ProducerSettings;
pub use properties::{Properties, UnsupportedProperty};
