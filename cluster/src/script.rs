//! The scripts that CREATE EXTENSION and ALTER EXTENSION read, put together from `pg_ext/sql`.
//!
//! Most parts stand in the install script and in the upgrade scripts alike. So they say CREATE OR REPLACE, and what they have made
//! is the same whichever script ran.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cache_sync_kit::{During, Error, Result};

use crate::workspace::workspace_root;

/// The versions that can be upgraded.
const UPGRADED: [&str; 1] = ["0.1.0"];

/// In which scripts a part stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    All,
    Install,
    UpgradeFrom(&'static str),
}

/// The parts in their order: functions in SQL come after those that they call. DDL is listened to when all else is there.
const PARTS: [(&str, In); 26] = [
    ("install.sql", In::Install),
    ("tables.sql", In::Install),
    ("from_0.1.0.sql", In::UpgradeFrom("0.1.0")),
    ("comments.sql", In::All),
    ("server.sql", In::All),
    ("feed.sql", In::All),
    ("types.sql", In::All),
    ("columns.sql", In::All),
    ("rules.sql", In::All),
    ("values.sql", In::All),
    ("triggers.sql", In::All),
    ("replication.sql", In::All),
    ("refusals.sql", In::All),
    ("fields.sql", In::All),
    ("books.sql", In::All),
    ("attach.sql", In::All),
    ("layout.sql", In::All),
    ("apply.sql", In::All),
    ("letters.sql", In::All),
    ("maintenance.sql", In::All),
    ("checks.sql", In::All),
    ("views.sql", In::All),
    ("from_0.1.0_rows.sql", In::UpgradeFrom("0.1.0")),
    ("ddl.sql", In::All),
    ("queries.sql", In::All),
    ("rights.sql", In::All),
];

/// Writes the scripts of this version into `dir`, which is made if need be: one that installs it, and one that upgrades each
/// version before.
///
/// # Errors
/// A part cannot be read or stands in no script, or the directory cannot be written.
pub fn write_scripts(dir: &Path) -> Result<()> {
    refuse_unnamed_parts()?;
    fs::create_dir_all(dir).during(|| dir.display().to_string())?;
    for file in fs::read_dir(dir).during(|| dir.display().to_string())? {
        let file = file?;
        // Those of another version, which nobody would install with these.
        if file.file_name().to_string_lossy().starts_with("cache_sync--") {
            fs::remove_file(file.path()).during(|| file.path().display().to_string())?;
        }
    }
    let version = version()?;
    write(&dir.join(format!("cache_sync--{version}.sql")), In::Install)?;
    for from in UPGRADED {
        write(&dir.join(format!("cache_sync--{from}--{version}.sql")), In::UpgradeFrom(from))?;
    }
    Ok(())
}

fn write(script: &Path, kind: In) -> Result<()> {
    let mut text = String::new();
    for (part, _) in PARTS.into_iter().filter(|(_, within)| *within == In::All || *within == kind) {
        let part = workspace_root().join("pg_ext/sql").join(part);
        text += &fs::read_to_string(&part).during(|| part.display().to_string())?;
    }
    fs::write(script, text).during(|| script.display().to_string())
}

/// What the control file says.
fn version() -> Result<String> {
    let control = workspace_root().join("pg_ext/cache_sync.control");
    let text = fs::read_to_string(&control).during(|| control.display().to_string())?;
    let version = text.lines().find_map(|line| line.strip_prefix("default_version = '")?.strip_suffix('\''));
    version.map(str::to_owned).ok_or_else(|| Error::from(format!("{} names no version", control.display())))
}

/// A part that nobody names would be missing in silence.
fn refuse_unnamed_parts() -> Result<()> {
    let dir = workspace_root().join("pg_ext/sql");
    let named = BTreeSet::from(PARTS.map(|(part, _)| part));
    for file in fs::read_dir(&dir).during(|| dir.display().to_string())? {
        let name = file?.file_name().to_string_lossy().into_owned();
        if !named.contains(name.as_str()) {
            return Err(Error::from(format!("pg_ext/sql/{name} stands in no script")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_upgrade_has_parts_of_its_own_and_they_are_of_an_upgrade() {
        let own = PARTS.iter().filter_map(|(_, within)| match within {
            In::UpgradeFrom(version) => Some(*version),
            In::All | In::Install => None,
        });
        assert_eq!(own.collect::<BTreeSet<_>>(), BTreeSet::from(UPGRADED));
    }
}
