//! Where the library is compiled: in a Debian that has this PostgreSQL, which lies in a folder, or on this machine.
//!
//! A folder is better. Only what the package needs is in it, whatever this machine has, and the paths in it are always the same, so that
//! two builds give the same bytes. This machine is for what no release of Debian has, and for whoever is not root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_cluster::{Postgres, build_command_env, cargo, install_major, setup, workspace_root};
use cache_sync_kit::{During, Error, Result, command};

use super::folder::{self, Folder, Lent};
use super::project::workshop;
use super::release::{self, Release};

/// Where the workspace, the work and what is compiled are seen in a folder.
const SOURCE: &str = "/src";
const WORK: &str = "/work";
const BUILT: &str = "/build";
const CARGO_HOME: &str = "/usr/local/cargo";
const RUST: &str = "/usr/local/rust";

/// Where the library is compiled for one PostgreSQL.
pub(super) struct Place {
    pub(super) major: u32,
    /// The directory of this machine that the package is put together in.
    pub(super) work: PathBuf,
    /// The directory of this machine that cargo compiles into.
    built: PathBuf,
    pub(super) kind: Kind,
}

/// The two kinds.
pub(super) enum Kind {
    Folder(Folder, Debian),
    /// With why it is not a folder.
    Machine(Postgres, String),
}

/// A release, and where its packages come from.
#[derive(Debug, Clone)]
pub(super) struct Debian {
    pub(super) release: &'static Release,
    pub(super) mirror: String,
}

impl Debian {
    /// The release that has PostgreSQL `major`.
    ///
    /// # Errors
    /// There is none, or it cannot be had here: the error says why.
    pub(super) fn with_postgres(major: u32) -> Result<Debian> {
        let release = Release::with_postgres(major)
            .ok_or_else(|| Error::from(format!("no release of Debian has PostgreSQL {major}")))?;
        folder::obstacle().map_or(Ok(()), |why| Err(Error::from(why)))?;
        Ok(Debian { release, mirror: release::mirror()? })
    }

    /// The directory of this machine for what is compiled in it, among others of this `name`.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn built(&self, name: &str) -> Result<PathBuf> {
        made_dir(workshop().join(name).join(self.release.name))
    }

    /// The folder in which the extension is compiled.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn to_build(&self) -> Result<Folder> {
        let major = self.release.postgres;
        let mut packages = vec![format!("postgresql-{major}"), format!("postgresql-server-dev-{major}")];
        packages.extend(["gcc", "libc6-dev", "clang", "libclang-dev", "dpkg-dev", "lintian"].map(str::to_owned));
        Folder::with(self.release, &self.mirror, "build", &packages)
    }
}

impl Place {
    /// Where to compile for PostgreSQL `major`; what is compiled goes to a directory of this `name`.
    ///
    /// # Errors
    /// There is no such place: the error says what is missing.
    pub(super) fn of(major: u32, name: &str) -> Result<Place> {
        let own = Postgres::of_major(major)?;
        let debian = Debian::with_postgres(major).and_then(|debian| match own {
            // Somebody's who packages for his own machine, which has another one than its release has.
            Some(_) if !debian.release.is_here() => {
                Err(Error::from(format!("this machine's PostgreSQL {major} is not of Debian {}", debian.release.name)))
            }
            _ => Ok(debian),
        });
        let kind = match (debian, own) {
            (Ok(debian), _) => Kind::Folder(debian.to_build()?, debian),
            (Err(why), Some(own)) => Kind::Machine(own, why.to_string()),
            (Err(why), None) => {
                println!("It is compiled on this machine: {why}.");
                let own = install_major(major).map_err(|cannot| {
                    Error::from(format!(
                        "PostgreSQL {major} with its headers is not on this machine ({cannot}), nor can it be had beside it ({why})"
                    ))
                })?;
                Kind::Machine(own, why.to_string())
            }
        };
        let work = made_dir(workshop().join("work").join(format!("pg{major}")))?;
        let built = match &kind {
            Kind::Folder(_, debian) => debian.built(name)?,
            Kind::Machine(..) => made_dir(workshop().join(name).join("machine"))?,
        };
        Ok(Place { major, work, built, kind })
    }

    /// What tells its packages from those of other systems.
    pub(super) fn suffix(&self) -> String {
        match &self.kind {
            Kind::Folder(_, debian) => format!("deb{}", debian.release.number),
            Kind::Machine(..) => release::here().suffix(),
        }
    }

    /// Compiles the extension as users get it, and copies the library to `to`, without what only debuggers read.
    ///
    /// # Errors
    /// It does not compile.
    pub(super) fn compile(&self, to: &Path) -> Result<()> {
        let feature = format!("pg{}", self.major);
        let mut cargo = match &self.kind {
            Kind::Folder(folder, _) => {
                let mut cargo = in_source(folder, "cargo", &lent(&workspace_root(), &self.built, &self.work)?)?;
                cargo.env("PGRX_PG_CONFIG_PATH", format!("/usr/lib/postgresql/{}/bin/pg_config", self.major));
                cargo
            }
            Kind::Machine(postgres, _) => {
                // libclang, a compiler.
                setup()?;
                let mut cargo = cargo();
                cargo.envs(build_command_env(postgres)).env("RUSTFLAGS", remapped()?);
                cargo.env("CARGO_TARGET_DIR", &self.built);
                cargo
            }
        };
        cargo.args(["build", "--locked", "--profile", "extension", "--package", "cache-sync-pg"]);
        cargo.args(["--no-default-features", "--features", &feature]);
        command::run(&mut cargo)?;
        let library = self.built.join("extension").join("libcache_sync.so");
        fs::copy(&library, to).during(|| library.display().to_string())?;
        let mut strip = self.program("strip")?;
        strip.args(["--strip-unneeded", "--remove-section=.comment", "--remove-section=.note"]).arg(self.path(to));
        command::output(&mut strip).map(drop)
    }

    /// A program of the place in the directory of the work; its arguments are still to be added.
    ///
    /// # Errors
    /// As for a folder's programs.
    pub(super) fn program(&self, program: &str) -> Result<Command> {
        let Kind::Folder(folder, _) = &self.kind else {
            let mut command = Command::new(program);
            command.current_dir(&self.work);
            return Ok(command);
        };
        let mut command = folder.program("env", &[Lent::to_write(&self.work, WORK)])?;
        command.args(["-C", WORK, program]);
        Ok(command)
    }

    /// How the place calls a path below the work.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        match (&self.kind, path.strip_prefix(&self.work)) {
            (Kind::Folder(..), Ok(below)) => Path::new(WORK).join(below),
            _ => path.to_owned(),
        }
    }
}

/// Sources and this machine's Rust, for a folder.
///
/// # Errors
/// Rust is where the system's own programs are, or crates cannot be downloaded.
pub(super) fn lent(source: &Path, built: &Path, work: &Path) -> Result<Vec<Lent>> {
    command::run(cargo().args(["fetch", "--locked", "--quiet"]))?;
    let rust = command::output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(workspace_root()))?;
    let rust = Path::new(rust.trim());
    if rust == Path::new("/usr") {
        return Err(Error::from("Rust is in /usr and cannot be lent to a folder: install it by rustup"));
    }
    Ok(vec![
        Lent::to_read(source, SOURCE),
        Lent::to_read(rust, RUST),
        Lent::to_write(&cargo_home()?.join("registry"), "/usr/local/cargo/registry"),
        Lent::to_write(built, BUILT),
        Lent::to_write(work, WORK),
    ])
}

/// A program in the sources, in a folder, with this machine's Rust, which downloads nothing.
///
/// # Errors
/// As for a folder's programs.
pub(super) fn in_source(folder: &Folder, program: &str, lent: &[Lent]) -> Result<Command> {
    let mut command = folder.program("env", lent)?;
    command.args(["-C", SOURCE, "PATH=/usr/local/rust/bin:/usr/bin:/bin", program]);
    command.envs([("CARGO_HOME", CARGO_HOME), ("CARGO_TARGET_DIR", BUILT), ("CARGO_NET_OFFLINE", "true")]);
    command.env("CARGO_TERM_PROGRESS_WHEN", "never");
    Ok(command)
}

fn made_dir(dir: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&dir).during(|| dir.display().to_string())?;
    Ok(dir)
}

fn cargo_home() -> Result<PathBuf> {
    let named = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    named.or_else(home).ok_or_else(|| Error::from("neither CARGO_HOME nor HOME is set"))
}

/// Paths of this machine are called as in a folder.
fn remapped() -> Result<String> {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok([remap(&workspace_root(), SOURCE), remap(&cargo_home()?, CARGO_HOME)].join(" "))
}
