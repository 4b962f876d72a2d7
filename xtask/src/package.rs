//! What users install: packages of Debian, archives, an image, and the crates.
//!
//! ```text
//! package    what was asked for, one after another
//! server     the files for one PostgreSQL: compiled once, packed twice, tried
//! deb        a package of Debian           tarball    an archive
//! trial      installs and uses them in a new Debian, and takes them out again
//! content    the files themselves          linked     the licences of what is in the library
//! place      where it is compiled          folder     a Debian in a folder       release    which release has which PostgreSQL
//! pgxn       what PGXN is told             image      Dockerfile and compose.yaml
//! crates     what Rust's registry gets     made       the table
//! project    version, time, description
//! ```

mod content;
mod crates;
mod deb;
mod folder;
mod image;
mod linked;
mod made;
mod pgxn;
mod place;
mod project;
mod release;
mod server;
mod tarball;
mod trial;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cache_sync_cluster::setup;
use cache_sync_kit::{CommandLine, During, Error, Result, Values, write_json};

use project::{Project, results, workshop};

const LINE: CommandLine<'_> = CommandLine {
    valued: &["--pg", "--json"],
    alone: &["--twice", "server", "pgxn", "image", "crates"],
    usage: "usage: cargo xtask package [server] [pgxn] [image] [crates] [--pg 15,17,18] [--twice] [--json FILE]",
};

/// Makes what was asked for, all if nothing was named.
///
/// # Errors
/// Something cannot be made, or is not as it should be.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let asked = LINE.parse(args)?;
    let named = named_majors(&asked)?;
    let project = Project::get()?;
    for dir in [results(), workshop()] {
        fs::create_dir_all(&dir).during(|| dir.display().to_string())?;
    }
    // Two runs at a time would write the same files.
    let lock = File::create(workshop().join("lock"))?;
    if lock.try_lock().is_err() {
        println!("Waiting for another run to end.");
        lock.lock()?;
    }
    let nothing_named = !["server", "pgxn", "image", "crates"].iter().any(|part| asked.has(part));
    let is_asked = |part: &str| nothing_named || asked.has(part);
    let mut made = Vec::new();
    let majors = match named {
        // That of the PostgreSQL that is here, or is installed.
        None if is_asked("server") || is_asked("pgxn") => vec![setup()?.major],
        named => named.unwrap_or_default(),
    };
    if is_asked("server") {
        for major in &majors {
            made.extend(server::make(&project, *major, asked.has("--twice"))?);
        }
    }
    if is_asked("pgxn")
        && let Some(major) = majors.last()
    {
        made.extend(pgxn::make(&project, *major)?);
    }
    if is_asked("image") {
        made.extend(image::make()?);
    }
    if is_asked("crates") {
        made.extend(crates::make(&project)?);
    }
    let table = made::table(&made)?;
    println!("\nThe files are in {}.", results().display());
    if let Some(file) = asked.maybe::<PathBuf>("--json")? {
        write_json(&file, &table)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the licences of what is linked into the library for a PostgreSQL, for who compiles and hands on the library himself.
///
/// # Errors
/// There is no extension for this version, or the file cannot be written.
pub(crate) fn licences(named: &str, file: &Path) -> Result<ExitCode> {
    let major = major(named)
        .ok_or_else(|| Error::from(format!("there is no extension for PostgreSQL {named}: name one of 15 to 18")))?;
    fs::write(file, linked::licences(major)?).during(|| file.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// The versions of PostgreSQL that were named, if any were.
fn named_majors(asked: &Values) -> Result<Option<Vec<u32>>> {
    let one = |text: &str| {
        major(text).ok_or_else(|| {
            Error::from(format!("--pg cannot have {text}: it is one of 15 to 18, or several with commas between"))
        })
    };
    asked.text("--pg").map(|named| named.split(',').map(one).collect()).transpose()
}

/// A version of PostgreSQL that there is an extension for.
fn major(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|major| (15..=18).contains(major))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_that_there_is_an_extension_for() {
        let majors = |text: &str| {
            let asked = LINE.parse(&["--pg".to_owned(), text.to_owned()]).unwrap();
            named_majors(&asked).map_err(|error| error.to_string())
        };
        assert_eq!(majors("15, 18"), Ok(Some(vec![15, 18])));
        let error = "--pg cannot have 14: it is one of 15 to 18, or several with commas between";
        assert_eq!(majors("17,14"), Err(error.to_owned()));
        assert_eq!(named_majors(&LINE.parse(&[]).unwrap()).unwrap(), None);
    }
}
