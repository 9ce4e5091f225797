//! The group as other threads see it: who we are, what is committed.

use std::ffi::{CStr, c_char};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use runtime::transport::{
    CommittedOffset, ErrorKind, Group, GroupMetadata, OffsetCommit, Result, TransportError,
};
use streams_core::TopicPartition;

use crate::consumer::{Consumer, list};
use crate::error;

pub(crate) struct KafkaGroup {
    consumer: Arc<Consumer>,
    group_id: Arc<str>,
}

impl KafkaGroup {
    pub(crate) fn new(consumer: Arc<Consumer>, group_id: Arc<str>) -> Self {
        Self { consumer, group_id }
    }
}

impl Group for KafkaGroup {
    fn metadata(&self) -> Result<GroupMetadata> {
        let nobody = || {
            let context = format!("the membership of {}", self.group_id);
            TransportError::new(ErrorKind::Fenced, context, "this instance is no member just now")
        };
        let native = NativeMetadata::of(&self.consumer).ok_or_else(nobody)?;
        let (generation, member_id) = (native.generation(), native.member_id());
        // Without generation and member id the broker takes a commit from anybody: it would not be
        // fenced.
        if generation < 0 || member_id.is_empty() {
            return Err(nobody());
        }
        let instance_id = native.instance_id();
        Ok(GroupMetadata {
            group_id: Arc::clone(&self.group_id),
            generation,
            member_id,
            instance_id,
        })
    }

    fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<CommittedOffset>> {
        // While a transaction holds offsets back, the client asks again until its time is over.
        let failed = |error| {
            let context = format!(
                "committed offsets of {} (an open transaction may hold them back; one that stays \
                 open hangs: kafka-transactions find-hanging)",
                self.group_id
            );
            retriable(context, error)
        };
        let found = self.consumer.committed_offsets(list(partitions), timeout).map_err(failed)?;
        let find = |partition: &TopicPartition| {
            let one = found.find_partition(&partition.topic, partition.partition);
            let one = one.ok_or_else(|| failed(KafkaError::OffsetFetch(RDKafkaErrorCode::Fail)))?;
            one.error().map_err(failed)?;
            let offset = match one.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            Ok(CommittedOffset { offset, metadata: one.metadata().to_owned() })
        };
        partitions.iter().map(find).collect()
    }

    fn commit(&self, offsets: &[OffsetCommit], _: Duration) -> Result<()> {
        let failed =
            |error| error::plain(format!("committing offsets of {}", self.group_id), error);
        let list = offset_list(offsets).map_err(failed)?;
        self.consumer.commit(&list, CommitMode::Sync).map_err(failed)
    }
}

/// Looking up offsets fails while a transaction holds them or the coordinator moves: later it
/// works.
fn retriable(context: String, error: KafkaError) -> TransportError {
    match error::plain(context.clone(), error) {
        error if error.kind() == ErrorKind::Refused => error,
        error => TransportError::new(ErrorKind::Retriable, context, error),
    }
}

/// Offsets with their metadata, as librdkafka takes them.
pub(crate) fn offset_list(
    offsets: &[OffsetCommit],
) -> std::result::Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for OffsetCommit { partition, offset, metadata } in offsets {
        let mut one = list.add_partition(&partition.topic, partition.partition);
        one.set_offset(Offset::Offset(*offset))?;
        one.set_metadata(metadata);
    }
    Ok(list)
}

/// librdkafka's group metadata.
pub(crate) struct NativeMetadata(*mut rd::rd_kafka_consumer_group_metadata_t);

// SAFETY: it is plain data that nothing else refers to.
unsafe impl Send for NativeMetadata {}

impl NativeMetadata {
    fn of(consumer: &Consumer) -> Option<Self> {
        // SAFETY: the client is alive; the result is owned or null.
        let ptr = unsafe { rd::rd_kafka_consumer_group_metadata(consumer.client().native_ptr()) };
        (!ptr.is_null()).then_some(Self(ptr))
    }

    /// The metadata of a member, to send with a transaction.
    pub(crate) fn new(group: &GroupMetadata) -> std::result::Result<Self, KafkaError> {
        let text = |text: &str| std::ffi::CString::new(text).map_err(KafkaError::Nul);
        let (group_id, member_id) = (text(&group.group_id)?, text(&group.member_id)?);
        let instance_id = group.instance_id.as_deref().map(text).transpose()?;
        let instance_ptr = instance_id.as_ref().map_or(std::ptr::null(), |id| id.as_ptr());
        // SAFETY: all texts are NUL-terminated and copied during the call; the result is owned.
        let ptr = unsafe {
            rd::rd_kafka_consumer_group_metadata_new_with_genid(
                group_id.as_ptr(),
                group.generation,
                member_id.as_ptr(),
                instance_ptr,
            )
        };
        Ok(Self(ptr))
    }

    pub(crate) fn ptr(&self) -> *const rd::rd_kafka_consumer_group_metadata_t {
        self.0
    }

    fn generation(&self) -> i32 {
        // SAFETY: the metadata is alive.
        unsafe { rd::rd_kafka_consumer_group_metadata_generation_id(self.0) }
    }

    fn member_id(&self) -> Arc<str> {
        // SAFETY: the metadata is alive; the text belongs to it.
        unsafe { text(rd::rd_kafka_consumer_group_metadata_member_id(self.0)) }
            .unwrap_or_else(|| "".into())
    }

    fn instance_id(&self) -> Option<Arc<str>> {
        // SAFETY: as above.
        unsafe { text(rd::rd_kafka_consumer_group_metadata_group_instance_id(self.0)) }
    }
}

impl Drop for NativeMetadata {
    fn drop(&mut self) {
        // SAFETY: it was owned and is destroyed once.
        unsafe { rd::rd_kafka_consumer_group_metadata_destroy(self.0) };
    }
}

/// # Safety
/// `text` is null or a NUL-terminated string that is alive during the call.
unsafe fn text(text: *const c_char) -> Option<Arc<str>> {
    // SAFETY: by the caller's word.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into())
}
