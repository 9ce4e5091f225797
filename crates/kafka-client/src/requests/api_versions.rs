//! ApiVersions: which requests the broker speaks in which versions, and what the cluster can do.

use std::time::Instant;

use crate::connection::{Connection, Result};
use crate::protocol::{Api, ErrorCode, Read, RequestWriter, ResponseReader, VersionRange};

/// Which requests a broker speaks in which versions, and what its cluster can do.
#[derive(Clone, Debug, Default)]
pub(crate) struct ApiVersions {
    /// By the keys of the requests.
    versions: Vec<(i16, VersionRange)>,
    features: BrokerFeatures,
}

/// What the cluster says that it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BrokerFeatures {
    /// The level of transactions: those of KIP-890 from 2 on.
    pub(crate) transaction_version: i16,
}

/// The tagged field with the finalized features of the cluster.
const FINALIZED_FEATURES: u32 = 2;

impl ApiVersions {
    pub(crate) const API: Api =
        Api { key: 18, name: "ApiVersions", versions: VersionRange::new(0, 3), flexible_since: 3 };

    pub(crate) fn call(connection: &mut Connection, deadline: Instant) -> Result<Self> {
        let latest = Self::API.versions.max;
        let (code, response) = Self::call_in(connection, latest, deadline)?;
        if code != ErrorCode::UNSUPPORTED_VERSION {
            code.ok()?;
            return Ok(response);
        }
        // Every broker understands the first one.
        let (code, response) = Self::call_in(connection, 0, deadline)?;
        code.ok()?;
        Ok(response)
    }

    fn call_in(
        connection: &mut Connection,
        version: i16,
        deadline: Instant,
    ) -> Result<(ErrorCode, Self)> {
        let write = |output: &mut RequestWriter| {
            if output.version >= 3 {
                output.string("headwater");
                output.string(env!("CARGO_PKG_VERSION"));
            }
            output.no_tags();
        };
        connection.call_in(&Self::API, version, deadline, write, Self::read)
    }

    /// The versions of the request with this key; `None` if the broker does not know it.
    pub(crate) fn of(&self, key: i16) -> Option<VersionRange> {
        let found = self.versions.iter().find(|(of, _)| *of == key);
        found.map(|(_, versions)| *versions)
    }

    #[cfg(test)]
    pub(crate) fn limit(&mut self, key: i16, max: i16) {
        let of_key = self.versions.iter_mut().filter(|(of, _)| *of == key);
        of_key.for_each(|(_, versions)| versions.max = versions.max.min(max));
    }

    pub(crate) fn features(&self) -> BrokerFeatures {
        self.features
    }

    fn read(input: &mut ResponseReader<'_>) -> Read<(ErrorCode, Self)> {
        let mut response = Self::default();
        let code = ErrorCode(input.i16()?);
        if code != ErrorCode::NONE {
            // A broker that does not know the version answers in the first one.
            return Ok((code, response));
        }
        response.versions = input.array(|input| {
            let key = input.i16()?;
            let versions = VersionRange::new(input.i16()?, input.i16()?);
            input.tags()?;
            Ok((key, versions))
        })?;
        if input.version >= 1 {
            input.throttle()?;
        }
        let features = &mut response.features;
        input.each_tag(|number, field| {
            if number == FINALIZED_FEATURES {
                field.array(|field| {
                    let name = field.string()?;
                    let max = field.i16()?;
                    let _min = field.i16()?;
                    if name == "transaction.version" {
                        features.transaction_version = max;
                    }
                    field.tags()
                })?;
            }
            Ok(())
        })?;
        Ok((code, response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(version: i16) -> ApiVersions {
        let is_flexible = ApiVersions::API.is_flexible(version);
        let mut output = RequestWriter { version, is_flexible, ..RequestWriter::default() };
        output.i16(0);
        output.array(2);
        for (key, min, max) in [(0, 3, 9), (1, 0, 11)] {
            output.i16(key);
            output.i16(min);
            output.i16(max);
            output.no_tags();
        }
        if version >= 1 {
            output.i32(0);
        }
        if version >= 3 {
            let mut field = RequestWriter { is_flexible, ..RequestWriter::default() };
            field.array(1);
            field.string("transaction.version");
            field.i16(2);
            field.i16(0);
            field.no_tags();
            output.bytes.extend_from_slice(&[1, 2, field.bytes.len() as u8]);
            output.bytes.extend_from_slice(&field.bytes);
        }
        let mut input = ResponseReader::new(&output.bytes, version, is_flexible);
        ApiVersions::read(&mut input).expect("well formed").1
    }

    #[test]
    fn each_version_is_read() {
        for version in 0..=3 {
            let response = response(version);
            assert_eq!(response.of(1), Some(VersionRange::new(0, 11)), "version {version}");
            assert_eq!(response.of(2), None);
            let transactions = response.features().transaction_version;
            assert_eq!(transactions, if version == 3 { 2 } else { 0 });
        }
    }
}
