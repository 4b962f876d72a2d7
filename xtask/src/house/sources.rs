//! The files that people write: Rust and SQL.

use std::fs;
use std::path::Path;

use cache_sync_kit::{Error, Result};

/// What is made by machines, or is input of tests.
const SKIPPED: [&str; 2] = ["target", "fixtures"];

/// The files below `dir` with one of the `extensions`, in the order of their names, from the workspace's directory on.
///
/// # Errors
/// A directory cannot be read.
pub(crate) fn below(root: &Path, dir: &str, extensions: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    add(root, dir, extensions, &mut found)?;
    found.sort();
    Ok(found)
}

fn add(root: &Path, dir: &str, extensions: &[&str], found: &mut Vec<String>) -> Result<()> {
    let entries = fs::read_dir(root.join(dir)).map_err(|error| Error::from(format!("{dir}: {error}")))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{dir}/{name}");
        if entry.file_type()?.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                add(root, &path, extensions, found)?;
            }
        } else if name.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension)) {
            found.push(path);
        }
    }
    Ok(())
}
