//! Redis beside Postgres, and what was read from it in memory, too, until Redis says that it has changed (CLIENT TRACKING).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_sync_kit::Result;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncCommands, AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, Value,
};
use tokio::sync::Mutex;

use crate::database::Database;
use crate::held::Held;
use crate::peer::{Peer, Written};
use crate::record::{Record, Write};
use crate::shelf;

/// A node whose rows are in Redis for a while, and in memory.
pub struct Tracked {
    database: Database,
    client: Client,
    held: Arc<Held>,
    link: Mutex<Option<Link>>,
    time_to_live: Duration,
}

/// The connection that all share, as long as it lasts.
#[derive(Clone)]
struct Link {
    redis: MultiplexedConnection,
    /// What Redis tells of changes arrives: from when on it was asked to, until the connection ends.
    is_told: Arc<AtomicBool>,
}

impl Tracked {
    /// Connects to Redis. What is there is kept for `time_to_live`, in whole milliseconds, and at most `rows` in memory.
    ///
    /// # Errors
    /// Redis cannot be reached, or one of the addresses is none.
    pub async fn open(dsn: &str, redis_url: &str, rows: u64, time_to_live: Duration) -> Result<Tracked> {
        let address = redis_url.into_connection_info()?;
        let settings = address.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let tracked = Tracked {
            database: Database::open(dsn)?,
            client: Client::open(address.set_redis_settings(settings))?,
            held: Arc::new(Held::new(rows, time_to_live)),
            link: Mutex::new(None),
            time_to_live,
        };
        tracked.connection().await?;
        Ok(tracked)
    }

    /// The connection, or another one if that has ended. Nothing is held that its predecessor brought.
    async fn connection(&self) -> Result<MultiplexedConnection> {
        let mut link = self.link.lock().await;
        if let Some(link) = link.as_ref().filter(|link| link.is_told.load(Ordering::Acquire)) {
            return Ok(link.redis.clone());
        }
        let is_told = Arc::new(AtomicBool::new(true));
        let (held, told) = (Arc::clone(&self.held), Arc::clone(&is_told));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(shelf::ANSWER_TIME_MAX))
            .set_response_timeout(Some(shelf::ANSWER_TIME_MAX))
            // Called between the answers as they arrive: what was asked before a change was told is not held after it.
            .set_push_sender(move |push| hear(&held, &told, &push));
        let mut redis = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        self.held.forget_all();
        // Our own writes we know of.
        redis::cmd("CLIENT").arg(&["TRACKING", "ON", "NOLOOP"]).exec_async(&mut redis).await?;
        *link = Some(Link { redis: redis.clone(), is_told });
        Ok(redis)
    }

    /// From Redis, or from Postgres and by way of Redis: only what was read from there is tracked there.
    async fn load(&self, key: i64) -> Result<Option<Arc<Record>>> {
        let (mut redis, name) = (self.connection().await?, shelf::name(key));
        let there: Option<Vec<u8>> = redis.get(&name).await?;
        if let Some(json) = there {
            return shelf::decode(&json).map(Some);
        }
        let Some(record) = self.database.read(key).await? else { return Ok(None) };
        let mut put_and_get = redis::pipe();
        put_and_get.pset_ex(&name, shelf::encode(&record)?, shelf::milliseconds(self.time_to_live)?).ignore();
        let (json,): (Option<Vec<u8>>,) = put_and_get.get(&name).query_async(&mut redis).await?;
        if let Some(json) = json {
            return shelf::decode(&json).map(Some);
        }
        // Somebody has deleted it already, and so it is not tracked: who has asked gets it, but nobody later.
        self.held.forget(key);
        Ok(Some(Arc::new(record)))
    }
}

/// Hears what Redis tells without being asked.
fn hear(held: &Held, is_told: &AtomicBool, push: &PushInfo) -> std::result::Result<(), std::convert::Infallible> {
    match push.kind {
        PushKind::Invalidate => match push.data.first() {
            Some(Value::Array(names)) => names.iter().for_each(|name| match name {
                Value::BulkString(name) => shelf::key(name).into_iter().for_each(|key| held.forget(key)),
                _ => held.forget_all(),
            }),
            // All names: Redis was emptied.
            _ => held.forget_all(),
        },
        PushKind::Disconnection => {
            is_told.store(false, Ordering::Release);
            held.forget_all();
        }
        _ => {}
    }
    Ok(())
}

impl Peer for Tracked {
    fn stale_at_most(&self) -> Option<Duration> {
        Some(self.time_to_live)
    }

    async fn read(&self, key: i64) -> Result<Option<Arc<Record>>> {
        self.held.read(key, || self.load(key)).await
    }

    async fn write(&self, write: Write<'_>) -> Result<Written> {
        let written = self.database.write(write).await;
        // Also where it failed: who has lost the answer does not know.
        let mut redis = self.connection().await?;
        redis.del::<_, ()>(shelf::name(write.key)).await?;
        self.held.forget(write.key);
        written.map(|()| Written::Committed)
    }

    fn statements(&self) -> u64 {
        self.database.statements()
    }
}
