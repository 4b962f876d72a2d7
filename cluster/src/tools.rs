//! Programs of others that the tests run: Python with two Postgres drivers, pgbouncer, Prometheus, and Redis.
//!
//! The packages of pgbouncer, Prometheus and Redis would start services, so their files are unpacked (under `target/tools`) instead of
//! being installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_kit::{Error, Result, command};

use crate::setup::Root;
use crate::user::dir_for_servers;

/// What Debian and Ubuntu call the drivers.
const PYTHON_PACKAGES: [&str; 3] = ["python3", "python3-asyncpg", "python3-psycopg"];
const HOW_TO_GET_THEM: &str = "cargo xtask test installs what is missing on Debian and Ubuntu; elsewhere install pgbouncer, Prometheus, \
     Redis, and Python with `pip install asyncpg psycopg`";

/// A program whose packages are unpacked.
struct Unpacked {
    name: &'static str,
    /// All of them go into the same place.
    packages: &'static [&'static str],
    /// Where it lies there.
    path: &'static str,
    /// Whether it needs what its packages depend on. All else are pages that it would show.
    needs_others: bool,
}

const PGBOUNCER: Unpacked =
    Unpacked { name: "pgbouncer", packages: &["pgbouncer"], path: "usr/sbin/pgbouncer", needs_others: true };
const PROMETHEUS: Unpacked =
    Unpacked { name: "prometheus", packages: &["prometheus"], path: "usr/bin/prometheus", needs_others: false };
/// The package of its name has the service, and a link to the program in the other one.
const REDIS_SERVER: Unpacked = Unpacked {
    name: "redis-server",
    packages: &["redis-tools", "redis-server"],
    path: "usr/bin/redis-server",
    needs_others: true,
};

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
    PGBOUNCER.find()
}

/// Prometheus.
///
/// # Errors
/// There is none: the error says how to get it.
pub fn prometheus() -> Result<PathBuf> {
    PROMETHEUS.find()
}

/// The server of Redis.
///
/// # Errors
/// There is none: the error says how to get it.
pub fn redis_server() -> Result<PathBuf> {
    REDIS_SERVER.find()
}

/// Installs what is missing.
///
/// # Errors
/// It cannot be installed from here: the error says what to install.
pub fn setup_tools() -> Result<()> {
    if python().is_err() {
        let root = updated_root("Python with asyncpg and psycopg")?;
        root.install(&PYTHON_PACKAGES.map(str::to_owned), false)?;
        python()?;
    }
    set_up(&[PGBOUNCER, PROMETHEUS, REDIS_SERVER])
}

/// The same for [`redis_server`] alone.
///
/// # Errors
/// It cannot be installed from here: the error says what to install.
pub fn setup_redis() -> Result<()> {
    set_up(&[REDIS_SERVER])
}

fn set_up(programs: &[Unpacked]) -> Result<()> {
    let missing_programs: Vec<_> = programs.iter().filter(|one| one.find().is_err()).collect();
    let Some(first) = missing_programs.first() else { return Ok(()) };
    let root = updated_root(first.name)?;
    for program in missing_programs {
        program.unpack(&root)?;
        program.find()?;
    }
    Ok(())
}

/// Root where packages are installed by apt, with a list of packages of today.
fn updated_root(what: &str) -> Result<Root> {
    let root = Root::get_with_apt().ok_or_else(|| missing(what))?;
    println!("Updating the list of packages (apt-get update).");
    root.apt_get(&["update", "-qq"])?;
    Ok(root)
}

impl Unpacked {
    fn find(&self) -> Result<PathBuf> {
        let unpacked = self.dir()?.join(self.path);
        let installed = Path::new("/").join(self.path);
        let places = [Path::new(self.name), &installed, &unpacked];
        let runs = |place: &&&Path| command::succeeds(Command::new(place).arg("--version"));
        places.iter().find(runs).map(|place| place.to_path_buf()).ok_or_else(|| missing(self.name))
    }

    /// Downloads its packages, and unpacks them.
    fn unpack(&self, root: &Root) -> Result<()> {
        let dir = self.dir()?;
        println!("Downloading the package of {} and unpacking it into {}", self.name, dir.display());
        fs::create_dir_all(&dir)?;
        self.packages.iter().try_for_each(|name| self.unpack_package(root, name, &dir))
    }

    fn unpack_package(&self, root: &Root, name: &str, dir: &Path) -> Result<()> {
        command::run(Command::new("apt-get").args(["download", "-qq", name]).current_dir(dir))?;
        let is_package = |file: &PathBuf| file.extension() == Some("deb".as_ref());
        let package = fs::read_dir(dir)?.flatten().map(|file| file.path()).find(is_package);
        let package = package.ok_or_else(|| Error::from(format!("apt-get downloaded no package {name}")))?;
        if self.needs_others {
            let needs = command::output(Command::new("dpkg-deb").arg("-f").arg(&package).arg("Depends"))?;
            let others = without(self.packages, &needs);
            root.apt_get(&["satisfy", "-y", "-qq", "--no-install-recommends", &others])?;
        }
        command::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(dir))?;
        fs::remove_file(package).map_err(Error::from)
    }

    /// Where it is unpacked: it runs as the user that servers run as.
    fn dir(&self) -> Result<PathBuf> {
        Ok(dir_for_servers("tools")?.join(self.name))
    }
}

/// What a package needs, without what is unpacked beside it.
fn without(packages: &[&str], needs: &str) -> String {
    let is_other = |need: &&str| !packages.contains(&need.split(' ').next().unwrap_or_default());
    needs.trim().split(", ").filter(is_other).collect::<Vec<_>>().join(", ")
}

fn missing(what: &str) -> Error {
    Error::from(format!("{what} is not here: {HOW_TO_GET_THEM}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unpacked_beside_it_is_not_installed() {
        let needs = "lsb-base (>= 3.2-14), redis-tools (= 5:7.0.15-1~deb12u10), redis-toolsmith | adduser\n";
        let others = without(REDIS_SERVER.packages, needs);
        assert_eq!(others, "lsb-base (>= 3.2-14), redis-toolsmith | adduser");
    }
}
