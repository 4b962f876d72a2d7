//! A cache in memory with a time to live. Nobody tells a node what others write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// This node's own writes, of each key; two of them share a count only if they are further apart than there may be rows.
    writes: Box<[AtomicU64]>,
}

/// What a load brought. `None`: there was no such row.
#[derive(Clone)]
struct Loaded {
    at: Instant,
    /// How many writes there had been when it began.
    writes: u64,
    record: Option<Arc<Record>>,
}

impl Foyer {
    /// Connects as soon as it is asked something. At most `rows` are held, each for `time_to_live`.
    ///
    /// # Errors
    /// It is no connection string.
    pub fn open(dsn: &str, rows: usize, time_to_live: Duration) -> Result<Foyer> {
        let (database, cache) = (Arc::new(Database::open(dsn)?), CacheBuilder::new(rows).build());
        Ok(Foyer { database, cache, time_to_live, writes: (0..rows.max(1)).map(|_| AtomicU64::new(0)).collect() })
    }

    fn writes(&self, key: i64) -> &AtomicU64 {
        &self.writes[key.cast_unsigned() as usize % self.writes.len()]
    }

    /// What is in memory, or else comes by a load. Who asks meanwhile waits for the same one.
    async fn held_or_loaded(&self, key: i64) -> Result<Loaded> {
        let (database, writes) = (Arc::clone(&self.database), self.writes(key).load(Ordering::Acquire));
        let load = async move || {
            let at = Instant::now();
            let record = database.read(key).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(Loaded { at, writes, record: record.map(Arc::new) })
        };
        let entry = self.cache.get_or_fetch(&key, load).await.map_err(|error| Error::from(error.to_string()))?;
        Ok(entry.value().clone())
    }
}

impl Peer for Foyer {
    fn stale_at_most(&self) -> Option<Duration> {
        Some(self.time_to_live)
    }

    async fn read(&self, key: i64) -> Result<Option<Arc<Record>>> {
        let (begun, writes) = (Instant::now(), self.writes(key).load(Ordering::Acquire));
        loop {
            let loaded = self.held_or_loaded(key).await?;
            // A load that a write of this node has overtaken is put in after it.
            let is_good = loaded.writes >= writes && begun.saturating_duration_since(loaded.at) < self.time_to_live;
            if !is_good || loaded.record.is_none() {
                self.cache.remove(&key);
            }
            if is_good {
                return Ok(loaded.record);
            }
        }
    }

    async fn write(&self, write: Write<'_>) -> Result<Written> {
        let written = self.database.write(write).await;
        // Also where it failed: who has lost the answer does not know.
        self.writes(write.key).fetch_add(1, Ordering::AcqRel);
        self.cache.remove(&write.key);
        written.map(|()| Written::Committed)
    }

    fn statements(&self) -> u64 {
        self.database.statements()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: usize = 100_000;

    /// What a read brings that begins while a load is under way. There is no Postgres to ask.
    async fn read_during_a_load(meanwhile: impl FnOnce(&Foyer)) -> Option<i64> {
        let foyer = Foyer::open("host=nowhere", ROWS, Duration::from_secs(60)).expect("a connection string");
        let old = Loaded { at: Instant::now(), writes: 0, record: Some(Arc::new(Record::filled(1, "x"))) };
        let (answer, answered) = tokio::sync::oneshot::channel();
        let load = foyer.cache.get_or_fetch(&7, async || answered.await.map_err(std::io::Error::other));
        meanwhile(&foyer);
        let end = async { answer.send(old).map_err(|_| "nobody loads") };
        let (read, loaded, sent) = tokio::join!(foyer.read(7), load, end);
        assert!(loaded.is_ok() && sent.is_ok());
        read.ok().flatten().map(|record| record.version)
    }

    #[tokio::test]
    async fn a_load_that_a_write_has_overtaken_is_not_served() {
        assert_eq!(read_during_a_load(|_| ()).await, Some(1));
        let written = |key| {
            move |foyer: &Foyer| {
                foyer.writes(key).fetch_add(1, Ordering::AcqRel);
            }
        };
        assert_eq!(read_during_a_load(written(7)).await, None);
        for other in [6, 8, 7 + (1 << 15), ROWS as i64 - 1] {
            assert_eq!(read_during_a_load(written(other)).await, Some(1), "{other} is another row");
        }
    }
}
