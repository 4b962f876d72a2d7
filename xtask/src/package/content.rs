//! The files that a server gets, and what is said beside them. Packages lay them out each in its way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_cluster::{workspace_root, write_scripts};
use cache_sync_kit::{During, Result, command};

use super::linked;
use super::place::Place;
use super::project::read;

/// The files of one PostgreSQL's package, in a directory.
pub(super) struct Content {
    dir: PathBuf,
    /// Control file and scripts.
    pub(super) scripts: Vec<PathBuf>,
}

impl Content {
    /// Compiles the library, and puts the rest beside it.
    ///
    /// # Errors
    /// It does not compile, or something cannot be written.
    pub(super) fn make(place: &Place) -> Result<Content> {
        let dir = place.work.join("content");
        empty(&dir)?;
        place.compile(&dir.join("cache_sync.so"))?;
        let extension = dir.join("extension");
        write_scripts(&extension)?;
        fs::copy(workspace_root().join("pg_ext/cache_sync.control"), extension.join("cache_sync.control"))?;
        let mut scripts: Vec<PathBuf> =
            fs::read_dir(&extension)?.map(|file| Ok(file?.path())).collect::<std::io::Result<_>>()?;
        scripts.sort();
        fs::write(dir.join("LICENSES-linked.txt"), linked::licences(place.major)?)?;
        fs::write(dir.join("CHANGELOG.md"), read("CHANGELOG.md")?)?;
        fs::write(dir.join("LICENSE"), read("LICENSE")?)?;
        Ok(Content { dir, scripts })
    }

    /// One of its files.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn library(&self) -> PathBuf {
        self.file("cache_sync.so")
    }
}

/// Makes a directory empty.
///
/// # Errors
/// It cannot be removed or made.
pub(super) fn empty(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).during(|| dir.display().to_string())?;
    }
    fs::create_dir_all(dir).during(|| dir.display().to_string())
}

/// Puts a copy into a directory, which is made if need be, readable for all.
///
/// # Errors
/// It cannot be copied.
pub(super) fn put(from: &Path, dir: &Path) -> Result<()> {
    let name = from.file_name().unwrap_or_default();
    let mut install = Command::new("install");
    install.args(["-D", "-m", "644"]).arg(from).arg(dir.join(name));
    command::output(&mut install).map(drop)
}

/// Gives all below a directory the same time and the usual rights, so that it is packed to the same bytes each time.
///
/// # Errors
/// Somebody removes files meanwhile.
pub(super) fn settle(dir: &Path, epoch: u64) -> Result<()> {
    let settle = "find \"$1\" -type d -exec chmod 755 {} + && find \"$1\" -exec touch -h -d \"@$2\" {} +";
    command::output(Command::new("sh").args(["-ec", settle, "settle"]).arg(dir).arg(epoch.to_string())).map(drop)
}
