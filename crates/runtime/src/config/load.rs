//! Reading configuration from text, files and the environment.

use std::ffi::OsString;
use std::path::Path;

use toml::{Table, Value};

use super::{Config, ConfigError};

/// Environment variables that begin with this are settings: `HEADWATER_APP_COMMIT_INTERVAL=50ms`.
const PREFIX: &str = "HEADWATER_APP_";

/// Other variables that begin with this may be settings with a wrong name.
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
/// Settings that are text, even if the text looks like a number.
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
    /// for all fields but `kafka`. So `HEADWATER_APP_BROKER=kafka://localhost:9092`.
    ///
    /// # Errors
    /// A variable with that prefix names no field, has a wrong value, or is not UTF-8; or a
    /// variable has the prefix `HEADWATER_` alone before a field's name, such as
    /// `HEADWATER_BROKER`. Other variables with that prefix are logged as warnings.
    pub fn with_env(self) -> Result<Self, ConfigError> {
        self.overridden(std::env::vars_os())
    }

    fn overridden(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        // Kept apart: a path need not be UTF-8, and TOML is.
        let state_dir = self.state_dir.take();
        let mut table = Table::try_from(&self).map_err(failed)?;
        for (name, text) in variables {
            let shown = name.to_string_lossy();
            if let Some(field) = shown.strip_prefix(PREFIX) {
                let field = field.to_lowercase();
                let value = value_of(&shown, &field, text)?;
                table.insert(field, value);
            } else if let Some(field) = shown.strip_prefix(PROJECT) {
                check_foreign(&shown, &field.to_lowercase())?;
            }
        }
        let mut config: Self = table.try_into().map_err(failed)?;
        config.state_dir = config.state_dir.or(state_dir);
        config.checked()
    }
}

fn failed(error: impl std::fmt::Display) -> ConfigError {
    ConfigError::new(format!("the environment: {error}"))
}

/// The value that a variable with our prefix gives to a field.
fn value_of(name: &str, field: &str, text: OsString) -> Result<Value, ConfigError> {
    if field == "kafka" {
        return Err(failed(format!("{name}: Kafka's properties cannot be set here")));
    }
    if let Some(known) = nearest(field).filter(|known| *known != field) {
        return Err(misspelt(name, known));
    }
    let text = text.into_string().map_err(|_| failed(format!("{name} is not UTF-8")))?;
    Ok(value(field, text))
}

/// Checks a variable without our prefix, which may be meant to have it.
fn check_foreign(name: &str, field: &str) -> Result<(), ConfigError> {
    if let Some(known) = nearest(field) {
        return Err(misspelt(name, known));
    }
    tracing::warn!(name, "this environment variable is not a setting: those begin with {PREFIX}");
    Ok(())
}

fn misspelt(name: &str, known: &str) -> ConfigError {
    let meant = format!("{PREFIX}{}", known.to_uppercase());
    failed(format!("{name} is not a setting; did you mean {meant}?"))
}

/// The setting that is spelled like `field`, or almost.
fn nearest(field: &str) -> Option<&'static str> {
    let near = SETTINGS.iter().map(|known| (distance(field, known), *known));
    near.filter(|(distance, known)| distance * 4 <= known.len()).min().map(|(_, known)| known)
}

/// How many letters have to be changed, added or removed to turn `a` into `b`.
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
fn value(field: &str, text: String) -> Value {
    let number = if TEXTS.contains(&field) { None } else { text.parse().ok() };
    number.map_or_else(|| Value::String(text), Value::Integer)
}

/// An error with its line and column. TOML's own text quotes the line, which may have a password.
fn placed(text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start));
    let Some(before) = before else { return ConfigError::new(error.message()) };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    ConfigError::new(format!("line {line}, column {column}: {}", error.message()))
}

/// Refuses values of Kafka's properties that are not text in quotes, and names the property only:
/// serde's error for a wrong type quotes the value, which may be a password.
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
        let meant = "did you mean HEADWATER_APP_COMMIT_INTERVAL?";
        assert!(error.to_string().contains(meant), "{error}");
        let error = env(&[("HEADWATER_APP_COLOUR", "blue")]).expect_err("unknown");
        assert!(error.to_string().contains("unknown field `colour`"), "{error}");
    }

    #[test]
    fn a_setting_without_its_prefix_is_an_error_unless_tests_use_it() {
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
            tables: Some(crate::config::TableStorage::Memory),
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
        assert!(error.to_string().contains("\"fast\" is not a duration"), "{error}");
        let error = Config::from_toml("worker_threads = 0").expect_err("no threads");
        assert!(error.to_string().contains("worker_threads"), "{error}");
        assert!(Config::from_toml("comit_interval = \"1s\"").is_err());
    }

    #[test]
    fn passwords_are_not_printed() {
        let config =
            Config::from_toml("[kafka.common]\n\"sasl.password\" = \"hunter2\"").expect("ok");
        let shown = format!("{config:?} {:?}", config.kafka);
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
        let broker = "kafka://ann:hunter2@example.org:9092".to_owned();
        let shown = format!("{:?}", Config { broker, ..Config::default() });
        assert!(shown.contains("kafka:…@example.org:9092"), "{shown}");
    }

    #[test]
    fn errors_name_the_line_and_no_password() {
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
    fn numbers_that_no_machine_has_are_errors() {
        for wrong in [
            "heartbeat_interval = \"18446744073709551615s\"",
            "request_timeout = \"18446744073709551615ms\"",
            "shutdown_timeout = \"99999999999999999999h\"",
            "connect_timeout = \"600h\"",
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
    fn names_and_values_that_are_not_utf_8_do_not_panic() {
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
