//! Topics for one test alone.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_kafka::KafkaTransport;
use runtime::transport::{NewTopic, Transport};

/// A name that no earlier run has used on the same broker.
pub(crate) fn unique(what: &str) -> Arc<str> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    format!("{what}-{}", since.as_micros()).into()
}

/// Makes a topic of one partition.
pub(crate) fn create(transport: &KafkaTransport, name: &Arc<str>, config: &[(&str, &str)]) {
    let config = config.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let new = NewTopic { name: Arc::clone(name), partitions: 1, replication: Some(1), config };
    let mut admin = transport.admin().expect("a client");
    admin.create(&new, Duration::from_secs(20)).expect("created");
}
