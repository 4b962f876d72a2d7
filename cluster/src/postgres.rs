//! A PostgreSQL installation and its directories.

use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_kit::{Error, Result, command};

use crate::PG_CONFIG_VARIABLE;

/// The oldest major version that the extension is written for.
pub(crate) const MAJOR_MIN: u32 = 15;
/// The newest one: pgrx has no bindings for later ones.
pub(crate) const MAJOR_MAX: u32 = 18;

/// A PostgreSQL installation with server and server headers.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// Its `pg_config`.
    pub pg_config: PathBuf,
    /// Its major version.
    pub major: u32,
    /// Where `postgres` and `initdb` are.
    pub bin: PathBuf,
    /// Where loadable libraries are.
    pub lib: PathBuf,
    /// Where `extension/` is.
    pub share: PathBuf,
}

impl Postgres {
    /// The newest usable installation on this machine, or `None`. `CACHE_SYNC_PG_CONFIG` decides if it is set.
    ///
    /// # Errors
    /// `CACHE_SYNC_PG_CONFIG` names an installation that cannot be used.
    pub fn find() -> Result<Option<Postgres>> {
        if let Some(chosen) = std::env::var_os(PG_CONFIG_VARIABLE) {
            return Postgres::at(Path::new(&chosen))
                .map(Some)
                .map_err(|error| Error::from(format!("{PG_CONFIG_VARIABLE}={}: {error}", chosen.to_string_lossy())));
        }
        Ok(usable().max_by_key(|postgres| postgres.major))
    }

    /// A usable installation of this major version, or `None`. The one that `CACHE_SYNC_PG_CONFIG` names goes first.
    ///
    /// # Errors
    /// `CACHE_SYNC_PG_CONFIG` names an installation that cannot be used.
    pub fn of_major(major: u32) -> Result<Option<Postgres>> {
        let named = Postgres::find()?.filter(|postgres| postgres.major == major);
        Ok(named.or_else(|| usable().find(|postgres| postgres.major == major)))
    }

    /// The newest installation on this machine that has the extension, headers or not. `CACHE_SYNC_PG_CONFIG` decides if it is set.
    ///
    /// # Errors
    /// There is none.
    pub fn with_extension() -> Result<Postgres> {
        let chosen = std::env::var_os(PG_CONFIG_VARIABLE).map(|chosen| vec![PathBuf::from(chosen)]);
        let found = chosen.unwrap_or_else(candidates).into_iter().filter_map(|pg_config| Postgres::of(&pg_config).ok());
        let found = found.filter(|postgres| postgres.share.join("extension/cache_sync.control").is_file());
        found.max_by_key(|postgres| postgres.major).ok_or_else(|| {
            Error::from(format!(
                "no PostgreSQL {MAJOR_MIN} to {MAJOR_MAX} with the extension cache_sync was found: install it, or name one with \
                 {PG_CONFIG_VARIABLE}=/path/to/pg_config"
            ))
        })
    }

    /// The installation that `pg_config` belongs to.
    ///
    /// # Errors
    /// There is none, it is too old or too new, or it lacks the server or its headers.
    pub fn at(pg_config: &Path) -> Result<Postgres> {
        let postgres = Postgres::of(pg_config)?;
        let headers = command::output(Command::new(pg_config).arg("--includedir-server"))?;
        let needed = Path::new(headers.trim()).join("postgres.h");
        if needed.is_file() { Ok(postgres) } else { Err(Error::from(format!("{} is missing", needed.display()))) }
    }

    /// The same without its headers.
    fn of(pg_config: &Path) -> Result<Postgres> {
        let ask = |what: &str| command::output(Command::new(pg_config).arg(what)).map(|said| said.trim().to_owned());
        let version = ask("--version")?;
        let major = major_of(&version).ok_or_else(|| Error::from(format!("`{version}` is no version")))?;
        if !(MAJOR_MIN..=MAJOR_MAX).contains(&major) {
            return Err(Error::from(format!("{version} is not one of PostgreSQL {MAJOR_MIN} to {MAJOR_MAX}")));
        }
        let bin = PathBuf::from(ask("--bindir")?);
        for needed in [bin.join("postgres"), bin.join("initdb")] {
            if !needed.is_file() {
                return Err(Error::from(format!("{} is missing", needed.display())));
            }
        }
        // Debian's /usr/bin/pg_config is a shell script that picks a version anew each time.
        let own = bin.join("pg_config");
        let pg_config = if own.is_file() { own } else { pg_config.to_owned() };
        Ok(Postgres { pg_config, major, bin, lib: ask("--pkglibdir")?.into(), share: ask("--sharedir")?.into() })
    }

    /// The feature of pg_ext that chooses this version.
    pub fn feature(&self) -> String {
        format!("pg{}", self.major)
    }
}

fn usable() -> impl Iterator<Item = Postgres> {
    candidates().into_iter().filter_map(|pg_config| Postgres::at(&pg_config).ok())
}

/// Every `pg_config` worth asking.
fn candidates() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin/pg_config")).collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path).map(|dir| dir.join("pg_config")));
    found.retain(|pg_config| pg_config.is_file());
    found
}

/// The major version in what `pg_config --version` says: `PostgreSQL 15.20 (Debian ...)`, `PostgreSQL 19beta1`.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(1)?;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version() {
        assert_eq!(major_of("PostgreSQL 15.20 (Debian 15.20-0+deb12u1)"), Some(15));
        assert_eq!(major_of("PostgreSQL 18beta2"), Some(18));
        assert_eq!(major_of("PostgreSQL 17"), Some(17));
        assert_eq!(major_of("nonsense"), None);
    }
}
