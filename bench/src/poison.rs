//! Batches with patches that Postgres refuses, against clean ones.

use crate::measure::Rounds;
use crate::report::{Figure, Report, Target};
use cache_sync_core::outcome::{self, Verdict};
use cache_sync_kit::{Result, connect};
use std::time::Instant;
use tokio_postgres::Client;

/// Patches in a batch; rows in the table.
const BATCH: usize = 1000;

pub(crate) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let client = connect(dsn).await?;
    client
        .batch_execute(&format!(
            "CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0)) WITH (fillfactor = 50);
             INSERT INTO account SELECT n, 0 FROM generate_series(0, {BATCH} - 1) n;
             SELECT cache_sync.attach('account', rules => '{{\"balance\": \"add\"}}')"
        ))
        .await?;
    for (bad, target) in [(1, 3.0), (100, 20.0)] {
        let mut ours = Batches::open(&client, bad).await?;
        let mut theirs = Batches::open(&client, 0).await?;
        let sides = rounds.alternate(async || ours.millis(rounds).await, async || theirs.millis(rounds).await).await?;
        let row = format!("a batch of {BATCH} with {bad} refused / a clean one");
        report.rounds(Figure::new("poison", row, "ms", Target::AtMost(target)), &sides);
        client.batch_execute("DELETE FROM cache_sync.dead_letter").await?;
    }
    Ok(())
}

/// Batches of one session, some of whose patches would make a balance negative.
struct Batches<'c> {
    client: &'c Client,
    session: String,
    sequence: i64,
    bad: usize,
}

impl<'c> Batches<'c> {
    async fn open(client: &'c Client, bad: usize) -> Result<Batches<'c>> {
        let session: String = client.query_one("SELECT gen_random_uuid()::text", &[]).await?.get(0);
        client.batch_execute(&format!("SELECT cache_sync.open_session('account', '{session}')")).await?;
        Ok(Batches { client, session, sequence: 0, bad })
    }

    /// The mean time of a batch.
    async fn millis(&mut self, rounds: Rounds) -> Result<f64> {
        let apply = "SELECT outcomes FROM cache_sync.apply('account', $1::text::uuid, 1, $2,
                     '[{\"op\": \"edit\", \"fields\": [\"balance\"]}]', ARRAY[$3::text])";
        let is_bad = |place: usize| self.bad > 0 && place % (BATCH / self.bad) == BATCH / self.bad / 2;
        let patch = |place: usize| {
            let change = if is_bad(place) { -1_000_000_000 } else { 1 };
            format!("{{\"#\":{place},\"id\":{place},\"balance\":{change}}}")
        };
        let patches = format!("[{}]", (0..BATCH).map(patch).collect::<Vec<_>>().join(","));
        self.client.batch_execute("VACUUM account").await?;
        let (start, mut batches) = (Instant::now(), 0);
        while start.elapsed() < rounds.time() {
            self.sequence += 1;
            batches += 1;
            let row = self.client.query_one(apply, &[&self.session, &self.sequence, &patches]).await?;
            let outcomes = outcome::unpack(row.try_get(0)?)?;
            let rejected = outcomes.iter().filter(|record| record.verdict == Verdict::Rejected).count();
            if rejected != self.bad {
                return Err(format!("{rejected} patches were refused, not {}", self.bad).into());
            }
        }
        Ok(start.elapsed().as_secs_f64() * 1000.0 / f64::from(batches))
    }
}
