//! A server's directory lives as long as its owner, however the owner ends.
//!
//! A shell waits on a pipe that only the owner holds: when the owner ends, or closes it, the shell ends the server and
//! removes the directory. Should the shell be killed as well, the next owner finds that nobody holds the lock on the
//! directory's file `owner`, and does the same.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cache_sync_kit::{During, Result};

/// The file whose lock says that the owner lives.
const OWNER_FILE: &str = "owner";
/// A directory with this file is nobody's: someone wanted to look around in it.
const KEEP_FILE: &str = "keep";
/// How directories of servers are called.
const PREFIX: &str = "cache-sync-";

/// Where a server of Redis notes its number.
pub(crate) const REDIS_PID_FILE: &str = "redis.pid";

/// Ends the server and removes the directory `$0`. SIGQUIT is an immediate shutdown of Postgres: nothing in there is worth a
/// checkpoint. The pid file may outlive its server (after SIGKILL), and its number may be somebody else's by then, so
/// only a process that is still called as the server is meant.
const REMOVE: &str = r#"
[ -e "$0/keep" ] && exit 0
end() {
    file="$0/$1"
    pid=$(head -n 1 "$file" 2>/dev/null)
    [ -n "$pid" ] || return
    if [ -e /proc/self/comm ]; then name=$(cat "/proc/$pid/comm" 2>/dev/null); else name=$(ps -o comm= -p "$pid"); fi
    case "$name" in
    *"$2")
        kill "-$3" "$pid"
        tries=0
        while [ -e "$file" ] && [ $tries -lt 200 ]; do sleep 0.05; tries=$((tries + 1)); done ;;
    esac
}
end data/postmaster.pid postgres QUIT
end redis.pid redis-server TERM
rm -rf "$0"
"#;

/// A server's directory.
#[derive(Debug)]
pub(crate) struct Lifetime {
    dir: PathBuf,
    /// Its lock tells others that the directory is in use.
    _owner: File,
    remover: Child,
}

impl Lifetime {
    /// Creates a directory in `parent`, after removing those whose owners are gone.
    pub(crate) fn begin(parent: &Path) -> Result<Lifetime> {
        remove_orphans(parent);
        let (dir, owner) = create_owned(parent)?;
        let mut sh = Command::new("sh");
        sh.arg("-c").arg(format!("cat >/dev/null\n{REMOVE}")).arg(&dir).stdin(Stdio::piped());
        // A group of its own: Ctrl-C is meant for the owner.
        let remover = sh.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn()?;
        Ok(Lifetime { dir, _owner: owner, remover })
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Lets the directory and its server outlive this process.
    pub(crate) fn keep(&self) -> Result<()> {
        Ok(fs::write(self.dir.join(KEEP_FILE), "")?)
    }
}

impl Drop for Lifetime {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        if let Err(error) = self.remover.wait() {
            eprintln!("cannot wait for the removal of {}: {error}", self.dir.display());
        }
    }
}

fn create_owned(parent: &Path) -> Result<(PathBuf, File)> {
    let mut number = 0;
    loop {
        let dir = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
        number += 1;
        match fs::create_dir(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error).during(|| dir.display().to_string()),
        }
        let owner = File::create(dir.join(OWNER_FILE)).during(|| dir.display().to_string())?;
        owner.lock()?;
        // Someone who removes orphans may have had the lock in between, and another thread made the directory anew.
        if is_owner_of(&owner, &dir) {
            return Ok((dir, owner));
        }
    }
}

/// Whether this is still the directory's file, and not that of one that was there before.
fn is_owner_of(owner: &File, dir: &Path) -> bool {
    let identity = |of: fs::Metadata| (of.dev(), of.ino());
    let there = fs::metadata(dir.join(OWNER_FILE)).map(identity).ok();
    there.is_some() && there == owner.metadata().map(identity).ok()
}

/// Removes the directories in `parent` whose owners are gone. What cannot be removed (another user's) stays.
fn remove_orphans(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let dir = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || dir.join(KEEP_FILE).exists() {
            continue;
        }
        let Ok(owner) = File::options().write(true).open(dir.join(OWNER_FILE)) else { continue };
        if owner.try_lock().is_ok() && is_owner_of(&owner, &dir) {
            let mut sh = Command::new("sh");
            sh.args(["-c", REMOVE]).arg(&dir).stdin(Stdio::null()).current_dir("/");
            if let Err(error) = sh.status() {
                eprintln!("cannot remove {}: {error}", dir.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_orphans_but_nothing_that_is_owned_or_kept() {
        let parent = std::env::temp_dir().join(format!("cache_sync_lifetime_{}", std::process::id()));
        let (orphan, kept) = (parent.join("cache-sync-1-0"), parent.join("cache-sync-2-0"));
        for dir in [&orphan, &kept] {
            fs::create_dir_all(dir).unwrap();
            fs::write(dir.join(OWNER_FILE), "").unwrap();
        }
        fs::write(kept.join(KEEP_FILE), "").unwrap();
        let first = Lifetime::begin(&parent).unwrap();
        let second = Lifetime::begin(&parent).unwrap();
        assert!(!orphan.exists() && kept.exists() && first.dir().exists() && second.dir().exists());
        let dir = first.dir().to_owned();
        drop(first);
        assert!(!dir.exists() && second.dir().exists());
        drop(second);
        fs::remove_dir_all(&parent).unwrap();
    }

    #[test]
    fn several_at_once_get_directories_of_their_own() {
        let parent = std::env::temp_dir().join(format!("cache_sync_lifetimes_{}", std::process::id()));
        fs::create_dir_all(&parent).unwrap();
        let begin = || (0..10).map(|_| Lifetime::begin(&parent).unwrap()).collect::<Vec<_>>();
        let all: Vec<Lifetime> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(begin)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let dirs: std::collections::BTreeSet<_> = all.iter().map(Lifetime::dir).collect();
        assert_eq!(dirs.len(), all.len());
        assert!(dirs.iter().all(|dir| dir.join(OWNER_FILE).exists()));
        drop(all);
        fs::remove_dir_all(&parent).unwrap();
    }
}
