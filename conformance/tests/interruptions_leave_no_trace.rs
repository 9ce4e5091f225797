//! Aborted transactions and crashes, with local state lost completely or in part, change no result.
//! Neither does handling due work in portions, with commits, aborts and crashes in between.

mod common;

use conformance::case::{Case, CaseError};
use conformance::replay::Mischief;
use conformance::report::{CaseVerdict, judge, side_by_side};
use testkit::{Dice, TopologyTest};

/// Aborts one commit in five, and crashes before one step in eight. In half of the cases, due work
/// is handled in portions of one to three.
struct Interruptions(Dice);

impl Mischief for Interruptions {
    fn before(&mut self, step: usize, test: &mut TopologyTest) -> Result<(), CaseError> {
        if step == 0 {
            let mut dice = Dice::new(self.0.roll());
            test.abort_when(move |_| dice.below(5) == 0);
            if self.0.below(2) == 0 {
                test.portions(1 + self.0.below(3));
            }
        }
        if self.0.below(8) == 0 {
            let kept = self.0.below(9);
            test.crash_keeping(kept).map_err(|error| CaseError::Unknown(error.to_string()))?;
        }
        Ok(())
    }
}

/// A `peek` sees the records of an aborted transaction again.
fn without_peeks(mut case: Case) -> Case {
    case.peeked = None;
    case
}

#[test]
fn outputs_and_tables_are_the_same_over_all_seeds() {
    let cases: Vec<_> = common::cases_by_rules().into_iter().map(without_peeks).collect();
    let different = common::in_parallel(common::seeds(), |seed| {
        let mut different = Vec::new();
        for (index, case) in cases.iter().enumerate() {
            let dice = Dice::new(seed * 1_000 + index as u64);
            match judge(case, &mut Interruptions(dice)) {
                CaseVerdict::Passed => {}
                verdict => different.push(format!("seed {seed}: {}", side_by_side(case, &verdict))),
            }
        }
        different
    });
    assert!(different.is_empty(), "{} differ, first {}", different.len(), different.join("\n"));
}
