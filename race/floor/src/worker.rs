//! One thread: a consumer, a producer, and the commits.

use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::batch::Batches;
use crate::client::{self, FloorOutput};
use crate::job::Job;
use crate::{Result, Settings, stopping};

pub(crate) fn run(settings: &Settings, thread: usize) -> Result<()> {
    let consumer = client::consumer(settings, thread)?;
    let mut worker = FloorWorker {
        output: FloorOutput::new(settings, thread)?,
        job: Job::new(settings)?,
        joined: false,
        next: Vec::new(),
    };
    let mut batches = Batches::of(&consumer);
    let mut committed_at = Instant::now();
    while !stopping() {
        if worker.joined {
            batches.read(|record| {
                worker.see(record.partition, record.offset, record.key, record.value)
            })?;
            worker.output.serve_reports();
        } else {
            // Reading in batches would not join the group.
            worker.read_one(&consumer)?;
        }
        if !worker.next.is_empty() && committed_at.elapsed() >= settings.commit_every {
            let offsets = worker.take_offsets(&settings.input)?;
            worker.output.commit(&consumer, &offsets)?;
            committed_at = Instant::now();
        }
    }
    Ok(())
}

struct FloorWorker {
    output: FloorOutput,
    job: Job,
    joined: bool,
    /// The next offset of each partition that has moved since the last commit.
    next: Vec<(i32, i64)>,
}

impl FloorWorker {
    fn read_one(&mut self, consumer: &BaseConsumer) -> Result<()> {
        let Some(message) = consumer.poll(Duration::from_millis(20)) else { return Ok(()) };
        let message = message?;
        let key = message.key().unwrap_or(b"");
        let value = message.payload().unwrap_or(b"");
        self.see(message.partition(), message.offset(), key, value)
    }

    fn see(&mut self, partition: i32, offset: i64, key: &[u8], value: &[u8]) -> Result<()> {
        self.job.see(key, value, &self.output)?;
        match self.next.iter_mut().find(|(moved, _)| *moved == partition) {
            Some((_, next)) => *next = offset + 1,
            None => self.next.push((partition, offset + 1)),
        }
        self.joined = true;
        Ok(())
    }

    fn take_offsets(&mut self, input: &str) -> Result<TopicPartitionList> {
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in self.next.drain(..) {
            offsets.add_partition_offset(input, partition, Offset::Offset(next))?;
        }
        Ok(offsets)
    }
}
