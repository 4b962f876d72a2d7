//! Everything that takes part: the cluster, its standby, nodes behind links, writers.

use super::BOUND;
use super::process::Process;
use super::report::Report;
use super::resources::Resources;
use super::writers::Writers;
use crate::faults::{Arena, Choice, Link, Plan, Servers, Struck};
use crate::history::{History, Rule, Truth, Violation};
use crate::node::NodeArguments;
use crate::tables::{Stored, schema};
use cache_sync_cluster::{Cluster, Options};
use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Result, wait};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

pub(crate) const DATABASE: &str = "histories";
/// Each adds to a column of its own.
const NODES: u32 = 4;
/// These load from the standby, if there is one.
const FROM_STANDBY: std::ops::RangeInclusive<u32> = 3..=4;
/// This one serves what it cannot confirm, and says so.
const SERVES_STALE: u32 = 2;
/// A standby counts only for those who have written nothing that it has not replayed: this one never writes.
const ONLY_READS: u32 = 4;
/// A run that is shorter is not worth a standby.
const STANDBY_FROM: Duration = Duration::from_secs(45);
/// How long the standby may take to have the tables.
const STANDBY_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) link: Link,
}

pub(crate) struct Field {
    pub(crate) nodes: Vec<Node>,
    pub(crate) resources: Resources,
    pub(crate) arena: Arena,
    servers: Servers,
    writers: Writers,
    /// Held while all is quiet.
    quiet: Option<OwnedRwLockWriteGuard<()>>,
    stored: Stored,
    dir: PathBuf,
}

impl Field {
    pub(crate) async fn start(time: Duration, seed: u64, choice: &Choice) -> Result<Field> {
        let heartbeat = (BOUND / 10).as_millis().to_string();
        let cluster = Options::default().fsync(false).setting("cache_sync.heartbeat_interval", &heartbeat).start()?;
        cluster.createdb(DATABASE)?;
        cluster.psql(DATABASE, &schema())?;
        let standby =
            if time >= STANDBY_FROM || choice.switches_over() { Some(standby_of(&cluster).await?) } else { None };
        let servers = Servers::new(&cluster, standby.as_ref(), DATABASE);
        let dir = std::env::temp_dir().join(format!("cache-sync-torture-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let mut nodes = Vec::new();
        for number in 1..=NODES {
            let link = Link::start(&servers).await?;
            let arguments = NodeArguments {
                dsn: dsn(&link, choice),
                standby: standby.as_ref().filter(|_| FROM_STANDBY.contains(&number)).map(|_| dsn_of(link.ports[1])),
                history: dir.join(format!("node {number}")),
                number,
                seed: seed + u64::from(number),
                bound: BOUND,
                serves_stale: number == SERVES_STALE,
                only_reads: number == ONLY_READS,
            };
            nodes.push(Node { process: Process::start(&arguments).await?, link });
        }
        let gate = Arc::new(RwLock::new(()));
        let quiet = Some(gate.clone().write_owned().await);
        let writers = Writers::start(&servers, seed + 1000, &gate);
        let stored = Stored::read(&servers.dsn(), now_ns()).await?;
        let pids = nodes.iter().filter_map(|node| node.process.pid()).collect();
        let resources = Resources::watch(pids, servers.clone());
        let arena = Arena::new(cluster, standby, servers.clone());
        Ok(Field { nodes, resources, arena, servers, writers, quiet, stored, dir })
    }

    pub(crate) fn has_standby(&self) -> bool {
        self.arena.standby.is_some()
    }

    /// Everybody acts from now on.
    pub(crate) async fn go(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.process.tell("go").await?;
        }
        self.quiet = None;
        Ok(())
    }

    pub(crate) async fn strike(&mut self, plan: &Plan) -> Result<Vec<Struck>> {
        let mut struck = Vec::new();
        for blow in &plan.blows {
            struck.push(blow.strike(&mut self.arena, &mut self.nodes).await?);
        }
        Ok(struck)
    }

    pub(crate) async fn heal(&mut self, struck: Vec<Struck>) -> Result<()> {
        for one in struck {
            one.heal(&mut self.arena, &mut self.nodes).await?;
        }
        Ok(())
    }

    /// Everybody stops; what happened since the last time, and what the database says of it.
    pub(crate) async fn quiet(&mut self, report: &mut Report) -> Result<(Truth, Vec<History>)> {
        self.quiet = Some(self.writers.gate().write_owned().await);
        for node in &mut self.nodes {
            node.process.tell("stop").await?;
        }
        for node in &mut self.nodes {
            if !node.process.stopped().await? {
                report.found(Violation::new(Rule::Converged, "a node does not get rid of what it has buffered"));
            }
        }
        // What the last of them wrote, the first has yet to hear of.
        for node in &mut self.nodes {
            node.process.tell("settle").await?;
        }
        let mut histories = self.writers.histories();
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let (is_caught_up, counts) = node.process.settled().await?;
            if !is_caught_up {
                report.found(Violation::new(Rule::Converged, "a node does not catch up though all is quiet"));
            }
            report.counted(number, counts);
            histories.push(node.process.history()?);
        }
        histories.push(self.arena.history());
        self.resources.is_quiet();
        let now = Stored::read(&self.servers.dsn(), now_ns()).await?;
        let truth = self.stored.until(&self.servers.dsn(), &now).await?;
        self.stored = now;
        Ok((truth, histories))
    }

    pub(crate) async fn end(self) {
        drop(self.nodes);
        // It is in the directory for temporary files.
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// How a node connects: to the first place, or to whichever is the primary's.
fn dsn(link: &Link, choice: &Choice) -> String {
    let [first, second] = link.ports;
    match choice.switches_over() {
        true => format!(
            "postgresql://postgres@127.0.0.1:{first},127.0.0.1:{second}/{DATABASE}?target_session_attrs=read-write"
        ),
        false => dsn_of(first),
    }
}

fn dsn_of(port: u16) -> String {
    format!("postgresql://postgres@127.0.0.1:{port}/{DATABASE}")
}

async fn standby_of(cluster: &Cluster) -> Result<Cluster> {
    let standby = tokio::task::block_in_place(|| cluster.standby(&[]))?;
    let has_tables = async || Ok(standby.psql(DATABASE, "SELECT count(*) FROM item").is_ok());
    if !wait::until(STANDBY_MAX, Duration::from_millis(50), has_tables).await? {
        return Err("the standby does not get the tables".into());
    }
    Ok(standby)
}
