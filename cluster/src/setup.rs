//! Finds what the project needs, installs it on Debian and Ubuntu, and says elsewhere what to install.

use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_kit::{Error, Result, command};

use crate::postgres::{MAJOR_MAX, MAJOR_MIN, Postgres};
use crate::{PG_CONFIG_VARIABLE, user};

/// Keeps the package's scripts from creating and starting a cluster `main`, while it is being installed. They only do so
/// at a version's first installation, so the file need not stay.
const NO_MAIN_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/cache-sync.conf";

/// Finds PostgreSQL with server headers, libclang (which reads those headers) and a C compiler. On Debian and Ubuntu
/// installs what is missing; no cluster of the machine is created, started or touched.
///
/// # Errors
/// Something is missing and cannot be installed from here: the error says what to install.
pub fn setup() -> Result<Postgres> {
    let found = Postgres::find()?;
    let (libclang, compiler) = (has_libclang(), has_program("cc"));
    if let (Some(postgres), true, true) = (&found, libclang, compiler) {
        return Ok(postgres.clone());
    }
    let root = Root::get_with_apt().ok_or_else(|| Error::from(what_to_install(found.is_some(), libclang, compiler)))?;
    println!("Updating the list of packages (apt-get update).");
    root.apt_get(&["update", "-qq"])?;
    let mut packages = Vec::new();
    if !libclang {
        packages.extend(["libclang-dev".to_owned(), "clang".to_owned()]);
    }
    if !compiler {
        packages.push("gcc".to_owned());
        packages.push("libc6-dev".to_owned());
    }
    if found.is_none() {
        let major = version_to_install()?;
        packages.extend([format!("postgresql-{major}"), format!("postgresql-server-dev-{major}")]);
    }
    root.install(&packages, found.is_none())?;
    Postgres::find()?.ok_or_else(|| Error::from("PostgreSQL was installed, but no usable pg_config came with it"))
}

/// PostgreSQL `major` with its headers, from apt.
///
/// # Errors
/// It cannot be installed from here: the error says what to install.
pub fn install_major(major: u32) -> Result<Postgres> {
    let packages = [format!("postgresql-{major}"), format!("postgresql-server-dev-{major}")];
    let root = Root::get_with_apt().ok_or_else(|| Error::from(format!("install {}", packages.join(" and "))))?;
    root.apt_get(&["update", "-qq"])?;
    root.install(&packages, true)?;
    Postgres::of_major(major)?
        .ok_or_else(|| Error::from(format!("PostgreSQL {major} was installed, but no usable pg_config came with it")))
}

/// Installs what is missing of some programs, each with the package that has it.
///
/// # Errors
/// It cannot be installed from here: the error says what to install.
pub fn install_missing(programs: &[(&str, &str)]) -> Result<()> {
    let missing = programs.iter().filter(|(program, _)| !has_program(program));
    let packages: Vec<String> = missing.map(|(_, package)| (*package).to_owned()).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let root = Root::get_with_apt().ok_or_else(|| Error::from(format!("not here: {}", packages.join(", "))))?;
    root.apt_get(&["update", "-qq"])?;
    root.install(&packages, false)
}

/// How to become root, which apt needs.
pub(crate) struct Root {
    sudo: bool,
}

impl Root {
    /// The same where packages are installed by apt.
    pub(crate) fn get_with_apt() -> Option<Root> {
        has_program("apt-get").then(Root::get).flatten()
    }

    /// As root, or as someone whom sudo asks no password.
    fn get() -> Option<Root> {
        if user::is_root() {
            return Some(Root { sudo: false });
        }
        command::succeeds(Command::new("sudo").args(["-n", "true"])).then_some(Root { sudo: true })
    }

    fn command(&self, program: &str) -> Command {
        if !self.sudo {
            return Command::new(program);
        }
        let mut command = Command::new("sudo");
        command.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", program]);
        command
    }

    pub(crate) fn apt_get(&self, args: &[&str]) -> Result<()> {
        command::run(self.command("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    }

    pub(crate) fn install(&self, packages: &[String], with_server: bool) -> Result<()> {
        println!("Installing: {}", packages.join(" "));
        let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
        if !with_server {
            args.extend(packages.iter().map(String::as_str));
            return self.apt_get(&args);
        }
        // postgresql-common brings the directory where the scripts of postgresql-N look for this setting.
        self.apt_get(&[&args[..], &["postgresql-common"]].concat())?;
        let write = format!("mkdir -p \"$(dirname {0})\" && echo 'create_main_cluster = false' > {0}", NO_MAIN_CLUSTER);
        command::run(self.command("sh").args(["-c", &write]))?;
        args.extend(packages.iter().map(String::as_str));
        let installed = self.apt_get(&args);
        command::run(self.command("rm").args(["-f", NO_MAIN_CLUSTER]))?;
        installed
    }
}

/// The version of a server that is here without its headers, else the newest that apt offers.
fn version_to_install() -> Result<u32> {
    let offered = |package: &str| -> Result<Vec<u32>> {
        let pattern = format!("^{package}-[0-9]+$");
        let said = command::output(Command::new("apt-cache").args(["search", "--names-only", &pattern]))?;
        let names = said.lines().filter_map(|line| line.split_whitespace().next());
        let majors = names.filter_map(|name| name.rsplit('-').next()?.parse().ok());
        Ok(majors.filter(|major| (MAJOR_MIN..=MAJOR_MAX).contains(major)).collect())
    };
    let headers = offered("postgresql-server-dev")?;
    let here = |major: &&u32| Path::new(&format!("/usr/lib/postgresql/{major}/bin/postgres")).is_file();
    if let Some(major) = headers.iter().filter(here).max() {
        return Ok(*major);
    }
    let servers = offered("postgresql")?;
    headers.into_iter().filter(|major| servers.contains(major)).max().ok_or_else(|| {
        Error::from(format!(
            "apt offers no PostgreSQL from {MAJOR_MIN} to {MAJOR_MAX}. Add PostgreSQL's own repository and try again:\n  \
             apt-get install -y postgresql-common ca-certificates\n  \
             /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y"
        ))
    })
}

/// Whether libclang is where pgrx's bindgen looks for it.
fn has_libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let mut dirs: Vec<PathBuf> =
        ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/Library/Developer/CommandLineTools/usr/lib"]
            .iter()
            .map(PathBuf::from)
            .collect();
    // /usr/lib/llvm-14/lib, /usr/lib/x86_64-linux-gnu, /opt/homebrew/opt/llvm/lib and their like.
    for parent in ["/usr/lib", "/opt/homebrew/opt", "/usr/local/opt"] {
        for dir in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            dirs.extend([dir.path(), dir.path().join("lib")]);
        }
    }
    dirs.iter().flat_map(std::fs::read_dir).flatten().flatten().any(|file| {
        let name = file.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libclang.") || name.starts_with("libclang-") && name.contains(".so")
    })
}

fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// What is missing here and how to get it.
fn what_to_install(postgres: bool, libclang: bool, compiler: bool) -> String {
    let mut text = String::from("Missing here:");
    for (there, what) in [
        (postgres, format!("PostgreSQL {MAJOR_MIN} to {MAJOR_MAX} with its server headers")),
        (libclang, "libclang and clang".to_owned()),
        (compiler, "a C compiler (cc)".to_owned()),
    ] {
        if !there {
            text.push_str(&format!("\n  - {what}"));
        }
    }
    text.push_str("\nInstall with\n");
    text.push_str(if has_program("apt-get") {
        "  sudo apt-get install postgresql postgresql-server-dev-all libclang-dev clang gcc\n"
    } else if has_program("dnf") {
        "  sudo dnf install postgresql-server postgresql-server-devel postgresql-contrib clang-devel gcc\n"
    } else if has_program("pacman") {
        "  sudo pacman -S postgresql clang gcc\n"
    } else if has_program("apk") {
        "  sudo apk add postgresql17 postgresql17-dev postgresql17-contrib clang-dev gcc musl-dev\n"
    } else if has_program("brew") {
        "  brew install postgresql@17 llvm\n"
    } else {
        "  your system's packages of those\n"
    });
    text.push_str(&format!(
        "If they are somewhere unusual: {PG_CONFIG_VARIABLE}=/path/to/pg_config, LIBCLANG_PATH=/path/to/lib"
    ));
    text
}
