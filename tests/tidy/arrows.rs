//! Which crate may depend on which, and which crates may link native libraries.

use crate::tree::File;

/// Each crate, and the workspace's crates that it may depend on. Tests (dev-dependencies) may use
/// any.
const ARROWS: [(&str, &[&str]); 13] = [
    ("streams-core", &[]),
    ("state", &["streams-core"]),
    ("runtime", &["streams-core", "state"]),
    ("embedded", &["streams-core", "runtime"]),
    ("kafka", &["streams-core", "runtime"]),
    // In users' dev-dependencies: it must pull no native library, so never `kafka`.
    ("testkit", &["streams-core", "state", "runtime", "embedded"]),
    ("headwater", &["streams-core", "state", "runtime", "embedded", "kafka", "testkit"]),
    // The package at the top, which is not published; its tests look at single crates, too.
    ("examples", &["headwater", "streams-core", "runtime", "embedded", "testkit"]),
    // The runner of cases and the race are written with the public API only.
    ("conformance", &["headwater", "testkit"]),
    ("race", &["headwater"]),
    // What the race compares us with, and the referee: neither may use our crates.
    ("floor", &[]),
    ("referee", &[]),
    // Counts the instructions of the parts, without a native library in the program.
    ("bench", &["streams-core", "state", "runtime", "embedded", "testkit"]),
];

/// Native libraries and storage engines, each with the packages that may link it. In the library,
/// one crate may link each. The race's floor is by definition a loop over librdkafka, and the
/// referee must read the broker independently. No row above lists them as a dependency, so nothing
/// gets librdkafka through them.
const OWNED: [(&str, &[&str]); 3] =
    [("rdkafka", &["kafka", "floor", "referee"]), ("rocksdb", &["state"]), ("redb", &["embedded"])];

pub(crate) fn check(manifests: &[File]) -> Vec<String> {
    manifests.iter().flat_map(check_one).collect()
}

fn check_one(manifest: &File) -> Vec<String> {
    let path = &manifest.path;
    let Some(name) = package_name(&manifest.text) else {
        return vec![format!("{path}: no package name")];
    };
    let Some((_, allowed)) = ARROWS.iter().find(|(package, _)| *package == name) else {
        return vec![format!("{path}: `{name}` has no row in tests/tidy/arrows.rs")];
    };
    let is_ours = |dependency: &&String| ARROWS.iter().any(|(package, _)| dependency == package);
    let dependencies = dependencies(&manifest.text);
    let wrong = dependencies
        .iter()
        .filter(is_ours)
        .filter(|dependency| !allowed.contains(&dependency.as_str()))
        .map(|dependency| format!("{path}: `{name}` must not depend on `{dependency}`"));
    let taken = OWNED
        .iter()
        .filter(|(_, owners)| !owners.contains(&name.as_str()))
        .filter(|(library, _)| dependencies.iter().any(|dependency| dependency == library))
        .map(|(library, owners)| format!("{path}: {library} is for {} only", owners.join(", ")));
    wrong.chain(taken).collect()
}

fn package_name(manifest: &str) -> Option<String> {
    let package = manifest.lines().skip_while(|line| *line != "[package]");
    package.filter_map(|line| quoted(line, "name = \"")).next().map(short)
}

/// The names of the packages that the library or program is built with.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = is_dependency_section(section);
            // The other way to write one: [dependencies.name]
            let parent = section.rsplit_once('.').filter(|(of, _)| is_dependency_section(of));
            found.extend(parent.map(|(_, name)| short(name.to_owned())));
        } else if inside && !line.starts_with('#') && line.contains('=') {
            let key = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let renamed = quoted(line, "package = \"");
            found.push(short(renamed.unwrap_or_else(|| key.to_owned())));
        }
    }
    found
}

/// Not `[workspace.dependencies]`, which links nothing, and not `[dev-dependencies]`.
fn is_dependency_section(section: &str) -> bool {
    let last = section.rsplit('.').next().unwrap_or_default();
    ["dependencies", "build-dependencies"].contains(&last) && !section.starts_with("workspace")
}

fn quoted(line: &str, before: &str) -> Option<String> {
    let (_, rest) = line.split_once(before)?;
    rest.split('"').next().map(str::to_owned)
}

/// Packages carry a prefix for the registry that folders do not.
fn short(name: String) -> String {
    name.strip_prefix("headwater-").map_or(name.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, rest: &str) -> File {
        let text = format!("[package]\nname = \"headwater-{name}\"\n\n{rest}\n");
        File { path: format!("crates/{name}/Cargo.toml"), text }
    }

    #[test]
    fn an_outward_dependency_is_found_however_it_is_written() {
        for rest in [
            "[dependencies]\nstate.workspace = true",
            "[dependencies]\nstate = { workspace = true, optional = true }",
            "[dependencies]\nheadwater-state = \"1\"",
            "[dependencies]\nother = { package = \"headwater-state\", path = \"../state\" }",
            "[dependencies.state]\nworkspace = true",
            "[build-dependencies]\nstate.workspace = true",
            "[target.'cfg(unix)'.dependencies]\nstate.workspace = true",
        ] {
            assert_eq!(check(&[manifest("streams-core", rest)]).len(), 1, "{rest}");
        }
    }

    #[test]
    fn inward_and_test_dependencies_are_allowed() {
        let inward = "[dependencies]\nstreams-core.workspace = true\nserde.workspace = true";
        assert!(check(&[manifest("state", inward)]).is_empty());
        let tests = "[dev-dependencies]\ntestkit.workspace = true\nrocksdb.workspace = true";
        assert!(check(&[manifest("streams-core", tests)]).is_empty());
    }

    #[test]
    fn a_native_library_has_its_owners() {
        let links = "[dependencies]\nrdkafka.workspace = true";
        for owner in ["kafka", "floor", "referee"] {
            assert!(check(&[manifest(owner, links)]).is_empty());
        }
        let found = check(&[manifest("runtime", links)]);
        let expected = "crates/runtime/Cargo.toml: rdkafka is for kafka, floor, referee only";
        assert_eq!(found, [expected]);
        assert_eq!(check(&[manifest("race", links)]).len(), 1);
    }

    #[test]
    fn nothing_depends_on_the_races_native_programs() {
        for program in ["floor", "referee"] {
            for name in ["headwater", "kafka", "runtime", "testkit", "race"] {
                let depends = format!("[dependencies]\n{program} = {{ path = \"../x\" }}");
                assert_eq!(check(&[manifest(name, &depends)]).len(), 1, "{name}");
            }
        }
    }

    #[test]
    fn a_new_crate_needs_a_row() {
        assert_eq!(check(&[manifest("utilities", "")]).len(), 1);
    }
}
