//! A certificate that cannot be accepted, and a protocol that the listener does not speak, are
//! errors that name the cause within seconds, and not endless attempts.

mod tls_broker;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use kafka_client::{ConnectionSettings, ErrorClass, KafkaClusters, Properties};
use tls_broker::{Authority, Issued, Seen, listen};

const SOON: Duration = Duration::from_secs(8);

/// Why a client with these settings is not admitted.
fn refusal(address: &str, set: &[(&str, &str)]) -> String {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let common: BTreeMap<_, _> = set.iter().map(own).collect();
    let properties = Properties { common: &common, own: &BTreeMap::new(), oauth: None };
    let settings = ConnectionSettings::new(address, properties).expect("known");
    let cluster = KafkaClusters::default().get(&settings);
    let began = Instant::now();
    let error = cluster.check_admission(Duration::from_secs(60)).expect_err("not admitted");
    assert_eq!(error.class(), ErrorClass::Refused, "{error}");
    assert!(began.elapsed() < SOON, "after {:?}: {error}", began.elapsed());
    error.to_string()
}

fn refusal_of_certificate(issued: &Issued, trusted: &Authority) -> String {
    let (port, _seen) = listen(issued, None);
    let set = [("security.protocol", "SSL"), ("ssl.ca.pem", &*trusted.pem)];
    refusal(&format!("127.0.0.1:{port}"), &set)
}

#[test]
fn an_authority_that_is_not_trusted() {
    let why =
        refusal_of_certificate(&Authority::new().issue("127.0.0.1", false), &Authority::new());
    assert!(why.contains("ssl.ca.location"), "{why}");
}

#[test]
fn a_certificate_that_has_expired() {
    let authority = Authority::new();
    let why = refusal_of_certificate(&authority.issue("127.0.0.1", true), &authority);
    assert!(why.contains("has expired"), "{why}");
}

#[test]
fn a_certificate_for_another_host() {
    let authority = Authority::new();
    for other in ["broker.example", "127.0.0.2"] {
        let why = refusal_of_certificate(&authority.issue(other, false), &authority);
        assert!(why.contains("not for this host name"), "{why}");
    }
}

#[test]
fn the_address_of_the_host_is_accepted() {
    let authority = Authority::new();
    for name in ["127.0.0.1", "localhost"] {
        let (port, seen) = listen(&authority.issue(name, false), None);
        let common = [("security.protocol", "SSL"), ("ssl.ca.pem", &*authority.pem)];
        let common = common.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let properties = Properties { common: &common, own: &BTreeMap::new(), oauth: None };
        let settings = ConnectionSettings::new(&format!("{name}:{port}"), properties);
        let cluster = KafkaClusters::default().get(&settings.expect("known"));
        let _ = cluster.check_admission(Duration::from_millis(500));
        assert!(matches!(seen.recv(), Ok(Seen::Request(None))), "{name}");
    }
}

/// A listener of Kafka without TLS takes the greeting of TLS for a length, and closes.
fn plain_listener(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let _ = socket.read_exact(&mut [0; 4]);
            let _ = std::io::Write::write_all(&mut socket, answer);
        }
    });
    port
}

#[test]
fn tls_to_a_plain_listener() {
    for answer in [&b""[..], b"HTTP/1.1 400 Bad Request"] {
        let port = plain_listener(answer);
        let why = refusal(
            &format!("127.0.0.1:{port}"),
            &[("security.protocol", "SSL"), ("ssl.ca.pem", &Authority::new().pem)],
        );
        assert!(why.contains("security.protocol") && why.contains("PLAINTEXT"), "{why}");
    }
}

#[test]
fn no_tls_to_a_listener_with_tls() {
    let (port, _seen) = listen(&Authority::new().issue("127.0.0.1", false), None);
    let why = refusal(&format!("127.0.0.1:{port}"), &[]);
    assert!(why.contains("security.protocol"), "{why}");
}

#[test]
fn no_certificate_where_one_is_wanted() {
    let authority = Authority::new();
    let (port, _seen) = listen(&authority.issue("127.0.0.1", false), Some(&authority));
    let set = [("security.protocol", "SSL"), ("ssl.ca.pem", &*authority.pem)];
    let why = refusal(&format!("127.0.0.1:{port}"), &set);
    assert!(why.contains("ssl.certificate.location"), "{why}");
}

#[test]
fn files_that_cannot_be_used() {
    for (name, content) in [("ssl.ca.pem", "no PEM"), ("ssl.ca.location", "/no/such/file")] {
        let why = refusal("127.0.0.1:1", &[("security.protocol", "SSL"), (name, content)]);
        assert!(why.contains(name), "{why}");
    }
}
