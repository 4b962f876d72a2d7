//! Removes what killed owners of clusters left behind.
//!
//! An owner holds a lock on a file in its cluster's directory for as long as it lives; the system lets go of it however the
//! owner ends. So a lock that can be had means that nobody needs the cluster any more.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::error::{During, Result};
use crate::run;

/// The file whose lock says that the owner lives.
pub(crate) const OWNER_FILE: &str = "owner";
/// A cluster with this file is nobody's: someone wanted to look around in it.
pub(crate) const KEEP_FILE: &str = "keep";
/// How directories of clusters are called.
pub(crate) const PREFIX: &str = "cache-sync-";

/// Creates a cluster's directory in `parent` and locks it.
pub(crate) fn create_owned(parent: &Path) -> Result<(PathBuf, File)> {
    for number in 0.. {
        let dir = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
        match fs::create_dir(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error).during(|| dir.display().to_string()),
        }
        let owner = File::create(dir.join(OWNER_FILE)).during(|| dir.display().to_string())?;
        owner.lock()?;
        // Someone who cleans up may have had the lock in between.
        if dir.join(OWNER_FILE).exists() {
            return Ok((dir, owner));
        }
    }
    unreachable!("the numbers do not end")
}

/// Stops and removes the clusters in `parent` whose owners are gone. What cannot be removed (another user's) stays.
pub(crate) fn clean(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let dir = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || dir.join(KEEP_FILE).exists() {
            continue;
        }
        let Ok(owner) = File::options().write(true).open(dir.join(OWNER_FILE)) else { continue };
        match owner.try_lock() {
            Ok(()) => remove(&dir),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

/// Ends the server of the cluster in `dir`, if one runs, and removes the directory.
pub(crate) fn remove(dir: &Path) {
    if let Some(pid) = server_pid(dir) {
        // SIGQUIT is an immediate shutdown: nothing in there is worth a checkpoint.
        run::succeeds(Command::new("sh").args(["-c", &format!("kill -QUIT {pid}")]));
        let deadline = Instant::now() + Duration::from_secs(10);
        while server_pid(dir).is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    if let Err(error) = fs::remove_dir_all(dir) {
        eprintln!("cannot remove {}: {error}", dir.display());
    }
}

/// The postmaster that runs in `dir`. Its pid file may outlive it (after SIGKILL), and the number may be another
/// process' by then: only a process that is still called postgres counts.
fn server_pid(dir: &Path) -> Option<u32> {
    let file = fs::read_to_string(dir.join("data/postmaster.pid")).ok()?;
    let pid: u32 = file.lines().next()?.trim().parse().ok()?;
    let name = if Path::new("/proc/self").exists() {
        fs::read_to_string(format!("/proc/{pid}/comm")).ok()?
    } else {
        run::output(Command::new("ps").args(["-o", "comm=", "-p", &pid.to_string()])).ok()?
    };
    name.trim().ends_with("postgres").then_some(pid)
}
