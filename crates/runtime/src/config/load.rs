//! Configuration from text, files and the environment.

use std::path::Path;

use toml::{Table, Value};

use super::{Config, ConfigError};

/// Environment variables that begin with this are settings: `HEADWATER_APP_COMMIT_INTERVAL=50ms`.
const PREFIX: &str = "HEADWATER_APP_";

/// What else begins with this may be a setting whose name is wrong.
const PROJECT: &str = "HEADWATER_";

/// The settings that the environment can override.
const SETTINGS: [&str; 19] = [
    "broker",
    "guarantee",
    "commit_interval",
    "worker_threads",
    "restore_threads",
    "state_dir",
    "tables",
    "instance_id",
    "session_timeout",
    "heartbeat_interval",
    "transaction_timeout",
    "connect_timeout",
    "request_timeout",
    "shutdown_timeout",
    "memory",
    "replication",
    "topology_changes",
    "poll_records_max",
    "task_idle",
];

impl Config {
    /// Reads TOML. An unknown key is an error.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|error| ConfigError::new(error.to_string()))?;
        config.checked()
    }

    /// Reads a TOML file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let failed = |error: String| ConfigError::new(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        Self::from_toml(&text).map_err(|error| failed(error.to_string()))
    }

    /// Overrides settings by the environment: `HEADWATER_APP_` and the field's name in capitals,
    /// for all fields but `kafka`. So `HEADWATER_APP_BROKER=kafka://localhost:9092`.
    ///
    /// # Errors
    /// A variable with that prefix that names no field, or has no value for it; a variable that
    /// begins with `HEADWATER_` alone and goes on like a field, such as `HEADWATER_BROKER`. Others
    /// that begin so are warned of in the log.
    pub fn with_env(self) -> Result<Self, ConfigError> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PROJECT))?;
            Some((name, value.into_string()))
        });
        let mut all = Vec::new();
        for (name, value) in variables {
            match value {
                Ok(value) => all.push((name, value)),
                Err(_) => return Err(ConfigError::new(format!("{name} is not UTF-8"))),
            }
        }
        self.overridden(all)
    }

    fn overridden(
        self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let failed = |error: String| ConfigError::new(format!("the environment: {error}"));
        let mut table = Table::try_from(&self).map_err(|error| failed(error.to_string()))?;
        for (name, text) in variables {
            if let Some(field) = name.strip_prefix(PREFIX) {
                let field = field.to_lowercase();
                match nearest(&field) {
                    Some(known) if known != field => return Err(misspelt(&name, known)),
                    _ => table.insert(field, value(&text)),
                };
            } else if let Some(field) = name.strip_prefix(PROJECT) {
                check_foreign(&name, &field.to_lowercase())?;
            }
        }
        let config: Self = table.try_into().map_err(|error| failed(error.to_string()))?;
        config.checked()
    }
}

/// A variable that is none of ours may be meant to be.
fn check_foreign(name: &str, field: &str) -> Result<(), ConfigError> {
    if let Some(known) = nearest(field) {
        return Err(misspelt(name, known));
    }
    tracing::warn!(name, "this environment variable is no setting: those begin with {PREFIX}");
    Ok(())
}

fn misspelt(name: &str, known: &str) -> ConfigError {
    let meant = format!("{PREFIX}{}", known.to_uppercase());
    ConfigError::new(format!("the environment: {name} is no setting; did you mean {meant}?"))
}

/// The setting that is written like `field`, or almost.
fn nearest(field: &str) -> Option<&'static str> {
    let near = SETTINGS.iter().map(|known| (distance(field, known), *known));
    near.filter(|(distance, known)| distance * 4 <= known.len()).min().map(|(_, known)| known)
}

/// How many letters have to be changed, added or taken away to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Numbers are numbers; everything else is text.
fn value(text: &str) -> Value {
    text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Integer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Guarantee;

    fn env(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::default().overridden(pairs)
    }

    #[test]
    fn the_environment_overrides_and_unknown_names_are_errors() {
        let config = env(&[
            ("HEADWATER_APP_COMMIT_INTERVAL", "50ms"),
            ("HEADWATER_APP_WORKER_THREADS", "3"),
            ("HEADWATER_APP_GUARANTEE", "at-least-once"),
            ("UNRELATED", "x"),
        ])
        .expect("valid");
        assert_eq!(config.commit_interval(), Duration::from_millis(50));
        assert_eq!((config.worker_threads, config.guarantee), (3, Guarantee::AtLeastOnce));
        let error = env(&[("HEADWATER_APP_COMIT_INTERVAL", "50ms")]).expect_err("unknown");
        let meant = "did you mean HEADWATER_APP_COMMIT_INTERVAL?";
        assert!(error.to_string().contains(meant), "{error}");
        let error = env(&[("HEADWATER_APP_COLOUR", "blue")]).expect_err("unknown");
        assert!(error.to_string().contains("unknown field `colour`"), "{error}");
    }

    #[test]
    fn a_setting_without_its_prefix_is_an_error_and_what_tests_use_is_none() {
        for (name, meant) in [
            ("HEADWATER_BROKER", "HEADWATER_APP_BROKER"),
            ("HEADWATER_WORKER_THREAD", "HEADWATER_APP_WORKER_THREADS"),
            ("HEADWATER_STATEDIR", "HEADWATER_APP_STATE_DIR"),
        ] {
            let error = env(&[(name, "x")]).expect_err("refused").to_string();
            assert!(error.contains(name) && error.contains(meant), "{error}");
        }
        let others =
            ["KAFKA", "SEED", "SEEDS", "ROUNDS", "KEYS", "FAULTS", "FAILPOINT", "HEARTBEAT"];
        for other in others.map(|name| format!("HEADWATER_{name}")) {
            assert!(env(&[(&other, "x")]).is_ok(), "{other}");
        }
    }

    #[test]
    fn every_setting_has_its_name_in_the_list() {
        let everything = Config {
            commit_interval: Some(Duration::from_secs(1)),
            state_dir: Some("state".into()),
            tables: Some(crate::config::Tables::Memory),
            instance_id: Some("one".into()),
            replication: Some(3),
            ..Config::default()
        };
        let table = Table::try_from(&everything).expect("it can be written");
        let names: Vec<_> =
            table.keys().map(String::as_str).filter(|name| *name != "kafka").collect();
        let mut known = SETTINGS.to_vec();
        known.sort_unstable();
        assert_eq!(known, names);
    }

    #[test]
    fn wrong_values_are_named() {
        let error = Config::from_toml("commit_interval = \"fast\"").expect_err("no duration");
        assert!(error.to_string().contains("\"fast\" is no duration"), "{error}");
        let error = Config::from_toml("worker_threads = 0").expect_err("no threads");
        assert!(error.to_string().contains("worker_threads"), "{error}");
        assert!(Config::from_toml("comit_interval = \"1s\"").is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let config =
            Config::from_toml("[kafka.common]\n\"sasl.password\" = \"hunter2\"").expect("ok");
        let shown = format!("{config:?} {:?}", config.kafka);
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }
}
