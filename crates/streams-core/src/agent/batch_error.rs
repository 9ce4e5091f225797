//! Naming the record of a batch that failed.

use std::error::Error;
use std::fmt;

use crate::error::{BoxError, Cause};

/// An agent's error that names the record of a batch that failed. The error policy decides about
/// that record alone, and the others are delivered again without it. With any other error in a
/// batch, the failed record is unknown: all records are delivered again one by one, until one fails
/// alone.
///
/// ```
/// use headwater::agents::{AgentResult, BatchError, Context, Records};
/// use headwater::{Builder, Topic};
/// use headwater::errors::ErrorPolicy;
/// use headwater::topics::Consumed;
/// use headwater_testkit::TopologyTest;
/// use std::time::Duration;
///
/// async fn store(mut orders: Records<String, i64>, cx: Context) -> AgentResult {
///     loop {
///         let batch = orders.take(3, Duration::from_secs(1)).await;
///         if let Some(index) = batch.iter().position(|order| order.value < 0) {
///             return Err(BatchError::at(index, "the database refuses it").into());
///         }
///         cx.send(&Topic::<String, i64>::new("stored"), "all".into(), batch.len() as i64)?;
///     }
/// }
///
/// let orders = Topic::<String, i64>::new("orders");
/// let stored = Topic::<String, i64>::new("stored");
/// let app = Builder::new("stores");
/// let skips = orders.consumed().on_error(ErrorPolicy::Skip);
/// app.agent("store", skips).sends(&stored).run(store);
///
/// let mut test = TopologyTest::new(app.build()?);
/// for value in [1, -1, 3, 4] {
///     test.send(&orders, "k".into(), value)?;
/// }
/// assert_eq!(test.take(&stored)?, [("all".to_owned(), 3)]);
/// assert!(test.failed()[0].contains("orders-0 offset 1"), "{:?}", test.failed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BatchError {
    index: usize,
    cause: BoxError,
}

impl BatchError {
    /// Blames record number `index`, counted from 0, of the batch that
    /// [`take`](super::Records::take) returned last, with `cause`. An index outside the batch
    /// blames no record.
    pub fn at(index: usize, cause: impl Into<BoxError>) -> Self {
        Self { index, cause: cause.into() }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for BatchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

impl Cause {
    /// The index of the record that it blames.
    pub(crate) fn blamed(&self) -> Option<usize> {
        let Self::User { source, .. } = self else { return None };
        source.downcast_ref::<BatchError>().map(|error| error.index)
    }
}
