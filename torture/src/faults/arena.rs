//! What is done to the servers.

use super::kills::Kill;
use super::servers::Servers;
use crate::history::{Event, Fate, History, Span, Written};
use crate::tables::swap;
use cache_sync_cluster::Cluster;
use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Result, connect};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_postgres::Client;

/// How long it is tried to change a table, whatever else goes on.
const INSIST_MAX: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);
/// The number of the process that swaps tables, in histories.
const PROCESS: u32 = 200;

pub(crate) struct Arena {
    pub(crate) standby: Option<Cluster>,
    cluster: Cluster,
    servers: Servers,
    events: Vec<Event>,
    swaps: i64,
    snapshots: JoinSet<()>,
}

/// A session with an open transaction.
pub(crate) struct Console(Client);

impl Console {
    /// Ends it; the server may have done so before.
    pub(super) async fn end(self) {
        drop(self.0.batch_execute("ROLLBACK").await);
    }
}

impl Arena {
    pub(crate) fn new(cluster: Cluster, standby: Option<Cluster>, servers: Servers) -> Arena {
        Arena { standby, cluster, servers, events: Vec::new(), swaps: 0, snapshots: JoinSet::new() }
    }

    fn dsn(&self) -> String {
        self.servers.dsn()
    }

    /// What was done here since this was asked last.
    pub(crate) fn history(&mut self) -> History {
        History { process: PROCESS, events: std::mem::take(&mut self.events) }
    }

    /// Holds in a transaction what the statement takes. `None`: it cannot be had now.
    pub(super) async fn console(&self, statement: &str) -> Option<Console> {
        let client = connect(&self.dsn()).await.ok()?;
        let begun = client.batch_execute(&format!("SET lock_timeout = '3s'; BEGIN; {statement}")).await;
        begun.ok().map(|()| Console(client))
    }

    /// Somebody has begun to read, and goes on for long.
    pub(super) fn hold_snapshot(&mut self, time: Duration) {
        while self.snapshots.try_join_next().is_some() {}
        let dsn = self.dsn();
        self.snapshots.spawn(async move {
            let Ok(client) = connect(&dsn).await else { return };
            let begun = client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM item").await;
            if begun.is_ok() {
                tokio::time::sleep(time).await;
            }
        });
    }

    /// Runs it until it has succeeded, or fails because it has been done.
    pub(super) async fn insist(&self, sql: &str, done: &str) -> Result<()> {
        let end = Instant::now() + INSIST_MAX;
        loop {
            let tried = async { connect(&self.dsn()).await?.batch_execute(sql).await }.await;
            match tried {
                Ok(()) => return Ok(()),
                Err(error) if error.code().is_some_and(|code| code.code() == done) => return Ok(()),
                Err(error) if Instant::now() > end => return Err(format!("{sql}: {error:?}").into()),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Two tables change names.
    pub(super) async fn swap(&mut self) -> Result<()> {
        let end = Instant::now() + INSIST_MAX;
        loop {
            self.swaps += 1;
            let name = self.swaps;
            let begun = now_ns();
            let swapped = async {
                let client = connect(&self.dsn()).await?;
                client.batch_execute(&swap(name)).await
            };
            let tried = swapped.await;
            let fate = match &tried {
                Ok(()) => Fate::Written,
                Err(_) => Fate::Unknown,
            };
            let span = Span { begun, ended: now_ns() };
            self.events.push(Event::Named { name, written: Written { span, accepted: None, fate, opening: 0 } });
            match tried {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > end => return Err(format!("swapping tables: {error:?}").into()),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    pub(super) fn pause_standby(&self, is_paused: bool) -> Result<()> {
        let Some(standby) = &self.standby else { return Ok(()) };
        let sql = if is_paused { "SELECT pg_wal_replay_pause()" } else { "SELECT pg_wal_replay_resume()" };
        tokio::task::block_in_place(|| standby.psql("postgres", sql)).map(drop)
    }

    /// The standby becomes the primary, once it has everything: a server that is shut down waits until its standby has all of its log.
    /// Then another standby takes the place of the old primary.
    pub(super) fn switch_over(&mut self) -> Result<()> {
        let Some(standby) = self.standby.take() else { return Ok(()) };
        tokio::task::block_in_place(|| {
            standby.psql("postgres", "SELECT pg_wal_replay_resume()")?;
            self.cluster.stop("fast")?;
            standby.psql("postgres", "SELECT pg_promote()")?;
            self.servers.switch(&standby);
            // The old one's directory goes with it.
            self.cluster = standby;
            let next = self.cluster.standby(&[])?;
            self.servers.follow(&next);
            self.standby = Some(next);
            Ok(())
        })
    }

    /// Blocks while the server is being started.
    pub(super) fn kill(&self, kill: Kill) -> Result<()> {
        let struck = tokio::task::block_in_place(|| kill.strike(&self.cluster, self.servers.database()));
        match struck {
            // There may be nobody just now.
            Err(_) if kill.is_of_one() => Ok(()),
            struck => struck.map_err(|error| format!("{}: {error}", kill.name()).into()),
        }
    }
}
