//! librdkafka's properties in the other client's words.

use std::collections::HashMap;
use std::time::Duration;

use runtime::transport::ProducerConfig;

use crate::config::KafkaConfig;

/// Properties of the other client.
pub(crate) type Properties = HashMap<String, String>;

/// After this a request is sent again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a call of the client itself waits at most; the callers' own limits are shorter.
const MAX_BLOCK: Duration = Duration::from_secs(60);

/// What both clients call the same and understand alike.
const SAME: &[&str] = &[
    "batch.size",
    "client.id",
    "client.rack",
    "connections.max.idle.ms",
    "linger.ms",
    "metadata.max.age.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
];

/// What only concerns librdkafka's own diagnosis.
const WITHOUT_MEANING: &[&str] = &["debug", "log_level", "statistics.interval.ms"];

/// Both clients' defaults of ours.
const DEFAULTS: &[(&str, &str)] = &[
    ("batch.size", "262144"),
    ("client.id", "headwater"),
    ("compression.type", "lz4"),
    ("linger.ms", "5"),
    ("reconnect.backoff.max.ms", "2000"),
    ("retry.backoff.ms", "2"),
    ("retry.backoff.max.ms", "50"),
];

/// Translates what the user set.
///
/// # Errors
/// The first property that the other client does not know, or not with this value.
pub(crate) fn translate(
    kafka: &KafkaConfig,
    config: &ProducerConfig,
) -> Result<Properties, String> {
    let (common, own) = kafka.producer_properties();
    let mut properties = connection(kafka)?;
    for (name, value) in DEFAULTS {
        properties.insert((*name).to_owned(), (*value).to_owned());
    }
    for (name, value) in common.iter().chain(own) {
        if let Some((name, value)) = of_producer(name, value)? {
            properties.insert(name.to_owned(), value.to_owned());
        }
    }
    let delivery = config.transaction_timeout.max(REQUEST_TIMEOUT * 2);
    let millis = |time: Duration| time.as_millis().to_string();
    for (name, value) in [
        ("acks", "all".to_owned()),
        ("enable.idempotence", "true".to_owned()),
        ("partitioner.type", "Murmur2RandomPartitioner".to_owned()),
        ("buffer.memory", config.buffer_bytes_max.max(4 << 20).to_string()),
        ("request.timeout.ms", millis(REQUEST_TIMEOUT.min(config.transaction_timeout))),
        ("delivery.timeout.ms", millis(delivery)),
        ("max.block.ms", millis(MAX_BLOCK)),
        ("transaction.timeout.ms", millis(config.transaction_timeout)),
        ("transactional.id", config.transactional_id.as_deref().unwrap_or_default().to_owned()),
    ] {
        properties.insert(name.to_owned(), value);
    }
    Ok(properties)
}

/// Where the cluster is, and how one is admitted.
pub(super) fn connection(kafka: &KafkaConfig) -> Result<Properties, String> {
    let (common, _) = kafka.producer_properties();
    let mut found = HashMap::from([("bootstrap.servers".to_owned(), kafka.brokers().to_owned())]);
    let get = |name: &str| common.get(name).map(String::as_str);
    let protocol = get("security.protocol").unwrap_or("plaintext").to_uppercase();
    match &*protocol {
        "PLAINTEXT" => {}
        "SASL_PLAINTEXT" => {
            let mechanism = get("sasl.mechanism").or(get("sasl.mechanisms")).unwrap_or("GSSAPI");
            if mechanism != "PLAIN" {
                return Err(format!("sasl.mechanism {mechanism} is librdkafka's alone"));
            }
            let quoted =
                |name| get(name).unwrap_or_default().replace('\\', "\\\\").replace('"', "\\\"");
            let jaas = format!(
                "org.apache.kafka.common.security.plain.PlainLoginModule required \
                 username=\"{}\" password=\"{}\";",
                quoted("sasl.username"),
                quoted("sasl.password")
            );
            found.insert("sasl.mechanism".to_owned(), mechanism.to_owned());
            found.insert("sasl.jaas.config".to_owned(), jaas);
        }
        other => return Err(format!("security.protocol {other} is librdkafka's alone")),
    }
    found.insert("security.protocol".to_owned(), protocol);
    Ok(found)
}

/// A property of producers; `None` if [`connection`] has it or it means nothing here.
fn of_producer<'a>(name: &'a str, value: &'a str) -> Result<Option<(&'a str, &'a str)>, String> {
    let connects = name == "security.protocol" || name.starts_with("sasl.");
    if connects || WITHOUT_MEANING.contains(&name) {
        return Ok(None);
    }
    if SAME.contains(&name) {
        return Ok(Some((name, value)));
    }
    match name {
        "queue.buffering.max.ms" => Ok(Some(("linger.ms", value))),
        "compression.type" | "compression.codec" if matches!(value, "none" | "lz4") => {
            Ok(Some(("compression.type", value)))
        }
        _ => Err(format!("the property {name}={value} is librdkafka's alone")),
    }
}
