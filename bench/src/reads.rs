//! Reads that come to Postgres: misses, many who want the same, and what is held when the feed is heard again.
//!
//! ```text
//! misses     distinct keys, against statements by hand      single     one at a time, and its slowest
//! absent     many tasks, one key without a row              reconnect  how often what is held is loaded again
//! by_hand    what an application would write itself
//! ```

mod absent;
mod by_hand;
mod misses;
mod reconnect;
mod single;

use crate::measure::Rounds;
use crate::report::Report;
use cache_sync::{Cache, Client};
use cache_sync_cluster::Cluster;
use cache_sync_kit::{Result, connect};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Readers at a time.
const CONCURRENT: i64 = 256;
/// A multiple of the readers, so that each of them has keys of its own.
const ROWS: i64 = 800 * CONCURRENT;
/// So few entries are held that a key is gone when its turn comes again.
const HELD: u64 = 1000;
const CONNECTIONS: usize = 4;
const SELECT: &str = "SELECT name, price FROM item WHERE id = $1";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Item {
    name: String,
    price: i32,
}

impl Item {
    fn read(row: &tokio_postgres::Row) -> Result<Item> {
        Ok(Item { name: row.try_get("name")?, price: row.try_get("price")? })
    }
}

pub(crate) async fn run(cluster: &Cluster, database: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let dsn = &cluster.dsn(database);
    connect(dsn)
        .await?
        .batch_execute(&format!(
            "CREATE TABLE item (id bigint PRIMARY KEY, name text NOT NULL, price int NOT NULL);
             SELECT cache_sync.attach('item');
             INSERT INTO item SELECT i, 'item ' || i, i FROM generate_series(0, {ROWS} - 1) i; ANALYZE item"
        ))
        .await?;
    misses::run(dsn, rounds, report).await?;
    single::run(dsn, rounds, report).await?;
    absent::run(dsn, report).await?;
    reconnect::run(cluster, database, report).await
}

/// A cache of the items with room for so many.
async fn open(dsn: &str, room: u64) -> Result<(Client, Cache<i64, Item>)> {
    let client = Client::builder(dsn).pool_size(CONNECTIONS).connect().await?;
    let cache = client.cache("item").max_capacity(room).open().await?;
    Ok((client, cache))
}

async fn close(client: Client) -> Result<()> {
    client.close(Duration::from_secs(10)).await?;
    Ok(())
}
