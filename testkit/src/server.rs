//! A throw-away PostgreSQL with the extension.

use cache_sync_cluster::{Cluster, Options, Tree};
use std::fmt;

/// The database that a server begins with.
const DATABASE: &str = "app";

/// What went wrong with a server.
#[derive(Debug)]
pub struct ServerError(cache_sync_kit::Error);

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ServerError {}

impl From<cache_sync_kit::Error> for ServerError {
    fn from(error: cache_sync_kit::Error) -> ServerError {
        ServerError(error)
    }
}

/// A PostgreSQL of the machine that has the extension, in a temporary directory and on a free port. It ends, and its directory goes, when
/// this is dropped or the process ends, however it ends. Run as root, it runs as the user `postgres`.
#[derive(Debug)]
pub struct Server(Cluster);

impl Server {
    /// Starts one, with an empty database in which the extension is created. The newest PostgreSQL is taken that has the extension;
    /// `CACHE_SYNC_PG_CONFIG=/path/to/pg_config` names another one. It does not wait for its disk, and has the library preloaded.
    ///
    /// # Errors
    /// There is none, or it does not start: the message says what to install, or has the end of the server's log.
    pub fn start() -> Result<Server, ServerError> {
        let cluster = Options::default().fsync(false).tree(Tree::installed()?).start()?;
        cluster.createdb(DATABASE)?;
        cluster.psql(DATABASE, "CREATE EXTENSION cache_sync")?;
        Ok(Server(cluster))
    }

    /// A connection string for its database, as its superuser.
    pub fn dsn(&self) -> String {
        self.0.dsn(DATABASE)
    }

    /// Runs statements by psql; rows come back unaligned, `|` between columns.
    ///
    /// # Errors
    /// One of them failed: the message is psql's.
    pub fn psql(&self, sql: &str) -> Result<String, ServerError> {
        Ok(self.0.psql(DATABASE, sql)?)
    }

    /// Ends it as a crash does, and starts it again on the same port.
    ///
    /// # Errors
    /// It does not start again.
    pub fn restart(&self) -> Result<(), ServerError> {
        Ok(self.0.restart_immediate()?)
    }
}
