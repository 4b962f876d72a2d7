//! What was made, and the table of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_kit::{Result, command};
use serde_json::{Value, json};

/// A file, and what was found when it was looked at.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) file: PathBuf,
    pub(super) checks: Vec<String>,
}

impl Made {
    pub(super) fn name(&self) -> String {
        self.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// SHA-256 of a file, in hexadecimal digits.
///
/// # Errors
/// It cannot be read.
pub(super) fn checksum(file: &Path) -> Result<String> {
    let said = command::output(Command::new("sha256sum").arg("--").arg(file))?;
    // Where a name has unusual characters a backslash stands before it all.
    Ok(said.trim_start_matches('\\').split_whitespace().next().unwrap_or_default().to_owned())
}

/// Prints the table, and hands it back for programs to read.
///
/// # Errors
/// A file is gone.
pub(super) fn table(made: &[Made]) -> Result<Value> {
    let mut rows = Vec::new();
    println!("\n{:<62} {:>9}  sha256", "file", "bytes");
    for one in made {
        let (name, bytes, sum) = (one.name(), fs::metadata(&one.file)?.len(), checksum(&one.file)?);
        println!("{name:<62} {bytes:>9}  {sum}");
        one.checks.iter().for_each(|check| println!("    {check}"));
        rows.push(json!({"file": name, "bytes": bytes, "sha256": sum, "checks": one.checks}));
    }
    Ok(Value::Array(rows))
}
