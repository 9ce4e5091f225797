//! Every case whose outputs follow from the rules gives the same results as Kafka Streams.

mod common;

use conformance::replay::Peace;
use conformance::report::{CaseVerdict, Report, judge};

/// Cases whose outputs depend on internals of Kafka Streams, and which differ; README.md says why.
const DIFFERENT: [&str; 15] = [
    "open-emit_on_close-06",
    "open-emit_on_close-10",
    "open-join_stream_stream-01",
    "open-join_stream_stream-02",
    "open-join_stream_stream-08",
    "open-join_stream_stream-10",
    "open-join_stream_stream-11",
    "open-join_stream_stream-13",
    "open-join_stream_stream-14",
    "open-join_stream_stream-15",
    "open-join_stream_stream-16",
    "open-join_stream_stream-17",
    "open-sliding-02",
    "open-sliding-14",
    "open-suppress_close-14",
];

#[test]
fn every_case_of_the_rules_passes() {
    let mut report = Report::default();
    for case in common::cases_by_rules() {
        report.add(&case, &judge(&case, &mut Peace));
    }
    assert_eq!(report.failed(), 0, "{report}");
    assert!(report.to_string().ends_with("303 passed, 0 failed"), "{report}");
}

#[test]
fn only_known_cases_of_kafkas_internals_differ() {
    let by_internals = common::cases().into_iter().filter(|case| case.basis == "kafka");
    let differs =
        |case: &conformance::case::Case| !matches!(judge(case, &mut Peace), CaseVerdict::Passed);
    let different: Vec<_> = by_internals.filter(differs).map(|case| case.id).collect();
    assert_eq!(different, DIFFERENT);
}
