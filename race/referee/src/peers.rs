//! The rows of the race, `race/peers.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::Result;
use crate::job::{JOBS, Job};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    row: Vec<PeerRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerRow {
    pub(crate) name: String,
    /// `{target}` is where Cargo puts programs, `{classpath}` has Kafka Streams and our use of it.
    pub(crate) program: Vec<String>,
    pub(crate) jobs: Vec<String>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
}

pub(crate) fn read(path: &Path) -> Result<Vec<PeerRow>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path:?}: {error}"))?;
    let file: File = toml::from_str(&text).map_err(|error| format!("{path:?}: {error}"))?;
    for row in &file.row {
        if row.program.is_empty() {
            return Err(format!("{path:?}: `{}` has no program", row.name).into());
        }
        if let Some(job) = row.jobs.iter().find(|job| Job::named(job).is_none()) {
            let known: Vec<&str> = JOBS.iter().map(|job| job.name).collect();
            return Err(format!("{path:?}: no job {job}; there are {}", known.join(", ")).into());
        }
    }
    Ok(file.row)
}
