//! Where the bytes of rows are read from.

use std::ops::ControlFlow;

use super::tables::TableIndex;
use crate::record::Timestamp;
use crate::store::StoreError;

/// A visitor of a key, a timestamp and a value.
pub(crate) type Visit<'v> = dyn FnMut(&[u8], Timestamp, &[u8]) -> ControlFlow<()> + 'v;

/// A source of rows: a task's tables, or something in front of them.
pub(crate) trait RowBytes {
    /// Returns the value of a key and its timestamp.
    fn get(
        &mut self,
        table: TableIndex,
        key: &[u8],
    ) -> Result<Option<(Timestamp, &[u8])>, StoreError>;

    /// Visits the entries with keys in `[from, to)`, in key order, until told to stop.
    fn scan(
        &mut self,
        table: TableIndex,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError>;
}
