//! A cache in memory with a time to live. Nobody tells a node what others write.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_sync_kit::{Error, Result};
use foyer_memory::{Cache, CacheBuilder};

use crate::database::Database;
use crate::peer::{Peer, Written};
use crate::record::{Record, Write};

/// A node whose rows are in memory for a while.
pub struct Foyer {
    database: Arc<Database>,
    cache: Cache<i64, Loaded>,
    time_to_live: Duration,
}

/// What a load brought. `None`: there was no such row.
#[derive(Clone)]
struct Loaded {
    at: Instant,
    record: Option<Arc<Record>>,
}

impl Foyer {
    /// Connects as soon as it is asked something. At most `rows` are held, each for `time_to_live`.
    ///
    /// # Errors
    /// It is no connection string.
    pub fn open(dsn: &str, rows: usize, time_to_live: Duration) -> Result<Foyer> {
        Ok(Foyer { database: Arc::new(Database::open(dsn)?), cache: CacheBuilder::new(rows).build(), time_to_live })
    }
}

impl Peer for Foyer {
    fn stale_at_most(&self) -> Option<Duration> {
        Some(self.time_to_live)
    }

    async fn read(&self, key: i64) -> Result<Option<Arc<Record>>> {
        if self.cache.get(&key).is_some_and(|entry| entry.value().at.elapsed() >= self.time_to_live) {
            self.cache.remove(&key);
        }
        // Who asks meanwhile waits for the same load.
        let database = Arc::clone(&self.database);
        let load = async move || {
            let at = Instant::now();
            let record = database.read(key).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(Loaded { at, record: record.map(Arc::new) })
        };
        let loaded = self.cache.get_or_fetch(&key, load).await.map_err(|error| Error::from(error.to_string()))?;
        let record = loaded.value().record.clone();
        if record.is_none() {
            self.cache.remove(&key);
        }
        Ok(record)
    }

    async fn write(&self, write: Write<'_>) -> Result<Written> {
        self.database.write(write).await?;
        self.cache.remove(&write.key);
        Ok(Written::Committed)
    }

    fn statements(&self) -> u64 {
        self.database.statements()
    }
}
