//! Another state of the repository, unpacked beside what is built.

use std::path::PathBuf;
use std::process::Command;

use cache_sync_cluster::workspace_root;
use cache_sync_kit::{Error, Result};

/// The directory into which the revision was unpacked.
///
/// # Errors
/// There is no such revision.
pub(super) fn unpacked(revision: &str) -> Result<PathBuf> {
    let dir = workspace_root().join("target/house");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    let archive = dir.with_extension("tar");
    run(Command::new("git").args(["archive", "--output"]).arg(&archive).arg(revision).current_dir(workspace_root()))?;
    run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&dir))?;
    std::fs::remove_file(&archive)?;
    Ok(dir)
}

fn run(command: &mut Command) -> Result<()> {
    let ran = command.output()?;
    if ran.status.success() { Ok(()) } else { Err(Error::from(String::from_utf8_lossy(&ran.stderr).trim())) }
}
