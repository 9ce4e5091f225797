//! Agents under test sleep in virtual time. Each timer fires at its own moment, however far the
//! test advances at once. Nothing that an agent has sent is lost while it waits, and nothing fires
//! by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use headwater::agents::{AgentResult, Context, Records};
use headwater::errors::Backoff;
use headwater::prelude::*;
use headwater_testkit::{Calls, Dice, TestError, TopologyTest};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep, timeout};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn orders() -> Topic<String, u64> {
    Topic::new("orders")
}

fn notes() -> Topic<String, u64> {
    Topic::new("notes")
}

/// A topology of one agent over orders that sends notes.
fn agent<F, Fut>(run: F) -> TopologyTest
where
    F: Fn(Records<String, u64>, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = AgentResult> + Send + 'static,
{
    let app = Builder::new("virtual");
    app.agent("agent", &orders()).sends(&notes()).run(run);
    TopologyTest::new(app.build().expect("valid"))
}

fn note(key: &str, value: u64) -> (String, u64) {
    (key.to_owned(), value)
}

fn order(test: &mut TopologyTest, key: &str, value: u64) {
    test.send(&orders(), key.to_owned(), value).expect("taken");
}

fn taken(test: &mut TopologyTest) -> Vec<(String, u64)> {
    test.take(&notes()).expect("notes")
}

fn pass(test: &mut TopologyTest, time: u64) {
    test.advance(millis(time)).expect("nothing fails");
}

/// Sleeps for the order's number of milliseconds between two sends.
async fn patient(mut orders: Records<String, u64>, cx: Context) -> AgentResult {
    while let Some(order) = orders.next().await {
        let began = Instant::now();
        cx.send(&notes(), format!("before {}", order.key), order.value)?;
        sleep(millis(order.value)).await;
        cx.send(&notes(), order.key, began.elapsed().as_millis() as u64)?;
    }
    Ok(())
}

#[test]
fn an_agent_that_sleeps_keeps_what_it_has_sent() {
    let mut test = agent(patient);
    order(&mut test, "a", 100);
    assert!(taken(&mut test).is_empty());
    pass(&mut test, 99);
    assert!(taken(&mut test).is_empty(), "it has one millisecond left");
    pass(&mut test, 1);
    assert_eq!(taken(&mut test), [note("before a", 100), note("a", 100)]);
    test.finish().expect("nothing is left");
}

#[test]
fn nothing_fires_by_itself() {
    let mut test = agent(patient);
    order(&mut test, "a", 5);
    for _ in 0..3 {
        std::thread::sleep(millis(10));
        test.run().expect("nothing fails");
        assert!(taken(&mut test).is_empty(), "no time has passed");
    }
    test.set_date(1_000_000).expect("nothing fails");
    assert!(taken(&mut test).is_empty(), "a date is no time");
    pass(&mut test, 5);
    assert_eq!(taken(&mut test), [note("before a", 5), note("a", 5)]);
}

#[test]
fn an_application_that_starts_today_sleeps_no_longer() {
    let mut test = agent(patient).at(1_700_000_000_000);
    order(&mut test, "a", 100);
    pass(&mut test, 99);
    assert!(taken(&mut test).is_empty());
    pass(&mut test, 1);
    assert_eq!(taken(&mut test), [note("before a", 100), note("a", 100)]);
}

#[test]
fn in_one_long_step_each_record_takes_its_own_time() {
    let mut test = agent(patient);
    for (key, value) in [("a", 10), ("b", 20), ("c", 30)] {
        order(&mut test, key, value);
    }
    pass(&mut test, 60);
    let notes = taken(&mut test);
    assert_eq!(notes.len(), 6, "10, 30, 60: {notes:?}");
    assert_eq!(notes[5], note("c", 30));
    order(&mut test, "d", 10);
    let error = test.finish().expect_err("d is not done").to_string();
    assert!(error.contains("1 of orders-0, from offset 3 on"), "{error}");
}

#[test]
fn a_timeout_ends_a_call_that_hangs() {
    let calls = Calls::new(1).hanging(1.0);
    let service = calls.clone();
    let mut test = agent(move |mut orders, cx| {
        let service = service.clone();
        async move {
            while let Some(order) = orders.next().await {
                let answer = timeout(millis(250), service.call(&order.key)).await;
                cx.send(&notes(), order.key, u64::from(answer.is_ok()))?;
            }
            Ok(())
        }
    });
    order(&mut test, "a", 1);
    pass(&mut test, 249);
    assert!(taken(&mut test).is_empty());
    pass(&mut test, 1);
    assert_eq!(taken(&mut test), [note("a", 0)]);
    let counts = calls.of("a");
    assert_eq!((counts.begun, counts.served, counts.unfinished), (1, 0, 1));
    assert!(calls.history().contains("250 ms  call 1 for a is given up"), "{}", calls.history());
}

/// Collects, and sends the sum every second, even if no record comes.
async fn flush(mut orders: Records<String, u64>, cx: Context) -> AgentResult {
    let mut sum = 0;
    let mut count = 0;
    let mut tick = interval(millis(1_000));
    tick.tick().await;
    loop {
        tokio::select! {
            biased;
            _ = tick.tick() => {
                count += 1;
                if std::mem::take(&mut sum) > 0 || count < 3 {
                    note_of_a_tick(&cx, count)?;
                }
            }
            Some(order) = orders.next() => {
                sum += order.value;
                cx.send(&notes(), order.key, sum)?;
            }
        }
    }
}

/// Without a current record an agent must give the timestamp itself.
fn note_of_a_tick(cx: &Context, count: u64) -> AgentResult {
    let record = Record::new("tick".to_owned(), count, 1_000 * count as i64);
    Ok(cx.send_at(&notes(), record)?)
}

#[test]
fn an_interval_ticks_on_a_quiet_topic() {
    let mut test = agent(flush);
    pass(&mut test, 2_500);
    order(&mut test, "a", 5);
    pass(&mut test, 5_000);
    order(&mut test, "b", 6);
    let expected = [note("tick", 1), note("tick", 2), note("a", 5), note("tick", 3), note("b", 6)];
    assert_eq!(taken(&mut test), expected);
}

/// Ten calls at once; the answers are handled as they come.
async fn fan_out(mut orders: Records<String, u64>, cx: Context, calls: Calls) -> AgentResult {
    while let Some(order) = orders.next().await {
        let call = |n: u64| {
            let calls = calls.clone();
            let id = format!("{}-{n}", order.key);
            async move { (n, calls.call(id).await.is_ok()) }
        };
        let mut answers: FuturesUnordered<_> = (0..order.value).map(call).collect();
        let mut sum = 0;
        while let Some((n, is_ok)) = answers.next().await {
            sum = sum * 10 + n + u64::from(!is_ok) * 100;
        }
        cx.send(&notes(), order.key, sum)?;
    }
    Ok(())
}

#[test]
fn concurrent_calls_of_an_agent_take_the_time_of_the_longest() {
    let calls = Calls::new(11).latency(millis(50)..=millis(100));
    let service = calls.clone();
    let mut test = agent(move |orders, cx| fan_out(orders, cx, service.clone()));
    order(&mut test, "a", 9);
    pass(&mut test, 49);
    assert_eq!((calls.in_flight_max(), taken(&mut test).len()), (9, 0));
    pass(&mut test, 51);
    let first = taken(&mut test);
    assert_eq!(first.len(), 1);
    let answers = calls.history().lines().filter(|line| line.contains("is answered")).count();
    assert_eq!(answers, 9);
}

#[test]
fn joins_channels_and_spawned_tasks_make_progress() {
    let mut test = agent(|mut orders, cx| async move {
        while let Some(order) = orders.next().await {
            let (to, mut from) = mpsc::channel(1);
            tokio::spawn(async move {
                for n in 1..=3 {
                    sleep(millis(10)).await;
                    let _ = to.send(n).await;
                }
            });
            let sum = async {
                let mut sum = 0;
                while let Some(n) = from.recv().await {
                    sum += n;
                }
                sum
            };
            let (sum, ()) = tokio::join!(sum, sleep(millis(25)));
            cx.send(&notes(), order.key, sum)?;
        }
        Ok(())
    });
    order(&mut test, "a", 0);
    pass(&mut test, 29);
    assert!(taken(&mut test).is_empty());
    pass(&mut test, 1);
    assert_eq!(taken(&mut test), [note("a", 6)]);
}

#[test]
fn work_that_takes_no_time_is_done_at_once() {
    let mut test = agent(|mut orders, cx| async move {
        while let Some(order) = orders.next().await {
            let answer = tokio::spawn(async move {
                tokio::task::yield_now().await;
                order.value + 1
            });
            cx.send(&notes(), order.key, answer.await?)?;
        }
        Ok(())
    });
    order(&mut test, "a", 1);
    assert_eq!(taken(&mut test), [note("a", 2)]);
}

/// Spawns a task that counts itself after 50 milliseconds.
fn with_ghosts(count: &Arc<AtomicU64>) -> TopologyTest {
    let count = Arc::clone(count);
    agent(move |mut orders, _| {
        let count = Arc::clone(&count);
        async move {
            while orders.next().await.is_some() {
                let count = Arc::clone(&count);
                let counted = tokio::spawn(async move {
                    sleep(millis(50)).await;
                    count.fetch_add(1, Ordering::Relaxed);
                });
                counted.await?;
            }
            Ok(())
        }
    })
}

#[test]
fn a_crash_ends_spawned_tasks() {
    let count = Arc::default();
    let mut test = with_ghosts(&count);
    order(&mut test, "a", 1);
    pass(&mut test, 49);
    test.crash().expect("it restores");
    pass(&mut test, 49);
    assert_eq!(count.load(Ordering::Relaxed), 0, "of the first life");
    pass(&mut test, 1);
    assert_eq!(count.load(Ordering::Relaxed), 1);
    drop(test);
}

#[test]
fn the_work_of_other_threads_is_waited_for() {
    let mut test = agent(|mut orders, cx| async move {
        while let Some(order) = orders.next().await {
            let answer = tokio::task::spawn_blocking(move || {
                std::thread::sleep(millis(30));
                order.value + 1
            });
            cx.send(&notes(), order.key, answer.await?)?;
        }
        Ok(())
    });
    order(&mut test, "a", 1);
    pass(&mut test, 1);
    assert_eq!(taken(&mut test), [note("a", 2)]);
}

#[test]
fn a_crash_ends_timers_and_the_record_comes_again() {
    let mut test = agent(patient);
    order(&mut test, "a", 100);
    pass(&mut test, 60);
    test.crash().expect("it restores");
    pass(&mut test, 99);
    assert!(taken(&mut test).is_empty(), "the new life sleeps from its beginning");
    pass(&mut test, 1);
    assert_eq!(taken(&mut test), [note("before a", 100), note("a", 100)]);
    test.finish().expect("nothing is left");
}

#[test]
fn an_aborted_commit_undoes_an_agents_sends() {
    let mut test = agent(patient);
    // Abort the commits before the agent is done, and those with what it has sent.
    let mut asked = 0;
    test.abort_when(move |_| {
        asked += 1;
        asked < 12 && asked % 2 == 0
    });
    order(&mut test, "a", 10);
    order(&mut test, "b", 10);
    pass(&mut test, 1_000);
    let expected = ["before a", "a", "before b", "b"].map(|key| note(key, 10));
    assert_eq!(taken(&mut test), expected);
}

#[test]
fn the_size_of_time_steps_does_not_change_the_output() {
    let run = |pieces: &mut dyn FnMut() -> u64| {
        let calls = Calls::new(5).latency(millis(1)..=millis(900)).failing(0.3);
        let service = calls.clone();
        let mut dice = Dice::new(1);
        let app = Builder::new("virtual");
        app.agent("one", &orders()).sends(&notes()).run(patient);
        app.agent("two", &orders()).sends(&notes()).run(move |orders, cx| {
            let service = service.clone();
            async move { call_until_it_is_answered(orders, cx, service).await }
        });
        let mut test = TopologyTest::with_partitions(app.build().expect("valid"), &[("orders", 3)]);
        for n in 0..40 {
            order(&mut test, &format!("k{}", dice.below(9)), dice.below(700) as u64 + n);
            let mut left = 500;
            while left > 0 {
                let piece = pieces().clamp(1, left);
                left -= piece;
                pass(&mut test, piece);
            }
        }
        pass(&mut test, 100_000);
        (taken(&mut test), calls.history())
    };
    let whole = run(&mut || u64::MAX);
    let mut dice = Dice::new(2);
    let cut = run(&mut || dice.below(60) as u64);
    assert_eq!(whole.0.len(), 40 * 3);
    assert_eq!(whole, cut);
}

async fn call_until_it_is_answered(
    mut orders: Records<String, u64>,
    cx: Context,
    service: Calls,
) -> AgentResult {
    while let Some(order) = orders.next().await {
        let id = format!("{}/{}", order.key, order.value);
        while service.call(&id).await.is_err() {
            sleep(millis(70)).await;
        }
        cx.send(&notes(), order.key, order.value)?;
    }
    Ok(())
}

#[test]
fn a_batch_is_given_at_its_moment_in_a_long_step() {
    let mut test = agent(|mut orders, cx| async move {
        let began = Instant::now();
        loop {
            let batch = orders.take(10, Duration::from_secs(2)).await;
            let at = began.elapsed().as_millis() as u64;
            cx.send(&notes(), format!("{}", batch.len()), at)?;
        }
    });
    order(&mut test, "a", 1);
    pass(&mut test, 500);
    order(&mut test, "b", 1);
    pass(&mut test, 60_000);
    assert_eq!(taken(&mut test), [note("2", 2_000)]);
}

#[test]
fn a_record_is_tried_again_at_its_moment_in_a_long_step() {
    let calls = Calls::new(1).failing(1.0);
    let app = Builder::new("virtual");
    let policy = ErrorPolicy::retry(3, Backoff::fixed(millis(1_500))).then(ErrorPolicy::Skip);
    let service = calls.clone();
    app.agent("ask", orders().consumed().on_error(policy)).run(
        move |mut orders: Records<String, u64>, _| {
            let service = service.clone();
            async move {
                while let Some(order) = orders.next().await {
                    service.call(&order.key).await?;
                }
                Ok(())
            }
        },
    );
    let mut test = TopologyTest::new(app.build().expect("valid"));
    order(&mut test, "a", 1);
    pass(&mut test, 60_000);
    let history = calls.history();
    let begun = history.lines().filter(|line| line.ends_with("begins"));
    let times: Vec<_> = begun.map(|line| line[..8].trim()).collect();
    assert_eq!(times, ["0", "1500", "3000", "4500"], "the first, and three again");
    test.finish().expect("it was skipped in the end");
}

#[test]
fn a_service_is_away_across_crashes() {
    let calls = Calls::new(1).latency(millis(10)..=millis(10)).away(millis(0)..millis(60_000));
    let service = calls.clone();
    let mut test = agent(move |orders, cx| call_until_it_is_answered(orders, cx, service.clone()));
    order(&mut test, "a", 1);
    for _ in 0..5 {
        pass(&mut test, 11_000);
        test.crash().expect("it restores");
    }
    assert!(taken(&mut test).is_empty());
    pass(&mut test, 5_100);
    assert_eq!(taken(&mut test), [note("a", 1)]);
    let counts = calls.of("a/1");
    assert_eq!((counts.served, counts.failed), (1, counts.begun - 1 - counts.unfinished));
}

#[test]
fn an_agent_that_never_waits_is_an_error_and_not_a_hang() {
    let mut test = agent(|mut orders, _| async move {
        while orders.next().await.is_some() {
            std::future::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                std::task::Poll::<()>::Pending
            })
            .await;
        }
        Ok(())
    });
    let error = test.send(&orders(), "a".to_owned(), 1).expect_err("it never waits");
    assert!(matches!(error, TestError::Restless), "{error}");
}

#[tokio::test]
async fn a_test_that_is_itself_a_future_has_virtual_time_too() {
    let mut test = agent(patient);
    order(&mut test, "a", 100);
    pass(&mut test, 100);
    assert_eq!(taken(&mut test), [note("before a", 100), note("a", 100)]);
    test.crash().expect("it restores");
    sleep(millis(1)).await;
}
