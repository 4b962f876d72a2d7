//! Programs of others that the tests run: Python with two Postgres drivers, Node with one, pgbouncer, Prometheus, Redis, and a
//! browser that can be driven.
//!
//! The packages of pgbouncer, Prometheus and Redis would start services, and those of Node's driver want Debian's own Node, so their files
//! are unpacked (under `target/tools`) instead of being installed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_kit::{During, Error, Result, command};

use crate::setup::Root;
use crate::user::dir_for_servers;

/// What Debian and Ubuntu call the drivers.
const PYTHON_PACKAGES: [&str; 3] = ["python3", "python3-asyncpg", "python3-psycopg"];
/// What Debian calls the browser and what drives it, and what Ubuntu calls both.
const BROWSER_PACKAGES: [&[&str]; 2] = [&["chromium", "chromium-driver"], &["chromium-chromedriver"]];
/// The driver for Node, and what it needs of others to be loaded.
const NODE_PACKAGES: [&str; 3] = ["node-pg", "node-split2", "node-xtend"];
/// Where Debian's packages for Node have their files.
const NODE_MODULES: &str = "usr/share/nodejs";
const HOW_TO_GET_THEM: &str = "cargo xtask test installs what is missing on Debian and Ubuntu; elsewhere install pgbouncer, Prometheus, \
     Redis, Chromium with its driver, Python with `pip install asyncpg psycopg`, and Node with `npm install --global pg` and NODE_PATH";

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

/// The server of Redis.
///
/// # Errors
/// There is none: the error says how to get it.
pub fn redis_server() -> Result<PathBuf> {
    REDIS_SERVER.find()
}

/// The program that drives Chromium, which comes with it.
///
/// # Errors
/// There is none: the error says how to get it.
pub fn chromedriver() -> Result<PathBuf> {
    let runs = |name: &&&str| command::succeeds(Command::new(name).arg("--version"));
    let found = ["chromedriver", "chromium.chromedriver"].iter().find(runs);
    found.map(PathBuf::from).ok_or_else(|| missing("Chromium with its driver"))
}

/// Installs the server of Redis if it is missing.
///
/// # Errors
/// It cannot be installed from here: the error says what to install.
pub fn setup_redis() -> Result<()> {
    if redis_server().is_ok() {
        return Ok(());
    }
    let root = Root::get_with_apt().ok_or_else(|| missing("redis-server"))?;
    root.apt_get(&["update", "-qq"])?;
    REDIS_SERVER.unpack(&root)?;
    redis_server().map(drop)
}

/// Installs what is missing.
///
/// # Errors
/// It cannot be installed from here: the error says what to install.
pub fn setup_tools() -> Result<()> {
    let (no_python, no_node, no_browser) = (python().is_err(), node().is_err(), chromedriver().is_err());
    let missing_programs: Vec<_> =
        [PGBOUNCER, PROMETHEUS, REDIS_SERVER].into_iter().filter(|one| one.find().is_err()).collect();
    if !no_python && !no_node && !no_browser && missing_programs.is_empty() {
        return Ok(());
    }
    let root = Root::get_with_apt().ok_or_else(|| {
        missing("Python with asyncpg and psycopg, Node with pg, pgbouncer, Prometheus, redis-server, or Chromium")
    })?;
    println!("Updating the list of packages (apt-get update).");
    root.apt_get(&["update", "-qq"])?;
    if no_python {
        root.install(&PYTHON_PACKAGES.map(str::to_owned), false)?;
        python()?;
    }
    if no_browser {
        let is_offered = |packages: &&&[&str]| {
            packages.iter().all(|name| command::succeeds(Command::new("apt-cache").args(["show", name])))
        };
        let packages = BROWSER_PACKAGES.iter().find(is_offered).ok_or_else(|| missing("Chromium with its driver"))?;
        root.install(&packages.iter().map(|&name| name.to_owned()).collect::<Vec<_>>(), false)?;
        chromedriver()?;
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

    /// Downloads its packages, and unpacks them.
    fn unpack(&self, root: &Root) -> Result<()> {
        let dir = self.dir()?;
        let prepare = |package: &Path| {
            if !self.needs_others {
                return Ok(());
            }
            let needs = command::output(Command::new("dpkg-deb").arg("-f").arg(package).arg("Depends"))?;
            let others = without(self.packages, &needs);
            if others.is_empty() {
                return Ok(());
            }
            root.apt_get(&["satisfy", "-y", "-qq", "--no-install-recommends", &others])
        };
        self.packages.iter().try_for_each(|name| unpack(name, &dir, prepare))
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

/// Downloads a package and unpacks it into `dir`; before that `prepare` is shown the file.
fn unpack(name: &str, dir: &Path, prepare: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    println!("Downloading the package of {name} and unpacking it into {}", dir.display());
    fs::create_dir_all(dir)?;
    // Of a download that did not get further, another version perhaps.
    while let Some(old) = package_in(dir, name)? {
        fs::remove_file(old)?;
    }
    command::run(Command::new("apt-get").args(["download", "-qq", name]).current_dir(dir))?;
    let package =
        package_in(dir, name)?.ok_or_else(|| Error::from(format!("apt-get downloaded no package of {name}")))?;
    prepare(&package)?;
    command::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(dir))?;
    fs::remove_file(package).map_err(Error::from)
}

/// The file of a package. Others may lie there, too, of a download that did not get further.
fn package_in(dir: &Path, name: &str) -> Result<Option<PathBuf>> {
    let files = fs::read_dir(dir).during(|| dir.display().to_string())?.flatten();
    let is_it = |file: &PathBuf| {
        let file = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
        file.strip_prefix(name).is_some_and(|rest| rest.starts_with('_') && rest.ends_with(".deb"))
    };
    Ok(files.map(|file| file.path()).find(is_it))
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
        // In Debian 13 it needs nothing else.
        assert_eq!(without(REDIS_SERVER.packages, "redis-tools (= 5:8.0.2-3+deb13u3)\n"), "");
    }

    #[test]
    fn only_the_package_itself_is_unpacked() {
        let dir = std::env::temp_dir().join(format!("cache-sync-packages-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        for file in ["redis-tools_7_amd64.deb", "redis_7_amd64.debris", "redisx_7_amd64.deb"] {
            fs::write(dir.join(file), "").expect("a file");
        }
        let found = |name| package_in(&dir, name).expect("a directory");
        assert_eq!(found("redis"), None);
        assert_eq!(found("redis-tools"), Some(dir.join("redis-tools_7_amd64.deb")));
        fs::write(dir.join("redis_7_amd64.deb"), "").expect("a file");
        assert_eq!(found("redis"), Some(dir.join("redis_7_amd64.deb")));
        fs::remove_dir_all(dir).expect("it goes away");
    }
}
