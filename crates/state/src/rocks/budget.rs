//! One memory budget for all databases of the process.

use std::sync::Arc;

use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, Env, Error, Options, WriteBufferManager,
};

/// Block cache and write buffers, shared: write buffers are charged to the cache, so the cache's
/// size bounds both.
pub(super) struct Budget {
    cache: Cache,
    write_buffers: WriteBufferManager,
    env: Env,
    write_buffer_bytes: usize,
    share: CacheShare,
}

/// A part of the bytes for values in front of the stores; all open stores have the same.
#[derive(Clone)]
pub(super) struct CacheShare {
    whole: usize,
    holders: Arc<()>,
}

impl CacheShare {
    pub(super) fn bytes(&self) -> usize {
        // The budget's own does not count.
        let stores = Arc::strong_count(&self.holders).saturating_sub(1);
        self.whole / stores.max(1)
    }
}

/// A table's write buffer; the shared bound flushes earlier when many tables write.
const WRITE_BUFFER_MAX: usize = 16 << 20;

/// Memory is taken from the system in pieces of this size: small, or hundreds of idle tables would
/// take megabytes each.
const ARENA_BLOCK: usize = 64 << 10;

impl Budget {
    pub(super) fn new(memory_max: usize) -> Result<Self, Error> {
        // A quarter is for values in front of the stores: a look-up in RocksDB costs twenty times
        // as much as one there.
        let share = CacheShare { whole: memory_max / 4, holders: Arc::default() };
        let cache = Cache::new_lru_cache(memory_max - share.whole);
        let write_buffer_bytes = memory_max / 2;
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            write_buffer_bytes,
            false,
            cache.clone(),
        );
        Ok(Self { cache, write_buffers, env: Env::new()?, write_buffer_bytes, share })
    }

    /// Blocks and write buffers.
    pub(super) fn used(&self) -> usize {
        self.cache.get_usage()
    }

    pub(super) fn share(&self) -> CacheShare {
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
        // Every byte that is read back is checked; a flipped bit is found, not counted.
        options.set_paranoid_checks(true);
        options
    }

    pub(super) fn table_options(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
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
