//! What the user sets, by librdkafka's names of properties.
//!
//! | file | what it is |
//! |---|---|
//! | `connection.rs` | how a cluster is reached, for all clients |
//! | `credentials.rs` | how this client authenticates itself |
//! | `fetch.rs` | for fetching |
//! | `oauth.rs` | tokens that the user's program provides |
//! | `producer.rs` | for producing |
//! | `properties.rs` | the properties of one client, and those that this client does not know |
//! | `tls.rs` | how TLS is set up |

mod connection;
mod credentials;
mod fetch;
mod oauth;
mod producer;
mod properties;
mod tls;

pub use connection::ConnectionSettings;
pub(crate) use credentials::{Credentials, Password};
pub use fetch::FetchSettings;
pub use oauth::{OauthError, OauthToken, OauthTokenProvider};
pub use producer::ProducerSettings;
pub use properties::{Properties, UnsupportedProperty};
pub(crate) use tls::{PemSource, TlsSettings};
