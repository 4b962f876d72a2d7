//! Builds pg_ext with plain cargo.
//!
//! cargo-pgrx would do three things: point pgrx at an installation (an environment variable does), generate the install
//! script (ours is written by hand), and copy three files (`tree` does). So nobody needs to compile it.

use std::path::PathBuf;

use cache_sync_kit::{Result, command};

use crate::postgres::Postgres;
use crate::workspace::{cargo, target_dir};

/// Which build of the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// As users get it.
    Plain,
    /// With the feature `test_faults`: settings make a backend kill itself at the worst moments.
    TestFaults,
}

impl Variant {
    /// Both.
    pub const ALL: [Variant; 2] = [Variant::Plain, Variant::TestFaults];

    /// The name of its tree.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Plain => "plain",
            Variant::TestFaults => "test_faults",
        }
    }
}

/// How cargo compiles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As users get it.
    Extension,
    /// Quick to compile.
    Dev,
}

impl Profile {
    /// `Extension`, unless `CACHE_SYNC_PROFILE=dev`.
    pub fn from_env() -> Profile {
        if std::env::var_os("CACHE_SYNC_PROFILE").is_some_and(|profile| profile == "dev") {
            Profile::Dev
        } else {
            Profile::Extension
        }
    }

    /// What cargo calls it.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Extension => "extension",
            Profile::Dev => "dev",
        }
    }

    /// The directory of what is compiled so: cargo calls it like the profile, but for its oldest ones.
    fn dir(self) -> &'static str {
        match self {
            Profile::Extension => "extension",
            Profile::Dev => "debug",
        }
    }
}

/// The environment in which cargo compiles pg_ext for `postgres`.
pub fn build_command_env(postgres: &Postgres) -> [(&'static str, PathBuf); 1] {
    [("PGRX_PG_CONFIG_PATH", postgres.pg_config.clone())]
}

/// Compiles the extension and hands back the library's path. The next build of another variant overwrites it.
///
/// # Errors
/// It does not compile.
pub(crate) fn build(postgres: &Postgres, variant: Variant, profile: Profile) -> Result<PathBuf> {
    let target = target_dir();
    let mut features = postgres.feature();
    if variant == Variant::TestFaults {
        features.push_str(",test_faults");
    }
    let mut cargo = cargo();
    cargo.envs(build_command_env(postgres)).arg("build").arg("--target-dir").arg(&target);
    cargo.args(["--package", "cache-sync-pg", "--no-default-features", "--features", &features]);
    cargo.args(["--profile", profile.name()]);
    command::run(&mut cargo)?;
    let suffix = std::env::consts::DLL_SUFFIX;
    Ok(target.join(profile.dir()).join(format!("libcache_sync{suffix}")))
}
