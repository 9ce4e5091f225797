//! How long to wait before something is tried again.

use std::time::Duration;

use crate::window::millis;

/// How long to wait before something is tried again: the same time each time, or longer and longer.
///
/// ```
/// use std::time::Duration;
/// use headwater::Backoff;
/// let second = Duration::from_secs(1);
/// // 1 s, 2 s, 4 s, … up to a minute, each up to a fifth shorter.
/// let backoff = Backoff::exponential(second, 60 * second).jitter(20);
/// # let _ = (backoff, Backoff::fixed(second));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first_ms: i64,
    max_ms: i64,
    jitter_percent: u8,
}

impl Backoff {
    /// The same time before each attempt, in whole milliseconds.
    pub fn fixed(wait: Duration) -> Self {
        Self { first_ms: millis(wait), max_ms: millis(wait), jitter_percent: 0 }
    }

    /// `first` before the second attempt, then twice as long each time, `max` at the most.
    pub fn exponential(first: Duration, max: Duration) -> Self {
        let max_ms = millis(max);
        Self { first_ms: millis(first).min(max_ms), max_ms, jitter_percent: 0 }
    }

    /// Makes each wait shorter by up to so many per cent (100 at the most), so that what failed
    /// together is not tried again together. By how much follows from the record's place and the
    /// attempt: no random number is drawn, and a restart changes nothing. Default: 0.
    #[must_use]
    pub fn jitter(self, percent: u8) -> Self {
        Self { jitter_percent: percent.min(100), ..self }
    }

    /// How long to wait in milliseconds after attempt number `attempt`, from 1, of what `seed`
    /// stands for.
    pub(crate) fn wait_ms(&self, attempt: u32, seed: u64) -> i64 {
        let doublings = attempt.saturating_sub(1).min(62);
        let wait = self.first_ms.saturating_mul(1 << doublings).min(self.max_ms);
        if self.first_ms == 0 || self.jitter_percent == 0 {
            return wait;
        }
        let share = i128::from(self.jitter_percent) * i128::from(mixed(seed, attempt) >> 32);
        let less = i128::from(wait) * share / (100 << 32);
        wait - i64::try_from(less).unwrap_or(0)
    }
}

/// SplitMix64's last step: each bit of the result depends on each of the input.
fn mixed(seed: u64, attempt: u32) -> u64 {
    let mut z = seed.wrapping_add(u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_fixed_wait_stays_and_an_exponential_one_doubles_up_to_its_maximum() {
        let waits = |backoff: Backoff| [1, 2, 3, 4, 5, 900].map(|n| backoff.wait_ms(n, 7));
        assert_eq!(waits(Backoff::fixed(SECOND)), [1_000; 6]);
        let exponential = Backoff::exponential(SECOND, 9 * SECOND);
        assert_eq!(waits(exponential), [1_000, 2_000, 4_000, 8_000, 9_000, 9_000]);
        assert_eq!(waits(Backoff::exponential(2 * SECOND, SECOND)), [1_000; 6]);
        assert_eq!(waits(Backoff::fixed(Duration::ZERO).jitter(50)), [0; 6]);
        let longest = Backoff::exponential(Duration::MAX, Duration::MAX).jitter(100);
        assert!(waits(longest).iter().all(|wait| *wait >= 0));
    }

    #[test]
    fn jitter_spreads_waits_over_its_share_and_is_the_same_each_time() {
        let backoff = Backoff::fixed(SECOND).jitter(20);
        let waits: Vec<_> = (0..1_000).map(|seed| backoff.wait_ms(3, seed)).collect();
        assert!(waits.iter().all(|wait| (800..=1_000).contains(wait)));
        let short = waits.iter().filter(|wait| **wait < 900).count();
        assert!((400..600).contains(&short), "{short} of 1000 in the shorter half");
        assert_eq!(backoff.wait_ms(3, 7), waits[7]);
        assert!((1..100).any(|attempt| backoff.wait_ms(attempt, 7) != waits[7]));
    }
}
