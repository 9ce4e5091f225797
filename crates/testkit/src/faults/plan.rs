//! Which call gets which fault.

use std::collections::{BTreeMap, VecDeque};

use super::{Fault, TransportCall};
use crate::dice::Dice;

#[derive(Debug, Default)]
pub(super) struct FaultPlan(BTreeMap<TransportCall, CallFaults>);

#[derive(Debug, Default)]
struct CallFaults {
    /// The faults of the next calls; `None` means success.
    next: VecDeque<Option<Fault>>,
    always: Option<Fault>,
    sometimes: Vec<RandomFaults>,
}

#[derive(Debug)]
struct RandomFaults {
    fault: Fault,
    one_in: u32,
    dice: Dice,
}

impl FaultPlan {
    pub(super) fn next(&mut self, call: TransportCall, fault: Option<Fault>) {
        self.0.entry(call).or_default().next.push_back(fault);
    }

    pub(super) fn always(&mut self, call: TransportCall, fault: Fault) {
        self.0.entry(call).or_default().always = Some(fault);
    }

    pub(super) fn sometimes(&mut self, call: TransportCall, fault: Fault, one_in: u32, seed: u64) {
        let sometimes = RandomFaults { fault, one_in, dice: Dice::new(seed) };
        self.0.entry(call).or_default().sometimes.push(sometimes);
    }

    /// The fault of the call being made.
    pub(super) fn fault(&mut self, call: TransportCall) -> Option<Fault> {
        let of = self.0.get_mut(&call)?;
        if let Some(planned) = of.next.pop_front() {
            return planned;
        }
        if of.always.is_some() {
            return of.always;
        }
        let mut hit = None;
        for one in &mut of.sometimes {
            hit = hit.or(one.strikes().then_some(one.fault));
        }
        hit
    }
}

impl RandomFaults {
    fn strikes(&mut self) -> bool {
        self.dice.below(self.one_in as usize) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::transport::ErrorKind;

    const FENCED: Fault = Fault::Fails(ErrorKind::Fenced);

    #[test]
    fn planned_faults_come_in_their_order_and_once() {
        let mut plan = FaultPlan::default();
        plan.next(TransportCall::Commit, None);
        plan.next(TransportCall::Commit, Some(FENCED));
        let three: Vec<_> = (0..3).map(|_| plan.fault(TransportCall::Commit)).collect();
        assert_eq!(three, [None, Some(FENCED), None]);
        assert_eq!(plan.fault(TransportCall::Abort), None);
    }

    #[test]
    fn random_faults_are_the_same_for_the_same_seed() {
        let run = |seed| {
            let mut plan = FaultPlan::default();
            plan.sometimes(TransportCall::Send, FENCED, 10, seed);
            (0..1_000).map(|_| plan.fault(TransportCall::Send).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let hits = run(3).into_iter().filter(|hit| *hit).count();
        assert!((50..200).contains(&hits), "{hits}");
    }
}
