//! A million rows in one statement.

use crate::idle;
use crate::measure::Rounds;
use crate::report::{Figure, Report, Target};
use cache_sync_kit::{Result, connect};
use futures_util::SinkExt;
use std::fmt::Write;
use std::time::Instant;
use tokio_postgres::Client;

const ROWS: i64 = 1_000_000;

pub(crate) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let client = connect(dsn).await?;
    for table in ["ours", "theirs", "idle"] {
        client
            .batch_execute(&format!("CREATE TABLE {table} (id bigint PRIMARY KEY, n int NOT NULL, name text)"))
            .await?;
    }
    client.batch_execute("SELECT cache_sync.attach('ours')").await?;
    client.batch_execute(&format!("{}; {}", idle::FUNCTION, idle::trigger("idle"))).await?;
    let mut data = String::new();
    for id in 0..ROWS {
        writeln!(data, "{id}\t{id}\tname {id}")?;
    }
    let data = bytes::Bytes::from(data);

    let sides = rounds
        .alternate(async || copy(&client, "ours", &data).await, async || copy(&client, "theirs", &data).await)
        .await?;
    report.rounds(Figure::new("bulk", "COPY of a million rows / not attached", "ms", Target::AtMost(1.4)), &sides);
    let sides =
        rounds.alternate(async || update(&client, "ours").await, async || update(&client, "theirs").await).await?;
    report.rounds(Figure::new("bulk", "UPDATE of a million rows / not attached", "ms", Target::AtMost(1.2)), &sides);
    copy(&client, "idle", &data).await?;
    let sides =
        rounds.alternate(async || update(&client, "idle").await, async || update(&client, "theirs").await).await?;
    report
        .rounds(Figure::new("bulk", "UPDATE of a million rows, idle trigger / no trigger", "ms", Target::None), &sides);
    Ok(())
}

async fn copy(client: &Client, table: &str, data: &bytes::Bytes) -> Result<f64> {
    client.batch_execute(&format!("TRUNCATE {table}")).await?;
    client.batch_execute("CHECKPOINT").await?;
    let start = Instant::now();
    let sink = client.copy_in(&format!("COPY {table} FROM STDIN")).await?;
    tokio::pin!(sink);
    sink.send(data.clone()).await?;
    sink.finish().await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

async fn update(client: &Client, table: &str) -> Result<f64> {
    client.batch_execute(&format!("VACUUM {table}")).await?;
    client.batch_execute("CHECKPOINT").await?;
    let start = Instant::now();
    client.execute(&format!("UPDATE {table} SET n = n + 1"), &[]).await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
