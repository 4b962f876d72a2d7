//! The archive for whoever has no package manager that fits, with its checksum beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

use cache_sync_kit::{Result, command};

use super::content::{Content, empty, put, settle};
use super::made::{Made, checksum};
use super::place::Place;
use super::project::{Project, read};

const INSTALL: &str = include_str!("install.sh");

/// Makes the archive and its checksum into `to`.
///
/// # Errors
/// They cannot be written.
pub(super) fn make(project: &Project, place: &Place, content: &Content, to: &Path) -> Result<[Made; 2]> {
    let machine = std::env::consts::ARCH;
    let name = format!("cache_sync-{}-pg{}-{}-{machine}", project.version, place.major, place.suffix());
    let work = place.work.join("tarball");
    empty(&work)?;
    let root = work.join(&name);
    put(&content.library(), &root.join("lib"))?;
    content.scripts.iter().try_for_each(|script| put(script, &root.join("extension")))?;
    for document in ["LICENSE", "LICENSES-linked.txt", "CHANGELOG.md"] {
        put(&content.file(document), &root)?;
    }
    fs::write(root.join("INSTALL.md"), read("docs/install.md")?)?;
    let install = INSTALL.replace("@MAJOR@", &place.major.to_string()).replace("@VERSION@", project.version);
    fs::write(root.join("install.sh"), install)?;
    let rights = "chmod 644 INSTALL.md && chmod 755 install.sh";
    command::output(Command::new("sh").args(["-euc", rights]).current_dir(&root))?;
    settle(&root, project.epoch)?;
    let archive = to.join(format!("{name}.tar.gz"));
    let pack = "tar --create --sort=name --format=gnu --owner=0 --group=0 --numeric-owner \"$1\" | gzip --no-name --best > \"$2\"";
    let mut tar = Command::new("bash");
    tar.args(["-euo", "pipefail", "-c", pack, "pack", &name]).arg(&archive).current_dir(&work);
    command::output(&mut tar)?;
    let sum = to.join(format!("{name}.tar.gz.sha256"));
    fs::write(&sum, format!("{}  {name}.tar.gz\n", checksum(&archive)?))?;
    command::output(Command::new("sha256sum").arg("--check").arg(&sum).current_dir(to))?;
    let made = |file, checks| Made { file, checks };
    Ok([made(archive, Vec::new()), made(sum, vec!["sha256sum --check: it is the archive's".to_owned()])])
}
