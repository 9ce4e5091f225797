//! Which versions of which requests a broker speaks, and its response that says so.

use std::ops::RangeInclusive;

use super::api;

/// One kind of request, by its number, and the versions of it that a broker speaks.
pub(super) type Spoken = (i16, RangeInclusive<i16>);

/// Of Redpanda, at the end of 2024; Metadata as before that. What is not here it does not know:
/// above all the features of a cluster, and with them the second transaction protocol (KIP-890).
pub(super) const REDPANDA: &[Spoken] = &[
    (api::PRODUCE, 0..=7),
    (api::FETCH, 4..=11),
    (api::LIST_OFFSETS, 0..=4),
    (api::METADATA, 0..=7),
    (api::OFFSET_COMMIT, 1..=8),
    (api::OFFSET_FETCH, 1..=7),
    (api::FIND_COORDINATOR, 0..=3),
    (api::JOIN_GROUP, 0..=6),
    (api::HEARTBEAT, 0..=4),
    (api::LEAVE_GROUP, 0..=4),
    (api::SYNC_GROUP, 0..=4),
    (api::DESCRIBE_GROUPS, 0..=5),
    (api::LIST_GROUPS, 0..=4),
    (api::SASL_HANDSHAKE, 0..=1),
    (api::API_VERSIONS, 0..=3),
    (api::CREATE_TOPICS, 0..=6),
    (api::DELETE_TOPICS, 0..=5),
    (api::DELETE_RECORDS, 0..=2),
    (api::INIT_PRODUCER_ID, 0..=3),
    (api::OFFSET_FOR_LEADER_EPOCH, 0..=4),
    (api::ADD_PARTITIONS_TO_TXN, 0..=3),
    (api::ADD_OFFSETS_TO_TXN, 0..=1),
    (api::END_TXN, 0..=3),
    (api::TXN_OFFSET_COMMIT, 0..=3),
    (api::DESCRIBE_CONFIGS, 0..=4),
    (api::ALTER_CONFIGS, 0..=2),
    (api::SASL_AUTHENTICATE, 0..=2),
    (api::CREATE_PARTITIONS, 0..=3),
    (api::DELETE_GROUPS, 0..=2),
    (api::INCREMENTAL_ALTER_CONFIGS, 0..=1),
    (api::OFFSET_DELETE, 0..=0),
];

/// Whether a broker that speaks these would read the request.
pub(super) fn is_spoken(spoken: &[Spoken], api: i16, version: i16) -> bool {
    spoken.iter().any(|(kind, versions)| *kind == api && versions.contains(&version))
}

/// A response to ApiVersions of this version, with its length before it, as from a broker that
/// speaks no more than `spoken`; `None` if it cannot be read.
pub(super) fn restrict(response: &[u8], version: i16, spoken: &[Spoken]) -> Option<Vec<u8>> {
    let is_flexible = version >= 3;
    // The length, the correlation id and the error. The header has no tagged fields in any version,
    // so that clients can read it before they know the broker.
    let (head, mut rest) = response.split_at_checked(10)?;
    let count = if is_flexible { varint(&mut rest)?.checked_sub(1)? } else { number(&mut rest)? };
    let mut kept = Vec::new();
    for _ in 0..count {
        let entry: [u8; 6] = take(&mut rest)?;
        if is_flexible && varint(&mut rest)? != 0 {
            return None;
        }
        let [kind, least, most] =
            [0, 2, 4].map(|at| i16::from_be_bytes([entry[at], entry[at + 1]]));
        let Some((_, versions)) = spoken.iter().find(|(of, _)| *of == kind) else { continue };
        let both = least.max(*versions.start())..=most.min(*versions.end());
        if !both.is_empty() {
            kept.push((kind, both));
        }
    }
    let throttle: Option<[u8; 4]> = if version >= 1 { Some(take(&mut rest)?) } else { None };
    let mut restricted = head.to_vec();
    let count = u32::try_from(kept.len()).ok()?;
    if is_flexible {
        put_varint(&mut restricted, count + 1);
    } else {
        restricted.extend(count.to_be_bytes());
    }
    for (kind, versions) in kept {
        for number in [kind, *versions.start(), *versions.end()] {
            restricted.extend(number.to_be_bytes());
        }
        // No tagged fields.
        restricted.extend(is_flexible.then_some(0));
    }
    restricted.extend(throttle.into_iter().flatten());
    // The features are tagged fields.
    restricted.extend(is_flexible.then_some(0));
    let length = u32::try_from(restricted.len() - 4).ok()?;
    restricted[..4].copy_from_slice(&length.to_be_bytes());
    Some(restricted)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(u32::from_be_bytes)
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in (0..28).step_by(7) {
        let [byte] = take(bytes)?;
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOKEN: &[Spoken] = &[(api::FETCH, 4..=11), (api::PRODUCE, 0..=7)];

    /// Produce 0 to 12, Fetch 4 to 17 and EndTxn 0 to 5, with the feature `f` at level 2.
    fn of_a_broker(version: i16) -> Vec<u8> {
        let entries: [[u8; 6]; 3] = [[0, 0, 0, 0, 0, 12], [0, 1, 0, 4, 0, 17], [0, 26, 0, 0, 0, 5]];
        let mut body = vec![0, 0, 0, 9, 0, 0];
        body.extend(if version >= 3 { vec![4] } else { vec![0, 0, 0, 3] });
        for entry in entries {
            body.extend(entry);
            body.extend((version >= 3).then_some(0));
        }
        body.extend((version >= 1).then_some([0, 0, 0, 7]).into_iter().flatten());
        if version >= 3 {
            body.extend([1, 2, 7, 2, 2, b'f', 0, 2, 0, 2, 0]);
        }
        let mut framed = (body.len() as u32).to_be_bytes().to_vec();
        framed.append(&mut body);
        framed
    }

    #[test]
    fn versions_are_cut_down_and_the_rest_is_left_out() {
        let plain = [0, 0, 0, 26, 0, 0, 0, 9, 0, 0, 0, 0, 0, 2];
        let entries = [0, 0, 0, 0, 0, 7, 0, 1, 0, 4, 0, 11];
        let throttle = [0, 0, 0, 7];
        let restricted = restrict(&of_a_broker(1), 1, SPOKEN).expect("readable");
        assert_eq!(restricted, [&plain[..], &entries, &throttle].concat());
        let restricted = restrict(&of_a_broker(0), 0, SPOKEN).expect("readable");
        assert_eq!(restricted[..4], [0, 0, 0, 22]);
        assert_eq!(restricted[4..], [&plain[4..], &entries].concat());
    }

    #[test]
    fn features_are_left_out() {
        let restricted = restrict(&of_a_broker(3), 3, SPOKEN).expect("readable");
        let head = [0, 0, 0, 26, 0, 0, 0, 9, 0, 0, 3];
        let entries = [0, 0, 0, 0, 0, 7, 0, 0, 1, 0, 4, 0, 11, 0];
        assert_eq!(restricted, [&head[..], &entries, &[0, 0, 0, 7, 0]].concat());
    }

    #[test]
    fn what_cannot_be_read_is_not_rewritten() {
        let whole = of_a_broker(3);
        assert!((0..30).all(|length| restrict(&whole[..length], 3, SPOKEN).is_none()));
    }

    #[test]
    fn redpanda_does_not_speak_the_second_transaction_protocol() {
        assert!(is_spoken(REDPANDA, api::TXN_OFFSET_COMMIT, 3));
        assert!(!is_spoken(REDPANDA, api::TXN_OFFSET_COMMIT, 5));
        assert!(!is_spoken(REDPANDA, api::END_TXN, 5));
        assert!(!is_spoken(REDPANDA, api::FETCH, 12));
        assert!(!is_spoken(REDPANDA, 68, 0), "ConsumerGroupHeartbeat");
    }
}
