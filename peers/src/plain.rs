//! Postgres alone: a pool, and prepared statements.

use std::sync::Arc;
use std::time::Duration;

use cache_sync_kit::Result;

use crate::database::Database;
use crate::peer::{Peer, Written};
use crate::record::{Record, Write};

/// A node that holds nothing.
pub struct Plain(Database);

impl Plain {
    /// Connects as soon as it is asked something.
    ///
    /// # Errors
    /// It is no connection string.
    pub fn open(dsn: &str) -> Result<Plain> {
        Ok(Plain(Database::open(dsn)?))
    }
}

impl Peer for Plain {
    fn stale_at_most(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    async fn read(&self, key: i64) -> Result<Option<Arc<Record>>> {
        Ok(self.0.read(key).await?.map(Arc::new))
    }

    async fn write(&self, write: Write<'_>) -> Result<Written> {
        self.0.write(write).await?;
        Ok(Written::Committed)
    }

    fn statements(&self) -> u64 {
        self.0.statements()
    }
}
