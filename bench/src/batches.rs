//! Two sides that write the same rows from the same JSON, batch by batch: patches, and a plain upsert.

use crate::measure::Rounds;
use cache_sync_core::outcome::{self, Verdict};
use cache_sync_kit::Result;
use std::time::{Instant, SystemTime};
use tokio_postgres::{Client, Statement};

/// How many rows the tables have, and a batch.
pub(crate) const ROWS: i64 = 20_000;
pub(crate) const BATCH: i64 = 1000;

/// Writes one row of a batch: its place there, the number of its key, and a number that no batch before had.
pub(crate) type WriteRow = fn(place: i64, id: i64, number: i64) -> String;

/// The rows of a batch. The two members that only a patch has are there on both sides, so that both read the same JSON.
fn rows(batch: i64, stamp: i64, write: WriteRow) -> String {
    let mut json = String::with_capacity(250 * BATCH as usize);
    for place in 0..BATCH {
        let row = write(place, (batch * BATCH + place) % ROWS, batch * 7 + place);
        let head = if place == 0 { '[' } else { ',' };
        json.push_str(&format!("{head}{{\"#\":{place},\"@\":{stamp},{row}}}"));
    }
    json.push(']');
    json
}

/// Vacuums a table, then writes batches for a while.
async fn rows_per_second(
    client: &Client,
    table: &str,
    rounds: Rounds,
    mut write: impl AsyncFnMut() -> Result<()>,
) -> Result<f64> {
    client.batch_execute(&format!("VACUUM {table}")).await?;
    let (start, mut written) = (Instant::now(), 0);
    while start.elapsed() < rounds.time() {
        write().await?;
        written += BATCH;
    }
    Ok(written as f64 / start.elapsed().as_secs_f64())
}

/// Patches of one shape.
pub(crate) struct Ours<'c> {
    client: &'c Client,
    table: String,
    apply: Statement,
    shapes: String,
    write: WriteRow,
    sequence: i64,
}

impl<'c> Ours<'c> {
    /// A session with an attached table.
    pub(crate) async fn new(
        client: &'c Client,
        table: &str,
        shape: serde_json::Value,
        write: WriteRow,
    ) -> Result<Ours<'c>> {
        let session = "00000000-0000-4000-8000-000000000001";
        client.batch_execute(&format!("SELECT cache_sync.open_session('{table}', '{session}')")).await?;
        let apply = client
            .prepare(&format!(
                "SELECT outcomes FROM cache_sync.apply('{table}', '{session}', 1, $1, $2::text::jsonb, $3::text[])"
            ))
            .await?;
        let shapes = serde_json::json!([shape]).to_string();
        Ok(Ours { client, table: table.to_owned(), apply, shapes, write, sequence: 0 })
    }

    /// Writes for a while; returns rows per second.
    pub(crate) async fn round(&mut self, rounds: Rounds) -> Result<f64> {
        let (client, table) = (self.client, self.table.clone());
        rows_per_second(client, &table, rounds, async || {
            self.sequence += 1;
            let stamp: i64 = SystemTime::UNIX_EPOCH.elapsed()?.as_micros().try_into()?;
            let rows = vec![rows(self.sequence, stamp, self.write)];
            let row = self.client.query_one(&self.apply, &[&self.sequence, &self.shapes, &rows]).await?;
            let outcomes = outcome::unpack(row.try_get(0)?)?;
            let applied = outcomes.iter().filter(|record| record.verdict == Verdict::Applied).count();
            if applied != BATCH as usize {
                return Err(format!("{applied} of {BATCH} patches were applied: {:?}", outcomes.first()).into());
            }
            Ok(())
        })
        .await
    }
}

/// What a batch's JSON is read as.
#[derive(Clone, Copy)]
pub(crate) struct Input<'i> {
    /// As in CREATE TABLE.
    pub(crate) columns: &'i str,
    /// The type: `json` or `jsonb`.
    pub(crate) json: &'static str,
}

/// Plain upserts.
pub(crate) struct Theirs<'c> {
    client: &'c Client,
    table: String,
    upsert: Statement,
    write: WriteRow,
    batch: i64,
}

impl<'c> Theirs<'c> {
    /// Upserts into a table whose key is its first column.
    pub(crate) async fn new(client: &'c Client, table: &str, input: Input<'_>, write: WriteRow) -> Result<Theirs<'c>> {
        let Input { columns, json } = input;
        let names: Vec<_> = columns.split(',').filter_map(|column| column.split_whitespace().next()).collect();
        let set: Vec<_> = names[1..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
        let upsert = client
            .prepare(&format!(
                "INSERT INTO {table} ({names}) SELECT {names}
                 FROM {json}_to_recordset($1::text::{json}) AS p(\"#\" int, \"@\" bigint, {columns})
                 ON CONFLICT ({}) DO UPDATE SET {}",
                names[0],
                set.join(", "),
                names = names.join(", "),
            ))
            .await?;
        Ok(Theirs { client, table: table.to_owned(), upsert, write, batch: 0 })
    }

    /// Writes for a while; returns rows per second.
    pub(crate) async fn round(&mut self, rounds: Rounds) -> Result<f64> {
        let (client, table) = (self.client, self.table.clone());
        rows_per_second(client, &table, rounds, async || {
            self.batch += 1;
            let rows = rows(self.batch, self.batch, self.write);
            if self.client.execute(&self.upsert, &[&rows]).await? != BATCH as u64 {
                return Err("the plain upsert did not write every row".into());
            }
            Ok(())
        })
        .await
    }
}
