//! A leaderboard: counters that many nodes raise by buffered patches, and a cached query over all of them.
//!
//! **When** the best of many rows are asked for much more often than somebody needs them to the millisecond. Live in the browser: see live_scores.rs.
//!
//! **When two nodes race** Postgres adds, so no point is lost, and every node shows the same leaders once it has heard of the last one.

use cache_sync::{Cache, Client, Patch};
use cache_sync_examples::{Result, close, database_url, in_step, make_anew, two_nodes};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Player {
    name: String,
    points: i64,
}

async fn leaders(client: &Client) -> Result<Arc<Vec<Player>>> {
    let query = client.query("SELECT name, points FROM contestant ORDER BY points DESC, name LIMIT 3");
    Ok(query.fetch().await?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    make_anew(
        &dsn,
        r#"DROP TABLE IF EXISTS contestant;
           CREATE TABLE contestant (id int PRIMARY KEY, name text NOT NULL, points bigint NOT NULL DEFAULT 0);
           INSERT INTO contestant SELECT n, 'player ' || n FROM generate_series(1, 100) n;
           SELECT cache_sync.attach('contestant', versioned => true, rules => '{"points": "add"}')"#,
    )
    .await?;

    // Two nodes score at once; Postgres adds.
    let nodes = two_nodes(&dsn).await?;
    let [one, two] = &nodes;
    let players: [Cache<i32, Player>; 2] =
        [one.cache("contestant").open().await?, two.cache("contestant").open().await?];
    println!("before: {:?}", leaders(one).await?[0]);
    for id in 1..=100 {
        for node in &players {
            // The receipt can be awaited; here in_step() waits for all of them.
            let _ = node.patch(&id, Patch::new().add("points", id % 7)).await?;
        }
    }
    // A query shows what is committed, once its node has heard of it.
    in_step(&nodes).await?;

    for client in &nodes {
        let leaders = leaders(client).await?;
        println!("after:  {}", leaders.iter().map(|player| &*player.name).collect::<Vec<_>>().join(", "));
        assert_eq!((leaders[0].name.as_str(), leaders[0].points), ("player 13", 12));
    }
    close(nodes).await
}
