//! As whom a server may run: PostgreSQL refuses to run as root.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use cache_sync_kit::{Error, Result, command};

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
