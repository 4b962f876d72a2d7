//! The copy of the working tree that mutants are tried in. It stays between runs, so that cargo has little to do.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cache_sync_cluster::{Error, Result, workspace_root};

use crate::steps::test_result;

/// Past this a test under a mutant is taken to hang.
const TEST_SECONDS_MAX: u64 = 600;

/// The copy.
pub(crate) struct Scratch {
    dir: PathBuf,
    /// The trees of the copy's own extension.
    trees: PathBuf,
}

/// How a test went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    Green,
    Red,
    TimedOut,
    /// No test has that name.
    NoSuchTest,
}

impl Scratch {
    /// A copy of the working tree as it is now.
    pub(crate) fn new() -> Result<Scratch> {
        let dir = workspace_root().join("target/mutants/tree");
        let scratch = Scratch { dir, trees: PathBuf::new() };
        scratch.restore()?;
        Ok(scratch)
    }

    /// Makes the copy equal to the working tree again, touching only what differs.
    pub(crate) fn restore(&self) -> Result<()> {
        let root = workspace_root();
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()?;
        if !listed.status.success() {
            return Err(Error::new("`git ls-files` failed: mutants needs a git checkout"));
        }
        let names = String::from_utf8_lossy(&listed.stdout).into_owned();
        let names: HashSet<&str> = names.split('\0').filter(|name| root.join(name).is_file()).collect();
        for name in &names {
            let (from, to) = (fs::read(root.join(name))?, self.dir.join(name));
            if fs::read(&to).ok().as_ref() != Some(&from) {
                fs::create_dir_all(to.parent().unwrap_or(&self.dir))?;
                fs::write(&to, from)?;
            }
        }
        remove_others(&self.dir, &self.dir, &names)
    }

    /// Applies a patch.
    ///
    /// # Errors
    /// It does not fit.
    pub(crate) fn apply(&self, patch: &Path) -> Result<()> {
        let applied = Command::new("git")
            .arg("apply")
            .arg(patch)
            .current_dir(&self.dir)
            // The copy lies in the checkout's target directory: git must not take it for a part of the checkout.
            .env("GIT_CEILING_DIRECTORIES", self.dir.parent().unwrap_or(&self.dir))
            .output()?;
        if applied.status.success() { Ok(()) } else { Err(Error::new(String::from_utf8_lossy(&applied.stderr))) }
    }

    /// Compiles the extension and the tests of `package`.
    ///
    /// # Errors
    /// They do not compile.
    pub(crate) fn compile(&mut self, package: &str) -> Result<()> {
        let built = self.cargo().args(["run", "--quiet", "--package", "xtask", "--", "extension"]).output()?;
        if !built.status.success() {
            return Err(Error::new(String::from_utf8_lossy(&built.stderr)));
        }
        let said = String::from_utf8_lossy(&built.stdout).into_owned();
        self.trees = said.lines().last().unwrap_or_default().into();
        let built = self.cargo().args(["test", "--quiet", "--no-run", "--package", package]).output()?;
        if built.status.success() { Ok(()) } else { Err(Error::new(String::from_utf8_lossy(&built.stderr))) }
    }

    /// Runs one test; `compile` came before.
    pub(crate) fn test(&self, package: &str, name: &str) -> Result<(Run, String)> {
        let log = self.dir.with_file_name("test.log");
        let out = fs::File::create(&log)?;
        let mut command = self.cargo();
        command.args(["test", "--no-fail-fast", "--package", package, "--", "--exact", name]);
        command.env(cache_sync_cluster::TREES_VARIABLE, &self.trees);
        let mut child = command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out).spawn()?;
        let deadline = Instant::now() + Duration::from_secs(TEST_SECONDS_MAX);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if Instant::now() > deadline {
                break None;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let Some(status) = status else {
            child.kill()?;
            child.wait()?;
            return Ok((Run::TimedOut, said));
        };
        let ran: u64 = said.lines().filter_map(test_result).map(|(passed, failed)| passed + failed).sum();
        let run = match (ran, status.success()) {
            (0, _) => Run::NoSuchTest,
            (_, true) => Run::Green,
            (_, false) => Run::Red,
        };
        Ok((run, said))
    }

    fn cargo(&self) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.dir).env("CARGO_TARGET_DIR", self.dir.with_file_name("target"));
        command.env("CACHE_SYNC_PROFILE", "dev").env_remove(cache_sync_cluster::TREES_VARIABLE);
        command
    }
}

/// Removes the files below `dir` that the working tree does not have.
fn remove_others(root: &Path, dir: &Path, names: &HashSet<&str>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(root, &path, names)?;
        } else if path.strip_prefix(root).ok().and_then(Path::to_str).is_none_or(|name| !names.contains(name)) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
