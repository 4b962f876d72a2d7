//! Batches of `lww` patches, against a plain upsert of the same rows from the same JSON.

use crate::Result;
use crate::load::connect;
use crate::measure::Rounds;
use crate::report::{Report, Target};
use std::fmt::Write;
use std::time::Instant;
use tokio_postgres::{Client, Statement};

const ROWS: i64 = 20_000;
const BATCH: i64 = 1000;
const COLUMNS: &str =
    "id bigint, a int, b bigint, c numeric, d text, e text, f boolean, g timestamptz, h double precision, i uuid";
const FIELDS: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];

pub(crate) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let client = connect(dsn).await?;
    for table in ["ours", "theirs"] {
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} ({COLUMNS}, PRIMARY KEY (id)) WITH (fillfactor = 50);
                 INSERT INTO {table} SELECT n, n, n, n, 'd' || n, 'e' || n, true, now(), n, gen_random_uuid() FROM generate_series(0, {ROWS} - 1) n"
            ))
            .await?;
    }
    client.batch_execute("SELECT cache_sync.attach('ours', versioned => true)").await?;
    let mut ours = Ours::new(&client).await?;
    // Postgres reads the same text faster as json than as jsonb, which most people take.
    for json in ["jsonb", "json"] {
        let mut theirs = Theirs::new(&client, json).await?;
        let (ours, theirs) =
            rounds.alternate(async || ours.round(rounds).await, async || theirs.round(rounds).await).await?;
        let row = format!("lww, 10 columns, batches of 1000 / upsert through {json}");
        report.ratio(("flush", &row), (ours, theirs), "rows/s", Target::AtLeast(0.75));
    }
    Ok(())
}

/// The rows of a batch. The two members that only a patch has are there on both sides, so that both read the same JSON.
fn rows(batch: i64, stamp: i64) -> String {
    let mut json = String::with_capacity(250 * BATCH as usize);
    for place in 0..BATCH {
        let id = (batch * BATCH + place) % ROWS;
        let number = batch * 7 + place;
        json.push(if place == 0 { '[' } else { ',' });
        let _ = write!(
            json,
            "{{\"#\":{place},\"@\":{stamp},\"id\":{id},\"a\":{number},\"b\":{number},\"c\":{number}.25,\"d\":\"text {number}\",\
             \"e\":\"another text, somewhat longer {number}\",\"f\":{},\"g\":\"2026-01-01T00:00:00.{:06}+00:00\",\"h\":{number}.5,\
             \"i\":\"00000000-0000-4000-8000-{:012}\"}}",
            number % 2 == 0,
            number % 1_000_000,
            number
        );
    }
    json.push(']');
    json
}

struct Ours<'c> {
    client: &'c Client,
    apply: Statement,
    shapes: String,
    sequence: i64,
}

impl<'c> Ours<'c> {
    async fn new(client: &'c Client) -> Result<Ours<'c>> {
        let session = "00000000-0000-4000-8000-000000000001";
        client.batch_execute(&format!("SELECT cache_sync.open_session('ours', '{session}')")).await?;
        let apply = client
            .prepare(&format!(
                "SELECT outcomes FROM cache_sync.apply('ours', '{session}', 1, $1, $2::text::jsonb, $3::text[]::json[])"
            ))
            .await?;
        let shapes = serde_json::json!([{"op": "put", "seen": true, "fields": FIELDS, "stamps": "one"}]).to_string();
        Ok(Ours { client, apply, shapes, sequence: 0 })
    }

    async fn round(&mut self, rounds: Rounds) -> Result<f64> {
        self.client.batch_execute("VACUUM ours").await?;
        let start = Instant::now();
        let mut written = 0;
        while start.elapsed() < rounds.time() {
            self.sequence += 1;
            let stamp: i64 = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_micros().try_into()?;
            let rows = vec![rows(self.sequence, stamp)];
            let row = self.client.query_one(&self.apply, &[&self.sequence, &self.shapes, &rows]).await?;
            let outcomes = cache_sync_core::outcome::unpack(row.try_get(0)?)?;
            let applied =
                outcomes.iter().filter(|record| record.verdict == cache_sync_core::outcome::Verdict::Applied).count();
            if applied != BATCH as usize {
                return Err(format!("{applied} of {BATCH} patches were applied: {:?}", outcomes.first()).into());
            }
            written += BATCH;
        }
        Ok(written as f64 / start.elapsed().as_secs_f64())
    }
}

struct Theirs<'c> {
    client: &'c Client,
    upsert: Statement,
    batch: i64,
}

impl<'c> Theirs<'c> {
    async fn new(client: &'c Client, json: &str) -> Result<Theirs<'c>> {
        let set: Vec<_> = FIELDS.iter().map(|field| format!("{field} = excluded.{field}")).collect();
        let upsert = client
            .prepare(&format!(
                "INSERT INTO theirs SELECT id, {fields} FROM {json}_to_recordset($1::text::{json}) AS p(\"#\" int, \"@\" bigint, {COLUMNS})
                 ON CONFLICT (id) DO UPDATE SET {set}",
                fields = FIELDS.join(", "),
                set = set.join(", ")
            ))
            .await?;
        Ok(Theirs { client, upsert, batch: 0 })
    }

    async fn round(&mut self, rounds: Rounds) -> Result<f64> {
        self.client.batch_execute("VACUUM theirs").await?;
        let start = Instant::now();
        let mut written = 0;
        while start.elapsed() < rounds.time() {
            self.batch += 1;
            let rows = rows(self.batch, self.batch);
            if self.client.execute(&self.upsert, &[&rows]).await? != BATCH as u64 {
                return Err("the plain upsert did not write every row".into());
            }
            written += BATCH;
        }
        Ok(written as f64 / start.elapsed().as_secs_f64())
    }
}
