//! Pauses between attempts.

use std::time::Duration;

/// How long to wait before an attempt is repeated.
///
/// ```
/// use std::time::Duration;
/// use headwater::errors::Backoff;
/// let second = Duration::from_secs(1);
/// let backoff = Backoff::exponential(second, 30 * second);
/// // After the first attempt about a second, after the second about two, then four; 30 at most.
/// # let _ = backoff;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    jitter_percent: u8,
}

impl Backoff {
    /// Creates a constant pause.
    pub fn fixed(pause: Duration) -> Self {
        Self { first: pause, most: pause, jitter_percent: 0 }
    }

    /// Creates a pause that doubles after each attempt, from `first` up to `most`. Each pause is
    /// shortened by up to a quarter, differently for each record, so that they do not all return at
    /// once.
    pub fn exponential(first: Duration, most: Duration) -> Self {
        Self { first, most: most.max(first), jitter_percent: 25 }
    }

    /// Shortens each pause by up to this percentage instead, at most 100. The amount depends on the
    /// record's topic, partition and offset and on the attempt, so it is always the same for one
    /// attempt. Default: 0 for a constant pause, 25 for others.
    #[must_use]
    pub fn jitter(self, percent: u8) -> Self {
        Self { jitter_percent: percent.min(100), ..self }
    }

    /// The pause after that many failed attempts; `seed` identifies the record.
    pub(crate) fn after(&self, failed: u32, seed: u64) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        let pause = self.first.saturating_mul(1 << doublings).min(self.most);
        let spread = mixed(seed, failed) >> 32;
        let share = u128::from(self.jitter_percent) * u128::from(spread);
        let less = pause.as_nanos().saturating_mul(share) / (100 << 32);
        pause.saturating_sub(Duration::from_nanos(u64::try_from(less).unwrap_or(u64::MAX)))
    }
}

/// The last step of SplitMix64. Each bit of the result depends on each bit of the input, so
/// neighbouring offsets are spread over the whole range.
fn mixed(seed: u64, failed: u32) -> u64 {
    let mut z = seed.wrapping_add(u64::from(failed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum_and_are_spread() {
        let ms = Duration::from_millis;
        let fixed = Backoff::fixed(ms(70));
        assert_eq!([1, 2, 50].map(|failed| fixed.after(failed, 3)), [ms(70); 3]);
        let grows = Backoff::exponential(ms(100), ms(1_000));
        for (failed, full) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (90, 1_000)] {
            let pauses = (0..100).map(|seed| grows.after(failed, seed));
            let (least, most) = pauses.fold((ms(9_999), ms(0)), |(least, most), pause| {
                (least.min(pause), most.max(pause))
            });
            assert!(most <= ms(full) && least >= ms(full) * 3 / 4, "{failed}: {least:?} {most:?}");
            assert!(most - least > ms(full) / 8, "{failed}: {least:?} {most:?}");
        }
    }

    #[test]
    fn jitter_has_the_given_size_and_is_repeatable() {
        let second = Duration::from_secs(1);
        let backoff = Backoff::fixed(second).jitter(20);
        let pauses: Vec<_> = (0..1_000).map(|seed| backoff.after(3, seed)).collect();
        assert!(pauses.iter().all(|pause| (4 * second / 5..=second).contains(pause)));
        let short = pauses.iter().filter(|pause| **pause < 9 * second / 10).count();
        assert!((400..600).contains(&short), "{short} of 1000 in the shorter half");
        assert_eq!(backoff.after(3, 7), pauses[7]);
        let exact = Backoff::exponential(second, 9 * second).jitter(0);
        assert_eq!([1, 2, 3, 4, 5].map(|n| exact.after(n, 7).as_secs()), [1, 2, 4, 8, 9]);
        let longest = Backoff::exponential(Duration::MAX, Duration::MAX).jitter(100);
        assert!((0..100).all(|seed| longest.after(seed as u32, seed) <= Duration::MAX));
        assert_eq!(Backoff::fixed(Duration::ZERO).jitter(50).after(9, 9), Duration::ZERO);
    }
}
