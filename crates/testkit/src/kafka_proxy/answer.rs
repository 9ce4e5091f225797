//! Responses that the proxy makes up.

use super::api;

/// Id and epoch, both -1.
const NO_PRODUCER: [u8; 10] = [0xff; 10];
/// Generation -1; an empty protocol, leader and member; no members.
const NO_MEMBERS: [u8; 14] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A response with an error, prefixed by its length; `None` for kinds whose response has no single
/// error.
pub(super) fn refusal(api: i16, version: i16, correlation: i32, error: i16) -> Option<Vec<u8>> {
    // The first version with compact strings and tagged fields, and the fields after the error.
    let (flexible_from, rest): (i16, &[u8]) = match api {
        // Later versions have more fields.
        api::JOIN_GROUP if (2..=5).contains(&version) => (6, &NO_MEMBERS),
        api::HEARTBEAT => (4, &[]),
        api::INIT_PRODUCER_ID => (2, &NO_PRODUCER),
        api::ADD_OFFSETS_TO_TXN => (3, &[]),
        api::END_TXN if version >= 5 => (3, &NO_PRODUCER),
        api::END_TXN => (3, &[]),
        _ => return None,
    };
    let no_tagged_fields: &[u8] = if version >= flexible_from { &[0] } else { &[] };
    let mut answer = correlation.to_be_bytes().to_vec();
    answer.extend_from_slice(no_tagged_fields);
    let throttled = 0_i32;
    answer.extend_from_slice(&throttled.to_be_bytes());
    answer.extend_from_slice(&error.to_be_bytes());
    answer.extend_from_slice(rest);
    answer.extend_from_slice(no_tagged_fields);
    let mut framed = u32::try_from(answer.len()).ok()?.to_be_bytes().to_vec();
    framed.append(&mut answer);
    Some(framed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_of_transaction_can_be_refused_in_every_version() {
        let old = refusal(api::END_TXN, 1, 7, 51).expect("has an error");
        assert_eq!(old, [0, 0, 0, 10, 0, 0, 0, 7, 0, 0, 0, 0, 0, 51]);
        let flexible = refusal(api::END_TXN, 3, 7, 51).expect("has an error");
        assert_eq!(flexible, [0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 51, 0]);
        assert_eq!(refusal(api::END_TXN, 5, 7, 51).expect("has an error").len(), 16 + 10);
        assert_eq!(refusal(api::FETCH, 12, 7, 51), None);
    }

    #[test]
    fn a_join_can_be_refused_in_the_known_versions() {
        let join = refusal(api::JOIN_GROUP, 5, 7, 25).expect("has an error");
        assert_eq!(join.len(), 4 + 4 + 4 + 2 + NO_MEMBERS.len());
        assert_eq!(refusal(api::JOIN_GROUP, 9, 7, 25), None);
    }
}
