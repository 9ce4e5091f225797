//! What the profiles of the tests' proxy promise, seen by a client of a few lines in front of a
//! real broker: the versions of Redpanda and no others, and a delay of each round trip.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use testkit::kafka_proxy::{KafkaProxy, ProxyProfile, api};

const DELAY: Duration = Duration::from_millis(250);
/// In which versions are asked for.
const VERSION: i16 = 3;

fn broker() -> Option<String> {
    let broker = std::env::var("HEADWATER_KAFKA").ok();
    if broker.is_none() {
        println!("skipped: HEADWATER_KAFKA names no broker");
    }
    broker
}

fn connect(address: &str) -> TcpStream {
    let address: SocketAddr = address.parse().expect("ip:port");
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    stream
}

/// A request whose header has the client `t` and no tagged fields.
fn send(stream: &mut TcpStream, api: i16, version: i16, body: &[u8]) {
    let correlation = 7_i32;
    let mut request = [api.to_be_bytes(), version.to_be_bytes()].concat();
    request.extend(correlation.to_be_bytes());
    request.extend([0, 1, b't', 0]);
    request.extend(body);
    let length = u32::try_from(request.len()).expect("short");
    stream.write_all(&length.to_be_bytes()).expect("sent");
    stream.write_all(&request).expect("sent");
}

fn receive(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut response = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut response)?;
    Ok(response)
}

/// What a broker says it speaks, and whether it has features.
struct Versions {
    most: BTreeMap<i16, i16>,
    has_features: bool,
}

impl Versions {
    fn of(stream: &mut TcpStream) -> Self {
        // The client's software is `t` of version `1`.
        send(stream, api::API_VERSIONS, VERSION, &[2, b't', 2, b'1', 0]);
        Self::read(&receive(stream).expect("a response"))
    }

    fn read(response: &[u8]) -> Self {
        assert_eq!(response[..6], [0, 0, 0, 7, 0, 0], "the correlation id, and no error");
        let count = usize::from(response[6] - 1);
        assert!(count < 127, "a length of one byte");
        let rest = &response[7..];
        // Each is a kind, its first and its last version, and the number of tagged fields.
        let entries = rest.chunks(7).take(count);
        let number = |entry: &[u8], at: usize| i16::from_be_bytes([entry[at], entry[at + 1]]);
        let most = entries.map(|entry| (number(entry, 0), number(entry, 4))).collect();
        let tagged_fields = rest[count * 7 + 4];
        Self { most, has_features: tagged_fields > 0 }
    }
}

#[test]
fn redpandas_versions_are_what_a_client_sees() {
    let Some(broker) = broker() else { return };
    let honest = Versions::of(&mut connect(&broker));
    assert!(honest.has_features && honest.most[&api::FETCH] > 11, "or there is nothing to hide");
    let proxy = KafkaProxy::start_as(&broker, ProxyProfile::redpanda()).expect("a proxy");
    let seen = Versions::of(&mut connect(&proxy.address().to_string()));
    assert!(!seen.has_features);
    for (kind, most) in [
        (api::PRODUCE, 7),
        (api::FETCH, 11),
        (api::LIST_OFFSETS, 4),
        (api::METADATA, 7),
        (api::FIND_COORDINATOR, 3),
        (api::INIT_PRODUCER_ID, 3),
        (api::END_TXN, 3),
        (api::TXN_OFFSET_COMMIT, 3),
    ] {
        assert_eq!(seen.most.get(&kind), Some(&most), "{kind}");
    }
    let heartbeats_of_consumer_groups = 68;
    assert!(!seen.most.contains_key(&heartbeats_of_consumer_groups));
    assert!(proxy.unspoken().is_empty());
}

#[test]
fn other_versions_end_the_connection() {
    let Some(broker) = broker() else { return };
    let proxy = KafkaProxy::start_as(&broker, ProxyProfile::redpanda()).expect("a proxy");
    let mut stream = connect(&proxy.address().to_string());
    Versions::of(&mut stream);
    send(&mut stream, api::METADATA, 9, &[0, 0, 0, 0, 0]);
    let answer = receive(&mut stream);
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(proxy.unspoken(), [(api::METADATA, 9)]);
}

#[test]
fn round_trips_take_longer_and_requests_in_flight_wait_together() {
    let Some(broker) = broker() else { return };
    let mut near = connect(&broker);
    let profile = ProxyProfile::default().with_delay(DELAY);
    let proxy = KafkaProxy::start_as(&broker, profile).expect("a proxy");
    let mut far = connect(&proxy.address().to_string());
    let round_trip = |stream: &mut TcpStream| {
        let began = Instant::now();
        assert!(Versions::of(stream).has_features, "nothing else is changed");
        began.elapsed()
    };
    let fast = round_trip(&mut near);
    let slow = round_trip(&mut far);
    assert!(fast < DELAY && slow >= DELAY && slow < DELAY * 2, "{fast:?}, {slow:?}");
    let began = Instant::now();
    for _ in 0..4 {
        send(&mut far, api::API_VERSIONS, VERSION, &[2, b't', 2, b'1', 0]);
    }
    for _ in 0..4 {
        receive(&mut far).expect("a response");
    }
    let together = began.elapsed();
    assert!(together >= DELAY && together < DELAY * 2, "{together:?}");
}
