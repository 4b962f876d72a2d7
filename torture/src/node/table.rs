//! A cache that is opened again when it says so.

use cache_sync::{Cache, CacheValue, Client, Error};
use cache_sync_kit::locked;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::Mutex as AsyncMutex;

/// One opening of a cache.
pub(crate) struct Opened<V> {
    pub(crate) cache: Cache<i32, V>,
    /// From 1 on.
    pub(crate) number: u32,
    /// Of which table the rows are, once one has been read.
    pub(crate) home: Arc<OnceLock<i32>>,
}

impl<V> Clone for Opened<V> {
    fn clone(&self) -> Opened<V> {
        Opened { cache: self.cache.clone(), number: self.number, home: self.home.clone() }
    }
}

pub(crate) struct Table<V> {
    client: Client,
    name: &'static str,
    opened: Mutex<Opened<V>>,
    turn: AsyncMutex<()>,
    pub(crate) openings: AtomicU64,
}

impl<V: CacheValue> Table<V> {
    pub(crate) async fn open(client: &Client, name: &'static str) -> Result<Table<V>, Error> {
        let cache = client.cache(name).open().await?;
        let opened = Mutex::new(Opened { cache, number: 1, home: Arc::default() });
        Ok(Table { client: client.clone(), name, opened, turn: AsyncMutex::new(()), openings: AtomicU64::new(1) })
    }

    pub(crate) fn now(&self) -> Opened<V> {
        locked(&self.opened).clone()
    }

    /// Opens it again unless somebody has already.
    pub(crate) async fn open_again(&self, number: u32) -> Result<(), Error> {
        let _one = self.turn.lock().await;
        if self.now().number != number {
            return Ok(());
        }
        let cache = self.client.cache(self.name).open().await?;
        *locked(&self.opened) = Opened { cache, number: number + 1, home: Arc::default() };
        self.openings.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether an error says that the cache is of a table that is another one now.
pub(crate) fn is_over(error: &Error) -> bool {
    error.to_string().contains("open it again")
}
