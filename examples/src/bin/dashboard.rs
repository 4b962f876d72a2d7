//! A live dashboard: numbers that many nodes raise all the time, summed up by a query that is shown as it changes.
//!
//! **When** many write and somebody looks at the sum: sales, visits, machines, queues.
//!
//! **When two nodes race** each sale counts once, since counters are raised by differences (rule `add`), and a node sends what it has
//! collected as one. However many changes there are, the query is loaded at most once in `min_refresh`, and the last sum is always shown.

use cache_sync::{Cache, Client, Patch};
use cache_sync_examples::{Result, close, database_url, make_anew, two_nodes};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Shop {
    orders: i64,
    cents: i64,
}

const SHOPS: i64 = 4;
const SALES: i64 = 1000;
const REFRESH: Duration = Duration::from_millis(50);

async fn sell(shops: Cache<i64, Shop>) -> Result<()> {
    for sale in 0..SALES {
        let patch = Patch::new().add("orders", 1).add("cents", sale);
        let _ = shops.patch(&(sale % SHOPS), patch).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    make_anew(
        &dsn,
        r#"DROP TABLE IF EXISTS shop;
           CREATE TABLE shop (id bigint PRIMARY KEY, orders bigint NOT NULL DEFAULT 0, cents bigint NOT NULL DEFAULT 0);
           INSERT INTO shop SELECT generate_series(0, 3);
           SELECT cache_sync.attach('shop', rules => '{"orders": "add", "cents": "add"}')"#,
    )
    .await?;
    let ([one, other], board) = (two_nodes(&dsn).await?, Client::connect(&dsn).await?);
    let totals = "SELECT sum(orders)::bigint, sum(cents)::bigint FROM shop";
    let mut totals = board.query::<(i64, i64)>(totals).min_refresh(REFRESH).watch();

    let begun = Instant::now();
    let selling =
        [tokio::spawn(sell(one.cache("shop").open().await?)), tokio::spawn(sell(other.cache("shop").open().await?))];
    let all = (2 * SALES, SALES * (SALES - 1));
    let mut shown = 0;
    loop {
        let read = totals.next().await.ok_or("it goes on")??;
        shown += 1;
        if read.rows.first() == Some(&all) {
            break;
        }
    }
    for node in selling {
        node.await??;
    }
    let (loads, allowed) = (board.status().query_loads, begun.elapsed().as_millis() / REFRESH.as_millis() + 2);
    println!("{} orders, {}.{:02}", all.0, all.1 / 100, all.1 % 100);
    assert!(u128::from(loads) <= allowed && shown <= loads, "{shown} shown of {loads} loads, {allowed} allowed");
    close([one, other, board]).await
}
