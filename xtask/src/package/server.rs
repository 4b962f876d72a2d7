//! The files for one PostgreSQL.

use std::fs;
use std::path::Path;

use cache_sync_kit::{Error, Result};

use super::content::{Content, empty};
use super::made::Made;
use super::place::{Kind, Place};
use super::project::{Project, results, workshop};
use super::{deb, tarball, trial};

/// Makes package and archive for PostgreSQL `major` and tries them; `twice` compiles all again to compare.
///
/// # Errors
/// Something cannot be made, or is not as it should be.
pub(super) fn make(project: &Project, major: u32, twice: bool) -> Result<Vec<Made>> {
    let place = Place::of(major, "built")?;
    let mut made = pack(project, &place, &results())?;
    if twice {
        compare(project, major, &mut made)?;
    }
    match &place.kind {
        Kind::Folder(_, debian) => {
            let checks = trial::of_package(&place, debian, &made[0])?;
            made[0].checks.extend(checks);
            let checks = trial::of_tarball(&place, debian, &made[1])?;
            made[1].checks.extend(checks);
        }
        Kind::Machine(_, why) => {
            made[0].checks.push(format!("left out: installing it in a new Debian ({why})"));
        }
    }
    Ok(made)
}

/// Package, where there is one, archive and checksum, in this order.
fn pack(project: &Project, place: &Place, to: &Path) -> Result<Vec<Made>> {
    let content = Content::make(place)?;
    let mut made = Vec::new();
    match deb::obstacle(place) {
        None => made.push(deb::make(project, place, &content, to)?),
        Some(why) => println!("No package of Debian for PostgreSQL {}: {why}", place.major),
    }
    made.extend(tarball::make(project, place, &content, to)?);
    Ok(made)
}

/// Compiles and packs again, from nothing, and compares.
fn compare(project: &Project, major: u32, made: &mut [Made]) -> Result<()> {
    let again = workshop().join("again");
    empty(&again)?;
    let place = Place::of(major, "again")?;
    for (first, second) in made.iter_mut().zip(pack(project, &place, &again)?) {
        if fs::read(&first.file)? != fs::read(&second.file)? {
            let (first, second) = (first.file.display(), second.file.display());
            return Err(Error::from(format!("two builds differ: {first} and {second}")));
        }
        first.checks.push("compiled and packed twice, the same bytes".to_owned());
    }
    Ok(fs::remove_dir_all(again)?)
}
