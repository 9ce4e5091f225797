//! Opening the stores of tasks and of global tables.

use streams_core::{Store, StoreError, StoreProvider, TableName};

/// A table that was last updated longer ago than this, in milliseconds, is rebuilt and not brought
/// up to date: the changelog keeps the tombstones of deleted keys only for `delete.retention.ms`, a
/// day by default, so some may be gone by then.
pub(crate) const STALE_MS: i64 = 12 * 60 * 60 * 1000;

/// Opens a store. A corrupt one is deleted and opened empty, to be filled from its topics again.
pub(crate) fn open_or_rebuild(
    stores: &dyn StoreProvider,
    name: &str,
    tables: &[TableName],
) -> Result<Box<dyn Store>, StoreError> {
    match stores.open(name, tables) {
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::error!(store = name, %error,
                "a store is corrupt; deleting it and rebuilding it from its topics");
            stores.destroy(name)?;
            stores.open(name, tables)
        }
        other => other,
    }
}
