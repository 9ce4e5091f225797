//! A state directory belongs to one running instance of an application.

mod support;

use std::time::{Duration, Instant};

use headwater::Topology;
use headwater::config::TableStorage;
use headwater::errors::AppError;
use headwater::prelude::*;
use support::embedded;
use support::lab::wait_for;
use tokio::sync::oneshot;

fn topology(id: &str) -> Topology {
    let app = Builder::new(id);
    let input = Topic::<String, u64>::new("directories-in");
    app.stream(&input).group_by_key().count(&Table::new("counts"));
    app.build().expect("valid")
}

fn config(directory: &std::path::Path) -> Config {
    let (config, client) = embedded();
    client.create_topic("directories-in", 1).expect("created");
    let state_dir = Some(directory.to_owned());
    Config { state_dir, tables: Some(TableStorage::Memory), ..config }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_is_refused_and_the_first_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = App::new(topology("twice"), config(directory.path()));
    let status = first.status();
    let (stop, stopped) = oneshot::channel::<()>();
    let first = tokio::spawn(first.run(async {
        let _ = stopped.await;
    }));
    wait_for("the first", || status.is_running()).await;
    let second = App::new(topology("twice"), config(directory.path()));
    let error = second.run(std::future::pending()).await.expect_err("refused");
    assert!(matches!(error, AppError::StateDirectory(_)), "{error:?}");
    let path = directory.path().display().to_string();
    assert!(error.to_string().contains(&path), "{error}");
    assert!(status.is_running());
    let _ = stop.send(());
    first.await.expect("no panic").expect("a graceful stop");
    // Now it is free.
    let third = App::new(topology("twice"), config(directory.path()));
    third.run(std::future::ready(())).await.expect("free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_share_a_directory_without_touching_each_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let run = |id: &str| {
        let app = App::new(topology(id), config(directory.path()));
        app.run(tokio::time::sleep(Duration::from_millis(300)))
    };
    let (one, another) = tokio::join!(run("one-application"), run("another-application"));
    one.expect("runs");
    another.expect("runs");
}

/// Dropping the future of `run`, in a `select!` for instance, ends the application.
#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_run_releases_the_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let app = App::new(topology("dropped"), config(directory.path()));
    let status = app.status();
    let run = tokio::spawn(app.run(std::future::pending()));
    wait_for("the application", || status.is_running()).await;
    run.abort();
    let _ = run.await;
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let app = App::new(topology("dropped"), config(directory.path()));
        match app.run(tokio::time::sleep(Duration::from_millis(200))).await {
            Ok(()) => break,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
