//! Programs of others that the tests run: Python with two Postgres drivers, Node with one, pgbouncer, and Prometheus.
//!
//! The packages of pgbouncer and Prometheus would start services, and those of Node's driver want Debian's own Node, so their files are unpacked (under
//! `target/tools`) instead of being installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_kit::{Error, Result, command};

use crate::setup::Root;
use crate::user::dir_for_servers;

/// What Debian and Ubuntu call the drivers.
const PYTHON_PACKAGES: [&str; 3] = ["python3", "python3-asyncpg", "python3-psycopg"];
/// The driver for Node, and what it needs of others to be loaded.
const NODE_PACKAGES: [&str; 3] = ["node-pg", "node-split2", "node-xtend"];
/// Where Debian's packages for Node have their files.
const NODE_MODULES: &str = "usr/share/nodejs";
const HOW_TO_GET_THEM: &str = "cargo xtask test installs what is missing on Debian and Ubuntu; elsewhere install pgbouncer, Prometheus, \
     Python with `pip install asyncpg psycopg`, and Node with `npm install --global pg` and NODE_PATH";

/// A program whose package is unpacked.
struct Unpacked {
    /// Its name, and its package's.
    name: &'static str,
    /// Where it lies in its package.
    path: &'static str,
    /// Whether it needs what its package depends on. All else are pages that it would show.
    needs_others: bool,
}

const PGBOUNCER: Unpacked = Unpacked { name: "pgbouncer", path: "usr/sbin/pgbouncer", needs_others: true };
const PROMETHEUS: Unpacked = Unpacked { name: "prometheus", path: "usr/bin/prometheus", needs_others: false };

/// Python that has the drivers asyncpg and psycopg (3).
///
/// # Errors
/// There is none: the error says how to get it.
pub fn python() -> Result<PathBuf> {
    let has_drivers = |python: &&str| command::succeeds(Command::new(python).args(["-c", "import asyncpg, psycopg"]));
    let found = ["python3", "/usr/bin/python3"].iter().find(|python| has_drivers(python));
    found.map(PathBuf::from).ok_or_else(|| missing("Python with asyncpg and psycopg"))
}

/// Node, to be run so that it finds the driver pg.
///
/// # Errors
/// There is none: the error says how to get it.
pub fn node() -> Result<Command> {
    let unpacked = node_dir()?.join(NODE_MODULES);
    let node = |modules: Option<&Path>| {
        let mut node = Command::new("node");
        node.envs(modules.map(|modules| ("NODE_PATH", modules)));
        node
    };
    let installed = Path::new("/").join(NODE_MODULES);
    let places = [None, Some(installed.as_path()), Some(unpacked.as_path())];
    let has_driver = |place: &&Option<&Path>| command::succeeds(node(**place).args(["-e", "require('pg')"]));
    places.iter().find(has_driver).map(|place| node(*place)).ok_or_else(|| missing("Node with pg"))
}

/// Where the packages for Node are unpacked.
fn node_dir() -> Result<PathBuf> {
    Ok(dir_for_servers("tools")?.join("node"))
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

/// Installs what is missing.
///
/// # Errors
/// It cannot be installed from here: the error says what to install.
pub fn setup_tools() -> Result<()> {
    let (no_python, no_node) = (python().is_err(), node().is_err());
    let missing_programs: Vec<_> = [PGBOUNCER, PROMETHEUS].into_iter().filter(|one| one.find().is_err()).collect();
    if !no_python && !no_node && missing_programs.is_empty() {
        return Ok(());
    }
    let root = Root::get_with_apt()
        .ok_or_else(|| missing("Python with asyncpg and psycopg, Node with pg, pgbouncer, or Prometheus"))?;
    println!("Updating the list of packages (apt-get update).");
    root.apt_get(&["update", "-qq"])?;
    if no_python {
        root.install(&PYTHON_PACKAGES.map(str::to_owned), false)?;
        python()?;
    }
    if no_node {
        if !command::succeeds(Command::new("node").arg("--version")) {
            root.install(&["nodejs".to_owned()], false)?;
        }
        for package in NODE_PACKAGES {
            unpack(package, &node_dir()?, |_| Ok(()))?;
        }
        node()?;
    }
    for program in missing_programs {
        program.unpack(&root)?;
        program.find()?;
    }
    Ok(())
}

impl Unpacked {
    fn find(&self) -> Result<PathBuf> {
        let unpacked = self.dir()?.join(self.path);
        let installed = Path::new("/").join(self.path);
        let places = [Path::new(self.name), &installed, &unpacked];
        let runs = |place: &&&Path| command::succeeds(Command::new(place).arg("--version"));
        places.iter().find(runs).map(|place| place.to_path_buf()).ok_or_else(|| missing(self.name))
    }

    /// Downloads its package, and unpacks it.
    fn unpack(&self, root: &Root) -> Result<()> {
        unpack(self.name, &self.dir()?, |package| {
            if !self.needs_others {
                return Ok(());
            }
            let needs = command::output(Command::new("dpkg-deb").arg("-f").arg(package).arg("Depends"))?;
            root.apt_get(&["satisfy", "-y", "-qq", "--no-install-recommends", needs.trim()])
        })
    }

    /// Where it is unpacked: it runs as the user that servers run as.
    fn dir(&self) -> Result<PathBuf> {
        Ok(dir_for_servers("tools")?.join(self.name))
    }
}

/// Downloads a package and unpacks it into `dir`; before that `prepare` is shown the file.
fn unpack(name: &str, dir: &Path, prepare: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    println!("Downloading the package of {name} and unpacking it into {}", dir.display());
    fs::create_dir_all(dir)?;
    command::run(Command::new("apt-get").args(["download", "-qq", name]).current_dir(dir))?;
    let is_package = |file: &PathBuf| file.extension() == Some("deb".as_ref());
    let package = fs::read_dir(dir)?.flatten().map(|file| file.path()).find(is_package);
    let package = package.ok_or_else(|| Error::from(format!("apt-get downloaded no package of {name}")))?;
    prepare(&package)?;
    command::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(dir))?;
    fs::remove_file(package).map_err(Error::from)
}

fn missing(what: &str) -> Error {
    Error::from(format!("{what} is not here: {HOW_TO_GET_THEM}"))
}
