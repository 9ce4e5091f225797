//! From a broker's URL to a transport.

use std::sync::Arc;

use runtime::transport::Transport;
use runtime::{AppError, Client, Config, ConfigError};

/// A plain client of the log that `config.broker` names.
///
/// # Errors
/// A URL that names no log, or an embedded log's directory that cannot be opened. A Kafka that is
/// away is no error yet.
pub fn client(config: &Config) -> Result<Client, AppError> {
    connect(config).map(Client::new)
}

/// The log that `config.broker` names.
///
/// All users of `embedded:` in a process share one log in memory, and all users of one
/// `embedded:./dir` the log in that directory.
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

    /// The logs of this process, the one in memory under the empty path. They stay open until the
    /// process ends.
    static LOGS: Mutex<BTreeMap<PathBuf, EmbeddedLog>> = Mutex::new(BTreeMap::new());

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
    let log =
        if directory.is_empty() { EmbeddedLog::in_memory() } else { EmbeddedLog::open(&path)? };
    logs.insert(path, log.clone());
    Ok(Arc::new(log))
}

#[cfg(not(feature = "embedded"))]
fn embedded(directory: &str) -> Result<Arc<dyn Transport>, AppError> {
    Err(unknown(&format!("embedded:{directory}"), "built without the feature \"embedded\""))
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
    Err(unknown(&config.broker, "built without the feature \"kafka\""))
}
