//! The cluster that `./dev kafka start --listeners all` made: where its listeners are, and what a
//! client of each needs. `HEADWATER_KAFKA_CLUSTER` names its `cluster.env`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use headwater::Config;

/// Listeners that refuse everybody who checks their certificate.
const BAD: [&str; 2] = ["EXPIRED", "OTHER_HOST"];

pub struct Cluster {
    clients: PathBuf,
}

impl Cluster {
    /// Without one the calling test passes without running.
    pub fn of_environment() -> Option<Self> {
        let Some(file) = std::env::var_os("HEADWATER_KAFKA_CLUSTER") else {
            println!("skipped: HEADWATER_KAFKA_CLUSTER names no cluster; see ./dev clusters");
            return None;
        };
        let mut values = read(Path::new(&file));
        let clients = values.remove("HEADWATER_KAFKA_CLIENTS").expect("where clients' files are");
        Some(Self { clients: clients.into() })
    }

    /// The listeners that admit, each with its mechanism, such as `SASL_SSL-PLAIN`.
    pub fn listeners(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.clients).expect("clients' files");
        let paths = files.map(|file| file.expect("a file").path());
        let names = paths.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
        let mut names: Vec<_> = names.filter(|name| !BAD.contains(&name.as_str())).collect();
        names.sort();
        names
    }

    /// Of an application that is admitted by this listener.
    pub fn config(&self, listener: &str) -> Config {
        let mut properties = read(&self.clients.join(format!("{listener}.properties")));
        let brokers = properties.remove("bootstrap.servers").expect("where the brokers are");
        let mut config = Config { broker: format!("kafka://{brokers}"), ..Config::default() };
        config.kafka.common = properties;
        config
    }
}

fn read(file: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(file).expect("the cluster's file");
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
