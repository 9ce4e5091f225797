//! J7: all that the first round has is there before the start, all that the second has is written
//! while the program is stopped.

use crate::Result;
use crate::cluster::Feeder;
use crate::data::customers::InputEvent;
use crate::data::{DataSet, OrderKey};
use crate::instances::Instances;
use crate::run::{Figures, RaceEntry};
use crate::watch::{Measured, Watched};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    First,
    Second,
}

#[derive(Clone, Copy)]
enum Part {
    Customers,
    Orders,
}

impl RaceEntry<'_> {
    pub(super) fn rounds(&self) -> Result<Figures> {
        let data = self.data();
        let orders = self.own_input();
        let customers = self.table_input();
        self.race.cluster.create(&orders)?;
        self.race.cluster.create(&customers)?;
        let inputs = [orders.as_str(), &customers];
        let start = |instance| self.start(&orders, instance);
        let mut measured = Measured::default();
        let mut done = 0;
        for round in [Round::First, Round::Second] {
            self.write(&data, round)?;
            let mut instances = Instances::start(self.race.instances, &start)?;
            let watched = Watched { done, ..self.watched(&inputs) };
            measured.add(&watched.watch(&mut instances)?);
            instances.stop()?;
            done = first_round(&data) as i64;
        }
        self.judged(&measured, &data)
    }

    /// One topic whole, then the other: in the first round the customers, in the second the orders
    /// come first, so that a program that takes what it has is wrong in both ways.
    fn write(&self, data: &DataSet, round: Round) -> Result<()> {
        let parts = match round {
            Round::First => [Part::Customers, Part::Orders],
            Round::Second => [Part::Orders, Part::Customers],
        };
        let mut feeder = self.race.cluster.bulk_feeder()?;
        for part in parts {
            for event in events(data, round) {
                self.send(&mut feeder, part, &event)?;
            }
            feeder.flush()?;
        }
        Ok(())
    }

    fn send(&self, feeder: &mut Feeder, part: Part, event: &InputEvent) -> Result<()> {
        match (part, event) {
            (Part::Customers, InputEvent::Changed(change)) => {
                feeder.send_change(&self.table_input(), change)
            }
            (Part::Orders, InputEvent::Ordered(order, _)) => {
                let key = order.key(OrderKey::Customer);
                feeder.send(&self.own_input(), order, &key, Some(order.event_ms()))
            }
            _ => Ok(()),
        }
    }
}

/// How many events the first round has.
fn first_round(data: &DataSet) -> u64 {
    data.records / 2
}

fn events(data: &DataSet, round: Round) -> impl Iterator<Item = InputEvent> {
    let first = first_round(data) as usize;
    let (skipped, taken) = match round {
        Round::First => (0, first),
        Round::Second => (first, usize::MAX),
    };
    data.events().skip(skipped).take(taken)
}
