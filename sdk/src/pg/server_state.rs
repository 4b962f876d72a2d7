//! Which server answers, and how far it is.

use super::postgres::Postgres;
use crate::error::{Error, Step};
use cache_sync_core::number::{Epoch, HostTime, Lsn};
use tokio_postgres::Row;

/// The statement for [`ServerState::of`].
pub(crate) const SERVER_STATE: &str =
    "SELECT in_recovery, system, timeline, database, lsn, epoch, host_time FROM cache_sync_internal.server_state()";

/// Which database of which server rows are of, and which history of its log positions count in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct History {
    system: i64,
    timeline: i32,
    database: i64,
}

impl History {
    /// Whether these are of one database, or of copies of it that replication keeps.
    pub(super) fn is_of(self, other: History) -> bool {
        self.system == other.system && self.database == other.database
    }
}

/// Where a server is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerState {
    pub(crate) in_recovery: bool,
    pub(crate) history: History,
    pub(crate) lsn: Lsn,
    /// That of the server's own memory.
    pub(crate) epoch: Epoch,
    /// What the clock of its host shows.
    pub(crate) host_time: HostTime,
}

impl ServerState {
    pub(crate) fn of(row: &Row) -> Result<ServerState, tokio_postgres::Error> {
        Ok(ServerState {
            in_recovery: row.try_get(0)?,
            history: History { system: row.try_get(1)?, timeline: row.try_get(2)?, database: row.try_get(3)? },
            lsn: Lsn(row.try_get::<_, i64>(4)?.cast_unsigned()),
            epoch: Epoch(row.try_get::<_, i64>(5)?.cast_unsigned()),
            host_time: HostTime(row.try_get(6)?),
        })
    }
}

impl Postgres {
    /// The state of the primary.
    pub(crate) async fn server_state(&self) -> Result<ServerState, Error> {
        const STEP: Step = "asking the primary's state";
        let row = self.query_one(STEP, SERVER_STATE).await?;
        ServerState::of(&row).map_err(|error| Error::query(STEP, error))
    }
}
