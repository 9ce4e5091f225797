//! `main` prints a returned error with `Debug`: that gives the same text as `Display`.
#![allow(clippy::unwrap_used)]

mod support;

use std::error::Error;

use headwater::codec::CodecError;
use headwater::prelude::*;

fn printed_by_main(error: impl Into<Box<dyn Error>>) -> String {
    let error = error.into();
    assert_eq!(format!("{error:?}"), error.to_string());
    format!("Error: {error:?}")
}

#[tokio::test]
async fn of_the_application() {
    let (config, _) = support::embedded();
    let app = Builder::new("words");
    app.stream(&Topic::<String, String>::new("no-words")).to(&Topic::new("no-copies"));
    app.stream(&Topic::<String, String>::new("no-lines")).to(&Topic::new("no-copies"));
    let topology = app.build().unwrap();
    let error = App::new(topology, config).run(std::future::pending()).await.unwrap_err();
    let text = printed_by_main(error);
    assert!(text.starts_with("Error: 3 topics do not exist. Create them first:"), "{text}");
    for line in [
        "- no-words does not exist; the topology consumes it",
        "- no-lines does not exist; the topology consumes it",
        "- no-copies does not exist; the topology writes it",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
}

#[test]
fn of_the_topology() {
    let app = Builder::new("no good");
    let text = printed_by_main(app.build().err().unwrap());
    assert!(text.contains("the topology cannot be built:\n- "), "{text}");
    assert!(text.contains("\n- it has no source"), "{text}");
}

#[test]
fn of_configuration_client_and_codec() {
    let text = printed_by_main(Config::from_toml("worker_threads = 0").unwrap_err());
    assert_eq!(text, "Error: configuration: worker_threads must be greater than zero");
    let (_, client) = support::embedded();
    let text = printed_by_main(client.partitions("nowhere").unwrap_err());
    assert_eq!(text, "Error: the topic nowhere does not exist. Create it first");
    let nowhere = Config { broker: "mysql:".to_owned(), ..Config::default() };
    let text = printed_by_main(headwater::client(&nowhere).unwrap_err());
    assert!(text.contains("write kafka://host:port, embedded: or embedded:./dir"), "{text}");
    printed_by_main(CodecError::null());
}
