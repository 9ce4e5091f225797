//! Names outlive the process: in topics, directories and offsets. So they are checked before
//! anything is created.

/// The longest topic name that Kafka allows.
pub(super) const TOPIC_NAME_MAX: usize = 249;

/// What is wrong with a name as (part of) a topic's name; `None` if nothing is.
pub(crate) fn fault(name: &str) -> Option<&'static str> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name {
        "" => Some("is empty"),
        "." | ".." => Some("is not a valid name"),
        _ if name.len() > TOPIC_NAME_MAX => Some("is longer than 249 characters"),
        _ if !name.chars().all(legal) => {
            Some("has characters other than letters, digits, '.', '_' and '-'")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn kafka_topic_characters_only() {
        assert_eq!(fault("orders-per.customer_2"), None);
        for bad in ["", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
            assert!(fault(bad).is_some(), "{bad}");
        }
    }
}
