//! Consumer and producer, tuned by hand over about ten tries.

use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::{Result, Settings};

const REQUEST_WITHIN: Duration = Duration::from_secs(30);

pub(crate) fn consumer(settings: &Settings, thread: usize) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &settings.bootstrap)
        .set("group.id", &settings.app_id)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.message.max.bytes", "4194304")
        .set("queued.min.messages", "200000")
        .set("queued.max.messages.kbytes", "262144")
        // When that queue is full, librdkafka stops fetching for a second, its default: too long.
        .set("fetch.queue.backoff.ms", "2")
        .set("check.crcs", "false")
        .create()?;
    if settings.threads == 1 {
        consumer.subscribe(&[&settings.input])?;
        return Ok(consumer);
    }
    // A fixed share for each thread: reading in batches does not serve rebalances.
    let mut share = TopicPartitionList::new();
    for partition in
        (0..settings.partitions).filter(|partition| partition % settings.threads == thread)
    {
        share.add_partition_offset(&settings.input, partition as i32, Offset::Stored)?;
    }
    consumer.assign(&share)?;
    Ok(consumer)
}

pub(crate) struct FloorOutput {
    producer: BaseProducer,
    topic: String,
    transactional: bool,
}

impl FloorOutput {
    pub(crate) fn new(settings: &Settings, thread: usize) -> Result<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &settings.bootstrap)
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("batch.size", "262144")
            .set("batch.num.messages", "10000")
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "1048576")
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true");
        if settings.exactly_once {
            config.set("transactional.id", format!("{}-{thread}", settings.app_id));
        }
        let producer: BaseProducer = config.create()?;
        if settings.exactly_once {
            producer.init_transactions(REQUEST_WITHIN)?;
            producer.begin_transaction()?;
        }
        let topic = settings.output.clone();
        let transactional = settings.exactly_once;
        Ok(Self { producer, topic, transactional })
    }

    pub(crate) fn send(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic).key(key).payload(value);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn serve_reports(&self) {
        self.producer.poll(Duration::ZERO);
    }

    pub(crate) fn commit(
        &self,
        consumer: &BaseConsumer,
        offsets: &TopicPartitionList,
    ) -> Result<()> {
        if !self.transactional {
            self.flush();
            consumer.commit(offsets, rdkafka::consumer::CommitMode::Sync)?;
            return Ok(());
        }
        let group = consumer.group_metadata().ok_or("the consumer has no group")?;
        self.producer.send_offsets_to_transaction(offsets, &group, REQUEST_WITHIN)?;
        self.flush();
        self.producer.commit_transaction(REQUEST_WITHIN)?;
        self.producer.begin_transaction()?;
        Ok(())
    }

    /// `BaseProducer::flush`, which committing calls too, waits in polls of 100 ms that end only
    /// when their time is over: every commit would last that long. So the queue is emptied first.
    fn flush(&self) {
        let done = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        // SAFETY: the client lives as long as the producer.
        while unsafe { rd::rd_kafka_flush(self.producer.client().native_ptr(), 0) } != done {
            self.producer.poll(Duration::from_millis(1));
        }
    }
}
