//! Hopping windows: a window begins at every step, and windows overlap.

use std::time::Duration;

use super::fixed::{Grid, on_a_grid};
use super::{Terms, millis, terms};
use crate::record::Timestamp;

/// Windows of one size that begin at every multiple of an advance: `[0, size)`, `[advance, advance
/// + size)`, … A record is in several of them, and may be late for some and in time for others.
///
/// ```
/// use headwater::{Builder, Record, Table, Topic};
/// use headwater::windows::Hopping;
/// use headwater_testkit::TopologyTest;
/// use std::time::Duration;
/// let numbers = Topic::<String, i64>::new("numbers");
/// let out = Topic::<String, u64>::new("out");
/// let second = Duration::from_secs(1);
/// let app = Builder::new("example");
/// let hopping = app.stream(&numbers).group_by_key().window(Hopping::of(2 * second, second));
/// let counts = hopping.count(&Table::new("seen")).updates();
/// counts.select_key(|window, _| format!("{}..{}", window.start, window.end)).to(&out);
///
/// let mut test = TopologyTest::new(app.build()?);
/// test.send_record(&numbers, Record::new("a".into(), 7, 1_500))?;
/// let both = [("0..2000".to_owned(), 1), ("1000..3000".to_owned(), 1)];
/// assert_eq!(test.take(&out)?, both);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hopping {
    grid: Grid,
    terms: Terms,
}

impl Hopping {
    /// Windows of `size`, one beginning every `advance`, without grace. Whole milliseconds; lengths
    /// below one millisecond, and an advance longer than the size, are refused by `build()`.
    pub fn of(size: Duration, advance: Duration) -> Self {
        let grid = Grid { size_ms: millis(size), advance_ms: millis(advance) };
        Self { grid, terms: Terms::default() }
    }
}

terms!(Hopping);
on_a_grid!(Hopping);
