//! Applications in simulated worlds whose output must be that of the same records without faults.

use std::collections::BTreeMap;
use std::error::Error;

use headwater::{Record, Topic, Topology};
use testkit::{Dice, Outcome, Simulation, TopologyTest};

const PARTITIONS: i32 = 3;

/// An application that consumes and writes text.
pub struct Application {
    pub topology: fn() -> Topology,
    pub inputs: &'static [&'static str],
    pub outputs: &'static [&'static str],
    /// The number of records of each input.
    pub records: u64,
    /// Makes the record with this number.
    pub record: fn(&mut Dice, u64) -> Record<String, u64>,
}

pub fn input(name: &str) -> Topic<String, u64> {
    Topic::new(name)
}

pub fn output(name: &str) -> Topic<String, String> {
    Topic::new(name)
}

impl Application {
    /// A world in which all input exists before the start.
    pub fn world(&self, seed: u64) -> Simulation {
        let mut simulation = Simulation::new(seed, self.topology)
            .turns(2_000)
            .config(move |config| config.worker_threads = 1 + seed as usize % 2)
            .fed_before_the_start();
        for name in self.inputs {
            let topic = input(name);
            simulation = simulation.topic(name, PARTITIONS).feed(&topic, self.records, self.record);
        }
        for name in self.outputs {
            simulation = simulation.topic(name, PARTITIONS);
        }
        simulation
    }

    /// Runs the input of a simulated world without faults.
    pub fn calm_run(&self, outcome: &Outcome) -> Result<TopologyTest, Box<dyn Error>> {
        let topics = self.inputs.iter().chain(self.outputs).map(|name| (*name, PARTITIONS));
        let topics = topics.collect::<Vec<_>>();
        let mut calm = TopologyTest::with_partitions((self.topology)(), &topics);
        for name in self.inputs {
            for record in outcome.committed(&input(name))? {
                calm.queue(&input(name), &record)?;
            }
        }
        calm.run()?;
        Ok(calm)
    }

    /// Fails unless the simulated world has the same output as the run without faults.
    pub fn compare_outputs(
        &self,
        outcome: &Outcome,
        calm: &mut TopologyTest,
    ) -> Result<(), Box<dyn Error>> {
        for name in self.outputs {
            let topic = output(name);
            let found = by_key(outcome.committed(&topic)?);
            let expected = by_key(calm.take_records(&topic)?);
            if found != expected {
                return Err(format!("{name}: {found:?}\nexpected: {expected:?}").into());
            }
        }
        Ok(())
    }
}

/// The results of each key, in order.
type Results = BTreeMap<String, Vec<(String, i64)>>;

fn by_key(records: Vec<Record<String, String>>) -> Results {
    let mut results = Results::new();
    for Record { key, value, timestamp } in records {
        results.entry(key).or_default().push((value, timestamp));
    }
    results
}
