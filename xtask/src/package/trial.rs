//! Tries what was made, as users do: in a new Debian, with its PostgreSQL and nothing else.

use std::fs;
use std::path::Path;

use cache_sync_cluster::workspace_root;
use cache_sync_kit::{Error, Result, command};

use super::content::{empty, put};
use super::folder::{Folder, Lent};
use super::made::Made;
use super::place::{Debian, Place};

const TRIAL: &str = include_str!("trial/trial.sh");
/// What is run, with what it must print.
const SQL: [(&str, &str); 4] = [
    ("use.sql", include_str!("trial/use.sql")),
    ("use.out", include_str!("trial/use.out")),
    ("upgrade.sql", include_str!("trial/upgrade.sql")),
    ("upgrade.out", include_str!("trial/upgrade.out")),
];

/// Tries a package.
///
/// # Errors
/// It does not do what it should: the error says what it did.
pub(super) fn of_package(place: &Place, debian: &Debian, package: &Made) -> Result<Vec<String>> {
    let given = place.work.join("given");
    empty(&given)?;
    put(&package.file, &given.join("package"))?;
    run(place, debian, &given)
}

/// Tries an archive.
///
/// # Errors
/// As for a package.
pub(super) fn of_tarball(place: &Place, debian: &Debian, archive: &Made) -> Result<Vec<String>> {
    let given = place.work.join("given");
    let unpacked = given.join("tarball");
    empty(&given)?;
    fs::create_dir(&unpacked)?;
    let mut tar = std::process::Command::new("tar");
    tar.args(["--extract", "--strip-components=1", "--file"]).arg(&archive.file).arg("--directory").arg(&unpacked);
    command::output(&mut tar)?;
    run(place, debian, &given)
}

/// Runs the trial and hands back what it found to be well.
fn run(place: &Place, debian: &Debian, given: &Path) -> Result<Vec<String>> {
    let sql = given.join("sql");
    fs::create_dir(&sql)?;
    for (name, text) in SQL {
        fs::write(sql.join(name), text)?;
    }
    put(&workspace_root().join("tests/fixtures/cache_sync--0.1.0.sql"), &sql)?;
    let folder = Folder::passing(debian.release, &debian.mirror, "trial")?;
    command::output(&mut folder.install(&[format!("postgresql-{}", place.major)])?)?;
    let mut trial = folder.script("trial", TRIAL, &[Lent::to_read(given, "/given")])?;
    let said = command::output(trial.arg(place.major.to_string()))?;
    let well: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("ok: ")).collect();
    if well.is_empty() {
        return Err(Error::from(format!("the trial said nothing of what it tried:\n{said}")));
    }
    Ok(vec![format!("in a new Debian {}: {}", debian.release.name, well.join("; "))])
}
