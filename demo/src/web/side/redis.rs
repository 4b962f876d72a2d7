//! Rows through Redis with a time to live.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Result, locked};
use cache_sync_peers::{CacheAside, Change, Peer, Write};
use tokio::time::MissedTickBehavior;

use super::{SHELF, Seen, Sent, Side};
use crate::message::say;
use crate::web::words::{Said, Shown};

/// Between two looks at the rows of the shelf.
const LOOK_EVERY: Duration = Duration::from_millis(15);

/// Cache-aside.
pub(crate) struct Aside {
    dsn: String,
    redis_url: String,
    rows: Mutex<Arc<CacheAside>>,
    /// Statements of those with another time to live, before.
    statements_before: AtomicU64,
    writes: AtomicU64,
}

impl Aside {
    pub(crate) async fn open(dsn: &str, redis_url: &str, time_to_live: Duration) -> Result<Aside> {
        let rows = CacheAside::open(dsn, redis_url, time_to_live).await?;
        Ok(Aside {
            dsn: dsn.to_owned(),
            redis_url: redis_url.to_owned(),
            rows: Mutex::new(Arc::new(rows)),
            statements_before: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        })
    }

    fn rows(&self) -> Arc<CacheAside> {
        Arc::clone(&locked(&self.rows))
    }

    async fn write(&self, id: i64, change: Change<'_>) -> Result<()> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        // A trigger of the table counts its versions.
        self.rows().write(Write { key: id, version: 0, change }).await.map(|_| ())
    }
}

impl Side for Aside {
    async fn read(&self, id: i64) -> Result<Seen> {
        let found = self.rows().look(id).await?;
        let record = found.record.ok_or_else(|| format!("row {id} is said not to exist"))?;
        Ok(Seen { version: record.version, hit: found.is_hit })
    }

    async fn add(&self, id: i64) -> Result<()> {
        self.write(id, Change::Count).await
    }

    async fn edit(&self, id: i64, text: String) -> Result<()> {
        self.write(id, Change::Field { number: 0, text: &text }).await
    }

    async fn follow(self: Arc<Self>) -> Result<()> {
        let mut versions = HashMap::new();
        let mut looking = tokio::time::interval(LOOK_EVERY);
        looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looking.tick().await;
            for id in SHELF {
                // What cannot be read now is shown once it can.
                let Ok(Some(record)) = self.rows().read(id).await else { continue };
                let at_ns = now_ns();
                if versions.insert(id, record.version) != Some(record.version) {
                    let (text, version) = (record.field0.clone(), record.version);
                    say(&Said::Shows(Shown { id, text, version, at_ns }))?;
                }
            }
        }
    }

    async fn keep_for(&self, time_to_live: Duration) -> Result<()> {
        let rows = Arc::new(CacheAside::open(&self.dsn, &self.redis_url, time_to_live).await?);
        let before = std::mem::replace(&mut *locked(&self.rows), rows);
        self.statements_before.fetch_add(before.statements(), Ordering::Relaxed);
        Ok(())
    }

    fn sent(&self) -> Sent {
        let statements = self.statements_before.load(Ordering::Relaxed) + self.rows().statements();
        let writes = self.writes.load(Ordering::Relaxed);
        Sent { loads: statements.saturating_sub(writes), batches: writes, buffered: 0 }
    }
}
