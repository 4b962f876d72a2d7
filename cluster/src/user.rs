//! As whom a server may run: PostgreSQL refuses to run as root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_kit::{During, Error, Result, command};

use crate::workspace::target_dir;

/// A user by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    command::output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

/// As whom servers must be run: nobody else unless this process is root's.
///
/// # Errors
/// This process is root's and there is no other user to be had.
pub(crate) fn server_user() -> Result<Option<User>> {
    if !is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    ["postgres", "nobody"].iter().find_map(|name| by_name(&users, name)).map(Some).ok_or_else(|| {
        Error::from("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody` to run it as")
    })
}

/// `program`, to be run as `user`.
pub(crate) fn command_as(user: Option<User>, program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = user {
        // The standard library gives up root's supplementary groups on the way. The directory it was started from may
        // be closed to the other user.
        command.uid(user.uid).gid(user.gid).current_dir("/");
    }
    command
}

/// A directory of what servers, and what runs beside them, must be able to read: in cargo's target directory, unless they run as another user
/// who may not look into it.
///
/// # Errors
/// It cannot be made, or there is no such user.
pub(crate) fn dir_for_servers(name: &str) -> Result<PathBuf> {
    let inside = target_dir().join(name);
    fs::create_dir_all(&inside).during(|| inside.display().to_string())?;
    let Some(server) = server_user()? else { return Ok(inside) };
    if command::succeeds(command_as(Some(server), Path::new("test")).arg("-x").arg(&inside)) {
        return Ok(inside);
    }
    let target: String = target_dir().to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let outside = std::env::temp_dir().join(format!("cache-sync-{name}{target}"));
    fs::create_dir_all(&outside).during(|| outside.display().to_string())?;
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).during(|| outside.display().to_string())?;
    Ok(outside)
}

/// Finds `name` in the text of a passwd file.
fn by_name(users: &str, name: &str) -> Option<User> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_user_by_its_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/bash\npostgres2:x:7:8::/:\npostgres:x:104:112:,,,:/var/lib:/bin/bash\n";
        assert_eq!(by_name(users, "postgres"), Some(User { uid: 104, gid: 112 }));
        assert_eq!(by_name(users, "post"), None);
    }
}
