//! A service that answers on command.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

pub type Answer = Result<i64, String>;

/// A service that answers on command.
#[derive(Clone, Default)]
pub struct Service(Arc<Mutex<Requests>>);

#[derive(Default)]
pub struct Requests {
    /// Requests that wait for an answer, by id and attempt.
    pub open: BTreeMap<(String, u32), Option<Waker>>,
    answers: BTreeMap<(String, u32), Answer>,
    /// The most that were open at a time.
    pub most: usize,
}

impl Service {
    pub async fn ask(self, id: String, attempt: u32) -> Answer {
        let id = (id, attempt);
        let _gone = Gone(self.clone(), id.clone());
        self.with(|requests| {
            requests.open.insert(id.clone(), None);
            requests.most = requests.most.max(requests.open.len());
        });
        poll_fn(|context| {
            self.with(|requests| match requests.answers.remove(&id) {
                Some(answer) => Poll::Ready(answer),
                None => {
                    requests.open.insert(id.clone(), Some(context.waker().clone()));
                    Poll::Pending
                }
            })
        })
        .await
    }

    pub fn with<T>(&self, work: impl FnOnce(&mut Requests) -> T) -> T {
        work(&mut self.0.lock().expect("no panic"))
    }

    pub fn answer(&self, id: &str, attempt: u32, answer: Answer) {
        let id = (id.to_owned(), attempt);
        let waker = self.with(|requests| {
            requests.answers.insert(id.clone(), answer);
            requests.open.get(&id).cloned().expect("it was asked")
        });
        waker.expect("it waits").wake();
    }

    #[allow(dead_code, reason = "not every test asks")]
    pub fn open(&self) -> Vec<String> {
        self.with(|requests| requests.open.keys().map(|(id, _)| id.clone()).collect())
    }
}

/// A request that has ended, or whose caller has stopped waiting.
struct Gone(Service, (String, u32));

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.with(|requests| requests.open.remove(&self.1));
    }
}
