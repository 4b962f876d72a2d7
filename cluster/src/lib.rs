//! Throw-away PostgreSQL clusters that have the extension, and servers of Redis, for the tests, the demo and the benchmarks.
//!
//! ```text
//! redis      a throw-away server of Redis
//! tools      programs of others that tests use: Python's drivers, pgbouncer, Prometheus, Redis, Chromium
//! setup      finds PostgreSQL and libclang, installs them on Debian, says elsewhere what to install
//! postgres   a PostgreSQL installation and its directories
//! script     puts the extension's scripts together
//! extension  builds pg_ext with plain cargo
//! tree       a private copy of the installation that has the extension: nothing of the system's is written
//! throwaway  a cluster in a temporary directory that is gone with its owner
//! lifetime   the directory, which goes when its owner ends, however it ends
//! user       as whom a server may run
//! workspace  the workspace's directory, and cargo in it
//! ```
//! Imports run downwards in that list only.
#![forbid(unsafe_code)]

mod extension;
mod lifetime;
mod postgres;
mod redis;
mod script;
mod setup;
mod throwaway;
mod tools;
mod tree;
mod user;
mod workspace;

pub use extension::{Profile, Variant, build_command_env};
pub use postgres::Postgres;
pub use redis::Redis;
pub use script::write_scripts;
pub use setup::{install_major, install_missing, setup};
pub use throwaway::{Cluster, Options, free_port};
pub use tools::{chromedriver, node, pgbouncer, prometheus, python, redis_server, setup_redis, setup_tools};
pub use tree::Tree;
pub use workspace::{cargo, target_dir, workspace_root};

/// Names the directory of a tree that is ready; whoever finds it set builds nothing. The variant's name is appended to
/// it: `$CACHE_SYNC_PG_TREES/plain`.
pub const TREES_VARIABLE: &str = "CACHE_SYNC_PG_TREES";
/// Overrides the search for a PostgreSQL installation.
pub const PG_CONFIG_VARIABLE: &str = "CACHE_SYNC_PG_CONFIG";
