//! What is done to the server.

use cache_sync_cluster::Cluster;
use cache_sync_kit::{Dice, Result, wait};
use std::process::Command;
use std::time::Duration;

/// How long the server may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kill {
    /// `pg_terminate_backend` of a node's feed.
    EndedFeed,
    /// The same of any connection of a node's.
    EndedConnection,
    /// SIGKILL of a feed's backend: Postgres restarts all of them.
    KilledFeed,
    /// SIGKILL of a writer's backend.
    KilledBackend,
    /// SIGKILL of the checkpointer.
    KilledCheckpointer,
    /// `pg_ctl restart -m immediate`.
    Restarted,
    /// SIGKILL of the postmaster, and a start.
    KilledPostmaster,
}

impl Kill {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kill::EndedFeed => "feed ended",
            Kill::EndedConnection => "connection of a node ended",
            Kill::KilledFeed => "feed's backend killed",
            Kill::KilledBackend => "writer's backend killed",
            Kill::KilledCheckpointer => "checkpointer killed",
            Kill::Restarted => "server restarted, immediate",
            Kill::KilledPostmaster => "postmaster killed",
        }
    }

    /// It meets a single connection, if there is one.
    pub(crate) fn is_of_one(self) -> bool {
        matches!(self, Kill::EndedFeed | Kill::EndedConnection | Kill::KilledFeed | Kill::KilledBackend)
    }

    pub(crate) fn any(dice: &mut Dice) -> Kill {
        match dice.below(12) {
            0..3 => Kill::EndedFeed,
            3..5 => Kill::EndedConnection,
            5..7 => Kill::KilledFeed,
            7 | 8 => Kill::KilledBackend,
            9 => Kill::KilledCheckpointer,
            10 => Kill::Restarted,
            _ => Kill::KilledPostmaster,
        }
    }

    /// Does it. Blocks while the server is being started.
    pub(crate) fn strike(self, cluster: &Cluster, database: &str) -> Result<()> {
        let backend = |of: &str| {
            let asked = format!("SELECT pid FROM pg_stat_activity WHERE {of} ORDER BY random() LIMIT 1");
            cluster.psql(database, &asked)
        };
        let end = |of: &str| cluster.psql(database, &format!("SELECT pg_terminate_backend({})", backend(of)?));
        match self {
            Kill::EndedFeed => drop(end("application_name = 'cache_sync feed'")?),
            Kill::EndedConnection => drop(end("application_name ~ '^cache_sync '")?),
            Kill::KilledFeed => kill(&backend("application_name = 'cache_sync feed'")?)?,
            Kill::KilledBackend => kill(&backend("application_name = '' AND backend_type = 'client backend'")?)?,
            Kill::KilledCheckpointer => kill(&backend("backend_type = 'checkpointer'")?)?,
            Kill::Restarted => cluster.restart_immediate()?,
            Kill::KilledPostmaster => {
                kill(&cluster.postmaster_pid()?.to_string())?;
                let mut launched = Ok(());
                // Until its backends have ended, too, it cannot be started.
                wait::until_blocking(PATIENCE, Duration::from_millis(100), || {
                    launched = cluster.launch();
                    Ok(launched.is_ok())
                })?;
                launched?;
            }
        }
        Ok(())
    }
}

fn kill(pid: &str) -> Result<()> {
    match Command::new("kill").args(["-9", pid]).status()?.success() {
        true => Ok(()),
        false => Err(format!("process {pid} cannot be killed").into()),
    }
}
