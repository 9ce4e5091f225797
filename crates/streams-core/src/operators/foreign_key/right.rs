//! The side that is referred to: it remembers which rows refer to its rows, and answers.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Found, Question, ReplyCodec, Version, Wish, version};
use crate::change::Change;
use crate::codec::Codec;
use crate::error::{Cause, Failure};
use crate::operators::rows::Rows;
use crate::receive::Receive;
use crate::record::{Record, Timestamp};
use crate::state::changelog::end_of;
use crate::state::row_codec::write_key;
use crate::state::tables::TableIndex;
use crate::task_context::TaskContext;

pub(crate) struct Right<F, W> {
    /// The table of references: the length of the row's key in four big-endian bytes, the key, and
    /// the key of the row that refers to it, with the version of the question.
    pub(crate) name: Arc<str>,
    pub(crate) index: TableIndex,
    pub(crate) key: Arc<dyn Codec<F>>,
    pub(crate) rows: Arc<dyn Rows<F, W>>,
    pub(crate) reply: ReplyCodec<W>,
    /// The topic of the answers.
    pub(crate) answers: Arc<str>,
}

/// Answers questions.
pub(crate) struct Answer<F, W>(pub(crate) Arc<Right<F, W>>);

impl<F: 'static, W: 'static> Receive<F, Question> for Answer<F, W> {
    fn receive(&self, record: Record<F, Question>, cx: &mut TaskContext) -> Result<(), Failure> {
        let right = &*self.0;
        let Record { key, value: Question { key: asker, version, wish }, timestamp } = record;
        let mut entry = right.prefix(&key)?;
        entry.extend_from_slice(&asker);
        if matches!(wish, Wish::Always | Wish::Hopeful) {
            let stored = [&timestamp.to_be_bytes()[..], &version].concat();
            cx.tables.put_stamped(right.index, &entry, &stored)?;
        } else {
            cx.tables.delete_any(right.index, &entry)?;
        }
        if wish == Wish::Forget {
            return Ok(());
        }
        let row = right.rows.get(&key, cx)?;
        let timestamp = row.as_ref().map_or(timestamp, |(_, at)| timestamp.max(*at));
        let row = row.map(|(row, _)| row);
        let found = match (wish, row) {
            (Wish::ForgetAndTell, _) => Found::Nothing,
            (_, Some(row)) => Found::Row(row),
            (Wish::Hopeful, None) => Found::StillNothing,
            (_, None) => Found::Nothing,
        };
        right.send(&asker, &version, &found, timestamp, cx)
    }
}

/// Notifies all rows that refer to a row that it has changed.
pub(crate) struct Tell<F, W>(pub(crate) Arc<Right<F, W>>);

impl<F: 'static, W: 'static> Receive<F, Change<W>> for Tell<F, W> {
    fn receive(&self, record: Record<F, Change<W>>, cx: &mut TaskContext) -> Result<(), Failure> {
        let right = &*self.0;
        let prefix = right.prefix(&record.key)?;
        let mut askers: Vec<(Box<[u8]>, Version)> = Vec::new();
        let end = end_of(&prefix);
        let mut broken = None;
        cx.tables.scan(right.index, &prefix, end.as_deref(), &mut |entry, _, stored| {
            let asker = entry.get(prefix.len()..).unwrap_or_default();
            match version(&right.name, asker, stored) {
                Ok(version) => askers.push((asker.into(), version)),
                Err(failure) => broken = Some(failure),
            }
            if broken.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(failure) = broken {
            return Err(failure);
        }
        let found = record.value.new.map_or(Found::Nothing, Found::Row);
        askers.iter().try_for_each(|(asker, version)| {
            right.send(asker, version, &found, record.timestamp, cx)
        })
    }
}

impl<F: 'static, W: 'static> Right<F, W> {
    /// The prefix of the entries of all rows that refer to a row.
    fn prefix(&self, key: &F) -> Result<Vec<u8>, Failure> {
        let mut prefix = vec![0; 4];
        write_key(&self.name, &*self.key, key, &mut prefix)?;
        let length = (prefix.len() - 4) as u32;
        prefix[..4].copy_from_slice(&length.to_be_bytes());
        Ok(prefix)
    }

    fn send(
        &self,
        asker: &[u8],
        version: &Version,
        found: &Found<W>,
        timestamp: Timestamp,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let mut value = Vec::new();
        let written = self.reply.write(version, found, &mut value);
        written.map_err(|source| Cause::Encode { target: Arc::clone(&self.answers), source })?;
        cx.send_bytes(&self.answers, asker, |out| out.extend_from_slice(&value), timestamp)
    }
}
