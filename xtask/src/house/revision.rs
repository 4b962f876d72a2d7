//! The tree of a revision, unpacked for a while.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cache_sync_cluster::workspace_root;
use cache_sync_kit::{Error, Result};

/// Its directory goes when it is dropped.
pub(crate) struct Unpacked {
    dir: PathBuf,
}

impl Unpacked {
    /// Unpacks the files of the revision `name`.
    ///
    /// # Errors
    /// git does not know it, or `tar` fails.
    pub(crate) fn new(name: &str) -> Result<Unpacked> {
        let dir = std::env::temp_dir().join(format!("cache_sync_house_{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let unpacked = Unpacked { dir };
        let mut git = Command::new("git")
            .args(["archive", "--format=tar", name])
            .current_dir(workspace_root())
            .stdout(Stdio::piped())
            .spawn()?;
        let archive = git.stdout.take().map_or_else(Stdio::null, Stdio::from);
        let untar = Command::new("tar").arg("-x").current_dir(&unpacked.dir).stdin(archive).status()?;
        if git.wait()?.success() && untar.success() {
            return Ok(unpacked);
        }
        Err(Error::from(format!("cannot unpack the revision {name}")))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("{}: {error}", self.dir.display());
        }
    }
}
