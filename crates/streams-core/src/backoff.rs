//! How long to wait before something is tried again.

use std::time::Duration;

/// How long to wait before an attempt is repeated.
///
/// ```
/// use std::time::Duration;
/// use headwater::Backoff;
/// let second = Duration::from_secs(1);
/// let backoff = Backoff::exponential(second, 30 * second);
/// // After the first attempt about a second, after the second about two, then four; 30 at most.
/// # let _ = backoff;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
}

impl Backoff {
    /// Always as long.
    pub fn fixed(pause: Duration) -> Self {
        Self { first: pause, most: pause }
    }

    /// Twice as long after each attempt, from `first` up to `most`. Each pause is shortened by up
    /// to a quarter, differently for each record, so that not all of them come back at once.
    pub fn exponential(first: Duration, most: Duration) -> Self {
        Self { first, most: most.max(first) }
    }

    /// How long to wait after that many failed attempts; `seed` tells records apart.
    pub(crate) fn after(&self, failed: u32, seed: u64) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        let pause = self.first.saturating_mul(1 << doublings).min(self.most);
        if self.first == self.most {
            return pause;
        }
        // Spreads neighbouring offsets over all of its range.
        let spread = seed.wrapping_add(u64::from(failed)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
        pause - pause.mul_f64(0.25 * (spread as f64 / 256.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_most_and_spreads() {
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
}
