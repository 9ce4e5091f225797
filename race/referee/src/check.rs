//! Whether what a program wrote is right, record by record.

mod counts;
mod joined;
mod shipments;
mod windows;

use std::time::Duration;

use rdkafka::Offset;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;

pub(crate) use shipments::order_number;

use crate::Result;
use crate::cluster::RaceCluster;
use crate::data::DataSet;
use crate::job::Work;
use counts::Counts;
use joined::Joined;
use shipments::Shipments;
use windows::WindowTotals;

const SILENT_FOR: Duration = Duration::from_secs(20);

/// Takes in an output; it is judged when all has been seen.
trait Check {
    fn see(&mut self, key: &[u8], value: &[u8]);

    /// What is wrong; empty if nothing is.
    fn complaint(&self) -> String;
}

/// How many records the output has, and what is wrong with them.
pub(crate) struct Verdict {
    pub(crate) outputs: u64,
    pub(crate) complaint: String,
}

pub(crate) fn check(
    cluster: &RaceCluster,
    work: Work,
    output: &str,
    data: &DataSet,
) -> Result<Verdict> {
    let mut check: Box<dyn Check> = match work {
        Work::Shipments => Box::new(Shipments::new(data)),
        Work::WindowTotals => Box::new(WindowTotals::new(data)),
        Work::Counts | Work::RekeyedCounts => Box::new(Counts::new(data)),
        Work::Joins => Box::new(Joined::new(data)),
    };
    let outputs = read_all(cluster, output, check.as_mut())?;
    Ok(Verdict { outputs, complaint: check.complaint() })
}

/// Shows `check` all that is committed.
fn read_all(cluster: &RaceCluster, topic: &str, check: &mut dyn Check) -> Result<u64> {
    let settings = [("isolation.level", "read_committed"), ("enable.partition.eof", "true")];
    let reader = cluster.reader(topic, |_| Offset::Beginning, &settings)?;
    let mut ended = 0;
    let mut records = 0;
    while ended < cluster.partitions {
        match reader.poll(SILENT_FOR) {
            Some(Ok(record)) => {
                records += 1;
                check.see(record.key().unwrap_or(b""), record.payload().unwrap_or(b""));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(error.into()),
            None => return Err(format!("{topic}: nothing to read for {SILENT_FOR:?}").into()),
        }
    }
    Ok(records)
}

/// `number of what` for those that are not zero.
fn complaints(counted: &[(u64, &str)]) -> String {
    let present = counted.iter().filter(|(number, _)| *number > 0);
    present.map(|(number, what)| format!("{number} {what}")).collect::<Vec<_>>().join(", ")
}

/// The number in `cust-7` and the like.
pub(crate) fn number_after(prefix: &str, text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.strip_prefix(prefix)?.parse().ok()
}
