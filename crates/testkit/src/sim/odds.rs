//! How often what goes wrong.

use runtime::transport::ErrorKind;

use crate::dice::Dice;
use crate::faults::{Call, Fault};

/// One in so many; 0 is never. Each seed has its own: some worlds are calm, some are not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odds {
    /// Calls that go wrong.
    call: usize,
    /// Calls in the middle of which the process dies.
    crash: usize,
    /// Calls in the middle of which the process stands still while the others go on.
    pause: usize,
    /// Turns before which an instance is stopped gracefully, or started.
    membership: usize,
    /// Turns before which the log goes away for a while.
    outage: usize,
    /// Turns before which the next write to a disk fails.
    disk: usize,
}

impl Odds {
    pub(super) fn of(dice: &mut Dice) -> Self {
        let mut one_in = |choices: [usize; 4]| choices[dice.below(4)];
        Self {
            call: one_in([0, 40, 200, 1_000]),
            crash: one_in([0, 300, 1_000, 4_000]),
            pause: one_in([0, 150, 600, 3_000]),
            membership: one_in([0, 200, 800, 3_000]),
            outage: one_in([0, 0, 1_500, 5_000]),
            disk: one_in([0, 0, 1_000, 5_000]),
        }
    }

    pub(super) fn crash(self, dice: &mut Dice) -> bool {
        strikes(self.crash, dice)
    }

    pub(super) fn pause(self, dice: &mut Dice) -> bool {
        strikes(self.pause, dice)
    }

    pub(super) fn membership(self, dice: &mut Dice) -> bool {
        strikes(self.membership, dice)
    }

    pub(super) fn outage(self, dice: &mut Dice) -> bool {
        strikes(self.outage, dice)
    }

    pub(super) fn disk(self, dice: &mut Dice) -> bool {
        strikes(self.disk, dice)
    }

    /// What happens to a call, of what can happen to it.
    pub(super) fn call(self, call: Call, dice: &mut Dice) -> Option<Fault> {
        if !strikes(self.call, dice) {
            return None;
        }
        let possible = possible(call);
        possible.get(dice.below(possible.len())).copied()
    }
}

fn strikes(one_in: usize, dice: &mut Dice) -> bool {
    one_in > 0 && dice.below(one_in) == 0
}

const RETRIABLE: Fault = Fault::Fails(ErrorKind::Retriable);
const ABORTABLE: Fault = Fault::Fails(ErrorKind::Abortable);
const FENCED: Fault = Fault::Fails(ErrorKind::Fenced);
const LOST: Fault = Fault::Fails(ErrorKind::Unknown);

/// The faults that a call can meet.
pub(super) fn possible(call: Call) -> &'static [Fault] {
    match call {
        Call::Commit => &[LOST, Fault::LostReply, Fault::Held, Fault::Held, ABORTABLE, FENCED],
        Call::SendOffsets => &[LOST, Fault::LostReply, ABORTABLE, FENCED],
        Call::CommitOffsets => &[LOST, Fault::LostReply, RETRIABLE],
        Call::Send | Call::Flush => &[ABORTABLE, FENCED],
        Call::Abort => &[LOST, Fault::LostReply],
        Call::Init | Call::Open | Call::Admin => &[RETRIABLE],
        Call::Metadata => &[FENCED],
        Call::PollGroup | Call::Fetch | Call::Restore | Call::Bounds | Call::CommittedOffsets => {
            &[RETRIABLE]
        }
        _ => &[],
    }
}
