//! The house rules that no linter knows: sizes, leftovers, dependency arrows, documents that say
//! what the code does. Every rule is a function of text, with a test beside it that it can fail.

mod allowances;
mod arrows;
mod bindings;
mod documents;
mod english;
mod source;
mod tree;
mod type_names;

use tree::{File, files};

/// Fails with every violation, not only the first.
fn assert_clean(violations: Vec<String>) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

fn over_rust_files(rule: impl Fn(&File) -> Vec<String>) -> Vec<String> {
    let mut rust = files().into_iter().filter(|file| file.path.ends_with(".rs")).peekable();
    assert!(rust.peek().is_some(), "no Rust file found: is this a checkout?");
    rust.flat_map(|file| rule(&file)).collect()
}

#[test]
fn files_are_short() {
    assert_clean(over_rust_files(source::file_length));
}

#[test]
fn functions_are_short() {
    assert_clean(over_rust_files(source::function_length));
}

#[test]
fn lines_fit() {
    assert_clean(over_rust_files(source::line_length));
}

#[test]
fn nothing_is_left_unfinished() {
    assert_clean(over_rust_files(source::leftovers));
}

#[test]
fn examples_are_short() {
    assert_clean(over_rust_files(source::example_length));
}

#[test]
fn examples_can_be_pasted() {
    assert_clean(over_rust_files(documents::imports_of_examples));
}

#[test]
fn bindings_and_parameters_stand_alone() {
    let violations = over_rust_files(bindings::tuples);
    assert_clean(allowances::beyond(violations, &allowances::TUPLES));
}

#[test]
fn comments_and_messages_are_plain_english() {
    let violations = over_rust_files(english::words);
    assert_clean(allowances::beyond(violations, &allowances::WORDS));
}

#[test]
fn a_type_name_has_one_meaning() {
    assert_clean(type_names::check(&files()));
}

#[test]
fn dependencies_point_inward() {
    let manifests: Vec<File> =
        files().into_iter().filter(|file| file.path.ends_with("Cargo.toml")).collect();
    assert!(manifests.len() > 1, "no manifests found");
    assert_clean(arrows::check(&manifests));
}

#[test]
fn the_map_names_every_crate() {
    let manifest = tree::read("Cargo.toml");
    assert_clean(documents::crates_on_the_map(&manifest, &tree::read("docs/ARCHITECTURE.md")));
}

#[test]
fn code_in_documents_is_code_that_runs() {
    let guides = ["async", "retries", "state"].map(|guide| format!("docs/guide/{guide}.md"));
    let documents = ["README.md", "docs/testing.md", "docs/words.md"].map(str::to_owned);
    for document in documents.iter().chain(&guides) {
        assert_clean(documents::quotations(&tree::read(document), tree::read_if_there));
    }
}

#[test]
fn no_file_names_a_machine() {
    assert_clean(files().iter().flat_map(documents::machine_paths).collect());
}
