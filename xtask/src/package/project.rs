//! What every package says of the project.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use cache_sync_cluster::{target_dir, workspace_root};
use cache_sync_kit::{During, Error, Result, command};

pub(super) const SUMMARY: &str = "keeps application memory and PostgreSQL in step";
/// Paragraphs, in lines.
pub(super) const DESCRIPTION: &[&str] = &[
    "cache_sync merges what applications write into rows, by rules declared once",
    "per field, under the row's own lock, and tells every process which rows have",
    "changed, whoever changed them, so that what is held in memory can be dropped.",
];

/// Where users find what was made.
pub(super) fn results() -> PathBuf {
    target_dir().join("package")
}

/// Where it is made.
pub(super) fn workshop() -> PathBuf {
    target_dir().join("packaging")
}

/// The project, as of the working tree.
pub(super) struct Project {
    /// The workspace's version, which is the extension's, too.
    pub(super) version: &'static str,
    /// The time of the last commit, in seconds: files and entries of packages carry it, so that two builds give the same bytes.
    pub(super) epoch: u64,
    /// Who answers for the package.
    pub(super) maintainer: String,
}

impl Project {
    /// Looks it up.
    ///
    /// # Errors
    /// The control file has another version, or there is no time to give files.
    pub(super) fn get() -> Result<Project> {
        let version = env!("CARGO_PKG_VERSION");
        let control = read("pg_ext/cache_sync.control")?;
        if !control.contains(&format!("default_version = '{version}'")) {
            return Err(Error::from(format!("pg_ext/cache_sync.control does not say version {version}")));
        }
        Ok(Project { version, epoch: epoch()?, maintainer: maintainer() })
    }

    /// Its time, in the form of e-mails.
    ///
    /// # Errors
    /// `date` fails.
    pub(super) fn date(&self) -> Result<String> {
        let said = command::output(Command::new("date").args(["-u", "-R", "-d", &format!("@{}", self.epoch)]))?;
        Ok(said.trim().to_owned())
    }
}

/// A file of the workspace.
///
/// # Errors
/// It cannot be read.
pub(super) fn read(name: &str) -> Result<String> {
    fs::read_to_string(workspace_root().join(name)).during(|| name.to_owned())
}

/// `SOURCE_DATE_EPOCH`, as for other build systems, or when the last commit was made.
fn epoch() -> Result<u64> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text.parse().during(|| format!("SOURCE_DATE_EPOCH={text}"));
    }
    let mut log = Command::new("git");
    log.args(["log", "-1", "--format=%ct"]).current_dir(workspace_root());
    let said =
        command::output(&mut log).map_err(|error| format!("set SOURCE_DATE_EPOCH, or use a git checkout: {error}"))?;
    said.trim().parse().during(|| format!("the time of the last commit, `{}`", said.trim()))
}

/// As Debian's own tools are told it. The default is no address: nobody reads mail for whoever builds this.
fn maintainer() -> String {
    let named = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    format!("{} <{}>", named("DEBFULLNAME", "cache_sync authors"), named("DEBEMAIL", "authors@cache-sync.invalid"))
}
