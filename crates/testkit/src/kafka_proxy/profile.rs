//! What a proxy does to everything that passes.

use std::time::Duration;

use super::versions::{REDPANDA, Spoken};

/// The cluster that a proxy passes for. By default it is the broker as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProxyProfile {
    pub(super) spoken: Option<&'static [Spoken]>,
    pub(super) delay: Duration,
}

impl ProxyProfile {
    /// A broker that speaks the versions of requests that Redpanda does: Fetch up to 11,
    /// ListOffsets up to 4, Metadata up to 7, the first transaction protocol, and no features. It
    /// closes the connection of a request in another version.
    #[must_use]
    pub fn redpanda() -> Self {
        Self { spoken: Some(REDPANDA), ..Self::default() }
    }

    /// Adds this time to each round trip. Requests in flight at the same time wait together.
    #[must_use]
    pub fn with_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}
