//! Shared by the tests of the log.
#![allow(clippy::unwrap_used, dead_code, reason = "each test uses its part")]

use std::time::Duration;

use headwater_embedded::EmbeddedLog;
use runtime::transport::{Member, MemberConfig, Outgoing, Producer, Result, Transport};

/// A small random generator, so that a failing run can be repeated from its seed.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

/// A member of `group` that subscribes to the topic `input`.
pub(crate) fn member_of(group: &str, log: &EmbeddedLog) -> Result<Box<dyn Member>> {
    log.member(&MemberConfig {
        group_id: group.into(),
        instance_id: None,
        topics: vec!["input".into()],
        session_timeout: Duration::from_secs(3600),
        heartbeat_interval: Duration::from_secs(1),
        read_committed: true,
        fetch_bytes_max: 1 << 20,
    })
}

/// Sends a value without a key to partition 0.
pub(crate) fn send(producer: &mut dyn Producer, topic: &str, value: &[u8], timestamp: i64) {
    let record = Outgoing {
        topic: &topic.into(),
        partition: Some(0),
        key: None,
        value: Some(value),
        timestamp,
        headers: None,
    };
    producer.send(&record).unwrap();
}
