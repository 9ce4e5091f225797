//! How often each fault happens.

use std::time::Duration;

use runtime::transport::ErrorKind;

use crate::dice::Dice;
use crate::faults::{Fault, TransportCall};

/// Odds of one in this many; 0 means never. Each seed has its own: some worlds are calm, some are
/// not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odds {
    /// Calls that go wrong.
    call: usize,
    /// Calls to the log or a disk during which the process dies.
    pub(super) crash: usize,
    /// Calls during which the process freezes while the others go on.
    pub(super) pause: usize,
    /// Turns before which an instance is stopped gracefully, or started.
    pub(super) membership: usize,
    /// Turns before which the log becomes unavailable for a while.
    pub(super) outage: usize,
    /// Turns before which the log restarts.
    pub(super) restart: usize,
    /// Turns before which the coordinators move.
    pub(super) coordinator: usize,
    /// Turns before which the next write to a disk fails.
    pub(super) disk: usize,
    /// Calls to a disk that take long.
    pub(super) slow_disk: usize,
    /// Crashes after which a store is damaged.
    pub(super) damage: usize,
    /// Crashes after which the disk is empty.
    pub(super) lost_disk: usize,
    /// Turns before which time jumps forward.
    pub(super) jump: usize,
    /// Turns before which an instance's date is set.
    pub(super) date: usize,
    /// Turns before which the leader of an input becomes unavailable for a while.
    pub(super) leader: usize,
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
            restart: one_in([0, 0, 2_000, 6_000]),
            coordinator: one_in([0, 0, 1_000, 4_000]),
            disk: one_in([0, 0, 1_000, 5_000]),
            slow_disk: one_in([0, 0, 30, 200]),
            damage: one_in([0, 0, 4, 20]),
            lost_disk: one_in([0, 0, 4, 20]),
            jump: one_in([0, 0, 2_000, 6_000]),
            date: one_in([0, 0, 500, 2_000]),
            leader: one_in([0, 100, 400, 2_000]),
        }
    }

    /// Chooses the fault of a call among those it can have.
    pub(super) fn call(self, call: TransportCall, dice: &mut Dice) -> Option<Fault> {
        if !strikes(self.call, dice) {
            return None;
        }
        let possible = possible(call);
        let fault = possible.get(dice.below(possible.len())).copied()?;
        Some(match fault {
            Fault::Slow(most) => Fault::Slow(part_of(most, dice)),
            Fault::SlowReply(most) => Fault::SlowReply(part_of(most, dice)),
            Fault::Partial(most) => Fault::Partial(dice.below(most)),
            Fault::Outdated(most) => Fault::Outdated(1 + dice.below(most)),
            other => other,
        })
    }
}

pub(super) fn strikes(one_in: usize, dice: &mut Dice) -> bool {
    one_in > 0 && dice.below(one_in) == 0
}

/// At least a millisecond.
fn part_of(most: Duration, dice: &mut Dice) -> Duration {
    Duration::from_millis(1 + dice.below(most.as_millis() as usize) as u64)
}

const RETRIABLE: Fault = Fault::Fails(ErrorKind::Retriable);
const ABORTABLE: Fault = Fault::Fails(ErrorKind::Abortable);
const FENCED: Fault = Fault::Fails(ErrorKind::Fenced);
const LOST: Fault = Fault::Fails(ErrorKind::Unknown);
/// Below a request's time limit; a longer delay would be a lost request.
const SLOW: Fault = Fault::Slow(Duration::from_millis(450));
const SLOW_REPLY: Fault = Fault::SlowReply(Duration::from_millis(450));
/// At most this many records.
const OUTDATED: Fault = Fault::Outdated(20);
/// Fewer than this.
const FEW: Fault = Fault::Partial(3);

/// The faults that a call can have. The first is the one while the log is unavailable.
pub(super) fn possible(call: TransportCall) -> &'static [Fault] {
    use Fault::{Held, LostReply, Repeated};
    match call {
        TransportCall::Commit => {
            &[LOST, LostReply, Held, Held, ABORTABLE, FENCED, SLOW, SLOW_REPLY]
        }
        TransportCall::SendOffsets => {
            &[LOST, LostReply, ABORTABLE, FENCED, Repeated, SLOW, SLOW_REPLY]
        }
        TransportCall::CommitOffsets => &[LOST, LostReply, RETRIABLE, Repeated, SLOW, SLOW_REPLY],
        TransportCall::Send | TransportCall::Flush => &[ABORTABLE, FENCED, SLOW, SLOW_REPLY],
        TransportCall::Abort => &[LOST, LostReply, SLOW, SLOW_REPLY],
        TransportCall::Init => &[RETRIABLE, LostReply, Repeated, SLOW, SLOW_REPLY],
        TransportCall::Open | TransportCall::Admin => &[RETRIABLE, SLOW],
        TransportCall::PollGroup => &[RETRIABLE, SLOW, SLOW_REPLY],
        TransportCall::Lose => &[LostReply],
        TransportCall::Fetch | TransportCall::Restore => &[RETRIABLE, FEW, FEW, SLOW_REPLY],
        TransportCall::Bounds | TransportCall::CommittedOffsets => {
            &[RETRIABLE, OUTDATED, SLOW, SLOW_REPLY]
        }
        _ => &[],
    }
}

/// Whether this call goes to a coordinator.
pub(super) fn is_coordinators(call: TransportCall) -> bool {
    use TransportCall::{
        Abort, Commit, CommitOffsets, CommittedOffsets, Init, PollGroup, SendOffsets,
    };
    let theirs = [Abort, Commit, CommitOffsets, CommittedOffsets, Init, PollGroup, SendOffsets];
    theirs.contains(&call)
}
