//! Redis beside Postgres, as most have it: read from Redis, on a miss from Postgres and put into Redis with a time to live; write to
//! Postgres, then delete from Redis.

use std::sync::Arc;
use std::time::Duration;

use cache_sync_kit::Result;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, Client};

use crate::database::Database;
use crate::peer::{Peer, Written};
use crate::record::{Record, Write};
use crate::shelf;

/// A node whose rows are in Redis for a while, as JSON.
pub struct CacheAside {
    database: Database,
    /// One connection that all share, which comes back by itself.
    redis: ConnectionManager,
    time_to_live: Duration,
}

impl CacheAside {
    /// Connects to Redis. What is there is kept for `time_to_live`, in whole milliseconds.
    ///
    /// # Errors
    /// Redis cannot be reached, or one of the addresses is none.
    pub async fn open(dsn: &str, redis_url: &str, time_to_live: Duration) -> Result<CacheAside> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(shelf::ANSWER_TIME_MAX))
            .set_response_timeout(Some(shelf::ANSWER_TIME_MAX));
        let redis = ConnectionManager::new_with_config(Client::open(redis_url)?, config).await?;
        Ok(CacheAside { database: Database::open(dsn)?, redis, time_to_live })
    }
}

/// What a read brought.
pub struct Found {
    /// The row; `None`: there is none.
    pub record: Option<Arc<Record>>,
    /// Redis had it.
    pub is_hit: bool,
}

impl CacheAside {
    /// Reads, and says whether Redis had the row.
    ///
    /// # Errors
    /// Redis or Postgres cannot be reached.
    pub async fn look(&self, key: i64) -> Result<Found> {
        let (mut redis, name) = (self.redis.clone(), shelf::name(key));
        let there: Option<Vec<u8>> = redis.get(&name).await?;
        if let Some(json) = there {
            return Ok(Found { record: Some(shelf::decode(&json)?), is_hit: true });
        }
        let record = self.database.read(key).await?.map(Arc::new);
        if let Some(record) = &record {
            let milliseconds = shelf::milliseconds(self.time_to_live)?;
            redis.pset_ex::<_, _, ()>(&name, shelf::encode(record)?, milliseconds).await?;
        }
        Ok(Found { record, is_hit: false })
    }
}

impl Peer for CacheAside {
    fn stale_at_most(&self) -> Option<Duration> {
        Some(self.time_to_live)
    }

    async fn read(&self, key: i64) -> Result<Option<Arc<Record>>> {
        Ok(self.look(key).await?.record)
    }

    async fn write(&self, write: Write<'_>) -> Result<Written> {
        let written = self.database.write(write).await;
        // Also where it failed: who has lost the answer does not know.
        let mut redis = self.redis.clone();
        redis.del::<_, ()>(shelf::name(write.key)).await?;
        written.map(|()| Written::Committed)
    }

    fn statements(&self) -> u64 {
        self.database.statements()
    }
}
