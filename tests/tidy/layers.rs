//! Which module of a crate may import which: modules stand in layers, and import from the layers
//! below their own only.

use crate::tree::File;

/// The layers of a crate, the lowest first. Of a layer no module imports another.
type Layers = &'static [&'static [&'static str]];

/// The folder of a crate's sources, and its layers. A crate that has no row here is free.
pub(crate) const CRATES: [(&str, Layers); 2] = [
    (
        "crates/streams-core/src",
        &[
            &[
                "backoff",
                "change",
                "operator_state",
                "partitioner",
                "record",
                "stored_format",
                "task_id",
            ],
            &["codec", "moment"],
            &["due", "record_id", "schedule", "store", "task_metrics"],
            &["error", "window"],
            &["limits", "policy", "repartition", "stream_clock", "table", "topic"],
            &["consumed", "effect"],
            &["state"],
            &["global", "reader"],
            &["task_context"],
            &["receive"],
            &["operators"],
            &["intake"],
            &["agent"],
            &["calls", "tick"],
            &["topology"],
            &["task", "builder"],
            &["chain"],
            &["dsl"],
        ],
    ),
    (
        "crates/runtime/src",
        &[
            &["clock", "failpoint", "lease", "stores", "transport"],
            &["assignment", "client", "config", "repartition_purge"],
            &["error", "messages"],
            &["local_state", "retry", "status", "topics"],
            &["globals", "member", "worker"],
            &["restore"],
            &["instance"],
            &["manual", "threads"],
            &["app"],
        ],
    ),
];

/// Imports of modules that are not in a lower layer, and modules without a layer.
pub(crate) fn check(folder: &str, layers: &[&[&str]], files: &[File]) -> Vec<String> {
    let own = files.iter().filter_map(|file| Some((file, module_path(folder, &file.path)?)));
    own.flat_map(|(file, path)| check_file(layers, file, &path)).collect()
}

/// The path of a file's module: `worker/mod.rs` is `worker`, `worker/commit.rs` is `worker`,
/// `commit`. The root of the crate is none.
fn module_path(folder: &str, path: &str) -> Option<Vec<String>> {
    let inside = path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".rs")?;
    let mut modules: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if modules.last().is_some_and(|last| last == "mod") {
        modules.pop();
    }
    let is_root = modules.len() == 1 && ["lib", "main"].contains(&modules[0].as_str());
    (!is_root).then_some(modules)
}

fn check_file(layers: &[&[&str]], file: &File, path: &[String]) -> Vec<String> {
    let module = path[0].as_str();
    let layer_of = |module: &str| layers.iter().position(|layer| layer.contains(&module));
    let Some(layer) = layer_of(module) else {
        return vec![format!("{}: `{module}` has no layer in tests/tidy/layers.rs", file.path)];
    };
    let code = without_comments(&file.text);
    let up_to_the_root = "super::".repeat(path.len());
    let imports = ["crate::", &up_to_the_root].into_iter().flat_map(|root| imports(&code, root));
    let others = imports.filter(|(_, imported)| imported != module);
    let wrong = others.filter_map(|(line, imported)| {
        let why = match layer_of(&imported) {
            None => "is no module: name the module that it is in",
            Some(lower) if lower >= layer => "is in no lower layer",
            Some(_) => return None,
        };
        Some(format!("{}:{line}: `{module}` imports `{imported}`, which {why}", file.path))
    });
    wrong.collect()
}

/// The code before the unit tests; lines stay where they are.
fn without_comments(text: &str) -> String {
    let code = text.lines().take_while(|line| *line != "#[cfg(test)]");
    let code = code.map(|line| match line.trim_start().starts_with("//") {
        true => "",
        false => line.split(" // ").next().unwrap_or(line),
    });
    code.collect::<Vec<_>>().join("\n")
}

/// The names that follow `root`, with their lines: one, or those of a list in braces.
fn imports(code: &str, root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        // Part of a longer path or name, or a macro's own crate.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || "_$:".contains(c)) {
            continue;
        }
        let rest = &code[at + root.len()..];
        let line = code[..at].matches('\n').count() + 1;
        match rest.strip_prefix('{') {
            Some(list) => found.extend(first_names(list).map(|name| (line, name))),
            None if rest.starts_with("super::") => {}
            // A macro of the crate belongs to no layer.
            None if rest.trim_start_matches(is_name).starts_with('!') => {}
            None => found.push((line, first_name(rest))),
        }
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn first_name(text: &str) -> String {
    text.chars().take_while(|c| is_name(*c)).collect()
}

/// The first name of each path in a list, up to the brace that closes it.
fn first_names(list: &str) -> impl Iterator<Item = String> {
    let mut depth = 0;
    let mut parts = vec![String::new()];
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => parts.push(String::new()),
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let names = parts.into_iter().map(|part| first_name(part.trim_start_matches([',', ' ', '\n'])));
    names.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: &[&[&str]] = &[&["clock", "log"], &["worker"], &["app"]];

    fn found(path: &str, text: &str) -> Vec<String> {
        let file = File { path: format!("src/{path}"), text: text.to_owned() };
        check("src", LAYERS, &[file])
    }

    #[test]
    fn an_import_from_below_is_free_and_any_other_is_found() {
        assert!(found("app.rs", "use crate::worker::Worker;\nuse crate::clock::Clock;").is_empty());
        assert!(found("worker/commit.rs", "use crate::worker::Worker;").is_empty());
        assert_eq!(
            found("worker/commit.rs", "\nuse crate::app::App;"),
            ["src/worker/commit.rs:2: `worker` imports `app`, which is in no lower layer"]
        );
        assert_eq!(found("clock.rs", "fn f() { crate::log::open() }").len(), 1, "the same layer");
    }

    #[test]
    fn an_import_is_found_however_it_is_written() {
        for (path, text) in [
            ("worker/mod.rs", "use crate::{\n    app::App,\n    clock::{Clock, Moment},\n};"),
            ("worker/mod.rs", "use super::app::App;"),
            ("worker/commit.rs", "use super::super::app::App;"),
            ("worker.rs", "let app: Box<dyn crate::app::Run> = make();"),
        ] {
            assert_eq!(found(path, text).len(), 1, "{text}");
        }
        assert!(found("worker/commit.rs", "use super::app::App;").is_empty(), "worker's own");
    }

    #[test]
    fn a_name_that_the_root_exports_hides_an_arrow() {
        let wrong = found("app.rs", "use crate::Worker;");
        assert!(
            wrong[0].ends_with(
                "imports `Worker`, which is no module: name the module that \
            it is in"
            ),
            "{wrong:?}"
        );
    }

    #[test]
    fn comments_tests_macros_and_the_root_are_free() {
        for text in [
            "//! See [`App`](crate::app::App).",
            "let a = 1; // as crate::app::App",
            "#[cfg(test)]\nmod tests {\n    use crate::app::App;\n}",
            "$crate::app::run()",
            "other_crate::app::run()",
            "crate::a_macro!(App);",
        ] {
            assert!(found("worker.rs", text).is_empty(), "{text}");
        }
        assert!(found("lib.rs", "pub use crate::app::App;").is_empty());
    }

    #[test]
    fn a_new_module_needs_a_layer() {
        assert_eq!(found("purge.rs", "").len(), 1);
    }
}
