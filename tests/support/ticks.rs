//! Checks of a stream's ticks.

use std::time::Duration;

use headwater::streams::Tick;

/// The ticks of a stream in order. Fails unless each starts where the one before it ended.
pub fn chains(ticks: Vec<Tick>) -> Result<Vec<Tick>, String> {
    let pairs = ticks.iter().zip(ticks.iter().skip(1));
    for (tick, next) in pairs {
        if next.previous != tick.time || next.time <= next.previous {
            return Err(format!("{next:?} after {tick:?}"));
        }
    }
    Ok(ticks)
}

/// Whether they are `interval` apart. The first may be shorter.
pub fn all_are_there(ticks: &[Tick], interval: Duration) -> bool {
    ticks.iter().skip(1).all(|tick| tick.time - tick.previous == interval.as_millis() as i64)
}
