//! Batches of `lww` patches, against a plain upsert of the same rows from the same JSON.

use crate::batches::{Input, Ours, ROWS, Theirs};
use crate::measure::Rounds;
use crate::report::{Figure, Report, Target};
use cache_sync_kit::{Result, connect};
use tokio_postgres::Client;

pub(crate) const COLUMNS: &str =
    "id bigint, a int, b bigint, c numeric, d text, e text, f boolean, g timestamptz, h double precision, i uuid";
pub(crate) const FIELDS: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];

pub(crate) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let client = connect(dsn).await?;
    make(&client, "ours").await?;
    make(&client, "theirs").await?;
    client.batch_execute("SELECT cache_sync.attach('ours', versioned => true)").await?;
    let shape = serde_json::json!({"op": "put", "seen": true, "fields": FIELDS});
    let mut ours = Ours::new(&client, "ours", shape, row).await?;
    // Postgres reads the same text faster as json than as jsonb, which most people take.
    for json in ["jsonb", "json"] {
        let mut theirs = Theirs::new(&client, "theirs", Input { columns: COLUMNS, json }, row).await?;
        let sides = rounds.alternate(async || ours.round(rounds).await, async || theirs.round(rounds).await).await?;
        let row = format!("lww, 10 columns, batches of 1000 / upsert through {json}");
        report.rounds(Figure::new("flush", row, "rows/s", Target::AtLeast(0.75)), &sides);
    }
    Ok(())
}

/// Makes a table of ten typed columns, with its rows.
pub(crate) async fn make(client: &Client, table: &str) -> Result<()> {
    let sql = format!(
        "CREATE TABLE {table} ({COLUMNS}, PRIMARY KEY (id)) WITH (fillfactor = 50);
         INSERT INTO {table} SELECT n, n, n, n, 'd' || n, 'e' || n, true, now(), n, gen_random_uuid()
         FROM generate_series(0, {ROWS} - 1) n"
    );
    Ok(client.batch_execute(&sql).await?)
}

/// A row of that table.
pub(crate) fn row(_: i64, id: i64, number: i64) -> String {
    format!(
        "\"id\":{id},\"a\":{number},\"b\":{number},\"c\":{number}.25,\"d\":\"text {number}\",\
         \"e\":\"another text, somewhat longer {number}\",\"f\":{},\"g\":\"2026-01-01T00:00:00.{:06}+00:00\",\"h\":{number}.5,\
         \"i\":\"00000000-0000-4000-8000-{:012}\"",
        number % 2 == 0,
        number % 1_000_000,
        number
    )
}
