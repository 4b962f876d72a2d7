//! A cache that is opened again when it says so.

use cache_sync::{Cache, CacheValue, Client, Error};
use cache_sync_kit::locked;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
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

/// How caches are opened.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    /// What was before a change is served for so long while it is loaded again.
    pub(crate) stale_while_refreshing: Duration,
    pub(crate) refresh_on_change: bool,
}

pub(crate) struct Table<V> {
    client: Client,
    name: &'static str,
    terms: Terms,
    opened: Mutex<Opened<V>>,
    turn: AsyncMutex<()>,
    pub(crate) openings: AtomicU64,
}

impl<V: CacheValue> Table<V> {
    pub(crate) async fn open(client: &Client, name: &'static str, terms: Terms) -> Result<Table<V>, Error> {
        let cache = cache(client, name, terms).await?;
        let opened = Mutex::new(Opened { cache, number: 1, home: Arc::default() });
        Ok(Table {
            client: client.clone(),
            name,
            terms,
            opened,
            turn: AsyncMutex::new(()),
            openings: AtomicU64::new(1),
        })
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
        let cache = cache(&self.client, self.name, self.terms).await?;
        *locked(&self.opened) = Opened { cache, number: number + 1, home: Arc::default() };
        self.openings.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

async fn cache<V: CacheValue>(client: &Client, name: &str, terms: Terms) -> Result<Cache<i32, V>, Error> {
    let builder = client.cache(name).stale_while_refreshing(terms.stale_while_refreshing);
    builder.refresh_on_change(terms.refresh_on_change).open().await
}

/// Whether an error says that the cache is of a table that is another one now.
pub(crate) fn is_over(error: &Error) -> bool {
    error.to_string().contains("open it again")
}
