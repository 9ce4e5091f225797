//! What may happen to a task between two records, for the tests that compare operators with naive
//! models: nothing that happens to it may be seen in what comes out.

use headwater_testkit::TopologyTest;
use proptest::prelude::*;

/// Mishaps of one run.
#[derive(Clone, Debug)]
pub(crate) struct Mishaps {
    /// For some of the steps, in turn: how many eighths of the state survive a crash before it.
    crashes: Vec<Option<usize>>,
    /// Every so manieth commit is aborted.
    aborts: Option<u32>,
    /// Of how many entries the portions are in which is done what is due.
    portions: Option<usize>,
}

impl Mishaps {
    /// In half of the runs nothing happens; in the others crashes, aborted commits, and commits
    /// between small portions.
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let nothing = Self { crashes: vec![None], aborts: None, portions: None };
        let crashes = prop::collection::vec(prop::option::weighted(0.2, 0..8_usize), 1..30);
        let all = (crashes, prop::option::of(2..5_u32), prop::option::of(1..4_usize));
        let some = all.prop_map(|(crashes, aborts, portions)| Self { crashes, aborts, portions });
        prop_oneof![Just(nothing), some]
    }

    /// Called once, before the first step.
    pub(crate) fn begin(&self, test: &mut TopologyTest) {
        if let Some(entries) = self.portions {
            test.portions(entries);
        }
        if let Some(every) = self.aborts {
            let mut commits = 0;
            test.abort_when(move |_| {
                commits += 1;
                commits % every == 0
            });
        }
    }

    /// Called before each step.
    pub(crate) fn before(&self, step: usize, test: &mut TopologyTest) {
        if let Some(eighths) = self.crashes[step % self.crashes.len()] {
            test.crash_keeping(eighths).expect("restores");
        }
    }
}
