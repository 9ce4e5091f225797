//! A state directory belongs to one running instance, and its identity stays.

use headwater_state::{StateDir, StateDirError};

#[test]
fn the_second_is_refused_with_the_directory_and_the_holder() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = StateDir::open(directory.path(), "shop").expect("free");
    let error = StateDir::open(directory.path(), "shop").expect_err("in use");
    let text = error.to_string();
    assert!(matches!(error, StateDirError::InUse { .. }), "{text}");
    assert!(text.contains(&directory.path().join("shop").display().to_string()), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    drop(first);
    StateDir::open(directory.path(), "shop").expect("free again");
}

#[test]
fn identities_stay_and_differ() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = |name: &str| {
        let opened = StateDir::open(directory.path(), name).expect("opens");
        opened.instance_id().to_owned()
    };
    assert_eq!(id("shop"), id("shop"));
    assert_ne!(id("shop"), id("stall"));
    assert_eq!(id("shop").len(), 32);
}

#[test]
fn a_newer_layout_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(StateDir::open(directory.path(), "shop").expect("opens"));
    std::fs::write(directory.path().join("shop/version"), "99\n").expect("written");
    let error = StateDir::open(directory.path(), "shop").expect_err("newer").to_string();
    assert!(error.contains("layout version \"99\""), "{error}");
}

#[test]
fn tables_of_an_older_layout_are_rebuilt() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = StateDir::open(directory.path(), "shop").expect("opens").instance_id().to_owned();
    let shop = directory.path().join("shop");
    std::fs::create_dir_all(shop.join("tasks/0-0")).expect("made");
    std::fs::write(shop.join("version"), "1\n").expect("written");
    let opened = StateDir::open(directory.path(), "shop").expect("opens");
    assert_eq!(opened.instance_id(), id, "its identity stays");
    assert!(opened.tasks_dir().is_dir() && !shop.join("tasks/0-0").exists());
    let version = std::fs::read_to_string(shop.join("version")).expect("written");
    assert_eq!(version.trim(), "2");
    std::fs::create_dir_all(shop.join("tasks/0-0")).expect("made");
    drop(opened);
    StateDir::open(directory.path(), "shop").expect("opens");
    assert!(shop.join("tasks/0-0").exists(), "once is enough");
}
