//! An agent that awaits something and makes progress is not considered stuck, however seldom the
//! worker has its turn on a busy machine.

mod support;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use headwater::agents::Records;
use headwater::prelude::*;
use runtime::ManualClock;
use runtime::manual::{ManualApp, ManualAppParts};
use testkit::faults::SurvivingStores;

#[tokio::test(flavor = "multi_thread")]
async fn with_a_turn_ten_times_a_second() {
    let (mut config, client) = support::embedded();
    config.transaction_timeout = Duration::from_secs(2);
    config.session_timeout = Duration::from_secs(60);
    client.create_topic_with("busy-in", 1, &[("retention.ms", "-1")]).expect("created");
    client.create_topic_with("busy-out", 1, &[("retention.ms", "-1")]).expect("created");
    let input = Topic::<u64, u64>::new("busy-in");
    let output = Topic::<u64, u64>::new("busy-out");
    let builder = Builder::new("busy");
    let sends = output.clone();
    builder.agent("busy", &input).sends(&sends).run(move |mut input: Records<u64, u64>, cx| {
        let sends = sends.clone();
        async move {
            while let Some(Record { key, value, .. }) = input.next().await {
                // For three turns it is not ready.
                let mut turns = 3;
                std::future::poll_fn(|context| {
                    turns -= 1;
                    context.waker().wake_by_ref();
                    if turns == 0 { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                cx.send(&sends, key, value)?;
            }
            Ok(())
        }
    });
    let mut writer = client.writer().expect("a writer");
    writer.deliver(&input, &1, &7, 1).expect("fed");

    let clock = ManualClock::new(1_000_000_000_000);
    let mut app = ManualApp::start(ManualAppParts {
        topology: Arc::new(builder.build().expect("valid")),
        transport: headwater::connect(&config).expect("a log"),
        config,
        stores: Arc::new(SurvivingStores::default()),
        clock: Arc::new(clock.clone()),
    })
    .expect("starts");
    for _ in 0..40 {
        (0..app.components()).for_each(|component| app.turn(component).expect("goes on"));
        clock.advance(Duration::from_millis(100));
    }
    let mut outputs = client.reader(&output).expect("a reader");
    let read = outputs.next(Duration::from_secs(5)).expect("reads").expect("one is there");
    assert_eq!(read.record.value, 7);
}
