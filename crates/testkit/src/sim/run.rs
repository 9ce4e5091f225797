//! One run: first with faults, then without, until everything is processed.

use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{NewTopic, Outgoing, Producer, ProducerConfig, Transport};
use runtime::{Clock as _, Status};

use super::world::SimulatedWorld;
use super::{InputFeed, SimError, check};
use crate::dice::Dice;
use crate::lock::lock;

/// How many such periods the application may take after the last fault, as long as something
/// changes.
const CHANGES_MAX: u32 = 30;
/// How long nothing may change for everything to count as done.
const QUIET: Duration = Duration::from_secs(15);
/// How often to check whether all is done, once nothing changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct SimulationRun<'a> {
    pub(super) world: &'a Arc<SimulatedWorld>,
    pub(super) seed: u64,
    pub(super) topics: Vec<String>,
    pub(super) is_fed_first: bool,
    /// How long nothing may change after the last fault before everything must be done.
    pub(super) settles_within: Duration,
}

impl SimulationRun<'_> {
    pub(super) fn error(&self, what: String) -> SimError {
        let history = lock(&self.world.history).join("\n");
        SimError::new(self.seed, what, history)
    }

    pub(super) fn create(&self, topics: &[(String, i32)]) -> Result<(), String> {
        let mut admin = self.world.log.admin().map_err(|error| error.to_string())?;
        for (name, partitions) in topics {
            // Records may have any timestamp.
            let config = vec![("retention.ms".to_owned(), "-1".to_owned())];
            let name = name.as_str().into();
            let topic = NewTopic { name, partitions: *partitions, replication: None, config };
            admin.create(&topic, Duration::ZERO).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    pub(super) fn run(
        &self,
        mut feeds: Vec<InputFeed>,
        turns: usize,
        mut dice: Dice,
    ) -> Result<(), String> {
        let config = ProducerConfig {
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
            buffer_bytes_max: 1 << 20,
        };
        let mut writer = self.world.log.producer(&config).map_err(|error| error.to_string())?;
        let total: u64 = feeds.iter().map(|feed| feed.count).sum();
        let mut fed = vec![0; feeds.len()];
        if self.is_fed_first {
            for _ in 0..total {
                write(&mut feeds, &mut fed, &mut dice, &mut *writer)?;
            }
        }
        for turn in 0..turns {
            // Feed evenly over three quarters of the run.
            let due = (total * turn as u64 * 4).div_ceil(turns as u64 * 3).min(total);
            while fed.iter().sum::<u64>() < due {
                write(&mut feeds, &mut fed, &mut dice, &mut *writer)?;
            }
            self.world.tick();
        }
        while fed.iter().sum::<u64>() < total {
            write(&mut feeds, &mut fed, &mut dice, &mut *writer)?;
        }
        self.world.heal();
        let settled = self.settle().and_then(|()| self.stop());
        // Report the first violation: it is the reason why the run does not finish.
        check::one_owner_at_a_time(self.world)?;
        check::bounds_are_kept(self.world)?;
        if self.is_fed_first {
            check::inputs_are_merged(self.world, &(self.world.topology)())?;
        }
        settled?;
        check::nothing_is_open(self.world, &self.all_topics())?;
        check::tables_are_their_changelogs(self.world, &(self.world.topology)())
    }

    fn all_topics(&self) -> Vec<String> {
        let topology = (self.world.topology)();
        let internal = topology.internal_topics().iter().map(|topic| topic.name.to_string());
        self.topics.iter().cloned().chain(internal).collect()
    }

    /// Gives every instance its turn until nothing changes any more.
    fn settle(&self) -> Result<(), String> {
        let clock = &self.world.clock;
        let patience = self.settles_within.max(2 * QUIET).as_millis() as i64;
        let give_up = clock.now() + patience * i64::from(CHANGES_MAX);
        let ended = lock(&self.world.history).len();
        let mut last = Vec::new();
        let mut since = clock.now();
        let mut look_at = since + QUIET.as_millis() as i64;
        loop {
            for index in 0..self.world.slots.len() {
                if !self.world.is_running(index) {
                    self.fails_no_more(ended)?;
                    self.world.start(index);
                }
                (0..6).for_each(|component| self.world.turn(index, component));
            }
            clock.advance(Duration::from_millis(20));
            let statuses = self.statuses();
            let now = clock.now();
            if now >= look_at {
                if self.left_to_do(&statuses)?.is_none() {
                    return Ok(());
                }
                look_at = now + LOOK_EVERY.as_millis() as i64;
            }
            let picture = self.picture(&statuses)?;
            if picture != last {
                last = picture;
                since = now;
                look_at = now + QUIET.as_millis() as i64;
            }
            if now > give_up || now - since > patience {
                let left = self.left_to_do(&statuses)?.unwrap_or_else(|| "quiet".to_owned());
                return Err(format!("it does not finish: {left}\n{}", last.join("\n")));
            }
        }
    }

    /// A graceful stop may be in progress, but an instance must not have ended with an error or a
    /// panic.
    fn fails_no_more(&self, since: usize) -> Result<(), String> {
        let history = lock(&self.world.history);
        let failed = history[since..].iter().find(|line| line.contains("ended: "));
        failed.map_or(Ok(()), |line| Err(format!("after the last fault: {line}")))
    }

    fn statuses(&self) -> Vec<Status> {
        (0..self.world.slots.len()).filter_map(|index| self.world.status(index)).collect()
    }

    /// What must not change any more: the owners of tasks, their positions, and the acknowledged
    /// offsets.
    fn picture(&self, statuses: &[Status]) -> Result<Vec<String>, String> {
        let tasks = statuses.iter().map(|status| {
            let tasks = status.tasks.iter();
            let tasks = tasks.map(|(task, status)| {
                let inputs = status.inputs.iter().map(|input| input.position);
                let inputs = inputs.collect::<Vec<_>>();
                let waiting = status.waiting;
                format!("{task} {:?} {inputs:?}, {waiting} waiting for a retry", status.state)
            });
            tasks.collect::<Vec<_>>().join(", ")
        });
        let acknowledged = format!("{} acknowledged", self.world.ledger.acknowledged_in_all());
        Ok(tasks.chain([acknowledged]).collect())
    }

    /// Records that wait for a retry, a source partition without an owner, or one with records that
    /// its owner has not processed.
    fn left_to_do(&self, statuses: &[Status]) -> Result<Option<String>, String> {
        let mut tasks = statuses.iter().flat_map(|status| &status.tasks);
        if let Some((task, status)) = tasks.find(|(_, status)| status.waiting > 0) {
            return Ok(Some(format!("{} records of {task} wait for a retry", status.waiting)));
        }
        let topology = (self.world.topology)();
        for source in topology.sub_topologies().iter().flat_map(|sub| sub.sources()) {
            for partition in check::partitions(self.world, &source.topic)? {
                let inputs = statuses.iter().flat_map(|status| status.tasks.values());
                let mut inputs = inputs.flat_map(|task| &task.inputs).filter(|input| {
                    input.topic == partition.topic && input.partition == partition.partition
                });
                let Some(input) = inputs.next() else {
                    return Ok(Some(format!("{partition} has no owner")));
                };
                let records = check::committed(self.world, &partition)?.records;
                if let Some(last) = records.last().filter(|last| last.offset >= input.position) {
                    let at = last.offset;
                    let position = input.position;
                    return Ok(Some(format!("{partition} is at {position}, a record at {at}")));
                }
                // Agents acknowledge records when they are done with them, not when they receive
                // them.
                let from = self.world.ledger.acknowledged(&partition).unwrap_or(i64::MAX);
                if let Some(last) = records.last().filter(|last| last.offset >= from) {
                    let to = last.offset;
                    return Ok(Some(format!("{partition}: {from} to {to} are not acknowledged")));
                }
            }
        }
        Ok(None)
    }

    /// Stops all instances gracefully.
    fn stop(&self) -> Result<(), String> {
        let count = self.world.slots.len();
        (0..count).for_each(|index| self.world.stop(index));
        for _ in 0..2_000 {
            for index in 0..count {
                (0..6).for_each(|component| self.world.turn(index, component));
            }
            self.world.clock.advance(Duration::from_millis(10));
            if (0..count).all(|index| !self.world.is_running(index)) {
                return Ok(());
            }
        }
        Err("a graceful stop does not finish".to_owned())
    }
}

/// The next record of a random feed that has one left.
fn write(
    feeds: &mut [InputFeed],
    fed: &mut [u64],
    dice: &mut Dice,
    writer: &mut dyn Producer,
) -> Result<(), String> {
    let left: Vec<_> = (0..feeds.len()).filter(|index| fed[*index] < feeds[*index].count).collect();
    let Some(&index) = left.get(dice.below(left.len())) else { return Ok(()) };
    let feed = &mut feeds[index];
    let record = (feed.make)(dice, fed[index]);
    fed[index] += 1;
    let sent = writer.send(&Outgoing {
        topic: &feed.topic,
        partition: None,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        timestamp: record.timestamp,
        headers: None,
    });
    sent.and_then(|()| writer.flush(Duration::ZERO)).map_err(|error| error.to_string())
}
