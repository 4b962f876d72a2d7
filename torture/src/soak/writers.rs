//! Connections that run random statements.

use super::statements::statement;
use cache_sync_kit::{Dice, locked};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::RwLock;
use tokio_postgres::Client;

/// What statements may be refused for: others' rows or locks, a cursor without a row, MERGE with one row twice, and a server that is
/// being killed.
const EXPECTED: [&str; 13] = [
    "40P01", "40001", "23505", "23503", "55P03", "57014", "57P01", "57P02", "57P03", "42P07", "42701", "24000", "21000",
];
/// Connections that are lost have no SQLSTATE.
const LOST: &str = "connection lost";
/// How many refusals are told that nobody expects.
const TOLD_MAX: usize = 10;

/// What became of the statements, over all writers.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) done: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) unexpected: Vec<String>,
}

impl Tally {
    fn add(&mut self, text: &str, result: Result<(), tokio_postgres::Error>) {
        let Err(error) = result else {
            self.done += 1;
            return;
        };
        let code = error.code().map_or(LOST, |code| code.code());
        if code != LOST && !EXPECTED.contains(&code) && self.unexpected.len() < TOLD_MAX {
            self.unexpected.push(format!("{text}: {error:?}"));
        }
        *self.refused.entry(code.to_owned()).or_default() += 1;
    }
}

/// Writes until it is aborted, but for the times at which somebody holds the gate.
pub(crate) async fn write(dsn: String, seed: u64, gate: Arc<RwLock<()>>, tally: Arc<Mutex<Tally>>) {
    let mut dice = Dice::new(seed);
    let mut client: Option<Client> = None;
    loop {
        let open = gate.read().await;
        let Some(connected) = client.as_ref().filter(|client| !client.is_closed()) else {
            client = connect(&dsn).await;
            drop(open);
            if client.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            continue;
        };
        let text = statement(&mut dice);
        let result = connected.batch_execute(&text).await;
        let is_done = result.is_ok();
        locked(&tally).add(&text, result);
        if is_done {
            continue;
        }
        // The transaction that failed is still open, and settings may be left.
        if connected
            .batch_execute("ROLLBACK; RESET ALL; SET statement_timeout = '5s'; SET lock_timeout = '1s'")
            .await
            .is_err()
        {
            client = None;
        }
    }
}

async fn connect(dsn: &str) -> Option<Client> {
    let client = cache_sync_kit::connect(dsn).await.ok()?;
    let settings = "SET statement_timeout = '5s'; SET lock_timeout = '1s'; SET client_min_messages = error";
    client.batch_execute(settings).await.ok()?;
    Some(client)
}
