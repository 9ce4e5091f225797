//! Tumbling windows: adjacent, without overlap.

use std::time::Duration;

use super::fixed::{Grid, on_a_grid};
use super::{Terms, millis, terms};
use crate::record::Timestamp;

/// Adjacent windows of one size: `[0, size)`, `[size, 2 size)`, …
///
/// ```
/// use headwater::{Builder, Record, Table, Topic};
/// use headwater::windows::Tumbling;
/// use headwater_testkit::TopologyTest;
/// use std::time::Duration;
/// let clicks = Topic::<String, i64>::new("clicks");
/// let per_minute = Topic::<String, u64>::new("per-minute");
/// let minutes = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10));
/// let app = Builder::new("example");
/// let clicked = app.stream(&clicks).group_by_key().window(minutes).count(&Table::new("seen"));
/// clicked.closed().select_key(|window, _| format!("{}", window.start)).to(&per_minute);
///
/// let mut test = TopologyTest::new(app.build()?);
/// for seconds in [5, 59, 61, 55, 70] {
///     test.send_record(&clicks, Record::new("page".into(), 1, seconds * 1000))?;
/// }
/// assert_eq!(test.take(&per_minute)?, [("0".to_owned(), 3)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tumbling {
    grid: Grid,
    terms: Terms,
}

impl Tumbling {
    /// Creates windows of `size`, without grace. The unit is whole milliseconds; `build()` refuses
    /// a size below one millisecond.
    pub fn of(size: Duration) -> Self {
        let size_ms = millis(size);
        Self { grid: Grid { size_ms, advance_ms: size_ms }, terms: Terms::default() }
    }
}

terms!(Tumbling);
on_a_grid!(Tumbling);
