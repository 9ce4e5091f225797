//! The house rules that no linter knows: sizes, leftovers, dependency arrows, documents that say
//! what the code does. Every rule is a function of text, with a test beside it that it can fail.

mod allowances;
mod arrows;
mod bindings;
mod documents;
mod english;
mod layers;
mod links;
mod mutants;
mod packages;
mod prose;
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
fn planted_bugs_can_be_planted() {
    assert_clean(mutants::check(&files()));
}

#[test]
fn dependencies_point_inward() {
    let manifests: Vec<File> =
        files().into_iter().filter(|file| file.path.ends_with("Cargo.toml")).collect();
    assert!(manifests.len() > 1, "no manifests found");
    assert_clean(arrows::check(&manifests));
}

#[test]
fn packages_are_ready_for_a_registry() {
    let files = files();
    let manifests = files.iter().filter(|file| file.path.ends_with("Cargo.toml"));
    let mut violations: Vec<String> = manifests.flat_map(packages::metadata).collect();
    violations.extend(packages::versions(find(&files, "Cargo.toml")));
    assert_clean(violations);
}

#[test]
fn help_names_every_command() {
    let usage = tree::read("scripts/kafka.sh");
    let usage = usage.split("USAGE").nth(1).expect("a usage").to_owned();
    assert_clean(packages::commands(&tree::read("dev"), &usage));
}

#[test]
fn modules_import_from_lower_layers_only() {
    let files = files();
    let wrong = layers::CRATES.iter().flat_map(|(folder, layers)| {
        assert!(files.iter().any(|file| file.path.starts_with(folder)), "{folder} is empty");
        layers::check(folder, layers, &files)
    });
    assert_clean(wrong.collect());
}

#[test]
fn the_map_names_every_crate() {
    let manifest = tree::read("Cargo.toml");
    assert_clean(documents::crates_on_the_map(&manifest, &tree::read("docs/ARCHITECTURE.md")));
}

#[test]
fn code_in_documents_is_code_that_runs() {
    let is_meant = |file: &File| {
        // Run as a whole by tests/documents_run_as_pasted.rs.
        let is_run = file.path == "docs/guide/tutorial.md";
        let others = ["README.md", "docs/testing.md", "docs/adding-an-operator.md"];
        !is_run && (others.contains(&file.path.as_str()) || file.path.starts_with("docs/guide/"))
    };
    let documents: Vec<File> = documents().into_iter().filter(is_meant).collect();
    assert!(documents.len() > 2, "the guide is missing");
    let quotations = |file| documents::quotations(file, tree::read_if_there);
    assert_clean(documents.iter().flat_map(quotations).collect());
}

/// All documents. Each rule below is for all of them.
fn documents() -> Vec<File> {
    files().into_iter().filter(|file| file.path.ends_with(".md")).collect()
}

#[test]
fn documents_have_short_sentences() {
    assert_clean(documents().iter().flat_map(prose::sentences_are_short).collect());
}

#[test]
fn documents_are_in_plain_english() {
    assert_clean(documents().iter().flat_map(prose::phrases).collect());
}

#[test]
fn links_lead_somewhere() {
    assert_clean(links::lead_somewhere(&files()));
}

#[test]
fn files_that_documents_name_exist() {
    let files = files();
    assert_clean(documents().iter().flat_map(|file| links::names_exist(file, &files)).collect());
}

#[test]
fn promises_are_short_and_have_tests() {
    let files = files();
    let promises = find(&files, "docs/guarantees.md");
    let mut violations = prose::at_most(promises, 800);
    violations.extend(links::rows_have_tests(promises, &files));
    assert_clean(violations);
}

#[test]
fn the_readme_is_short() {
    assert_clean(prose::at_most(find(&files(), "README.md"), 700));
}

#[test]
fn the_glossary_is_short() {
    assert_clean(prose::glossary(find(&files(), "docs/ARCHITECTURE.md"), "## Words", 60));
}

fn find<'a>(files: &'a [File], path: &str) -> &'a File {
    files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path} is missing"))
}

#[test]
fn no_file_names_a_machine() {
    assert_clean(files().iter().flat_map(documents::machine_paths).collect());
}
