//! What the tests share: clusters, fresh databases, and waiting for conditions.
//!
//! ```no_run
//! # use cache_sync_tests::Database;
//! let db = Database::with_extension();
//! db.psql("CREATE TABLE t (id int PRIMARY KEY, v int)");
//! assert_eq!(db.psql("SELECT count(*) FROM t"), "0");
//! ```
//! Everything here panics on errors: a test has nothing better to do.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/concepts.md")]
struct Concepts;

#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/rollout.md")]
struct RollingOut;

pub mod batches;
pub mod certificates;
pub mod document;
pub mod dump;
pub mod feed;
pub mod gate;
pub mod heard;
pub mod locks;
pub mod logged;
pub mod pooler;
pub mod proxy;
pub mod recorded;
pub mod rows;
mod statements;

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use cache_sync_cluster::{Cluster, Options, Variant};
use cache_sync_kit::{command, wait};
use tokio_postgres::Client;

/// How long a test waits for something that comes at once when all is well.
pub const SOON: Duration = Duration::from_secs(20);
/// How often a test asks for what it waits for.
const PAUSE: Duration = Duration::from_millis(2);

/// The cluster that the tests of this process share, with the extension as users get it.
pub fn cluster() -> &'static Cluster {
    static PLAIN: OnceLock<Cluster> = OnceLock::new();
    PLAIN.get_or_init(|| start_shared(unsynced()))
}

/// The cluster that the tests of this process share, whose server has not preloaded the library.
pub fn cluster_without_preloading() -> &'static Cluster {
    static BARE: OnceLock<Cluster> = OnceLock::new();
    BARE.get_or_init(|| start_shared(unsynced().preload(false)))
}

/// The cluster that the tests of this process share whose server sends heartbeats often, so that short bounds can be kept.
pub fn cluster_with_quick_heartbeats() -> &'static Cluster {
    static QUICK: OnceLock<Cluster> = OnceLock::new();
    QUICK.get_or_init(|| start_shared(unsynced().setting("cache_sync.heartbeat_interval", "100ms")))
}

/// Whether writers NOTIFY on a server like this one if it has not preloaded the library: before PostgreSQL 17, where only a library
/// that is preloaded gets shared memory.
pub fn notifies_without_preloading(cluster: &Cluster) -> bool {
    server_version(cluster) < 17
}

fn server_version(cluster: &Cluster) -> u32 {
    psql_in(cluster, "postgres", "SHOW server_version_num").parse::<u32>().unwrap() / 10_000
}

/// The cluster that the tests of this process share, with settings that make backends kill themselves.
pub fn cluster_with_faults() -> &'static Cluster {
    static FAULTS: OnceLock<Cluster> = OnceLock::new();
    FAULTS.get_or_init(|| start_shared(unsynced().variant(Variant::TestFaults)))
}

/// The ports of the clusters that many tests share.
static SHARED: Mutex<Vec<u16>> = Mutex::new(Vec::new());

/// A cluster that many tests share: its databases with the extension are copies of its `template1`, and autovacuum does not go through
/// its hundreds of databases as often as through a few.
fn start_shared(options: Options) -> Cluster {
    let cluster = start(options.setting("autovacuum_naptime", "10min"));
    psql_in(&cluster, "template1", CREATE_EXTENSION);
    SHARED.lock().unwrap().push(cluster.port());
    cluster
}

const CREATE_EXTENSION: &str = "CREATE EXTENSION cache_sync";

fn psql_in(cluster: &Cluster, database: &str, sql: &str) -> String {
    statements::run(&cluster.dsn(database), sql).unwrap_or_else(|error| panic!("{sql}\n{error}"))
}

/// The options of a cluster that does not wait for the disk: tests end processes, never the machine.
pub fn unsynced() -> Options {
    Options::default().fsync(false)
}

/// A cluster of the test's own, which it may restart.
pub fn start(options: Options) -> Cluster {
    options.start().unwrap_or_else(|error| panic!("{error}"))
}

/// A fresh database in some cluster. It is not dropped: the cluster goes with the process.
#[derive(Debug)]
pub struct Database<'c> {
    cluster: &'c Cluster,
    name: String,
}

impl Database<'static> {
    /// A fresh database of the shared cluster, with the extension in it.
    pub fn with_extension() -> Database<'static> {
        Database::with_extension_in(cluster())
    }
}

impl<'c> Database<'c> {
    /// A fresh, empty database.
    pub fn empty_in(cluster: &'c Cluster) -> Database<'c> {
        Database::copied_in(cluster, "template0")
    }

    /// A fresh database with the extension in it.
    pub fn with_extension_in(cluster: &'c Cluster) -> Database<'c> {
        let db = Database::copied_in(cluster, "template1");
        if !SHARED.lock().unwrap().contains(&cluster.port()) {
            db.psql(CREATE_EXTENSION);
        }
        db
    }

    fn copied_in(cluster: &'c Cluster, template: &str) -> Database<'c> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        psql_in(cluster, "postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        Database { cluster, name }
    }

    /// The cluster that it is in.
    pub fn cluster(&self) -> &'c Cluster {
        self.cluster
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's major version.
    pub fn server_version(&self) -> u32 {
        server_version(self.cluster)
    }

    /// A connection string, as superuser.
    pub fn dsn(&self) -> String {
        self.cluster.dsn(&self.name)
    }

    /// A connection string for another role. The cluster asks nobody for a password.
    pub fn dsn_as(&self, role: &str) -> String {
        format!("postgresql://{role}@127.0.0.1:{}/{}", self.cluster.port(), self.name)
    }

    /// Runs statements as psql does, in a session of their own; rows come back unaligned, `|` between columns.
    pub fn psql(&self, sql: &str) -> String {
        psql_in(self.cluster, &self.name, sql)
    }

    /// The same as replication does it: rows keep the versions and clocks that they come with.
    pub fn psql_as_replica(&self, sql: &str) -> String {
        self.psql(&format!("SET session_replication_role = replica; {sql}"))
    }

    /// Runs statements that may fail: then it hands back what psql says of that, SQLSTATE included.
    ///
    /// # Errors
    /// A statement failed, or the server does not answer.
    pub fn try_psql(&self, sql: &str) -> Result<String, String> {
        statements::run(&self.dsn(), sql)
    }

    /// Runs statements that must fail and hands back what psql says.
    pub fn psql_error(&self, sql: &str) -> String {
        match self.try_psql(sql) {
            Err(error) => error,
            Ok(rows) => panic!("{sql}\nshould have failed, but answered\n{rows}"),
        }
    }

    /// A client program of PostgreSQL that connects here.
    pub fn client(&self, program: &str) -> Command {
        self.cluster.client(program, &self.name)
    }

    /// The schema as pg_dump prints it: all that the catalog says about the user's objects.
    pub fn schema(&self) -> String {
        let dump = output(self.client("pg_dump").args(["--schema-only"]));
        // Newer versions of pg_dump guard each dump with a random token.
        let restrict = |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
        dump.lines().filter(restrict).map(|line| format!("{line}\n")).collect()
    }

    /// Waits until the server takes statements again.
    pub async fn until_back(&self) {
        wait_until(SOON, "the server is back", async || self.try_psql("SELECT 1").is_ok()).await;
    }

    /// Connects as superuser.
    pub async fn connect(&self) -> Client {
        connect(&self.dsn()).await
    }
}

/// Connects; the connection is driven until the client is dropped.
pub async fn connect(dsn: &str) -> Client {
    cache_sync_kit::connect(dsn).await.unwrap_or_else(|error| panic!("{dsn}: {error}"))
}

/// Runs a program and hands back what it printed.
pub fn output(command: &mut Command) -> String {
    command::output(command).unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until `condition` holds.
///
/// # Panics
/// It does not within `limit`.
pub async fn wait_until(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let holds = wait::until(limit, PAUSE, async || Ok(condition().await)).await.expect("a condition cannot fail");
    assert!(holds, "waited {limit:?} in vain until {what}");
}

/// The same where nothing else of the test has to go on; `what` is told if it is in vain.
///
/// # Panics
/// It does not within `limit`.
pub fn wait_blocking(limit: Duration, what: impl Fn() -> String, mut condition: impl FnMut() -> bool) {
    let holds = wait::until_blocking(limit, PAUSE, || Ok(condition())).expect("a condition cannot fail");
    assert!(holds, "waited {limit:?} in vain until {}", what());
}
