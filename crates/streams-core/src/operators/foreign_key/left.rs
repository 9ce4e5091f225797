//! The side whose rows refer to others: it asks, and joins the answers.

use std::marker::PhantomData;
use std::sync::Arc;

use super::{Found, Question, Reply, VERSION, Version, Wish};
use crate::change::Change;
use crate::codec::Codec;
use crate::error::Failure;
use crate::operators::ToTable;
use crate::operators::rows::Rows;
use crate::receive::Receive;
use crate::record::{Record, Timestamp};
use crate::state::row_codec::{key_bytes, write_key};
use crate::state::tables::TableIndex;
use crate::stream_clock::CommittedCount;
use crate::task_context::TaskContext;

pub(crate) struct Left<K, V, W, O, J> {
    /// The table of versions: the row's key, with the version of its last change.
    pub(crate) name: Arc<str>,
    pub(crate) index: TableIndex,
    /// Counts the changes.
    pub(crate) changes: CommittedCount,
    pub(crate) key: Arc<dyn Codec<K>>,
    pub(crate) rows: Arc<dyn Rows<K, V>>,
    pub(crate) joiner: J,
    /// Whether a row that refers to nothing has a result.
    pub(crate) keeps_unmatched: bool,
    pub(crate) to_table: ToTable<K, O>,
    pub(crate) of: PhantomData<fn(W)>,
}

/// Turns changes of the left side into questions.
pub(crate) struct SubscribeByForeignKey<K, V, F, W, O, J, E> {
    pub(crate) left: Arc<Left<K, V, W, O, J>>,
    /// The topic of the questions.
    pub(crate) questions: Arc<str>,
    pub(crate) to: Arc<dyn Codec<F>>,
    pub(crate) foreign_key: E,
}

impl<K, V, F, W, O, J, E> Receive<K, Change<V>> for SubscribeByForeignKey<K, V, F, W, O, J, E>
where
    K: Clone + 'static,
    V: 'static,
    F: 'static,
    W: 'static,
    O: Clone + 'static,
    J: Fn(&K, &V, Option<&W>) -> Option<O> + Send + Sync + 'static,
    E: Fn(&K, &V) -> Option<F> + Send + Sync + 'static,
{
    fn receive(&self, record: Record<K, Change<V>>, cx: &mut TaskContext) -> Result<(), Failure> {
        let Record { key, value: Change { old, new }, timestamp } = record;
        if old.is_none() && new.is_none() {
            return Ok(());
        }
        let mut key_bytes = Vec::new();
        write_key(&self.left.name, &*self.left.key, &key, &mut key_bytes)?;
        // From here on, answers to earlier versions are outdated. Without the version, an answer
        // that was overtaken could replace a newer result.
        let version = self.left.next_version(&key_bytes, new.is_some(), cx)?;
        let from = self.target(&key, old.as_ref())?;
        let to = self.target(&key, new.as_ref())?;
        let wishes = wishes(from, to.clone(), self.left.keeps_unmatched);
        let asks = !wishes.is_empty();
        for (target, wish) in wishes {
            let question = Question { key: key_bytes.as_slice().into(), version, wish };
            cx.send_bytes(&self.questions, &target, |out| question.write(out), timestamp)?;
        }
        // The row refers to nothing, so no answer will come.
        if to.is_none() && self.left.keeps_unmatched {
            let value = new.and_then(|new| (self.left.joiner)(&key, &new, None));
            return self.left.to_table.receive(Record { key, value, timestamp }, cx);
        }
        if to.is_none() && !asks {
            return self.left.take_back(key, timestamp, cx);
        }
        Ok(())
    }
}

impl<K, V, F: 'static, W, O, J, E> SubscribeByForeignKey<K, V, F, W, O, J, E>
where
    E: Fn(&K, &V) -> Option<F>,
{
    /// The key of the row that a row refers to, in bytes.
    fn target(&self, key: &K, value: Option<&V>) -> Result<Option<Vec<u8>>, Failure> {
        let Some(target) = value.and_then(|value| (self.foreign_key)(key, value)) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        Ok(key_bytes(&self.questions, &*self.to, &target, &mut bytes)?.then_some(bytes))
    }
}

/// What to ask of which row, when a row that referred to `from` now refers to `to`.
fn wishes(
    from: Option<Vec<u8>>,
    to: Option<Vec<u8>>,
    keeps_unmatched: bool,
) -> Vec<(Vec<u8>, Wish)> {
    // If there is nothing to join with, a row that had no result still has none.
    let new_or_same = if keeps_unmatched { Wish::Always } else { Wish::Hopeful };
    match (from, to) {
        (Some(from), Some(to)) if from == to => vec![(to, new_or_same)],
        (Some(from), Some(to)) => vec![(from, Wish::Forget), (to, Wish::Always)],
        (None, Some(to)) => vec![(to, new_or_same)],
        (Some(from), None) if keeps_unmatched => vec![(from, Wish::Forget)],
        (Some(from), None) => vec![(from, Wish::ForgetAndTell)],
        (None, None) => Vec::new(),
    }
}

/// The version of a row that does not exist. No record has this input and offset.
const DELETED: Version = [0xff; VERSION];

/// Turns answers into results, unless they are outdated.
pub(crate) struct Join<K, V, W, O, J>(pub(crate) Arc<Left<K, V, W, O, J>>);

impl<K, V, W, O, J> Receive<K, Reply<W>> for Join<K, V, W, O, J>
where
    K: Clone + 'static,
    V: 'static,
    W: 'static,
    O: Clone + 'static,
    J: Fn(&K, &V, Option<&W>) -> Option<O> + Send + Sync + 'static,
{
    fn receive(&self, record: Record<K, Reply<W>>, cx: &mut TaskContext) -> Result<(), Failure> {
        let left = &*self.0;
        let Record { key, value: Reply { version, found }, timestamp } = record;
        let mut key_bytes = Vec::new();
        write_key(&left.name, &*left.key, &key, &mut key_bytes)?;
        let current = match cx.tables.get(left.index, &key_bytes)? {
            Some((_, stored)) => super::version(&left.name, &key_bytes, stored)?,
            None => DELETED,
        };
        // The row has changed since the question, and its later question will have its own answer.
        if current != version {
            return Ok(());
        }
        let row = match found {
            Found::Row(row) => Some(row),
            Found::Nothing => None,
            Found::StillNothing => return left.take_back(key, timestamp, cx),
        };
        let current = left.rows.get(&key, cx)?;
        let value = current.and_then(|(value, _)| (left.joiner)(&key, &value, row.as_ref()));
        left.to_table.receive(Record { key, value, timestamp }, cx)
    }
}

impl<K: Clone + 'static, V, W, O: Clone + 'static, J> Left<K, V, W, O, J> {
    /// Deletes the result, if there is one. Such a result came from an answer whose correction was
    /// overtaken by a newer version.
    fn take_back(&self, key: K, timestamp: Timestamp, cx: &mut TaskContext) -> Result<(), Failure> {
        let table = &self.to_table.0.table;
        let mut bytes = Vec::new();
        write_key(&table.name, &*table.key, &key, &mut bytes)?;
        if cx.tables.get(self.to_table.0.index, &bytes)?.is_none() {
            return Ok(());
        }
        self.to_table.receive(Record { key, value: None, timestamp }, cx)
    }
}

impl<K, V, W, O, J> Left<K, V, W, O, J> {
    /// Gives a change its version, which is stored while the row exists.
    fn next_version(
        &self,
        key: &[u8],
        is_there: bool,
        cx: &mut TaskContext,
    ) -> Result<Version, Failure> {
        if !is_there {
            cx.tables.delete_any(self.index, key)?;
            return Ok(DELETED);
        }
        // The input and offset are not enough: a record may create a row, delete it and create it
        // again, and a punctuation has no offset. The count is not enough either, because it is
        // lost when the group's offsets expire.
        let count = self.changes.next(&mut cx.clocks) as u32;
        let origin = &cx.origin;
        let mut version = [0; VERSION];
        version[..8].copy_from_slice(&origin.offset.to_be_bytes());
        version[8..12].copy_from_slice(&origin.input.to_be_bytes());
        version[12..].copy_from_slice(&count.to_be_bytes());
        let stored = [&cx.origin.timestamp.max(0).to_be_bytes()[..], &version].concat();
        cx.tables.put_stamped(self.index, key, &stored)?;
        Ok(version)
    }
}
