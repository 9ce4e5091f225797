//! Which requests this client knows, in which versions.

use std::fmt;

/// A request of the protocol, with the versions that this client can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) name: &'static str,
    pub(crate) versions: VersionRange,
    /// The first version with compact lengths and tagged fields.
    pub(crate) flexible_since: i16,
}

/// Versions of a request, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VersionRange {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

impl Api {
    /// Whether `version` has compact lengths and tagged fields.
    pub(crate) fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_since
    }

    /// The latest version that both sides can speak, if there is one.
    pub(crate) fn common_version(&self, broker: VersionRange) -> Option<i16> {
        let latest = self.versions.max.min(broker.max);
        (latest >= self.versions.min.max(broker.min)).then_some(latest)
    }
}

impl VersionRange {
    pub(crate) const fn new(min: i16, max: i16) -> Self {
        Self { min, max }
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "version {}", self.min)
        } else {
            write!(f, "versions {} to {}", self.min, self.max)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_common_version_is_spoken() {
        let versions = VersionRange::new(4, 12);
        let api = Api { key: 1, name: "Fetch", versions, flexible_since: 12 };
        let common = |min, max| api.common_version(VersionRange::new(min, max));
        assert_eq!(common(4, 17), Some(12), "a broker of today");
        assert_eq!(common(0, 11), Some(11), "an older one");
        assert_eq!(common(13, 17), None, "one that has dropped what we speak");
        assert_eq!(common(0, 3), None, "one before our time");
        assert!(api.is_flexible(12) && !api.is_flexible(11));
    }
}
