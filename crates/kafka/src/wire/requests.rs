//! All requests but the one that carries records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::buffer::{Input, Malformed, Output};
use super::codes::Code;
use super::connection::{Connection, Header, Kind, Login, Result};
use super::fetch;

const METADATA: Kind = Kind { api: 3, version: 9, header: Header::Flexible };
const FIND_COORDINATOR: Kind = Kind { api: 10, version: 4, header: Header::Flexible };
const SASL_HANDSHAKE: Kind = Kind { api: 17, version: 1, header: Header::Old };
const API_VERSIONS: Kind = Kind { api: 18, version: 3, header: Header::Versions };
const INIT_PRODUCER_ID: Kind = Kind { api: 22, version: 5, header: Header::Flexible };
const END_TXN: Kind = Kind { api: 26, version: 5, header: Header::Flexible };
const TXN_OFFSET_COMMIT: Kind = Kind { api: 28, version: 5, header: Header::Flexible };
const SASL_AUTHENTICATE: Kind = Kind { api: 36, version: 2, header: Header::Flexible };

/// What the cluster says that it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    /// The level of transactions: the second protocol from 2 on.
    pub(crate) transaction_version: i16,
    /// The latest version of its requests for records, and for offsets.
    pub(crate) fetch_version: i16,
    pub(crate) list_offsets_version: i16,
}

impl Features {
    pub(super) fn ask(connection: &mut Connection, deadline: Instant) -> Result<Self> {
        let write = |output: &mut Output| {
            output.text("headwater");
            output.text(env!("CARGO_PKG_VERSION"));
            output.no_tags();
        };
        let (code, features) = connection.call(&API_VERSIONS, deadline, write, Self::read)?;
        match code {
            // Older than anything that is asked for here: its answer says no more.
            Code::UNSUPPORTED_VERSION => Ok(Self::default()),
            code => code.ok().map(|()| features).map_err(Into::into),
        }
    }

    /// Whether the broker understands who reads: Kafka 2.8 and later.
    pub(crate) fn can_be_read(&self) -> bool {
        self.fetch_version >= fetch::FETCH.version
            && self.list_offsets_version >= fetch::LIST_OFFSETS.version
    }

    fn read(input: &mut Input<'_>) -> std::result::Result<(Code, Self), Malformed> {
        let mut features = Self::default();
        let code = Code(input.i16()?);
        if code != Code::NONE {
            return Ok((code, features));
        }
        input.array(|input| {
            let (api, _least, most) = (input.i16()?, input.i16()?, input.i16()?);
            if api == fetch::FETCH.api {
                features.fetch_version = most;
            } else if api == fetch::LIST_OFFSETS.api {
                features.list_offsets_version = most;
            }
            input.tags()
        })?;
        let _throttled = input.i32()?;
        const FINALIZED: u32 = 2;
        input.each_tag(|number, field| {
            if number == FINALIZED {
                field.array(|field| {
                    let (name, most, _least) = (field.text()?, field.i16()?, field.i16()?);
                    if name == "transaction.version" {
                        features.transaction_version = most;
                    }
                    field.tags()
                })?;
            }
            Ok(())
        })?;
        Ok((code, features))
    }
}

pub(super) fn sasl_handshake(connection: &mut Connection, deadline: Instant) -> Result<()> {
    let write = |output: &mut Output| output.old_text("PLAIN");
    // The mechanisms that the broker knows follow.
    let code = connection.call(&SASL_HANDSHAKE, deadline, write, |input| input.i16())?;
    Ok(Code(code).ok()?)
}

pub(super) fn sasl_authenticate(
    connection: &mut Connection,
    login: &Login,
    deadline: Instant,
) -> Result<()> {
    let token = format!("\0{}\0{}", login.name, login.password);
    let write = |output: &mut Output| {
        output.binary(token.as_bytes());
        output.no_tags();
    };
    let code = connection.call(&SASL_AUTHENTICATE, deadline, write, |input| input.i16())?;
    Ok(Code(code).ok()?)
}

/// Asks for brokers, and for topics. Never creates a topic.
pub(crate) struct Metadata<'a> {
    pub(crate) topics: &'a [Arc<str>],
}

/// The answer: addresses of brokers by their number, and topics.
#[derive(Default)]
pub(crate) struct Cluster {
    pub(crate) brokers: BTreeMap<i32, String>,
    pub(crate) topics: Vec<FoundTopic>,
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    /// −1 if there is none now.
    pub(crate) broker: i32,
    /// Grows with every change: of two leaders it tells the later one.
    pub(crate) epoch: i32,
}

/// A topic, with the leader of each partition.
pub(crate) struct FoundTopic {
    pub(crate) code: Code,
    pub(crate) name: Arc<str>,
    pub(crate) leaders: Vec<Leader>,
}

impl Metadata<'_> {
    pub(crate) fn call(&self, connection: &mut Connection, deadline: Instant) -> Result<Cluster> {
        let write = |output: &mut Output| {
            output.array(self.topics.len());
            for topic in self.topics {
                output.text(topic);
                output.no_tags();
            }
            output.bool(false); // do not create them
            output.bool(false);
            output.bool(false);
            output.no_tags();
        };
        connection.call(&METADATA, deadline, write, |input| {
            let _throttled = input.i32()?;
            let brokers = input.array(|input| {
                let number = input.i32()?;
                let address = address(input)?;
                let _rack = input.nullable_text()?;
                input.tags()?;
                Ok((number, address))
            })?;
            let (_cluster, _controller) = (input.nullable_text()?, input.i32()?);
            let topics = input.array(read_topic)?;
            Ok(Cluster { brokers: brokers.into_iter().collect(), topics })
        })
    }
}

fn address(input: &mut Input<'_>) -> std::result::Result<String, Malformed> {
    let (host, port) = (input.text()?, input.i32()?);
    Ok(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

fn read_topic(input: &mut Input<'_>) -> std::result::Result<FoundTopic, Malformed> {
    let (code, name, _internal) = (Code(input.i16()?), input.text()?.into(), input.i8()?);
    let mut partitions = input.array(|input| {
        let _code = input.i16()?;
        let (number, broker, epoch) = (input.i32()?, input.i32()?, input.i32()?);
        for _list in ["replicas", "in sync", "offline"] {
            input.array(Input::i32)?;
        }
        input.tags()?;
        Ok((number, Leader { broker, epoch }))
    })?;
    let _operations = input.i32()?;
    input.tags()?;
    partitions.sort_unstable_by_key(|(number, _)| *number);
    Ok(FoundTopic {
        code,
        name,
        leaders: partitions.into_iter().map(|(_, leader)| leader).collect(),
    })
}

/// Who coordinates a group or the transactions of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CoordinatorKind {
    Group = 0,
    Transaction = 1,
}

/// Asks for a coordinator.
pub(crate) struct Coordinator<'a> {
    pub(crate) kind: CoordinatorKind,
    pub(crate) key: &'a str,
}

impl Coordinator<'_> {
    /// Its address.
    pub(crate) fn call(&self, connection: &mut Connection, deadline: Instant) -> Result<String> {
        let write = |output: &mut Output| {
            output.i8(self.kind as i8);
            output.array(1);
            output.text(self.key);
            output.no_tags();
        };
        let found = connection.call(&FIND_COORDINATOR, deadline, write, |input| {
            let _throttled = input.i32()?;
            input.array(|input| {
                let (_key, _number) = (input.text()?, input.i32()?);
                let address = address(input)?;
                let (code, _message) = (Code(input.i16()?), input.nullable_text()?);
                input.tags()?;
                Ok((code, address))
            })
        })?;
        let (code, address) = found.into_iter().next().ok_or(Malformed)?;
        code.ok()?;
        Ok(address)
    }
}

/// Who a producer is in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// Fences older producers with the same transactional id and ends their transactions.
pub(crate) struct InitProducerId<'a> {
    pub(crate) transactional_id: &'a str,
    pub(crate) timeout: Duration,
}

impl InitProducerId<'_> {
    pub(crate) fn call(&self, connection: &mut Connection, deadline: Instant) -> Result<Identity> {
        let write = |output: &mut Output| {
            output.nullable_text(Some(self.transactional_id));
            output.i32(i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX));
            output.i64(-1);
            output.i16(-1);
            output.no_tags();
        };
        let answer = connection.call(&INIT_PRODUCER_ID, deadline, write, read_identity)?;
        Ok(answer?)
    }
}

/// Ends a transaction. The answer is the identity for the next one.
pub(crate) struct EndTxn<'a> {
    pub(crate) transactional_id: &'a str,
    pub(crate) identity: Identity,
    pub(crate) commits: bool,
}

impl EndTxn<'_> {
    pub(crate) fn call(&self, connection: &mut Connection, deadline: Instant) -> Result<Identity> {
        let write = |output: &mut Output| {
            output.text(self.transactional_id);
            output.i64(self.identity.producer_id);
            output.i16(self.identity.epoch);
            output.bool(self.commits);
            output.no_tags();
        };
        let answer = connection.call(&END_TXN, deadline, write, read_identity)?;
        Ok(answer?)
    }
}

fn read_identity(
    input: &mut Input<'_>,
) -> std::result::Result<std::result::Result<Identity, Code>, Malformed> {
    let (_throttled, code) = (input.i32()?, Code(input.i16()?));
    let identity = Identity { producer_id: input.i64()?, epoch: input.i16()? };
    Ok(code.ok().map(|()| identity))
}

/// Offsets of one topic: partition, offset, metadata.
pub(crate) type OffsetsTopic<'a> = (&'a str, Vec<(i32, i64, &'a str)>);

/// Adds a group's offsets to the transaction.
pub(crate) struct TxnOffsetCommit<'a> {
    pub(crate) transactional_id: &'a str,
    pub(crate) identity: Identity,
    pub(crate) group: &'a str,
    pub(crate) generation: i32,
    pub(crate) member: &'a str,
    pub(crate) instance: Option<&'a str>,
    pub(crate) topics: &'a [OffsetsTopic<'a>],
}

impl TxnOffsetCommit<'_> {
    /// The worst answer of all partitions.
    pub(crate) fn call(&self, connection: &mut Connection, deadline: Instant) -> Result<()> {
        let write = |output: &mut Output| self.write(output);
        let codes = connection.call(&TXN_OFFSET_COMMIT, deadline, write, |input| {
            let _throttled = input.i32()?;
            input.array(|input| {
                let _topic = input.text()?;
                let codes = input.array(|input| {
                    let (_partition, code) = (input.i32()?, Code(input.i16()?));
                    input.tags()?;
                    Ok(code)
                })?;
                input.tags()?;
                Ok(codes)
            })
        })?;
        let bad: Vec<_> = codes.into_iter().flatten().filter(|code| *code != Code::NONE).collect();
        let worst = bad.iter().find(|code| !code.is_passing()).or(bad.first());
        Ok(worst.copied().map_or(Ok(()), Err)?)
    }

    fn write(&self, output: &mut Output) {
        output.text(self.transactional_id);
        output.text(self.group);
        output.i64(self.identity.producer_id);
        output.i16(self.identity.epoch);
        output.i32(self.generation);
        output.text(self.member);
        output.nullable_text(self.instance);
        output.array(self.topics.len());
        for (topic, partitions) in self.topics {
            output.text(topic);
            output.array(partitions.len());
            for (partition, offset, metadata) in partitions {
                output.i32(*partition);
                output.i64(*offset);
                output.i32(-1); // the leader's epoch: not known
                output.nullable_text(Some(metadata));
                output.no_tags();
            }
            output.no_tags();
        }
        output.no_tags();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a broker answers whose latest versions for records and offsets are these.
    fn features(fetch: i16, list_offsets: i16) -> Features {
        let mut output = Output::default();
        output.i16(0);
        output.array(3);
        for (api, most) in
            [(0, 9), (fetch::FETCH.api, fetch), (fetch::LIST_OFFSETS.api, list_offsets)]
        {
            output.i16(api);
            output.i16(0);
            output.i16(most);
            output.no_tags();
        }
        output.i32(0);
        output.no_tags();
        Features::read(&mut Input::new(&output.bytes)).expect("well formed").1
    }

    #[test]
    fn brokers_before_2_8_are_not_read() {
        assert!(features(17, 10).can_be_read());
        assert!(features(12, 6).can_be_read(), "2.8");
        assert!(!features(12, 5).can_be_read(), "2.7 knows all but the request for offsets");
        assert!(!features(11, 6).can_be_read());
    }
}
