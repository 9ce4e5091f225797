//! Our own client enters every listener of a secured cluster: it carries transactions by KIP-890
//! there, which librdkafka cannot, and reads what they wrote. Tokens come from the program, also
//! for librdkafka's clients.
//!
//! Runs where `HEADWATER_KAFKA_CLIENTS=FOLDER` has the properties of a client of each listener, as
//! `./dev kafka start --listeners all` writes them; passes without having run elsewhere.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater_kafka::{KafkaConfig, KafkaTransport, OauthToken, OauthTokenProvider};
use runtime::Transactions;
use runtime::transport::{
    ErrorKind, Outgoing, ProducerConfig, ReaderConfig, Transport, TransportError,
};
use streams_core::TopicPartition;
use support::{create, unique};

const PATIENT: Duration = Duration::from_secs(30);
/// Listeners whose certificates must be refused, with what the error says.
const REFUSED: [(&str, &str); 2] =
    [("EXPIRED", "has expired"), ("OTHER_HOST", "not for this host name")];

type Set = BTreeMap<String, String>;

/// Names of listeners, with the properties of their clients.
fn listeners() -> Vec<(String, Set)> {
    let Some(folder) = std::env::var_os("HEADWATER_KAFKA_CLIENTS") else {
        println!("skipped: HEADWATER_KAFKA_CLIENTS names no folder");
        return Vec::new();
    };
    let files = Path::new(&folder).read_dir().expect("a folder").flatten();
    let mut all: Vec<_> = files
        .map(|file| {
            let text = std::fs::read_to_string(file.path()).expect("properties");
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            let set = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let name = file.file_name().into_string().expect("UTF-8");
            (name.trim_end_matches(".properties").to_owned(), set)
        })
        .collect();
    all.sort();
    all
}

fn transport(mut set: Set) -> KafkaTransport {
    let brokers = set.remove("bootstrap.servers").expect("bootstrap.servers");
    // librdkafka's own ways to a token; here the program provides it.
    set.retain(|name, _| !name.contains("oauthbearer"));
    let none = BTreeMap::new();
    let config = KafkaConfig::new(&brokers).expect("host:port");
    let mut config = config.with_properties(&set, &none, &none, &none).expect("allowed");
    if set.values().any(|value| value == "OAUTHBEARER") {
        config = config.with_oauth_tokens(OauthTokenProvider::new(|| Ok(unsigned_token())));
    }
    KafkaTransport::new(config.with_transactions(Transactions::V2))
}

/// A token that Kafka accepts in tests: without a signature.
fn unsigned_token() -> OauthToken {
    let expires_at = SystemTime::now() + Duration::from_secs(300);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = format!(r#"{{"sub":"headwater","iat":{now},"exp":{}}}"#, now + 300);
    let token = format!("{}.{}.", base64_url(br#"{"alg":"none"}"#), base64_url(claims.as_bytes()));
    OauthToken { token, principal: "headwater".to_owned(), expires_at, extensions: Vec::new() }
}

fn base64_url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut whole = [0; 4];
        whole[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(whole);
        for digit in 0..=chunk.len() {
            text.push(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63].into());
        }
    }
    text
}

#[test]
fn it_writes_and_reads_there() {
    let is_refused = |name: &str| REFUSED.iter().any(|(refused, _)| *refused == name);
    for (name, set) in listeners().into_iter().filter(|(name, _)| !is_refused(name)) {
        let transport = transport(set);
        let topic = unique(&format!("enters-{name}"));
        create(&transport, &topic, &[]);
        let config = ProducerConfig {
            transactional_id: Some(topic.clone()),
            transaction_timeout: PATIENT,
            buffer_bytes_max: 1 << 20,
        };
        let failed = |error: TransportError| -> ! { panic!("{name}: {error}") };
        let mut producer = transport.producer(&config).unwrap_or_else(|error| failed(error));
        producer.init(PATIENT).unwrap_or_else(|error| failed(error));
        producer.begin().expect("begun");
        let value = vec![b'x'; 300_000];
        let record = Outgoing {
            topic: &topic,
            partition: Some(0),
            key: None,
            value: Some(&value),
            timestamp: 0,
            headers: None,
        };
        producer.send(&record).unwrap_or_else(|error| failed(error));
        producer.commit(PATIENT).unwrap_or_else(|error| failed(error));
        let mut reader = transport.reader(&ReaderConfig::new(true)).expect("a reader");
        reader.add(&TopicPartition::new(topic.clone(), 0), 0).expect("added");
        let until = Instant::now() + PATIENT;
        let mut read = 0;
        while read == 0 && Instant::now() < until {
            let fetched = reader.poll(Duration::from_millis(100), 10);
            let fetched = fetched.unwrap_or_else(|error| failed(error));
            let values = fetched.iter().filter_map(|one| one.batch.record(0).value);
            read = values.map(<[u8]>::len).sum();
        }
        assert_eq!(read, value.len(), "{name}");
        println!("{name}: written and read");
    }
}

#[test]
fn it_names_what_is_wrong() {
    for (name, mut set) in listeners() {
        let expected = REFUSED.iter().find(|(refused, _)| *refused == name);
        let why = match expected {
            Some((_, why)) => why,
            None if set.contains_key("sasl.password") => {
                set.insert("sasl.password".to_owned(), "wine".to_owned());
                "SASL_AUTHENTICATION_FAILED"
            }
            None => continue,
        };
        let began = Instant::now();
        let mut admin = transport(set).admin().expect("a client");
        let error = admin.describe(&["t".into()], PATIENT * 2).expect_err("not admitted");
        assert_eq!(error.kind(), ErrorKind::Refused, "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains(why) && !text.contains("wine"), "{name}: {text}");
        assert!(began.elapsed() < Duration::from_secs(10), "{name}: {:?}", began.elapsed());
        println!("{name}: {text}");
    }
}
