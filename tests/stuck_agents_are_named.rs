//! An agent that never gets on with a record ends the application, with its task's name: its input
//! would stop for ever without a word.

mod support;

use std::time::Duration;

use headwater::agent::Records;
use headwater::prelude::*;
use headwater::{App, AppError};

/// In its first record, before it has sent or written anything.
#[tokio::test(flavor = "multi_thread")]
async fn in_its_first_record() {
    let (mut config, client) = support::embedded();
    config.transaction_timeout = Duration::from_millis(900);
    client.create_topic_with("stuck-in", 1, &[("retention.ms", "-1")]).expect("created");
    let input = Topic::<u64, u64>::new("stuck-in");
    let builder = Builder::new("stuck");
    builder.agent("stuck", &input).run(|mut input: Records<u64, u64>, _| async move {
        input.next().await;
        std::future::pending().await
    });
    let app = App::new(builder.build().expect("valid"), config);
    let mut writer = client.writer().expect("a writer");
    writer.deliver(&Topic::<u64, u64>::new("stuck-in"), &1, &1, 1).expect("fed");
    let ended = tokio::time::timeout(Duration::from_secs(20), app.run(std::future::pending()));
    let error = ended.await.expect("it ends").expect_err("with an error");
    assert!(matches!(error, AppError::AgentStuck { .. }), "{error}");
}
