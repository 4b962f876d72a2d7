//! Rounds: everybody acts, something is killed, everybody acts on; then all is quiet, and every entry must equal its row.
//!
//! ```text
//! statements  random statements of all kinds        writers  the connections that run them
//! nodes       clients with caches, which read and write too
//! report      what is printed
//! ```

mod nodes;
mod report;
mod statements;
mod writers;

pub(crate) use report::Report;

use crate::faults::Kill;
use cache_sync_cluster::{Cluster, Options};
use cache_sync_kit::{Dice, Result, locked, wait};
use nodes::{Activity, Compared, Node, Stored};
use statements::SCHEMA;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use writers::{Tally, write};

const DATABASE: &str = "soak";
const WRITERS: u64 = 8;
const NODES: u64 = 4;
/// How long nodes may take to be well again after a kill.
const REPAIR_MAX: Duration = Duration::from_secs(60);

pub(crate) async fn run(time: Duration, seed: u64) -> Result<Report> {
    // A small ring, so that nodes are overrun, too.
    let cluster = Options::default().fsync(false).setting("cache_sync.ring_size", "4096").start()?;
    cluster.createdb(DATABASE)?;
    cluster.psql(DATABASE, "CREATE EXTENSION cache_sync")?;
    cluster.psql(DATABASE, SCHEMA)?;
    let dsn = cluster.dsn(DATABASE);
    let mut nodes = Vec::new();
    for number in 1..=NODES {
        nodes.push(Arc::new(Node::open(format!("node {number}"), &dsn).await?));
    }
    let (gate, tally, activity) =
        (Arc::new(RwLock::new(())), Arc::<Mutex<Tally>>::default(), Arc::<Mutex<Activity>>::default());
    let mut tasks = JoinSet::new();
    for number in 0..WRITERS {
        tasks.spawn(write(dsn.clone(), seed + number, gate.clone(), tally.clone()));
    }
    for (number, node) in nodes.iter().enumerate() {
        tasks.spawn(node.clone().act(seed + 100 + number as u64, gate.clone(), activity.clone()));
    }
    let mut dice = Dice::new(seed + 1000);
    let mut report = Report::default();
    let end = Instant::now() + time;
    while Instant::now() < end {
        round(&cluster, &nodes, &mut dice, &mut report).await?;
        let quiet = gate.write().await;
        be_quiet(&dsn, &nodes, &mut report).await?;
        drop(quiet);
        report.print_round();
        if let Some(ended) = tasks.try_join_next() {
            return Err(format!("a task ended: {ended:?}").into());
        }
    }
    tasks.shutdown().await;
    report.statements = std::mem::take(&mut locked(&tally));
    report.activity = std::mem::take(&mut locked(&activity));
    for node in &nodes {
        let status = node.client.status();
        report.gaps += status.gaps;
        report.connects += status.feed_connects;
        report.refetches += status.caches.iter().map(|cache| cache.loaded_keys).sum::<u64>();
        report.changes += status.caches.iter().map(|cache| cache.changes).sum::<u64>();
        let unwritten = node.client.close(Duration::from_secs(10)).await?;
        report.unwritten += unwritten.len();
    }
    Ok(report)
}

/// Some seconds of action with a kill in the middle.
async fn round(cluster: &Cluster, nodes: &[Arc<Node>], dice: &mut Dice, report: &mut Report) -> Result<()> {
    let act = async |dice: &mut Dice| tokio::time::sleep(Duration::from_millis(1000 + dice.below(2000))).await;
    act(dice).await;
    let kill = Kill::any(dice);
    let struck = Instant::now();
    tokio::task::block_in_place(|| kill.strike(cluster, DATABASE))
        .map_err(|error| format!("{}: {error}", kill.name()))?;
    for node in nodes {
        let left = REPAIR_MAX.saturating_sub(struck.elapsed());
        if !wait::until(left, Duration::from_millis(5), async || Ok(node.is_well().await)).await? {
            return Err(format!("{} is not well {REPAIR_MAX:?} after: {}", node.name, kill.name()).into());
        }
    }
    report.repairs.push((kill, struck.elapsed()));
    act(dice).await;
    Ok(())
}

/// Nobody acts any more: nodes settle, and are compared with what is stored.
async fn be_quiet(dsn: &str, nodes: &[Arc<Node>], report: &mut Report) -> Result<()> {
    for node in nodes {
        node.settle().await?;
    }
    // What the last of them wrote, the first has yet to hear of.
    for node in nodes {
        node.settle().await?;
        report.epochs.insert(node.client.status().epoch);
    }
    let stored = Stored::read(dsn).await?;
    let mut compared = Compared::default();
    for node in nodes {
        node.compare(&stored, &mut compared).await?;
    }
    report.add(compared);
    Ok(())
}
