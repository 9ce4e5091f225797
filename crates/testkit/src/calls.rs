//! A service for tests to call: it is slow, fails, is unavailable, and counts its calls.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::lock::lock;
use crate::virtual_time;

/// A stub for a service that agents call, with latencies and failures chosen by a seed. Clones are
/// the same service.
///
/// Calls sleep by `tokio::time`: in [`TopologyTest`](crate::TopologyTest) and
/// [`Simulation`](crate::Simulation) that is virtual time. The outcome of a call depends only on
/// the seed, its id, and how often that id was called before.
///
/// ```
/// use headwater_testkit::{Calls, TopologyTest};
/// use headwater::{Builder, Topic};
/// use std::time::Duration;
///
/// let orders = Topic::<String, u64>::new("orders");
/// let paid = Topic::<String, u64>::new("paid");
/// let millis = Duration::from_millis;
/// // Half of the calls fail; the service is away for the first second.
/// let calls = Calls::new(7).latency(millis(20)..=millis(90)).failing(0.5)
///     .away(Duration::ZERO..millis(1_000));
///
/// let app = Builder::new("payments");
/// let service = calls.clone();
/// let to = paid.clone();
/// app.agent("pay", &orders).sends(&paid).run(move |mut orders, cx| {
///     let service = service.clone();
///     let to = to.clone();
///     async move {
///         while let Some(order) = orders.next().await {
///             while let Err(_error) = service.call(&order.key).await {
///                 tokio::time::sleep(Duration::from_millis(100)).await;
///             }
///             cx.send(&to, order.key, order.value)?;
///         }
///         Ok(())
///     }
/// });
///
/// let mut test = TopologyTest::new(app.build()?);
/// test.send(&orders, "a".to_owned(), 5)?;
/// test.advance(millis(1_000))?;
/// assert!(test.take(&paid)?.is_empty());
/// test.advance(Duration::from_secs(60))?;
/// assert_eq!(test.take(&paid)?, [("a".to_owned(), 5)]);
/// assert_eq!(calls.of("a").served, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Calls {
    plan: CallPlan,
    seen: Arc<Mutex<CallHistory>>,
    /// The start of the test, where time is real.
    made: Instant,
}

#[derive(Clone, Debug)]
struct CallPlan {
    seed: u64,
    latency: RangeInclusive<Duration>,
    failing: f64,
    losing: f64,
    hanging: f64,
    away: Vec<Range<Duration>>,
}

#[derive(Debug, Default)]
struct CallHistory {
    calls: BTreeMap<String, CallCounts>,
    in_flight: u64,
    in_flight_max: u64,
    history: Vec<String>,
}

/// Counts of calls by their outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallCounts {
    /// How many were made.
    pub begun: u64,
    /// How often the service did its work, whether its answer arrived or not.
    pub served: u64,
    /// How many returned an error.
    pub failed: u64,
    /// How many were dropped before they returned, or are still in flight.
    pub unfinished: u64,
}

streams_core::debug_is_display!(CallError);

/// Why a call failed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The service is [away](Calls::away).
    #[error("call {attempt} for {id}: the service is away")]
    Away {
        /// The call's id.
        id: String,
        /// Which call for that id it was, from 1.
        attempt: u64,
    },
    /// The service [failed](Calls::failing) before it did anything.
    #[error("call {attempt} for {id}: the service failed")]
    Failed {
        /// The call's id.
        id: String,
        /// Which call for that id it was, from 1.
        attempt: u64,
    },
    /// The service has done its work, and its answer was [lost](Calls::losing_answers).
    #[error("call {attempt} for {id}: the answer was lost")]
    AnswerLost {
        /// The call's id.
        id: String,
        /// Which call for that id it was, from 1.
        attempt: u64,
    },
}

impl Calls {
    /// A service that answers every call at once.
    pub fn new(seed: u64) -> Self {
        let latency = Duration::ZERO..=Duration::ZERO;
        let away = Vec::new();
        let plan = CallPlan { seed, latency, failing: 0.0, losing: 0.0, hanging: 0.0, away };
        Self { plan, seen: Arc::default(), made: Instant::now() }
    }

    /// How long a call takes, uniformly distributed in whole milliseconds. Default: no time.
    #[must_use]
    pub fn latency(mut self, latency: RangeInclusive<Duration>) -> Self {
        self.plan.latency = latency;
        self
    }

    /// The fraction of calls that fail, from 0 (the default) to 1.
    #[must_use]
    pub fn failing(mut self, ratio: f64) -> Self {
        self.plan.failing = ratio;
        self
    }

    /// The fraction of the other calls whose answer is lost, from 0 (the default) to 1: the service
    /// does its work, and the caller gets an error.
    #[must_use]
    pub fn losing_answers(mut self, ratio: f64) -> Self {
        self.plan.losing = ratio;
        self
    }

    /// The fraction of calls that never return, from 0 (the default) to 1.
    #[must_use]
    pub fn hanging(mut self, ratio: f64) -> Self {
        self.plan.hanging = ratio;
        self
    }

    /// Makes calls that begin within this time fail. It is measured from the start of the test,
    /// across crashes; where time is real, from [`new`](Self::new). Several such times add up.
    #[must_use]
    pub fn away(mut self, time: Range<Duration>) -> Self {
        self.plan.away.push(time);
        self
    }

    /// Calls the service. `id` is the idempotency key: the same for every attempt at the same
    /// thing.
    ///
    /// # Errors
    /// Those that the seed chooses; see [`CallError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with timers, if the call takes time.
    pub async fn call(&self, id: impl Display) -> Result<(), CallError> {
        let id = id.to_string();
        let began = self.now();
        let (in_flight, attempt) = CallInFlight::begin(self, &id);
        let CallFate { latency, hangs, fails, loses } = self.plan.fate(&id, attempt);
        if hangs {
            std::future::pending::<()>().await;
        }
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let result = if self.plan.away.iter().any(|away| away.contains(&began)) {
            Err(CallError::Away { id, attempt })
        } else if fails {
            Err(CallError::Failed { id, attempt })
        } else if loses {
            Err(CallError::AnswerLost { id, attempt })
        } else {
            Ok(())
        };
        in_flight.end(&result);
        result
    }

    /// Counts of the calls with this id.
    pub fn of(&self, id: impl Display) -> CallCounts {
        lock(&self.seen).calls.get(&id.to_string()).copied().unwrap_or_default()
    }

    /// Counts of all calls, by their ids.
    pub fn counts(&self) -> BTreeMap<String, CallCounts> {
        lock(&self.seen).calls.clone()
    }

    /// The largest number of calls in flight at once.
    pub fn in_flight_max(&self) -> u64 {
        lock(&self.seen).in_flight_max
    }

    /// When each call began and ended, one line each. The same test gives the same lines.
    pub fn history(&self) -> String {
        lock(&self.seen).history.join("\n")
    }

    fn now(&self) -> Duration {
        virtual_time::since_start().unwrap_or_else(|| self.made.elapsed())
    }

    fn note(&self, seen: &mut CallHistory, what: &str) {
        seen.history.push(format!("{:>8} ms  {what}", self.now().as_millis()));
    }
}

/// The planned outcome of a call.
struct CallFate {
    latency: Duration,
    hangs: bool,
    fails: bool,
    loses: bool,
}

impl CallPlan {
    fn fate(&self, id: &str, attempt: u64) -> CallFate {
        // FNV-1a: the hash of the standard library may change.
        let seed = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64 ^ self.seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut dice = Dice::new(Dice::new(seed).roll() ^ attempt);
        let least = self.latency.start();
        let most = self.latency.end();
        let spread = most.saturating_sub(*least).as_millis() as usize;
        let latency = *least + Duration::from_millis(dice.below(spread + 1) as u64);
        let mut strikes = |ratio: f64| ((dice.roll() >> 11) as f64) < ratio * (1_u64 << 53) as f64;
        let hangs = strikes(self.hanging);
        let fails = strikes(self.failing);
        CallFate { latency, hangs, fails, loses: strikes(self.losing) }
    }
}

/// A call in flight. If it is dropped before its end, it was given up.
struct CallInFlight<'a> {
    calls: &'a Calls,
    id: String,
    attempt: u64,
    has_ended: bool,
}

impl<'a> CallInFlight<'a> {
    fn begin(calls: &'a Calls, id: &str) -> (Self, u64) {
        let mut seen = lock(&calls.seen);
        let counts = seen.calls.entry(id.to_owned()).or_default();
        counts.begun += 1;
        counts.unfinished += 1;
        let attempt = counts.begun;
        seen.in_flight += 1;
        seen.in_flight_max = seen.in_flight_max.max(seen.in_flight);
        calls.note(&mut seen, &format!("call {attempt} for {id} begins"));
        (Self { calls, id: id.to_owned(), attempt, has_ended: false }, attempt)
    }

    fn end(mut self, result: &Result<(), CallError>) {
        self.has_ended = true;
        let mut seen = lock(&self.calls.seen);
        let what = match result {
            Ok(()) => format!("call {} for {} is answered", self.attempt, self.id),
            Err(error) => error.to_string(),
        };
        self.calls.note(&mut seen, &what);
        if let Some(counts) = seen.calls.get_mut(&self.id) {
            counts.unfinished -= 1;
            counts.failed += u64::from(result.is_err());
            counts.served +=
                u64::from(matches!(result, Ok(()) | Err(CallError::AnswerLost { .. })));
        }
    }
}

impl Drop for CallInFlight<'_> {
    fn drop(&mut self) {
        let mut seen = lock(&self.calls.seen);
        seen.in_flight -= 1;
        if !self.has_ended {
            let what = format!("call {} for {} is given up", self.attempt, self.id);
            self.calls.note(&mut seen, &what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(plan: &Calls, calls: u64) -> [u64; 3] {
        let fates = (0..calls).map(|n| plan.plan.fate(&format!("id-{n}"), 1));
        fates.fold([0; 3], |[hang, fail, lose], fate| {
            let add = |count, is| count + u64::from(is);
            [add(hang, fate.hangs), add(fail, fate.fails), add(lose, fate.loses)]
        })
    }

    #[test]
    fn failure_ratios_hold_and_0_and_1_are_exact() {
        let calls = Calls::new(3).hanging(0.1).failing(0.3).losing_answers(0.5);
        let [hang, fail, lose] = ended(&calls, 10_000);
        assert!((900..1_100).contains(&hang), "{hang}");
        assert!((2_850..3_150).contains(&fail), "{fail}");
        assert!((4_850..5_150).contains(&lose), "{lose}");
        assert_eq!(ended(&Calls::new(3), 1_000), [0; 3]);
        assert_eq!(ended(&Calls::new(3).failing(1.0), 1_000), [0, 1_000, 0]);
    }

    #[test]
    fn latencies_are_within_their_range_and_reach_its_ends() {
        let range = Duration::from_millis(3)..=Duration::from_millis(6);
        let calls = Calls::new(1).latency(range.clone());
        let latencies = (0..200).map(|n| calls.plan.fate("x", n).latency);
        let found: std::collections::BTreeSet<_> = latencies.collect();
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|latency| range.contains(latency)));
    }

    #[tokio::test]
    async fn calls_are_counted_by_outcome() {
        let count =
            |begun, served, failed, unfinished| CallCounts { begun, served, failed, unfinished };
        let lost = Calls::new(1).losing_answers(1.0);
        let error = lost.call("a").await.expect_err("its answer is lost");
        assert!(matches!(error, CallError::AnswerLost { attempt: 1, .. }), "{error}");
        assert_eq!(lost.of("a"), count(1, 1, 1, 0));
        let failed = Calls::new(1).failing(1.0);
        assert!(failed.call("a").await.is_err() && failed.call("a").await.is_err());
        assert_eq!(failed.of("a"), count(2, 0, 2, 0));
        let away = Calls::new(1).away(Duration::ZERO..Duration::from_secs(3_600));
        assert!(matches!(away.call(7).await, Err(CallError::Away { .. })));
        let fine = Calls::new(1);
        let hung = Calls::new(1).hanging(1.0);
        assert_eq!((fine.call("a").await, fine.of("a")), (Ok(()), count(1, 1, 0, 0)));
        let in_time = tokio::time::timeout(Duration::from_millis(1), hung.call("a"));
        assert!(in_time.await.is_err());
        assert_eq!((hung.of("a"), hung.in_flight_max()), (count(1, 0, 0, 1), 1));
        assert_eq!(lock(&hung.seen).in_flight, 0);
    }

    #[test]
    fn an_outcome_depends_on_seed_id_and_attempt() {
        let one = |seed, id: &str, attempt| {
            let most = Duration::from_secs(1_000);
            Calls::new(seed).latency(Duration::ZERO..=most).plan.fate(id, attempt).latency
        };
        assert_eq!(one(1, "a", 1), one(1, "a", 1));
        assert_ne!(one(1, "a", 1), one(2, "a", 1));
        assert_ne!(one(1, "a", 1), one(1, "b", 1));
        assert_ne!(one(1, "a", 1), one(1, "a", 2));
    }
}
