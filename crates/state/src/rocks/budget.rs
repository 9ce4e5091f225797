//! One memory budget for all databases of the process.

use std::sync::Arc;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, Env, Error, Options,
    WriteBufferManager,
};

/// Block cache and write buffers, shared: write buffers are charged to the cache, so the cache's
/// size bounds both.
pub(super) struct MemoryBudget {
    cache: Cache,
    write_buffers: WriteBufferManager,
    env: Env,
    write_buffer_bytes: usize,
    share: BudgetShare,
}

/// A store's part of the budget, which is equal for all open stores.
#[derive(Clone)]
pub(super) struct BudgetShare {
    hot_bytes: usize,
    write_buffer_bytes: usize,
    write_buffers: WriteBufferManager,
    holders: Arc<()>,
}

impl BudgetShare {
    /// The bytes for cached values in front of the store.
    pub(super) fn hot_bytes(&self) -> usize {
        self.hot_bytes / self.stores()
    }

    /// How many bytes a store may write before it is flushed, so that all stores together,
    /// including idle ones, stay within the bound while as much again is being flushed.
    pub(super) fn unflushed_bytes(&self) -> usize {
        self.write_buffer_bytes / 2 / self.stores()
    }

    /// Whether flushing does not keep up with writes.
    pub(super) fn is_exhausted(&self) -> bool {
        self.write_buffers.get_usage() > self.write_buffer_bytes
    }

    fn stores(&self) -> usize {
        // Do not count the budget's own reference.
        Arc::strong_count(&self.holders).saturating_sub(1).max(1)
    }
}

/// A table's write buffer; the shared bound flushes earlier when many tables write.
const WRITE_BUFFER_MAX: usize = 16 << 20;

/// The allocation unit of write buffers, in bytes. It is small, or hundreds of idle tables would
/// take megabytes each.
const ARENA_BLOCK: usize = 64 << 10;

impl MemoryBudget {
    pub(super) fn new(memory_max: usize) -> Result<Self, Error> {
        // A quarter is for values in front of the stores, where a look-up costs a twentieth of one
        // in RocksDB.
        let hot_bytes = memory_max / 4;
        let cache = Cache::new_lru_cache(memory_max - hot_bytes);
        let write_buffer_bytes = memory_max / 2;
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            write_buffer_bytes,
            false,
            cache.clone(),
        );
        let holders = Arc::default();
        let of_shares = write_buffers.clone();
        let share =
            BudgetShare { hot_bytes, write_buffer_bytes, write_buffers: of_shares, holders };
        Ok(Self { cache, write_buffers, env: Env::new()?, write_buffer_bytes, share })
    }

    /// Blocks and write buffers.
    pub(super) fn used(&self) -> usize {
        self.cache.get_usage()
    }

    pub(super) fn share(&self) -> BudgetShare {
        self.share.clone()
    }

    pub(super) fn database_options(&self) -> Options {
        let mut options = Options::default();
        options.set_env(&self.env);
        options.set_write_buffer_manager(&self.write_buffers);
        options.set_max_background_jobs(2);
        options.set_max_open_files(64);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(1 << 20);
        options.set_max_manifest_file_size(1 << 20);
        // Checksums are verified on every read, so that a flipped bit is noticed.
        options.set_paranoid_checks(true);
        options
    }

    pub(super) fn table_options(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        // Partition indexes and filters. Those of a whole file of a large table are megabytes,
        // which fit in no shard of the cache and would be read again for each key.
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_pin_top_level_index_and_filter(true);
        blocks.set_bloom_filter(10.0, false);
        blocks.set_block_size(8 << 10);
        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(WRITE_BUFFER_MAX.min(self.write_buffer_bytes / 2));
        options.set_arena_block_size(ARENA_BLOCK);
        options.set_max_write_buffer_number(3);
        options.set_level_compaction_dynamic_level_bytes(true);
        options
    }
}
