//! The copy of the working tree that mutants are tried in. It stays between runs, so that cargo has little to do.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cache_sync_cluster::{TREES_VARIABLE, cargo, workspace_root};
use cache_sync_kit::{Result, command, wait};

/// Past this tests under a mutant are taken to hang.
const TEST_TIME_MAX: Duration = Duration::from_secs(300);
/// How often it is looked whether they have ended.
const LOOK: Duration = Duration::from_millis(50);

/// The copy.
pub(crate) struct Scratch {
    dir: PathBuf,
    /// Where the extension is that tests run with.
    trees: Option<PathBuf>,
}

/// How tests went.
pub(crate) struct Ran {
    /// Whether each test passed; one that is not in here did not end, or does not exist.
    pub(crate) passed: HashMap<String, bool>,
    pub(crate) timed_out: bool,
    /// What they printed.
    pub(crate) said: String,
}

impl Scratch {
    /// A copy of the working tree as it is now.
    pub(crate) fn new() -> Result<Scratch> {
        let dir = workspace_root().join("target/mutants/tree");
        let scratch = Scratch { dir, trees: None };
        scratch.restore()?;
        Ok(scratch)
    }

    /// Makes the copy equal to the working tree again, touching only what differs.
    pub(crate) fn restore(&self) -> Result<()> {
        let root = workspace_root();
        let mut list = Command::new("git");
        list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&root);
        let names = command::output(&mut list).map_err(|error| format!("mutants needs a git checkout: {error}"))?;
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
        let mut apply = Command::new("git");
        apply.arg("apply").arg(patch).current_dir(&self.dir);
        // The copy lies in the checkout's target directory: git must not take it for a part of the checkout.
        apply.env("GIT_CEILING_DIRECTORIES", self.dir.parent().unwrap_or(&self.dir));
        command::output(&mut apply).map(drop)
    }

    /// Tests run with the extension in `trees` from now on.
    pub(crate) fn use_extension(&mut self, trees: PathBuf) {
        self.trees = Some(trees);
    }

    /// Compiles the copy's own extension.
    ///
    /// # Errors
    /// It does not compile.
    pub(crate) fn compile_extension(&self) -> Result<PathBuf> {
        let mut cargo = self.cargo();
        cargo.env("CACHE_SYNC_PROFILE", "dev").env_remove(TREES_VARIABLE);
        let said = command::output(cargo.args(["run", "--quiet", "--package", "xtask", "--", "extension"]))?;
        Ok(said.lines().last().unwrap_or_default().into())
    }

    /// Compiles the tests of `package`.
    ///
    /// # Errors
    /// They do not compile.
    pub(crate) fn compile(&self, package: &str) -> Result<()> {
        let mut cargo = self.cargo();
        command::output(cargo.args(["test", "--quiet", "--no-run", "--tests", "--package", package])).map(drop)
    }

    /// Runs tests by their full names; `compile` came before.
    pub(crate) fn test(&self, package: &str, names: &[&str]) -> Result<Ran> {
        let log = self.dir.with_file_name("test.log");
        let out = fs::File::create(&log)?;
        let mut command = self.cargo();
        command.args(["test", "--no-fail-fast", "--tests", "--package", package, "--", "--exact"]).args(names);
        // In a group of their own, so that tests that hang end with the cargo that started them.
        command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out).process_group(0);
        let timed_out = !ends_in_time(&mut command.spawn()?)?;
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let passed = said.lines().filter_map(test_line).map(|(name, passed)| (name.to_owned(), passed)).collect();
        Ok(Ran { passed, timed_out, said })
    }

    /// cargo in the copy. It has a target directory of its own: cargo does not tell packages of one name apart by where
    /// their workspace is, and would take what was compiled here for the working tree's.
    fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.dir).env("CARGO_TARGET_DIR", self.dir.with_file_name("target"));
        if let Some(trees) = &self.trees {
            command.env(TREES_VARIABLE, trees);
        }
        command
    }
}

fn ends_in_time(child: &mut Child) -> Result<bool> {
    let ends = wait::until_blocking(TEST_TIME_MAX, LOOK, || Ok(child.try_wait()?.is_some()))?;
    if !ends {
        // Where this fails they have just ended.
        command::succeeds(Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]));
        child.wait()?;
    }
    Ok(ends)
}

/// Name and success, from `test slot::tests::name ... ok`.
fn test_line(line: &str) -> Option<(&str, bool)> {
    let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    match result {
        "ok" => Some((name, true)),
        "FAILED" => Some((name, false)),
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_how_a_test_went() {
        assert_eq!(test_line("test a::b ... ok"), Some(("a::b", true)));
        assert_eq!(test_line("test a::b ... FAILED"), Some(("a::b", false)));
        assert_eq!(test_line("test result: ok. 1 passed; 0 failed"), None);
    }
}
