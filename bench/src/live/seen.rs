//! How soon a watcher in another process shows a change, against the writer's own commit reply.

use crate::latency::{lags_of, tell};
use crate::measure::Rounds;
use crate::report::{Report, Target};
use cache_sync::{Cache, Client};
use cache_sync_cluster::Cluster;
use cache_sync_kit::Result;
use cache_sync_kit::clock::now_ns;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Counter {
    n: i32,
}

pub(super) async fn run(cluster: &Cluster, database: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let [idle, busy] = lags_of("watch", cluster, database, rounds).await?;
    tell(report, "live", "idle: change shown by a watcher of another process", idle, [Target::None; 3]);
    tell(report, "live", "32 writers: change shown by a watcher of another process", busy, [Target::None; 3]);
    Ok(())
}

/// The other process: prints when it was shown each change.
pub(crate) fn watch(args: &[String]) -> Result<()> {
    let [dsn, table] = args else { return Err("watch needs a DSN and a table".into()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(dsn).await?;
        let counters: Cache<i32, Counter> = client.cache(table).open().await?;
        let mut rows = counters.watch(&1);
        rows.next().await.ok_or("the watcher ended")??;
        println!("watching");
        while let Some(read) = rows.next().await {
            let seen_ns = now_ns();
            read?;
            println!("{seen_ns}");
        }
        Err("the watcher ended".into())
    })
}
