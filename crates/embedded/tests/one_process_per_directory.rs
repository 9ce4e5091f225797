//! A directory has one owner at a time, and holds a log of a known format or nothing.
#![allow(clippy::unwrap_used)]

use std::fs;

use headwater_embedded::EmbeddedLog;
use runtime::transport::ErrorKind;

#[test]
fn a_second_owner_of_the_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let log = EmbeddedLog::open(&path).unwrap();
    let error = EmbeddedLog::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let text = error.to_string();
    assert!(
        text.contains(path.to_str().unwrap()) && text.contains("another owner has it open"),
        "{text}"
    );
    drop(log);
    EmbeddedLog::open(&path).unwrap();
}

#[test]
fn a_file_that_is_not_a_log_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("log.redb"), b"something else").unwrap();
    let error = EmbeddedLog::open(directory.path()).unwrap_err();
    assert!(error.to_string().contains(directory.path().to_str().unwrap()), "{error}");
}

#[test]
fn another_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(EmbeddedLog::open(directory.path()).unwrap());
    let meta = redb::TableDefinition::<&[u8], &[u8]>::new("meta");
    let open = || redb::Database::open(directory.path().join("log.redb")).unwrap();
    for (format, complaint) in [
        (&b"headwater log\0\0\0\x03\0\0\0"[..], "version 3"),
        (b"headwater snapshots", "not a Headwater log"),
    ] {
        let database = open();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(meta).unwrap().insert(&b"format"[..], format).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = EmbeddedLog::open(directory.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains(complaint), "{error}");
    }
}
