//! The processors that cases name.

use std::time::Duration;

use headwater::codec::Bytes;
use headwater::operators::SharedReceiver;
use headwater::streams::{Process, ProcessContext, ProcessError};
use headwater::topics::Timestamp;
use headwater::{Record, Table};
use serde_json::json;

use super::{Build, CaseTable, Flow};
use crate::case::{CaseError, Op};
use crate::functions::ValueFunction;
use crate::key::{Key, KeyCodec, Rec, Val};

type Processor<'b> = Process<'b, Key, Val, SharedReceiver<Key, Val>, Key, Val>;
type Context<'a> = ProcessContext<'a, Key, Val>;

impl<'b> Build<'b> {
    pub(super) fn process(&mut self, op: &Op) -> Result<(), CaseError> {
        let Flow { stream, rekeyed } = self.flow(op, &op.get::<String>("from")?)?;
        let name = self.store_name(op)?;
        let process = self.generate(&op.id);
        let store = Table::<Key, i64>::with(name.as_str(), KeyCodec, Bytes);
        self.stores.insert(name, CaseTable::Numbers(store.clone()));
        let process: Processor<'b> = stream.process(&process).table(&store);
        let stream = match op.get::<String>("fn")?.as_str() {
            "dedup" => dedup(op, process, store)?,
            "count_flush" => count_flush(op, process, store)?,
            "threshold" => threshold(op, process, store)?,
            other => return Err(CaseError::at(&op.id, format!("process {other} is not known"))),
        };
        let _ = rekeyed;
        self.add_stream(&op.id, stream, true)
    }
}

type Out<'b> = headwater::Stream<'b, Key, Val, headwater::operators::Port<Key, Val>>;

fn dedup<'b>(
    op: &Op,
    mut process: Processor<'b>,
    store: Table<Key, i64>,
) -> Result<Out<'b>, CaseError> {
    let window: i64 = op.get("window_ms")?;
    if let Some(every) = op.get::<Option<u64>>("purge_every_ms")? {
        let store = store.clone();
        process = process.on_stream_time(Duration::from_millis(every), move |now, context| {
            for (key, last) in context.table(&store)?.entries()? {
                if last + window < now {
                    context.table(&store)?.delete(&key)?;
                }
            }
            Ok(())
        });
    }
    Ok(process.each(move |record: Rec, context| {
        if record.key.is_null() {
            return Ok(());
        }
        let mut seen = context.table(&store)?;
        if seen.get(&record.key)?.is_some_and(|last| (record.timestamp - last).abs() <= window) {
            return Ok(());
        }
        seen.put(&record.key, &record.timestamp)?;
        context.forward(record)
    }))
}

fn count_flush<'b>(
    op: &Op,
    process: Processor<'b>,
    store: Table<Key, i64>,
) -> Result<Out<'b>, CaseError> {
    let every = Duration::from_millis(op.get("every_ms")?);
    let flushed = store.clone();
    let flush = move |at: Timestamp, context: &mut Context<'_>| -> Result<(), ProcessError> {
        for (key, count) in context.table(&flushed)?.entries()? {
            context.forward(Record::new(key.clone(), Some(json!(count)), at))?;
            context.table(&flushed)?.delete(&key)?;
        }
        Ok(())
    };
    let process = match op.get::<String>("clock")?.as_str() {
        "stream" => process.on_stream_time(every, flush),
        "wall" => process.on_wall_clock(every, flush),
        other => return Err(CaseError::at(&op.id, format!("clock {other} is not known"))),
    };
    Ok(process.each(move |record: Rec, context| {
        if record.key.is_null() {
            return Ok(());
        }
        let mut counts = context.table(&store)?;
        let count = counts.get(&record.key)?.unwrap_or(0);
        counts.put(&record.key, &(count + 1))
    }))
}

fn threshold<'b>(
    op: &Op,
    process: Processor<'b>,
    store: Table<Key, i64>,
) -> Result<Out<'b>, CaseError> {
    let threshold: i64 = op.get("threshold")?;
    let field: Option<String> = op.get("field")?;
    let x = ValueFunction::Field { field };
    Ok(process.each(move |record: Rec, context| {
        if record.key.is_null() {
            return Ok(());
        }
        let x = x.apply(&record.key, record.value).and_then(|x| x.as_i64()).unwrap_or(0);
        let mut sums = context.table(&store)?;
        let sum = sums.get(&record.key)?.unwrap_or(0) + x;
        if sum < threshold {
            return sums.put(&record.key, &sum);
        }
        sums.put(&record.key, &(sum - threshold))?;
        context.forward(Record::new(record.key, Some(json!(sum)), record.timestamp))
    }))
}
