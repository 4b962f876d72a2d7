//! pgbench, unmodified: it knows nothing of the extension.

use std::process::Stdio;

use cache_sync_cluster::Cluster;
use cache_sync_kit::{Result, command};
use tokio::process::{Child, Command};

/// How many clients it has.
const CLIENTS: &str = "4";

/// Creates and fills pgbench's tables.
pub(crate) fn fill(cluster: &Cluster, database: &str, scale: u32) -> Result<()> {
    let mut pgbench = cluster.client("pgbench", database);
    pgbench.args(["--initialize", "--quiet", "--scale", &scale.to_string()]);
    tokio::task::block_in_place(|| command::output(&mut pgbench)).map(drop)
}

/// Starts TPC-B for so many seconds. It does not vacuum, and so does not truncate its history either.
pub(crate) fn start(cluster: &Cluster, database: &str, seconds: u64) -> Result<Child> {
    let mut pgbench = Command::from(cluster.client("pgbench", database));
    pgbench.args(["-n", "--client", CLIENTS, "--time", &seconds.to_string()]);
    // What it says when Postgres goes away under it is not news.
    Ok(pgbench.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn()?)
}

/// Waits for its end and hands back its exit code; -1 for a signal.
pub(crate) async fn exit_code(mut child: Child) -> Result<i32> {
    Ok(child.wait().await?.code().unwrap_or(-1))
}
