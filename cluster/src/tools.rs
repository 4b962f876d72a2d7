//! Programs of others with which the tests try the feed: Python with two Postgres drivers, and pgbouncer.
//!
//! pgbouncer's package would start a service, so its files are unpacked (under `target/tools`) instead of being installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_kit::{Error, Result, command};

use crate::setup::Root;
use crate::user::dir_for_servers;

/// What Debian and Ubuntu call the drivers.
const PYTHON_PACKAGES: [&str; 3] = ["python3", "python3-asyncpg", "python3-psycopg"];
const HOW_TO_GET_THEM: &str = "cargo xtask test installs what is missing on Debian and Ubuntu; elsewhere install pgbouncer, and Python with \
     `pip install asyncpg psycopg`";

/// Python that has the drivers asyncpg and psycopg (3).
///
/// # Errors
/// There is none: the error says how to get it.
pub fn python() -> Result<PathBuf> {
    let has_drivers = |python: &&str| command::succeeds(Command::new(python).args(["-c", "import asyncpg, psycopg"]));
    let found = ["python3", "/usr/bin/python3"].iter().find(|python| has_drivers(python));
    found.map(PathBuf::from).ok_or_else(|| missing("Python with asyncpg and psycopg"))
}

/// pgbouncer.
///
/// # Errors
/// There is none: the error says how to get it.
pub fn pgbouncer() -> Result<PathBuf> {
    let unpacked = pgbouncer_dir()?.join("usr/sbin/pgbouncer");
    let places = [Path::new("pgbouncer"), Path::new("/usr/sbin/pgbouncer"), &unpacked];
    let runs = |place: &&&Path| command::succeeds(Command::new(place).arg("--version"));
    places.iter().find(runs).map(|place| place.to_path_buf()).ok_or_else(|| missing("pgbouncer"))
}

/// Installs what is missing.
///
/// # Errors
/// It cannot be installed from here: the error says what to install.
pub fn setup_tools() -> Result<()> {
    let (no_python, no_pgbouncer) = (python().is_err(), pgbouncer().is_err());
    if !no_python && !no_pgbouncer {
        return Ok(());
    }
    let root = Root::get_with_apt().ok_or_else(|| missing("Python with asyncpg and psycopg, or pgbouncer"))?;
    println!("Updating the list of packages (apt-get update).");
    root.apt_get(&["update", "-qq"])?;
    if no_python {
        root.install(&PYTHON_PACKAGES.map(str::to_owned), false)?;
        python()?;
    }
    if no_pgbouncer {
        unpack_pgbouncer(&root)?;
        pgbouncer()?;
    }
    Ok(())
}

fn unpack_pgbouncer(root: &Root) -> Result<()> {
    let dir = pgbouncer_dir()?;
    println!("Unpacking pgbouncer into {}", dir.display());
    fs::create_dir_all(&dir)?;
    command::run(Command::new("apt-get").args(["download", "-qq", "pgbouncer"]).current_dir(&dir))?;
    let package =
        fs::read_dir(&dir)?.flatten().map(|file| file.path()).find(|file| file.extension() == Some("deb".as_ref()));
    let package = package.ok_or_else(|| Error::from("apt-get downloaded no package of pgbouncer"))?;
    let needs = command::output(Command::new("dpkg-deb").arg("-f").arg(&package).arg("Depends"))?;
    root.apt_get(&["satisfy", "-y", "-qq", "--no-install-recommends", needs.trim()])?;
    command::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&dir))?;
    fs::remove_file(package).map_err(Error::from)
}

/// It runs as the user that servers run as.
fn pgbouncer_dir() -> Result<PathBuf> {
    Ok(dir_for_servers("tools")?.join("pgbouncer"))
}

fn missing(what: &str) -> Error {
    Error::from(format!("{what} is not here: {HOW_TO_GET_THEM}"))
}
