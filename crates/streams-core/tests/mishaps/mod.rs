//! What may happen to a task between two records, for tests that compare operators with naive
//! models. None of it may be visible in the output.

use headwater_testkit::TopologyTest;
use proptest::prelude::*;

/// Mishaps of one run.
#[derive(Clone, Debug)]
pub(crate) struct Mishaps {
    /// For some of the steps, in turn: how many eighths of the state survive a crash before it.
    crashes: Vec<Option<usize>>,
    /// Every how many commits one is aborted.
    aborts: Option<u32>,
    /// The size of the portions of due work, in entries.
    portions: Option<usize>,
}

impl Mishaps {
    /// In half of the runs nothing happens. The others have crashes, aborted commits, and commits
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
