//! From a broker's URL to a transport.

use std::sync::Arc;

use runtime::transport::Transport;
use runtime::{AppError, Client, Config, ConfigError};

/// A plain client of the log that `config.broker` names.
///
/// # Errors
/// The URL is invalid, or the embedded log's directory cannot be opened. An unreachable Kafka is
/// not an error yet.
pub fn client(config: &Config) -> Result<Client, AppError> {
    connect(config).map(Client::new)
}

/// The log that `config.broker` names.
///
/// All users of `embedded:` in a process share one log in memory. All users of `embedded:./dir`
/// share the log in that directory, with the options of the first that opened it.
///
/// `embedded:./dir?damaged=skip` opens a damaged log without its damaged part (default:
/// `damaged=refuse`). `?verify=read` verifies records when they are read instead of all at opening
/// (default: `verify=open`). Separate two options with `&`.
///
/// # Errors
/// As for [`client`].
pub fn connect(config: &Config) -> Result<Arc<dyn Transport>, AppError> {
    let broker = config.broker.as_str();
    match broker.split_once(':') {
        Some(("embedded", directory)) => embedded(directory),
        Some(("kafka", _)) => kafka(config),
        _ => Err(unknown(broker, "write kafka://host:port, embedded: or embedded:./dir")),
    }
}

fn unknown(broker: &str, why: &str) -> AppError {
    ConfigError::new(format!("broker {broker:?}: {why}")).into()
}

#[cfg(feature = "embedded")]
fn embedded(directory: &str) -> Result<Arc<dyn Transport>, AppError> {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::{Mutex, PoisonError};

    use embedded::EmbeddedLog;

    /// The logs of this process by path; the one in memory has the empty path. They stay open until
    /// the process ends.
    static LOGS: Mutex<BTreeMap<PathBuf, EmbeddedLog>> = Mutex::new(BTreeMap::new());

    let (directory, options) = match directory.split_once('?') {
        Some((directory, options)) => (directory, log_options(options)?),
        None => (directory, embedded::LogOptions::default()),
    };
    let mut logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
    let path = if directory.is_empty() {
        PathBuf::new()
    } else {
        let made = std::fs::create_dir_all(directory);
        let path = made.and_then(|()| PathBuf::from(directory).canonicalize());
        path.map_err(|error| unknown(&format!("embedded:{directory}"), &error.to_string()))?
    };
    if let Some(log) = logs.get(&path) {
        return Ok(Arc::new(log.clone()));
    }
    let log = if directory.is_empty() { options.in_memory() } else { options.open(&path)? };
    logs.insert(path, log.clone());
    Ok(Arc::new(log))
}

/// Parses the options after the `?` of an embedded log's URL.
#[cfg(feature = "embedded")]
fn log_options(options: &str) -> Result<embedded::LogOptions, AppError> {
    use embedded::{Damaged, Verify};

    let mut log = embedded::LogOptions::default();
    for option in options.split('&') {
        log = match option {
            "damaged=refuse" => log.damaged(Damaged::Refuse),
            "damaged=skip" => log.damaged(Damaged::Skip),
            "verify=open" => log.verify(Verify::WhenOpened),
            "verify=read" => log.verify(Verify::WhenRead),
            _ => {
                let why = "no such option; there are damaged=refuse, damaged=skip, verify=open \
                           and verify=read";
                return Err(unknown(&format!("embedded:…?{option}"), why));
            }
        };
    }
    Ok(log)
}

#[cfg(not(feature = "embedded"))]
fn embedded(directory: &str) -> Result<Arc<dyn Transport>, AppError> {
    Err(unknown(
        &format!("embedded:{directory}"),
        "this program was built without the feature \"embedded\"",
    ))
}

#[cfg(feature = "kafka")]
fn kafka(config: &Config) -> Result<Arc<dyn Transport>, AppError> {
    use kafka::{KafkaConfig, KafkaTransport};

    let properties = &config.kafka;
    let kafka = KafkaConfig::new(&config.broker).and_then(|kafka| {
        kafka.with_properties(
            &properties.common,
            &properties.consumer,
            &properties.producer,
            &properties.admin,
        )
    });
    let kafka = kafka.map_err(|error| ConfigError::new(error.to_string()))?;
    Ok(Arc::new(KafkaTransport::new(kafka.with_transactions(properties.transactions))))
}

#[cfg(not(feature = "kafka"))]
fn kafka(config: &Config) -> Result<Arc<dyn Transport>, AppError> {
    Err(unknown(&config.broker, "this program was built without the feature \"kafka\""))
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use super::*;

    #[test]
    fn options_of_an_embedded_log_are_known_or_refused() {
        let options = |text| format!("{:?}", log_options(text).unwrap());
        assert!(options("damaged=skip").contains("Skip"));
        assert!(options("damaged=refuse").contains("Refuse"));
        let both = options("verify=read&damaged=skip");
        assert!(both.contains("WhenRead") && both.contains("Skip"), "{both}");
        for wrong in ["damaged=sometimes", "damage=skip", ""] {
            let error = log_options(wrong).unwrap_err().to_string();
            assert!(error.contains("damaged=skip"), "{error}");
        }
    }
}
