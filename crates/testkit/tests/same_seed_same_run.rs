//! The same seed gives the same run, even if agents sleep, use time-outs, tick, spawn, and wait for
//! several things at once: every call, every note, every line of the history.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use headwater::agents::{AgentResult, Context, Records};
use headwater::prelude::*;
use headwater_testkit::{Calls, Dice, Simulation, TopologyTest};
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, timeout};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn orders() -> Topic<String, u64> {
    Topic::new("orders")
}

fn notes() -> Topic<String, String> {
    Topic::new("notes")
}

fn service(seed: u64) -> Calls {
    Calls::new(seed).latency(millis(1)..=millis(60)).failing(0.2).losing_answers(0.1).hanging(0.05)
}

/// Asks until there is an answer, with time-outs and a back-off.
async fn ask(mut orders: Records<String, u64>, cx: Context, service: Calls) -> AgentResult {
    while let Some(Record { key, value, .. }) = orders.next().await {
        let mut attempts = 1;
        while !matches!(timeout(millis(100), service.call(value)).await, Ok(Ok(()))) {
            sleep(millis(5 * attempts)).await;
            attempts += 1;
        }
        cx.send(&notes(), key, format!("{value} after {attempts}"))?;
    }
    Ok(())
}

/// Several calls at once, joined with a timer; the output shows the order of the answers.
async fn fan_out(mut orders: Records<String, u64>, cx: Context, service: Calls) -> AgentResult {
    while let Some(Record { key, value, .. }) = orders.next().await {
        let call = |n: u64| {
            let service = service.clone();
            async move {
                let id = format!("{value}-{n}");
                (n, timeout(millis(80), service.call(id)).await.is_ok_and(|answer| answer.is_ok()))
            }
        };
        let answers: FuturesUnordered<_> = (0..5).map(call).collect();
        let (answers, ()) = tokio::join!(answers.collect::<Vec<_>>(), sleep(millis(20)));
        cx.send(&notes(), key, format!("{value}: {answers:?}"))?;
    }
    Ok(())
}

/// Waits for a spawned task and an interval, whichever is first.
async fn listen(mut orders: Records<String, u64>, cx: Context) -> AgentResult {
    while let Some(Record { key, value, .. }) = orders.next().await {
        let (to, mut from) = mpsc::channel(4);
        tokio::spawn(async move {
            for n in 0..4 {
                sleep(millis(value % 7 + n)).await;
                let _ = to.send(n).await;
            }
        });
        let mut heard = String::new();
        let mut tick = interval(millis(3));
        loop {
            tokio::select! {
                biased;
                said = from.recv() => match said {
                    Some(n) => heard += &n.to_string(),
                    None => break,
                },
                _ = tick.tick() => heard.push('t'),
            }
        }
        cx.send(&notes(), key, heard)?;
    }
    Ok(())
}

fn topology(service: &Calls) -> Topology {
    let app = Builder::new("virtual");
    app.stream(&orders()).group_by_key().count(&Table::new("counts")).to(&Topic::new("counts"));
    let asked = service.clone();
    app.agent("ask", &orders())
        .sends(&notes())
        .run(move |orders, cx| ask(orders, cx, asked.clone()));
    let asked = service.clone();
    app.agent("fan-out", &orders())
        .sends(&notes())
        .run(move |orders, cx| fan_out(orders, cx, asked.clone()));
    app.agent("listen", &orders()).sends(&notes()).run(listen);
    app.build().expect("valid")
}

/// Everything observable in a run.
fn tested(seed: u64) -> Vec<String> {
    let service = service(seed);
    let mut test = TopologyTest::with_partitions(topology(&service), &[("orders", 3)]);
    test.interleave(seed);
    let mut dice = Dice::new(seed);
    for number in 0..40 {
        let key = format!("user-{}", dice.below(7));
        test.send(&orders(), key, number).expect("taken");
        test.advance(millis(dice.below(50) as u64)).expect("nothing fails");
        if dice.below(10) == 0 {
            test.crash().expect("it restores");
        }
    }
    test.advance(millis(60_000)).expect("nothing fails");
    let records = test.take_records(&notes()).expect("notes");
    let mut seen: Vec<_> = records.iter().map(|record| format!("{record:?}")).collect();
    assert!(seen.len() >= 3 * 40, "{}", seen.len());
    seen.push(service.history());
    test.finish().expect("nothing is left");
    seen
}

#[test]
fn a_topology_test_is_the_same_twice() {
    for seed in 0..20 {
        assert_eq!(tested(seed), tested(seed), "seed {seed}");
    }
    assert_ne!(tested(1), tested(2));
}

fn simulated(seed: u64) -> Vec<String> {
    let service = service(seed);
    let described = service.clone();
    let simulation = Simulation::new(seed, move || topology(&described))
        .topic("orders", 3)
        .topic("notes", 3)
        .topic("counts", 3)
        .feed(&orders(), 40, |dice, n| Record::new(format!("user-{}", dice.below(7)), n, 0))
        .run();
    let outcome = simulation.unwrap_or_else(|failure| panic!("{failure}"));
    let records = outcome.committed(&notes()).expect("notes");
    let mut seen: Vec<_> = records.iter().map(|record| format!("{record:?}")).collect();
    assert_eq!(seen.len(), 3 * 40);
    seen.extend([outcome.history(), service.history(), format!("{}", outcome.incidents())]);
    seen
}

#[test]
fn a_simulated_world_is_the_same_twice() {
    for seed in 0..6 {
        assert_eq!(simulated(seed), simulated(seed), "seed {seed}");
    }
    assert_ne!(simulated(1), simulated(2));
}
