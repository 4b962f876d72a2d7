//! Ours.

use std::sync::Arc;
use std::time::Duration;

use cache_sync::{Cache, Client, Durability, Patch, Receipt};
use cache_sync_kit::{Result, connect};

use crate::peer::{Peer, Written};
use crate::record::{Change, FIELDS, Record, Write};

const ATTACH: &str = r#"CREATE EXTENSION IF NOT EXISTS cache_sync;
    SELECT cache_sync.attach('record', versioned => true, rules => '{"counter": "add", "version": "max"}')"#;
const FIELD_NAMES: [&str; FIELDS] =
    ["field0", "field1", "field2", "field3", "field4", "field5", "field6", "field7", "field8", "field9"];

/// A node with the SDK.
pub struct CacheSync {
    client: Client,
    records: Cache<i64, Record>,
    durability: Durability,
    feed_timeout: Duration,
}

impl CacheSync {
    /// Attaches the table.
    ///
    /// # Errors
    /// It is attached otherwise, or Postgres cannot be reached.
    pub async fn install(dsn: &str) -> Result<()> {
        Ok(connect(dsn).await?.batch_execute(ATTACH).await?)
    }

    /// Connects. At most `rows` are held. What nobody has confirmed for `feed_timeout` is not served.
    ///
    /// # Errors
    /// Postgres cannot be reached, or the table is not attached.
    pub async fn open(dsn: &str, rows: u64, durability: Durability, feed_timeout: Duration) -> Result<CacheSync> {
        let client = Client::builder(dsn).feed_timeout(feed_timeout).connect().await?;
        let records = client.cache("record").max_capacity(rows).durability(durability).open().await?;
        Ok(CacheSync { client, records, durability, feed_timeout })
    }

    async fn accept(&self, Write { key, version, change }: Write<'_>) -> Result<Receipt> {
        let patch = || Patch::new().max("version", version);
        Ok(match change {
            Change::Field { number, text } => {
                let name = FIELD_NAMES.get(number).ok_or_else(|| format!("there is no field {number}"))?;
                self.records.patch(&key, patch().set(name, text)).await?
            }
            Change::Count => self.records.patch(&key, patch().add("counter", 1)).await?,
            // Not quite what was asked for: it takes what is held, which may be newer than what was read, and sends the difference, which
            // the rule adds.
            Change::CountFrom(_) => {
                let count = |record: &mut Record| {
                    record.version = record.version.max(version);
                    record.counter += 1;
                };
                self.records.update(&key, count).await?
            }
            Change::Insert(text) => self.records.put(key, Record::filled(version, text)).await?,
        })
    }
}

impl Peer for CacheSync {
    fn stale_at_most(&self) -> Option<Duration> {
        Some(self.feed_timeout)
    }

    async fn read(&self, key: i64) -> Result<Option<Arc<Record>>> {
        Ok(self.records.get(&key).await?)
    }

    async fn write(&self, write: Write<'_>) -> Result<Written> {
        let receipt = self.accept(write).await?;
        if self.durability == Durability::Database {
            return Ok(Written::Committed);
        }
        Ok(Written::Buffered(Box::pin(async { Ok(receipt.written().await.map(drop)?) })))
    }

    async fn settle(&self) -> Result<()> {
        Ok(self.client.flush().await?)
    }

    fn statements(&self) -> u64 {
        let status = self.records.status();
        status.load_statements + status.batches + status.flush_retries
    }
}
