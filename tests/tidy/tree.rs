//! The files of the checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file and its path from the top of the checkout.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All text files that are tracked or will be. Git lists them, so that ignored files do not matter.
pub(crate) fn files() -> Vec<File> {
    let listed = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others"])
        .arg("--exclude-standard")
        .current_dir(top())
        .output()
        .expect("git runs");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    paths
        .split_terminator('\0')
        .filter_map(|path| Some(File { path: path.to_owned(), text: read_if_there(path)? }))
        .collect()
}

/// The text of a file; none for one that is absent, or not text.
pub(crate) fn read_if_there(path: &str) -> Option<String> {
    std::fs::read_to_string(top().join(Path::new(path))).ok()
}

pub(crate) fn read(path: &str) -> String {
    read_if_there(path).unwrap_or_else(|| panic!("{path} is missing"))
}
