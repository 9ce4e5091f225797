//! What older code may still do: how many violations of a rule a folder may have. These numbers
//! may only shrink, and a folder that is not listed may have none.

/// A folder, and its number of violations.
pub(crate) type Allowance = (&'static str, usize);

/// Bindings and parameters that are tuples; see `bindings.rs`.
pub(crate) const TUPLES: [Allowance; 1] = [("crates/kafka", 22)];

/// Words in comments and messages that are not plain English; see `english.rs`.
pub(crate) const WORDS: [Allowance; 1] = [("crates/kafka", 21)];

/// The violations that are not allowed, and the allowances that are larger than they need to be.
/// Each violation begins with its path.
pub(crate) fn beyond(violations: Vec<String>, allowances: &[Allowance]) -> Vec<String> {
    let mut left = violations;
    let mut found = Vec::new();
    for (folder, allowed) in allowances {
        let prefix = format!("{folder}/");
        let (inside, outside): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|violation| violation.starts_with(&prefix));
        left = outside;
        let count = inside.len();
        if count > *allowed {
            found.extend(inside);
            found.push(format!("{folder}: {count} violations, at most {allowed} are allowed"));
        } else if count < *allowed {
            found.push(format!(
                "tests/tidy/allowances.rs: lower {folder} from {allowed} to {count}"
            ));
        }
    }
    found.extend(left);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(violations: &[&str]) -> Vec<String> {
        beyond(violations.iter().map(|text| (*text).to_owned()).collect(), &[("old", 2)])
    }

    #[test]
    fn a_folder_has_exactly_its_number_of_violations() {
        assert!(checked(&["old/a.rs:1: x", "old/b.rs:1: x"]).is_empty());
        let more = checked(&["old/a.rs:1: x", "old/a.rs:2: x", "old/a.rs:3: x"]);
        assert_eq!(
            more.last().map(String::as_str),
            Some("old: 3 violations, at most 2 are allowed")
        );
        assert_eq!(more.len(), 4);
        let fewer = checked(&["old/a.rs:1: x"]);
        assert_eq!(fewer, ["tests/tidy/allowances.rs: lower old from 2 to 1"]);
    }

    #[test]
    fn other_folders_have_none() {
        let found = checked(&["old/a.rs:1: x", "old/b.rs:1: x", "older/a.rs:1: x"]);
        assert_eq!(found, ["older/a.rs:1: x"]);
    }
}
