//! Rows that are watched, and rows that many change at a time.
//!
//! ```text
//! seen       how soon a watcher in another process shows a change
//! feed       what watchers cost the feed                  contended  one row that eight processes change
//! ```

mod contended;
mod feed;
mod seen;

pub(crate) use contended::contend;
pub(crate) use seen::watch;

use crate::measure::Rounds;
use crate::report::Report;
use cache_sync_cluster::Cluster;
use cache_sync_kit::Result;

pub(crate) async fn run(cluster: &Cluster, database: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    seen::run(cluster, database, rounds, report).await?;
    feed::run(&cluster.dsn(database), rounds, report).await?;
    contended::run(&cluster.dsn(database), rounds, report).await
}
