//! What must hold at the end of every run, for every topology.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{CommittedOffset, Reader, ReaderConfig, Transport};
use streams_core::{
    Entries, OwnedBatch, OwnedRecord, RecordBatch, Resume, Source, SourceKind, TableSpec,
    TopicPartition, Topology,
};

use super::disk::TableImage;
use super::world::SimulatedWorld;
use crate::lock::lock;

/// No call waits.
const AT_ONCE: Duration = Duration::ZERO;

/// What a reader of committed records sees of a partition.
pub(super) struct CommittedRecords {
    pub(super) records: Vec<OwnedRecord>,
    /// The offset after the last record or marker that the reader could pass.
    pub(super) position: i64,
    /// The offset after everything that was written.
    pub(super) end: i64,
}

/// Reads a partition from its beginning, as far as it is committed.
pub(super) fn committed(
    world: &SimulatedWorld,
    partition: &TopicPartition,
) -> Result<CommittedRecords, String> {
    let failed = |error: runtime::transport::TransportError| format!("{partition}: {error}");
    let config = ReaderConfig::new(true);
    let mut reader: Box<dyn Reader> = world.log.reader(&config).map_err(failed)?;
    let (begin, end) = reader.bounds(partition, AT_ONCE).map_err(failed)?;
    reader.add(partition, begin).map_err(failed)?;
    let mut records: Vec<OwnedRecord> = Vec::new();
    loop {
        let fetched = reader.poll(AT_ONCE, 10_000).map_err(failed)?;
        if fetched.is_empty() {
            break;
        }
        for batch in fetched.iter().map(|fetched| &fetched.batch) {
            records.extend((0..batch.len()).map(|index| OwnedRecord::of(&**batch, index)));
        }
    }
    let position = reader.position(partition).unwrap_or(begin);
    Ok(CommittedRecords { records, position, end })
}

/// All partitions of a topic; empty if it does not exist.
pub(super) fn partitions(
    world: &SimulatedWorld,
    topic: &str,
) -> Result<Vec<TopicPartition>, String> {
    let mut admin = world.log.admin().map_err(|error| error.to_string())?;
    let topic: Arc<str> = topic.into();
    let found = admin.describe(&[Arc::clone(&topic)], AT_ONCE).map_err(|e| e.to_string())?;
    let count = found.first().cloned().flatten().map_or(0, |info| info.partitions);
    Ok((0..count).map(|number| TopicPartition::new(Arc::clone(&topic), number)).collect())
}

/// No partition had two owners, and no effect was committed without its offsets.
pub(super) fn one_owner_at_a_time(world: &SimulatedWorld) -> Result<(), String> {
    world.ledger.wrong().map_or(Ok(()), Err)
}

/// No instance exceeded its memory bounds.
pub(super) fn bounds_are_kept(world: &SimulatedWorld) -> Result<(), String> {
    lock(&world.beyond).clone().map_or(Ok(()), Err)
}

/// If all input exists before the start, each task's commits are prefixes of the merge of its
/// inputs by timestamp, whatever was fetched when.
pub(super) fn inputs_are_merged(world: &SimulatedWorld, topology: &Topology) -> Result<(), String> {
    let commits = world.ledger.commits();
    for sub in topology.sub_topologies() {
        let sources = sub.sources();
        // Topics that the application itself writes did not exist before the start.
        let is_fed = sources.iter().all(|source| source.kind == SourceKind::User);
        if sources.len() < 2 || !is_fed {
            continue;
        }
        for number in 0..partitions(world, &sources[0].topic)?.len() as i32 {
            let inputs =
                sources.iter().map(|source| TopicPartition::new(Arc::clone(&source.topic), number));
            let inputs: Vec<_> = inputs.collect();
            let merged = beginnings(world, sources, &inputs)?;
            for commit in commits.iter().filter(|commit| commit.contains_key(&inputs[0])) {
                let processed = inputs.iter().map(|input| commit.get(input).map_or(0, processed));
                let processed: Vec<_> = processed.collect();
                if !merged.contains(&processed) {
                    return Err(format!(
                        "{inputs:?} were processed up to {processed:?}, which is no beginning of \
                         their merge by timestamp"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The operators' positions in this commit.
fn processed(committed: &CommittedOffset) -> i64 {
    let CommittedOffset { offset, metadata } = committed.clone();
    Resume { offset: offset.unwrap_or(0), metadata, committed: true }.processed()
}

/// The input positions after each record of the merge by timestamp.
fn beginnings(
    world: &SimulatedWorld,
    sources: &[Source],
    inputs: &[TopicPartition],
) -> Result<BTreeSet<Vec<i64>>, String> {
    let mut queues = Vec::new();
    for (source, input) in sources.iter().zip(inputs) {
        let records = OwnedBatch::from(committed(world, input)?.records);
        let turns = (0..records.len()).map(|index| {
            let record = records.record(index);
            (source.turn_time(&record), record.offset + 1)
        });
        queues.push(turns.collect::<VecDeque<_>>());
    }
    let mut processed = vec![0; inputs.len()];
    let mut all = BTreeSet::from([processed.clone()]);
    loop {
        let heads = queues.iter().enumerate().filter_map(|(n, queue)| Some((queue.front()?.0, n)));
        let Some((_, oldest)) = heads.min() else { return Ok(all) };
        processed[oldest] = queues[oldest].pop_front().map_or(0, |(_, next)| next);
        all.insert(processed.clone());
    }
}

/// No transaction is left open: readers of committed records reach every end.
pub(super) fn nothing_is_open(world: &SimulatedWorld, topics: &[String]) -> Result<(), String> {
    for topic in topics {
        for partition in partitions(world, topic)? {
            let CommittedRecords { position, end, .. } = committed(world, &partition)?;
            if position < end {
                return Err(format!(
                    "{partition}: a transaction was left open at offset {position} of {end}"
                ));
            }
        }
    }
    Ok(())
}

/// Every table on every disk equals its changelog up to the table's position.
pub(super) fn tables_are_their_changelogs(
    world: &SimulatedWorld,
    topology: &Topology,
) -> Result<(), String> {
    for (index, slot) in world.slots.iter().enumerate() {
        for (task, table, image) in slot.disk.images().map_err(|error| error.to_string())? {
            let tables = topology.sub_topologies().iter().flat_map(|sub| sub.tables());
            let Some(spec) = tables.into_iter().find(|spec| spec.store_name() == table) else {
                continue;
            };
            let number = task.rsplit('-').next().and_then(|number| number.parse().ok());
            let Some(number) = number else { continue };
            let changelog = TopicPartition::new(Arc::clone(spec.changelog()), number);
            compare(world, spec, &changelog, &image)
                .map_err(|error| format!("instance {index}, table {table}: {error}"))?;
        }
    }
    Ok(())
}

/// A table's entries in all partitions, according to its changelog.
pub(super) fn entries(world: &SimulatedWorld, spec: &TableSpec) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for changelog in partitions(world, spec.changelog())? {
        let replayed = replayed(world, spec, &changelog, i64::MAX)?;
        entries.extend(replayed.into_iter().filter_map(|(key, value)| Some((key, value?))));
    }
    Ok(entries)
}

/// A key and its value.
pub(super) type Entry = (Box<[u8]>, Box<[u8]>);

/// The entries of a changelog as of a position.
fn replayed(
    world: &SimulatedWorld,
    spec: &TableSpec,
    changelog: &TopicPartition,
    position: i64,
) -> Result<BTreeMap<Box<[u8]>, Option<Box<[u8]>>>, String> {
    let mut records = committed(world, changelog)?.records;
    records.retain(|record| record.offset < position);
    let batch = OwnedBatch::from(records);
    let mut replayed = BTreeMap::new();
    for index in 0..batch.len() {
        let mut entries = Entries::new();
        spec.restore(&batch.record(index), &mut entries).map_err(|error| error.to_string())?;
        replayed.extend(entries.iter().map(|(key, value)| (key.into(), value.map(Into::into))));
    }
    replayed.retain(|_, value| value.is_some());
    Ok(replayed)
}

fn compare(
    world: &SimulatedWorld,
    spec: &TableSpec,
    changelog: &TopicPartition,
    image: &TableImage,
) -> Result<(), String> {
    let position = image.position.unwrap_or(0);
    let replayed = replayed(world, spec, changelog, position)?;
    // When expired rows are removed depends on what was written in between.
    let is_compared = |key: &[u8]| !(spec.expires() && spec.is_index(key));
    let mut keys = replayed.keys().chain(image.entries.keys()).filter(|key| is_compared(key));
    let Some(key) = keys.find(|key| replayed.get(*key) != image.entries.get(*key)) else {
        return Ok(());
    };
    Err(format!("at position {position} of {changelog} it differs in the entry {key:?}"))
}
