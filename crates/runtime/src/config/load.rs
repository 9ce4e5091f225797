//! Configuration from text, files and the environment.

use std::path::Path;

use toml::{Table, Value};

use super::{Config, ConfigError};

/// Environment variables that begin with this are settings: `HEADWATER_APP_COMMIT_INTERVAL=50ms`.
const PREFIX: &str = "HEADWATER_APP_";

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
    /// for all fields but `kafka`. A variable with that prefix that names no field is an error.
    pub fn with_env(self) -> Result<Self, ConfigError> {
        self.overridden(std::env::vars())
    }

    fn overridden(
        self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let failed = |error: String| ConfigError::new(format!("the environment: {error}"));
        let mut table = Table::try_from(&self).map_err(|error| failed(error.to_string()))?;
        for (name, text) in variables {
            if let Some(field) = name.strip_prefix(PREFIX) {
                table.insert(field.to_lowercase(), value(&text));
            }
        }
        let config: Self = table.try_into().map_err(|error| failed(error.to_string()))?;
        config.checked()
    }
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
        assert!(error.to_string().contains("comit_interval"), "{error}");
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
