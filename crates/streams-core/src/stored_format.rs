//! What a table's entries mean, beyond their bytes.

/// What a table's entries mean, as far as it is known and must not change: texts that the log
/// stores.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredFormat {
    pub(crate) windows: Option<String>,
    pub(crate) keys: Option<String>,
    pub(crate) values: Option<String>,
}

impl StoredFormat {
    /// Returns the lines for the log. They are separate lines, so a record of an earlier version
    /// without them only gains lines.
    pub(crate) fn lines(&self, table: &str) -> Vec<String> {
        let terms = [("windows", &self.windows), ("keys", &self.keys), ("values", &self.values)];
        let line = |(what, term): (&str, &Option<String>)| {
            term.as_ref().map(|term| format!("{table}, {what}: {term}"))
        };
        terms.into_iter().filter_map(line).collect()
    }
}
