//! Answers that no broker gave.

use super::api;

/// An answer with an error, its length in front; `None` for kinds whose answers have no error that
/// stands for all of it.
pub(super) fn refusal(api: i16, version: i16, correlation: i32, error: i16) -> Option<Vec<u8>> {
    // From which version on strings are compact and tagged fields follow.
    let (flexible_from, has_producer) = match api {
        api::HEARTBEAT => (4, false),
        api::INIT_PRODUCER_ID => (2, true),
        api::ADD_OFFSETS_TO_TXN => (3, false),
        api::END_TXN => (3, version >= 5),
        _ => return None,
    };
    let no_tagged_fields: &[u8] = if version >= flexible_from { &[0] } else { &[] };
    let mut answer = correlation.to_be_bytes().to_vec();
    answer.extend_from_slice(no_tagged_fields);
    let throttled = 0_i32;
    answer.extend_from_slice(&throttled.to_be_bytes());
    answer.extend_from_slice(&error.to_be_bytes());
    if has_producer {
        let (id, epoch) = (-1_i64, -1_i16);
        answer.extend_from_slice(&id.to_be_bytes());
        answer.extend_from_slice(&epoch.to_be_bytes());
    }
    answer.extend_from_slice(no_tagged_fields);
    let mut framed = u32::try_from(answer.len()).ok()?.to_be_bytes().to_vec();
    framed.append(&mut answer);
    Some(framed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_of_transaction_is_refused_in_every_version() {
        let old = refusal(api::END_TXN, 1, 7, 51).expect("has an error");
        assert_eq!(old, [0, 0, 0, 10, 0, 0, 0, 7, 0, 0, 0, 0, 0, 51]);
        let flexible = refusal(api::END_TXN, 3, 7, 51).expect("has an error");
        assert_eq!(flexible, [0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 51, 0]);
        assert_eq!(refusal(api::END_TXN, 5, 7, 51).expect("has an error").len(), 16 + 10);
        assert_eq!(refusal(api::FETCH, 12, 7, 51), None);
    }
}
