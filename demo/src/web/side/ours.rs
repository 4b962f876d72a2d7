//! Rows through the SDK.

use std::sync::Arc;
use std::time::Duration;

use cache_sync::{Cache, Client, Freshness};
use cache_sync_kit::Result;
use cache_sync_kit::clock::now_ns;
use cache_sync_peers::Record;

use super::{ROWS, SHELF, Seen, Sent, Side};
use crate::message::say;
use crate::web::words::{Said, Shown};

/// The client and its cache.
pub(crate) struct Ours {
    client: Client,
    records: Cache<i64, Record>,
}

impl Ours {
    pub(crate) async fn open(dsn: &str, bound: Duration) -> Result<Ours> {
        let client = Client::builder(dsn).feed_timeout(bound).connect().await?;
        let records = client.cache("record").max_capacity(2 * u64::from(ROWS)).open().await?;
        Ok(Ours { client, records })
    }
}

impl Side for Ours {
    async fn read(&self, id: i64) -> Result<Seen> {
        let (read, hit) = match self.records.held(&id) {
            Some(read) => (read, true),
            None => (self.records.lookup(&id, Freshness::Cached).await?, false),
        };
        let record = read.value.ok_or_else(|| format!("row {id} is said not to exist"))?;
        Ok(Seen { version: record.version, hit })
    }

    async fn add(&self, id: i64) -> Result<()> {
        // It is accepted into the buffer: nobody waits for Postgres.
        let _ = self.records.update(&id, |record| record.counter += 1).await?;
        Ok(())
    }

    async fn edit(&self, id: i64, text: String) -> Result<()> {
        let receipt = self.records.update(&id, |record| record.field0.clone_from(&text)).await?;
        let outcome = receipt.written().await?;
        match outcome.is_written() {
            true => Ok(()),
            false => Err(outcome.message.unwrap_or_else(|| format!("Postgres says {:?}", outcome.verdict)).into()),
        }
    }

    async fn follow(self: Arc<Self>) -> Result<()> {
        let mut watched = self.records.watch_many(SHELF);
        while let Some((id, shown)) = watched.next().await {
            // What cannot be read now, or not be confirmed, is shown again once it can.
            let Ok(read) = shown else { continue };
            let Some(record) = read.value.filter(|_| read.stale_for.is_none()) else { continue };
            let (text, version) = (record.field0.clone(), record.version);
            say(&Said::Shows(Shown { id, text, version, at_ns: now_ns() }))?;
        }
        Err("the table is not the one any more that was opened".into())
    }

    async fn keep_for(&self, _time_to_live: Duration) -> Result<()> {
        Err("the feed says when a row has changed: there is no time to live".into())
    }

    fn sent(&self) -> Sent {
        let status = self.records.status();
        Sent {
            loads: status.load_statements,
            batches: status.batches + status.flush_retries,
            buffered: self.client.status().buffered as u64,
        }
    }
}
