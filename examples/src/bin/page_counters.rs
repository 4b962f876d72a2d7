//! Counters that many processes raise: rule `add` makes every update a difference, and differences add up.

use cache_sync::{Cache, Patch};
use cache_sync_examples::{Result, close, database_url, in_step, make_anew, two_nodes};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Page {
    views: i64,
    last_visitor: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    let sql = make_anew(
        &dsn,
        r#"DROP TABLE IF EXISTS page;
           CREATE TABLE page (path text PRIMARY KEY, views bigint NOT NULL DEFAULT 0, last_visitor text);
           INSERT INTO page VALUES ('/home'), ('/about');
           SELECT cache_sync.attach('page', versioned => true, rules => '{"views": "add"}')"#,
    )
    .await?;

    let nodes = two_nodes(&dsn).await?;
    let [here, there] = &nodes;
    let home = "/home".to_owned();
    let pages: Cache<String, Page> = here.cache("page").open().await?;
    let others: Cache<String, Page> = there.cache("page").open().await?;
    for visitor in 0..100 {
        // From what is held ...
        let update = pages.update(&home, |page| {
            page.views += 1;
            page.last_visitor = Some(format!("visitor {visitor}"));
        });
        drop(update.await?);
        // ... and without loading the row at all.
        drop(others.patch(&home, Patch::new().add("views", 1)).await?);
    }
    in_step(&nodes).await?;

    let views: i64 = sql.query_one("SELECT views FROM page WHERE path = '/home'", &[]).await?.get(0);
    let status = pages.status();
    println!("{views} views; our 100 updates took {} patches in {} batches", status.patches, status.batches);
    assert_eq!(views, 200);

    close(nodes).await
}
