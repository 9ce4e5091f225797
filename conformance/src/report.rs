//! What is printed.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::case::{Case, CaseError};
use crate::compare::{Difference, compare};
use crate::replay::{Mischief, replay};

/// The result of a case.
#[derive(Debug)]
pub enum CaseVerdict {
    /// The results are as expected.
    Passed,
    /// The results differ.
    Differs(Vec<Difference>),
    /// It cannot be built or run.
    Broken(CaseError),
}

/// Runs a case.
pub fn judge(case: &Case, mischief: &mut dyn Mischief) -> CaseVerdict {
    let run = || replay(case, mischief);
    // A case that makes the library panic is a failure of that case, not of the run.
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(Ok(outcome)) => {
            let differences = compare(case, &outcome);
            if differences.is_empty() {
                CaseVerdict::Passed
            } else {
                CaseVerdict::Differs(differences)
            }
        }
        Ok(Err(error)) => CaseVerdict::Broken(error),
        Err(_) => CaseVerdict::Broken(CaseError::Unknown("it panicked".to_owned())),
    }
}

/// Counts per group, and the failures.
#[derive(Debug, Default)]
pub struct Report {
    groups: BTreeMap<String, (usize, usize)>,
    failures: Vec<String>,
}

impl Report {
    /// Adds a case.
    pub fn add(&mut self, case: &Case, verdict: &CaseVerdict) {
        let (passed, total) = self.groups.entry(case.group.clone()).or_default();
        *total += 1;
        match verdict {
            CaseVerdict::Passed => *passed += 1,
            CaseVerdict::Differs(differences) => {
                let first = differences.first().map_or_else(String::new, Difference::first);
                self.failures.push(format!("{} ({}): {first}", case.id, case.basis));
            }
            CaseVerdict::Broken(error) => {
                self.failures.push(format!("{} ({}): {error}", case.id, case.basis));
            }
        }
    }

    /// Adds a file that cannot be read as cases, wholly or in part.
    pub fn add_unreadable(&mut self, error: &CaseError) {
        self.groups.entry("unreadable".to_owned()).or_default().1 += 1;
        self.failures.push(error.to_string());
    }

    /// How many failed.
    pub fn failed(&self) -> usize {
        self.groups.values().map(|(passed, total)| total - passed).sum()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (group, (passed, total)) in &self.groups {
            writeln!(f, "{group}: {passed}/{total}")?;
        }
        for failure in &self.failures {
            writeln!(f, "failed: {failure}")?;
        }
        let passed: usize = self.groups.values().map(|(passed, _)| passed).sum();
        write!(f, "{passed} passed, {} failed", self.failed())
    }
}

/// A case's differences, side by side.
pub fn side_by_side(case: &Case, verdict: &CaseVerdict) -> String {
    let mut text = format!("{} ({}, {})\n", case.id, case.group, case.basis);
    match verdict {
        CaseVerdict::Passed => text.push_str("passed\n"),
        CaseVerdict::Broken(error) => {
            let _ = writeln!(text, "{error}");
        }
        CaseVerdict::Differs(differences) => {
            for difference in differences {
                let _ = writeln!(text, "{}", difference.place);
                table(difference, &mut text);
            }
        }
    }
    text
}

fn table(difference: &Difference, text: &mut String) {
    let Difference { expected, found, .. } = difference;
    let width = expected.iter().map(|line| line.chars().count()).max().unwrap_or(0).clamp(8, 90);
    let _ = writeln!(text, "    {:width$} | found", "expected");
    for index in 0..expected.len().max(found.len()) {
        let left = expected.get(index);
        let right = found.get(index);
        let mark = if left == right { ' ' } else { '*' };
        let line = |line: Option<&String>| line.map_or("-", String::as_str).to_owned();
        let _ = writeln!(text, "  {mark} {:width$} | {}", line(left), line(right));
    }
}
