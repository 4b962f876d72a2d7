//! The languages of the listeners, so that they find the packages.

use cache_sync_cluster::{node, python, workspace_root};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a script in the language that it is written in.
pub(crate) fn running(script: &Path) -> Command {
    let mut command = if script.extension().is_some_and(|ext| ext == "py") { in_python() } else { in_node() };
    command.arg(script);
    command
}

pub(crate) fn in_python() -> Command {
    let mut command = Command::new(python().unwrap_or_else(|error| panic!("{error}")));
    command.env("PYTHONPATH", package("python")).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

pub(crate) fn in_node() -> Command {
    let mut command = node().unwrap_or_else(|error| panic!("{error}"));
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node_modules");
    std::fs::create_dir_all(&packages).unwrap();
    let link = packages.join("cache-sync-listener");
    // Another test may have made it; where directories for what is compiled are shared, one of another checkout.
    if let Err(error) = symlink(package("node"), &link) {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert_eq!(std::fs::read_link(&link).unwrap(), package("node"), "{} is of this checkout", link.display());
    }
    let with_driver =
        command.get_envs().find(|(name, _)| *name == "NODE_PATH").and_then(|(_, path)| path.map(OsString::from));
    let others = with_driver.or_else(|| std::env::var_os("NODE_PATH")).unwrap_or_default();
    let all = std::iter::once(packages).chain(std::env::split_paths(&others));
    command.env("NODE_PATH", std::env::join_paths(all).unwrap());
    command
}

pub(crate) fn package(language: &str) -> PathBuf {
    workspace_root().join("listeners").join(language)
}
