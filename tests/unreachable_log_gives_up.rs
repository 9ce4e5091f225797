//! An application waits a while for an unreachable log, and then ends with an error that names it.

mod support;

use std::time::{Duration, Instant};

use headwater::errors::AppError;
use headwater::prelude::*;
use headwater::spi::transport::ErrorKind;
use support::lab::{Lab, config};
use testkit::faults::{Fault, Faults, SurvivingStores, TransportCall};

const AWAY: Fault = Fault::Fails(ErrorKind::Retriable);

fn patient(connect_timeout: Duration) -> Config {
    Config { connect_timeout, ..config() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_stays_unreachable() {
    let lab = Lab::new("never-comes", 1);
    let faults = Faults::new();
    faults.always(TransportCall::Admin, AWAY);
    let config = patient(Duration::from_millis(700));
    let started = Instant::now();
    let app = lab.start_on("one", faults.clone(), &SurvivingStores::new(), config);
    let error = app.ended().await.expect_err("gave up");
    let took = started.elapsed();
    assert!(matches!(error, AppError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("embedded:"), "{error}");
    assert!((700..3_000).contains(&took.as_millis()), "{took:?}");
    assert!(faults.count(TransportCall::Admin) > 1, "it was tried once only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_becomes_reachable() {
    let mut lab = Lab::new("comes-late", 1);
    let faults = Faults::new();
    faults.always(TransportCall::Admin, AWAY);
    let config = patient(Duration::from_secs(10));
    let app = lab.start_on("one", faults.clone(), &SurvivingStores::new(), config);
    tokio::time::sleep(Duration::from_millis(300)).await;
    faults.heal();
    lab.feed(50, Duration::from_millis(50)).await;
    lab.check(&[&app]).await;
    app.stop().await.expect("a graceful stop");
}

/// Stopping while it waits for the log takes no time, and nothing starts afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_it_is_waited_for() {
    let lab = Lab::new("stop-waiting", 1);
    let faults = Faults::new();
    faults.always(TransportCall::Admin, AWAY);
    let config = patient(Duration::from_secs(60));
    let app = lab.start_on("one", faults.clone(), &SurvivingStores::new(), config);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    app.stop().await.expect("a graceful stop");
    assert!(started.elapsed() < Duration::from_secs(1));
    faults.heal();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let polls = faults.count(TransportCall::Fetch);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(faults.count(TransportCall::Fetch), polls, "it processes after its end");
}

/// An application also waits for a log that becomes unavailable while it runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_becomes_unavailable_and_returns() {
    let mut lab = Lab::new("goes", 2);
    let app = lab.start("one");
    app.runs().await;
    lab.feed(100, Duration::from_millis(100)).await;
    for call in [
        TransportCall::PollGroup,
        TransportCall::Fetch,
        TransportCall::CommittedOffsets,
        TransportCall::Bounds,
        TransportCall::Init,
    ] {
        app.faults.always(call, AWAY);
    }
    app.faults.always(TransportCall::Commit, Fault::Fails(ErrorKind::Unknown));
    lab.feed(100, Duration::from_secs(1)).await;
    app.faults.heal();
    lab.feed(100, Duration::from_millis(100)).await;
    lab.check(&[&app]).await;
    app.stop().await.expect("a graceful stop");
}
