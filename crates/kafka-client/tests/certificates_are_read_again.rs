//! Certificates and keys are read again when their files have changed: connections that are opened
//! afterwards use the new ones, and files that cannot be used leave the former ones in place.

mod tls_broker;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use kafka_client::{ConnectionSettings, KafkaClusters, Properties};
use tls_broker::{Authority, Seen, der, listen};

#[test]
fn certificates_are_read_again() {
    let authority = Authority::new();
    let (port, seen) = listen(&authority.issue("127.0.0.1", false), Some(&authority));
    let folder = std::env::temp_dir().join(format!("headwater-certificates-{port}"));
    fs::create_dir_all(&folder).expect("a folder");
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    fs::write(path("ca.pem"), &authority.pem).expect("written");
    let common: BTreeMap<String, String> = [
        ("security.protocol", "SSL".to_owned()),
        ("ssl.ca.location", path("ca.pem")),
        ("ssl.certificate.location", path("client.pem")),
        ("ssl.key.location", path("client.key")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let replace = |certificate: &str, key: &str| {
        fs::write(path("client.pem"), certificate).expect("written");
        fs::write(path("client.key"), key).expect("written");
    };
    let first = authority.issue("first", false);
    replace(&first.certificate, &first.key);
    let properties = Properties { common: &common, own: &BTreeMap::new(), oauth: None };
    let settings = ConnectionSettings::new(&format!("127.0.0.1:{port}"), properties);
    let cluster = KafkaClusters::default().get(&settings.expect("known"));
    // The listener answers nothing, so each attempt opens a connection.
    let shown = || {
        let _ = cluster.check_admission(Duration::from_millis(300));
        let last = seen.try_iter().last().expect("a connection");
        let Seen::Request(Some(certificate)) = last else { panic!("no certificate") };
        certificate
    };
    assert_eq!(shown(), der(&first.certificate).to_vec());
    let second = authority.issue("a-second-and-longer-name", false);
    replace(&second.certificate, &second.key);
    assert_eq!(shown(), der(&second.certificate).to_vec());
    replace("half of a certifi", &second.key);
    assert_eq!(shown(), der(&second.certificate).to_vec());
    fs::remove_dir_all(folder).expect("removed");
}
