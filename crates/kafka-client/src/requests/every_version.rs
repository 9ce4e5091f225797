//! Each request is understood by a real broker in every version that both sides speak, and its
//! response is read.
//!
//! Runs where `HEADWATER_KAFKA=host:port` names a broker, of any version since 2.8; passes without
//! having run elsewhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    CoordinatorType, FetchPartition, FetchRequest, FindCoordinator, InitProducerId, ListOffsets,
    MetadataRequest, OffsetSpec,
};
use crate::connection::{Connection, TlsConfigs};
use crate::protocol::{Api, ErrorCode};
use crate::records::RecordsDecoder;
use crate::settings::ConnectionSettings;

/// A topic that every cluster with transactions has.
const TOPIC: &str = "__transaction_state";
const ID: &str = "every-version";

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn connect(address: &str) -> Connection {
    let settings = ConnectionSettings::plain(address);
    let tls = TlsConfigs::default();
    Connection::open(address, &settings, &tls, Duration::from_secs(20)).expect("connected")
}

/// Calls `each` with a connection to the broker that speaks no later version, for every version.
fn in_every_version(api: &Api, mut each: impl FnMut(&mut Connection, i16)) {
    let Ok(address) = std::env::var("HEADWATER_KAFKA") else {
        println!("skipped: HEADWATER_KAFKA names no broker");
        return;
    };
    let latest = connect(&address).version(api, api.versions).expect("a common version");
    let mut spoken = 0;
    for version in api.versions.min..=latest {
        let mut connection = connect(&address);
        connection.limit_version(api.key, version);
        if connection.version(api, api.versions).is_ok() {
            each(&mut connection, version);
            spoken += 1;
        }
    }
    println!("{} in {spoken} versions, up to {latest}", api.name);
}

/// Makes the topic, and a record in it.
fn init_producer(connection: &mut Connection) {
    let request = InitProducerId { transactional_id: ID, timeout: Duration::from_secs(10) };
    let end = deadline();
    loop {
        match request.call(connection, end) {
            Ok(id) => {
                assert!(id.producer_id >= 0 && id.epoch >= 0);
                return;
            }
            Err(error) if error.is_retriable() && Instant::now() < end => {
                // Looking for the coordinator creates the topic.
                let find =
                    FindCoordinator { coordinator_type: CoordinatorType::Transaction, key: ID };
                let _ = find.call(connection, end);
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn init_producer_id() {
    in_every_version(&super::init_producer_id::API, |connection, _| init_producer(connection));
}

#[test]
fn find_coordinator() {
    in_every_version(&super::find_coordinator::API, |connection, version| {
        init_producer(connection);
        let coordinator_type = CoordinatorType::Transaction;
        let request = FindCoordinator { coordinator_type, key: ID };
        let address = request.call(connection, deadline()).expect("found");
        assert!(address.contains(':'), "version {version}: {address}");
    });
}

#[test]
fn metadata() {
    in_every_version(&super::metadata::API, |connection, version| {
        init_producer(connection);
        let unknown = Arc::from("no-such-topic");
        let topics = [Arc::from(TOPIC), unknown];
        let found = MetadataRequest { topics: &topics }.call(connection, deadline());
        let found = found.expect("found");
        assert!(!found.brokers.is_empty(), "version {version}");
        let topic = |name: &str| found.topics.iter().find(|one| *one.name == *name);
        let leaders = &topic(TOPIC).expect("told").leaders;
        assert!(!leaders.is_empty() && leaders.iter().all(|one| one.broker >= 0));
        assert_eq!(leaders.iter().all(|one| one.epoch >= 0), version >= 7, "version {version}");
        let missing = topic("no-such-topic").expect("told").code;
        assert_eq!(missing, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "it is not created");
    });
}

/// The partitions of the topic, each with its first and its last offset.
fn bounds(connection: &mut Connection) -> Vec<(i64, i64)> {
    let topics = [Arc::from(TOPIC)];
    let found = MetadataRequest { topics: &topics }.call(connection, deadline()).expect("found");
    let partitions = 0..found.topics[0].leaders.len() as i32;
    let mut offset = |partition, spec| {
        let request = ListOffsets { topic: TOPIC, partition, leader_epoch: -1, spec };
        request.call(connection, deadline()).expect("an offset")
    };
    let mut both = |partition| {
        let earliest = offset(partition, OffsetSpec::Earliest);
        (earliest, offset(partition, OffsetSpec::Latest))
    };
    partitions.map(&mut both).collect()
}

#[test]
fn list_offsets() {
    in_every_version(&super::list_offsets::API, |connection, version| {
        init_producer(connection);
        let bounds = bounds(connection);
        assert!(bounds.iter().all(|(earliest, latest)| 0 <= *earliest && earliest <= latest));
        assert!(bounds.iter().any(|(_, latest)| *latest > 0), "version {version}");
    });
}

#[test]
fn fetch() {
    in_every_version(&super::fetch::API, |connection, version| {
        init_producer(connection);
        let bounds = bounds(connection);
        let all = (0..).zip(&bounds).map(|(partition, (earliest, _))| FetchPartition {
            topic: TOPIC,
            partition,
            offset: *earliest,
            bytes_max: 1 << 20,
        });
        let partitions: Vec<_> = all.collect();
        let request = FetchRequest {
            partitions: &partitions,
            read_committed: true,
            wait: Duration::from_millis(100),
            bytes_max: 8 << 20,
        };
        let mut told = 0;
        let mut records = 0;
        let visit = |mut part: super::FetchPartitionData<'_>| {
            assert_eq!(part.code, ErrorCode::NONE, "version {version}");
            told += 1;
            let mut decoder = RecordsDecoder {
                from: bounds[part.partition as usize].0,
                read_committed: true,
                aborted: &mut part.aborted,
                bytes_max: usize::MAX,
                pool: &Arc::default(),
            };
            records += decoder.decode(part.records).expect("records").records.len();
        };
        request.call(connection, deadline(), visit).expect("fetched");
        assert_eq!(told, bounds.len(), "version {version}");
        assert!(records > 0, "version {version}");
    });
}
