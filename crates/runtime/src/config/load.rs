//! Configuration from text, files and the environment.

use std::ffi::OsString;
use std::path::Path;

use toml::{Table, Value};

use super::{Config, ConfigError};

/// Environment variables that begin with this are settings: `HEADWATER_APP_COMMIT_INTERVAL=50ms`.
const PREFIX: &str = "HEADWATER_APP_";

/// Settings that are text, also where it looks like a number.
const TEXTS: [&str; 3] = ["broker", "instance_id", "state_dir"];

impl Config {
    /// Reads TOML. An unknown key is an error. Errors name line and column and quote nothing that
    /// could be a password.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let placed = |error| placed(text, &error);
        refuse_unquoted(&toml::from_str(text).map_err(placed)?)?;
        let config: Self = toml::from_str(text).map_err(placed)?;
        config.checked()
    }

    /// Reads a TOML file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let failed = |error: &str| ConfigError::new(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| failed(&error.to_string()))?;
        Self::from_toml(&text).map_err(|error| failed(error.why()))
    }

    /// Overrides settings by the environment: `HEADWATER_APP_` and the field's name in capitals,
    /// for all fields but `kafka`. A variable with that prefix that names no field, or whose value
    /// is not UTF-8, is an error.
    pub fn with_env(self) -> Result<Self, ConfigError> {
        self.overridden(std::env::vars_os())
    }

    fn overridden(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let failed = |error: String| ConfigError::new(format!("the environment: {error}"));
        // A path need not be text.
        let state_dir = self.state_dir.take();
        let mut table = Table::try_from(&self).map_err(|error| failed(error.to_string()))?;
        for (name, text) in variables {
            let shown = name.to_string_lossy();
            let Some(field) = shown.strip_prefix(PREFIX) else { continue };
            let field = field.to_lowercase();
            if field == "kafka" {
                return Err(failed(format!("{shown}: Kafka's properties cannot be set here")));
            }
            let text = text.into_string().map_err(|_| failed(format!("{shown} is not UTF-8")))?;
            let value = value(&field, text);
            table.insert(field, value);
        }
        let mut config: Self = table.try_into().map_err(|error| failed(error.to_string()))?;
        config.state_dir = config.state_dir.or(state_dir);
        config.checked()
    }
}

/// Numbers are numbers; everything else is text.
fn value(field: &str, text: String) -> Value {
    let number = if TEXTS.contains(&field) { None } else { text.parse().ok() };
    number.map_or_else(|| Value::String(text), Value::Integer)
}

/// An error with its place. TOML's own words have the line in them, and a line may have a password.
fn placed(text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start));
    let Some(before) = before else { return ConfigError::new(error.message()) };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    ConfigError::new(format!("line {line}, column {column}: {}", error.message()))
}

/// Values of Kafka's properties are text in quotes. What is none is refused here, by its name: the
/// words for a wrong type have the value in them.
fn refuse_unquoted(table: &Table) -> Result<(), ConfigError> {
    let Some(kafka) = table.get("kafka") else { return Ok(()) };
    let no_table = |name: &str| ConfigError::new(format!("{name} must be a table of properties"));
    for (role, properties) in kafka.as_table().ok_or_else(|| no_table("kafka"))? {
        if role == "transactions" && !properties.is_table() {
            if !matches!(properties.as_str(), Some("auto" | "v1" | "v2")) {
                return Err(ConfigError::new("kafka.transactions must be auto, v1 or v2"));
            }
            continue;
        }
        let name = format!("kafka.{role}");
        let properties = properties.as_table().ok_or_else(|| no_table(&name))?;
        if let Some((property, _)) = properties.iter().find(|(_, value)| !value.is_str()) {
            return Err(ConfigError::new(format!(
                "{name}: the value of {property} must be text in quotes, and so must a name with \
                 dots in it"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Guarantee;

    fn env(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let pairs = pairs.iter().map(|(name, value)| (name.into(), value.into()));
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
        let broker = "kafka://ann:hunter2@example.org:9092".to_owned();
        let shown = format!("{:?}", Config { broker, ..Config::default() });
        assert!(shown.contains("kafka:…@example.org:9092"), "{shown}");
    }

    #[test]
    fn errors_name_the_place_and_no_password() {
        let secrets = [
            "hunter2",
            "hunter2 # x",
            "hunt er2",
            "12345hunter2",
            "12345",
            "-1.5e3",
            "true",
            "nan",
            "'hunter2",
            "\"hunter2",
            "\"hunter2\" hunter2",
            "hunter2\"",
            "[\"hunter2\"]",
            "\\hunter2",
            "{ a = \"hunter2\" }",
            "2026-01-01",
            "hunter=2",
            "hunter2\nhunter2",
            "p@ss,word",
            "=",
        ];
        for secret in secrets {
            for place in [
                format!(
                    "[kafka.common]\n\"sasl.username\" = \"ann\"\n\"sasl.password\" = {secret}"
                ),
                format!("[kafka]\ncommon = {{ \"sasl.password\" = {secret} }}"),
                format!("kafka.common.\"sasl.password\" = {secret}\n"),
            ] {
                let error = Config::from_toml(&place).expect_err(secret).to_string();
                let parts = ["hunter", "12345", "1.5e3", "1500", "true", "nan", "2026", "p@ss"];
                let told: Vec<_> = parts.iter().filter(|part| error.contains(**part)).collect();
                assert!(told.is_empty(), "{secret}: {error}");
                assert!(error.contains("line ") || error.contains("sasl.password"), "{error}");
            }
        }
        for unquoted in ["common = \"hunter2\"", "[kafka.common]\nsasl.password = \"hunter2\""] {
            let error = Config::from_toml(&format!("[kafka]\n{unquoted}")).expect_err(unquoted);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let error = Config::from_toml("broker = \"embedded:\"\nworker_threads = x").unwrap_err();
        assert!(error.to_string().contains("line 2, column 18"), "{error}");
        let error = env(&[("HEADWATER_APP_KAFKA", "hunter2")]).expect_err("no table");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn what_no_machine_has_is_an_error() {
        for wrong in [
            "heartbeat_interval = \"18446744073709551615s\"",
            "request_timeout = \"18446744073709551615ms\"",
            "shutdown_timeout = \"99999999999999999999h\"",
            "transaction_timeout = \"25h h\"",
            "memory = \"18446744073709551615\"",
            "memory = \"17179869184GiB\"",
            "memory = -1",
            "worker_threads = 9223372036854775807",
            "poll_records_max = 9223372036854775807",
            "replication = 0",
        ] {
            let (field, _) = wrong.split_once(' ').expect("a field");
            let error = Config::from_toml(wrong).expect_err(wrong).to_string();
            assert!(error.contains(field) || error.contains("line 1"), "{error}");
        }
        let endless = Config { request_timeout: Duration::MAX, ..Config::default() };
        let shown = format!("{endless:?}");
        assert!(shown.contains("request_timeout"), "{shown}");
        let error = endless.checked().expect_err("too long").to_string();
        assert!(error.contains("request_timeout must be at most 24 days"), "{error}");
        let all = Config { memory: crate::ByteSize(u64::MAX), ..Config::default() };
        assert!(format!("{all:?}").contains("memory") && all.checked().is_err());
    }

    #[test]
    fn short_durations_and_texts_that_look_like_numbers_stay_what_they_are() {
        for nanos in [1, 999, 1_000, 1_500_000, 2_000_000, 3_600_000_000_001] {
            let commit_interval = Some(Duration::from_nanos(nanos));
            let transaction_timeout = Duration::from_secs(4_000);
            let config = Config { commit_interval, transaction_timeout, ..Config::default() };
            assert_eq!(config.clone().overridden([]).expect("valid"), config);
        }
        let config = env(&[("HEADWATER_APP_INSTANCE_ID", "7")]).expect("valid");
        assert_eq!(config.instance_id.as_deref(), Some("7"));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_utf_8_is_no_panic() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;

        let odd = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        let config = Config { state_dir: Some(odd(b"/data/\xff").into()), ..Config::default() };
        assert!(format!("{config:?}").contains("/data/"));
        let others = [(odd(b"OTHER\xff"), odd(b"x")), (odd(b"OTHER"), odd(b"\xff"))];
        assert_eq!(config.clone().overridden(others).expect("valid"), config);
        let error = config.clone().overridden([(odd(b"HEADWATER_APP_BROKER"), odd(b"\xff"))]);
        assert!(error.unwrap_err().to_string().contains("HEADWATER_APP_BROKER is not UTF-8"));
        assert!(config.overridden([(odd(b"HEADWATER_APP_\xff"), odd(b"x"))]).is_err());
    }
}
