//! A task's tables as its operators see them: the store, with the uncommitted overlay in front.

mod expiry;

use std::ops::ControlFlow;
use std::sync::Arc;

pub(crate) use expiry::Due;
use expiry::Expiry;

use crate::effect::{Destination, Effects};
use crate::error::{Cause, Failure};
use crate::limits::{DefaultLimits, OVERHEAD_MAX, RecordLimits, TopicLimits, record_bytes, shown};
use crate::record::{Headers, Timestamp};
use crate::state::changelog::{Layout, TableSpec, by_time, row_key, unstamped};
use crate::state::layer::Layer;
use crate::state::overlay::{Overlay, Previous, Writes};
use crate::state::row_bytes::{RowBytes, Visit};
use crate::state::unreleased::{RecordWrites, RowWrite, Unreleased};
use crate::state::value_cache::ValueCache;
use crate::store::{Store, StoreBatch, StoreError, TableBatch};

/// A table's number in the topology. Tasks without the table never use it.
pub(crate) type TableIndex = usize;

pub(crate) struct Tables {
    store: Box<dyn Store>,
    specs: Arc<[TableSpec]>,
    /// What their changelogs accept.
    limits: Box<[RecordLimits]>,
    /// How many bytes of a store's key and value each changelog certainly accepts.
    bytes_max: Box<[usize]>,
    overlays: Vec<Overlay>,
    /// In front of the overlays, while an agent runs whose writes must stay separate.
    layer: Layer,
    /// Between the layer and the overlays: what the same agent has finished, out of order.
    unreleased: Unreleased,
    is_layered: bool,
    /// Between the overlays and the store.
    hot: Vec<ValueCache>,
    /// For the tables with a ttl; empty if there are none.
    expiries: Box<[Option<Expiry>]>,
    /// Topology-wide number → number in this task's store.
    local: Box<[usize]>,
    /// Set while a record is processed that may have to be undone.
    undo: Option<Vec<(usize, Box<[u8]>, Previous)>>,
    buffer: Vec<u8>,
}

impl Tables {
    pub(crate) fn new(store: Box<dyn Store>, specs: Arc<[TableSpec]>, local: Box<[usize]>) -> Self {
        let overlays = specs.iter().map(overlay_of).collect();
        let limit = store.cache_bytes() / specs.len().max(1);
        let hot = specs.iter().map(|_| ValueCache::new(limit)).collect();
        let expiries = expiry::of(&specs);
        let mut tables = Self {
            store,
            specs,
            limits: Box::default(),
            bytes_max: Box::default(),
            overlays,
            layer: Layer::default(),
            unreleased: Unreleased::default(),
            is_layered: false,
            hot,
            expiries,
            local,
            undo: None,
            buffer: Vec::new(),
        };
        tables.set_limits(&DefaultLimits);
        tables
    }

    pub(crate) fn set_limits(&mut self, limits: &dyn TopicLimits) {
        let of = |spec: &TableSpec| limits.of(&spec.changelog).unwrap_or_default();
        self.limits = self.specs.iter().map(of).collect();
        // A window's sequence number, which only the changelog has, is shorter than the timestamp,
        // which only the store has.
        let for_sure = |limits: &RecordLimits| limits.bytes_max.saturating_sub(OVERHEAD_MAX);
        self.bytes_max = self.limits.iter().map(for_sure).collect();
    }

    /// Returns the value and its timestamp.
    pub(crate) fn get(
        &mut self,
        table: TableIndex,
        key: &[u8],
    ) -> Result<Option<(Timestamp, &[u8])>, StoreError> {
        let local = self.local[table];
        if self.expiry(local).is_some() {
            return self.get_unless_gone(local, key);
        }
        Ok(self.look_up(local, key)?.map(unstamped))
    }

    /// Returns the value of a store key, with its timestamp in front.
    #[inline]
    fn look_up(&mut self, local: usize, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        if self.is_layered {
            if let Some(written) = self.layer.get(local, key) {
                return Ok(written);
            }
            if let Some(written) = self.unreleased.get(local, key) {
                return Ok(written);
            }
        }
        if let Some(written) = self.overlays[local].get(key) {
            return Ok(written);
        }
        if self.hot[local].refresh(key) {
            return Ok(self.hot[local].get(key));
        }
        let found = self.store.get(local, key, &mut self.buffer)?;
        if found {
            self.hot[local].put(key, Some(&self.buffer));
        }
        Ok(found.then_some(&*self.buffer))
    }

    /// Writes a value that already has its timestamp in front. It fails now if the changelog would
    /// refuse the entry: at the commit, the responsible record would be unknown.
    pub(crate) fn put_stamped(
        &mut self,
        table: TableIndex,
        key: &[u8],
        stored: &[u8],
    ) -> Result<(), Failure> {
        let local = self.local[table];
        if self.expiry(local).is_some() {
            return self.put_row(local, key, stored);
        }
        self.check_size(local, key, stored)?;
        self.write(local, key, Some(stored));
        Ok(())
    }

    #[inline]
    fn check_size(&self, local: usize, key: &[u8], stored: &[u8]) -> Result<(), Failure> {
        // A negative timestamp has its first bit set.
        let is_negative = stored.first().is_some_and(|first| *first >= 0x80);
        if key.len() + stored.len() > self.bytes_max[local] || is_negative {
            self.check(local, key, Some(stored))?;
        }
        Ok(())
    }

    /// Deletes an entry that may not exist, so the changelog may refuse even its key.
    pub(crate) fn delete_any(&mut self, table: TableIndex, key: &[u8]) -> Result<(), Failure> {
        let local = self.local[table];
        let store_key = self.expiry(local).map(|_| row_key(key));
        let store_key = store_key.as_deref().unwrap_or(key);
        if key.len() > self.bytes_max[local] {
            self.check(local, store_key, None)?;
        }
        if self.expiry(local).is_some() {
            self.forget_when_to_look(local, key)?;
        }
        self.write(local, store_key, None);
        Ok(())
    }

    /// Checks whether the changelog would accept an entry.
    #[cold]
    fn check(&self, local: usize, key: &[u8], stored: Option<&[u8]>) -> Result<(), Failure> {
        let spec = &self.specs[local];
        let limits = &self.limits[local];
        let (timestamp, value) = stored.map(unstamped).unzip();
        if let Some(timestamp) = timestamp.filter(|timestamp| *timestamp < 0) {
            let target = Arc::clone(&spec.changelog);
            let first = 0;
            let last = Timestamp::MAX;
            return Err(Cause::RefusedTimestamp { target, timestamp, first, last }.into());
        }
        let changelog_key = spec.changelog_key(key);
        let bytes = record_bytes(Some(&changelog_key), value, None);
        if bytes <= limits.bytes_max {
            return Ok(());
        }
        Err(Failure::new(Cause::EntryTooLarge {
            table: Arc::clone(&spec.name),
            changelog: Arc::clone(&spec.changelog),
            key: shown(Some(&changelog_key)),
            bytes,
            bytes_max: limits.bytes_max,
            setting: limits.bytes_setting,
        }))
    }

    /// Deletes an entry that exists, or existed.
    pub(crate) fn delete(&mut self, table: TableIndex, key: &[u8]) {
        self.write(self.local[table], key, None);
    }

    #[inline]
    fn write(&mut self, local: usize, key: &[u8], stored: Option<&[u8]>) {
        if let Layout::Keyed(suffix) = self.specs[local].layout {
            self.write_local(local, &by_time(key, suffix), stored.map(|_| &[][..]));
        }
        self.write_local(local, key, stored);
    }

    fn write_local(&mut self, local: usize, key: &[u8], stored: Option<&[u8]>) {
        if self.is_layered {
            self.layer.put(local, key, stored);
            return;
        }
        let previous = self.overlays[local].put(key, stored, self.undo.is_some());
        if let Some(undo) = &mut self.undo {
            undo.push((local, key.into(), previous));
        }
    }

    /// Visits the entries with keys in `[from, to)` in key order: store keys, timestamps, values.
    /// For a table with a ttl, it visits its rows: keys, timestamps, values.
    pub(crate) fn scan(
        &self,
        table: TableIndex,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let local = self.local[table];
        match self.expiry(local) {
            Some(expiry) => self.scan_rows(local, expiry, from, to, visit),
            None => self.scan_store(local, from, to, visit),
        }
    }

    fn scan_store(
        &self,
        local: usize,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let mut shown = |key: &[u8], stored: &[u8]| {
            let (timestamp, value) = unstamped(stored);
            visit(key, timestamp, value)
        };
        let committed = |visit: VisitStored<'_>| self.store.scan(local, from, to, visit);
        let overlay = self.overlays[local].range(from, to);
        if !self.is_layered {
            return merged(overlay, committed, &mut shown);
        }
        let newest = self.layer.range(local, from, to);
        let newer = self.unreleased.range(local, from, to);
        let of_task = |visit: VisitStored<'_>| merged(overlay, committed, visit);
        merged(newest, |visit| merged(newer, of_task, visit), &mut shown)
    }

    /// What was written to `table` since the last commit: keys with new values, sorted.
    pub(crate) fn written(
        &mut self,
        table: TableIndex,
    ) -> impl Iterator<Item = (&[u8], Option<(Timestamp, &[u8])>)> {
        let local = self.local[table];
        let spec = &self.specs[local];
        let expiry = self.expiries.get(local);
        let expiry = expiry.and_then(Option::as_ref);
        let entries = self.overlays[local].sorted().filter(|(key, _)| !spec.is_index(key));
        entries.map(move |(key, stored)| {
            let row = stored.map(unstamped);
            match expiry {
                Some(expiry) => {
                    let row = row.filter(|(at, _)| !expiry.is_gone(*at));
                    (key.get(1..).unwrap_or_default(), row)
                }
                None => (key, row),
            }
        })
    }

    /// Appends one changelog record per changed key.
    pub(crate) fn write_changelogs(
        &mut self,
        partition: i32,
        tombstone_at: Timestamp,
        effects: &mut Effects,
    ) {
        for (spec, overlay) in self.specs.iter().zip(&mut self.overlays) {
            for (key, stored) in overlay.sorted() {
                if spec.is_index(key) {
                    continue;
                }
                let entry = stored.map(unstamped);
                let to = Destination {
                    topic: &spec.changelog,
                    partition: Some(partition),
                    timestamp: entry.map_or(tombstone_at, |(timestamp, _)| timestamp),
                    headers: &Headers::new(),
                };
                let write_key = |out: &mut Vec<u8>| {
                    spec.write_changelog_key(key, out);
                    Ok(true)
                };
                let write_value = |out: &mut Vec<u8>| {
                    out.extend_from_slice(entry.map_or(&[], |(_, value)| value));
                    Ok(entry.is_some())
                };
                let written: Result<bool, std::convert::Infallible> =
                    effects.produce(to, write_key, write_value);
                let Ok(_) = written;
            }
        }
    }

    /// Applies a successful commit to the store.
    pub(crate) fn apply(
        &mut self,
        positions: &[Option<i64>],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let overlays = self.overlays.iter_mut().enumerate();
        let batches = overlays
            .filter(|(_, overlay)| !overlay.is_empty())
            .map(|(table, overlay)| overlay.drain(table, positions.get(table).copied().flatten()));
        let mut batch = StoreBatch { tables: batches.collect(), at };
        for TableBatch { table, entries, position } in &mut batch.tables {
            // A change of the index alone writes nothing to the changelog. The position would be
            // that of an earlier commit, and another instance may have written since. Rows sort
            // before the index.
            let first = entries.iter().next();
            if first.is_none_or(|(key, _)| self.specs[*table].is_index(key)) {
                *position = None;
            }
        }
        if batch.tables.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.store.apply(&batch) {
            // The store's content is unknown now.
            self.hot.iter_mut().for_each(ValueCache::clear);
            return Err(error);
        }
        self.keep(&batch);
        Ok(())
    }

    /// Caches what the store was just brought to, if it is read by key.
    fn keep(&mut self, batch: &StoreBatch) {
        let limit = self.store.cache_bytes() / self.specs.len().max(1);
        self.hot.iter_mut().for_each(|hot| hot.limit(limit));
        for TableBatch { table, entries, .. } in &batch.tables {
            let asked = entries.iter().filter(|(key, _)| !self.specs[*table].is_index(key));
            asked.for_each(|(key, value)| self.hot[*table].put(key, value));
        }
    }

    /// From now on writes go to `layer`, and only this agent sees them and those in `unreleased`.
    pub(crate) fn enter_layer(&mut self, layer: &mut Layer, unreleased: &mut Unreleased) {
        std::mem::swap(&mut self.layer, layer);
        std::mem::swap(&mut self.unreleased, unreleased);
        self.is_layered = true;
    }

    /// Returns both, with what was written and not absorbed.
    pub(crate) fn leave_layer(&mut self, layer: &mut Layer, unreleased: &mut Unreleased) {
        std::mem::swap(&mut self.layer, layer);
        std::mem::swap(&mut self.unreleased, unreleased);
        self.is_layered = false;
    }

    /// Makes the writes of the layer part of the next commit.
    pub(crate) fn absorb_layer(&mut self) {
        let Self { overlays, layer, expiries, .. } = self;
        layer.drain(|table, key, value| absorb_row(overlays, expiries, table, key, value));
    }

    /// Sets the writes of the layer aside as finished. They join a commit in their order.
    pub(crate) fn keep_layer(&mut self) -> RecordWrites {
        let mut rows = Vec::new();
        self.layer.drain(|table, key, value| {
            rows.push(RowWrite { table, key: key.into(), value: value.map(Into::into) });
        });
        if rows.is_empty() { RecordWrites::default() } else { self.unreleased.keep(rows) }
    }

    /// Makes finished writes part of the next commit.
    pub(crate) fn absorb(&mut self, writes: &RecordWrites) {
        let Self { overlays, expiries, .. } = self;
        for RowWrite { table, key, value } in writes.rows() {
            absorb_row(overlays, expiries, *table, key, value.as_deref());
        }
    }

    #[inline]
    pub(crate) fn begin_record(&mut self, undoable: bool) {
        self.undo = undoable.then(Vec::new);
        if undoable {
            self.begin_waiting();
        }
    }

    pub(crate) fn undo_record(&mut self) {
        // In reverse: a key may have been written several times, and the oldest value counts.
        for (table, key, previous) in self.undo.take().into_iter().flatten().rev() {
            self.overlays[table].restore(&key, previous);
        }
        self.undo_waiting();
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.overlays.iter().any(|overlay| !overlay.is_empty())
    }

    pub(crate) fn overlay_bytes(&self) -> usize {
        self.overlays.iter().map(Overlay::bytes).sum()
    }

    pub(crate) fn hot_bytes(&self) -> usize {
        self.hot.iter().map(ValueCache::bytes).sum()
    }

    pub(crate) fn discard(&mut self) {
        self.overlays.iter_mut().for_each(Overlay::clear);
        self.undo = None;
        self.discard_waiting();
    }

    pub(crate) fn store_mut(&mut self) -> &mut dyn Store {
        &mut *self.store
    }

    pub(crate) fn into_store(self) -> Box<dyn Store> {
        self.store
    }
}

impl RowBytes for Tables {
    fn get(
        &mut self,
        table: TableIndex,
        key: &[u8],
    ) -> Result<Option<(Timestamp, &[u8])>, StoreError> {
        Self::get(self, table, key)
    }

    fn scan(
        &mut self,
        table: TableIndex,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        Self::scan(self, table, from, to, visit)
    }
}

/// Handles a write that leaves a layer.
fn absorb_row(
    overlays: &mut [Overlay],
    expiries: &mut [Option<Expiry>],
    table: usize,
    key: &[u8],
    value: Option<&[u8]>,
) {
    drop(overlays[table].put(key, value, false));
    if let (Some(Some(expiry)), Some(value)) = (expiries.get_mut(table), value) {
        expiry.absorb(key, value);
    }
}

fn overlay_of(spec: &TableSpec) -> Overlay {
    if spec.is_ordered() { Overlay::ordered() } else { Overlay::default() }
}

type VisitStored<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;
/// Visits older entries with newer writes in front of them, both in key order.
fn merged(
    newer: Writes<'_>,
    older: impl FnOnce(VisitStored<'_>) -> Result<(), StoreError>,
    visit: VisitStored<'_>,
) -> Result<(), StoreError> {
    let mut newer = newer.peekable();
    let mut flow = ControlFlow::Continue(());
    older(&mut |key, stored| {
        while let Some((written, value)) = newer.next_if(|(written, _)| *written <= key) {
            if let Some(value) = value {
                flow = visit(written, value);
            }
            if written == key || flow.is_break() {
                return flow;
            }
        }
        flow = visit(key, stored);
        flow
    })?;
    for (key, value) in newer {
        if flow.is_break() {
            break;
        }
        if let Some(value) = value {
            flow = visit(key, value);
        }
    }
    Ok(())
}
