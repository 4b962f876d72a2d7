//! The handle on one database, and the owner of its tasks.

use crate::cache::CacheBuilder;
use crate::common::Common;
use crate::config::{ClientConfig, WhenFull};
use crate::error::Error;
use crate::feed::Feed;
use crate::flusher::FlushConnection;
use crate::freshness::Freshness;
use crate::key::Key;
use crate::lock::lock;
use crate::query::Query;
use crate::receipt::Receipt;
use crate::results::Results;
use crate::room::Room;
use crate::shared::{Shared, Unwritten};
use crate::standby::Standby;
use crate::status::Status;
use crate::store::{Connector, NOT_PRELOADED, Store, within};
use cache_sync_core::hlc::ClientClock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, NoTls, TlsConnect};

/// A connection to one database that keeps caches of its tables in step. Cloning it is cheap; all clones are one client.
///
/// A client uses a pool of connections for loads, one connection for its batches and one for the feed.
/// Call [`Client::close`] before the process ends: what is still in the buffer then is lost.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

/// Settings of a [`Client`] before it connects.
#[must_use]
pub struct ClientBuilder {
    config: Result<ClientConfig, Error>,
    connector: Connector,
}

impl ClientBuilder {
    fn set(mut self, set: impl FnOnce(&mut ClientConfig)) -> ClientBuilder {
        if let Ok(config) = &mut self.config {
            set(config);
        }
        self
    }

    /// How TLS connections are made. Default: none; a DSN with `sslmode=require` then fails to connect.
    pub fn tls<T>(mut self, tls: T) -> ClientBuilder
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send + Sync + 'static,
        T::TlsConnect: Send + Sync,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        self.connector = Connector::new(tls);
        self
    }

    /// Connections for loads. Default 4, from 1 to 10,000. The feed and the flusher have one more each.
    pub fn pool_size(self, connections: usize) -> ClientBuilder {
        self.set(|config| config.pool_size = connections)
    }

    /// How long connecting may take. Default 5 s, at least 1 ms.
    pub fn connect_timeout(self, timeout: Duration) -> ClientBuilder {
        self.set(|config| config.connect_timeout = timeout)
    }

    /// How long a load or a batch may take. Default 30 s, at least 1 ms.
    pub fn query_timeout(self, timeout: Duration) -> ClientBuilder {
        self.set(|config| config.query_timeout = timeout)
    }

    /// The bound on staleness: how long after the feed was last heard entries may still be served. Default 3 s, at least
    /// 100 ms. The server sends a heartbeat every `cache_sync.heartbeat_interval` (1 s); keep this above it.
    pub fn feed_timeout(self, timeout: Duration) -> ClientBuilder {
        self.set(|config| config.feed_timeout = timeout)
    }

    /// For how long entries may be served while Postgres cannot be asked. Default zero: reads fail instead.
    pub fn stale_while_unavailable(self, bound: Duration) -> ClientBuilder {
        self.set(|config| config.stale_while_unavailable = bound)
    }

    /// How many patches may wait for Postgres. Default 100,000.
    pub fn buffer_entries_max(self, entries: usize) -> ClientBuilder {
        self.set(|config| config.buffer_entries_max = entries)
    }

    /// How many bytes of patches may wait for Postgres. Default 64 MiB, at least 1 KiB.
    pub fn buffer_bytes_max(self, bytes: usize) -> ClientBuilder {
        self.set(|config| config.buffer_bytes_max = bytes)
    }

    /// What a write does when the buffer is full. Default: it waits.
    pub fn when_full(self, when_full: WhenFull) -> ClientBuilder {
        self.set(|config| config.when_full = when_full)
    }

    /// How long a write may wait for others to share its batch. Default 5 ms; zero sends at once.
    pub fn flush_interval(self, interval: Duration) -> ClientBuilder {
        self.set(|config| config.flush_interval = interval)
    }

    /// Patches in one batch. Default 1000, from 1 to 10,000.
    pub fn batch_entries_max(self, entries: usize) -> ClientBuilder {
        self.set(|config| config.batch_entries_max = entries)
    }

    /// How many results of queries are held at most. Default 1,000.
    pub fn query_results_max(self, results: u64) -> ClientBuilder {
        self.set(|config| config.query_results_max = results)
    }

    /// A hot standby of the same server, to load rows from: `dsn` is a connection string of either form. Default: none.
    ///
    /// A load counts only if the standby had replayed every change that this client had heard of, and every batch of its own;
    /// else the primary is asked, as it is while the standby is away. Everything else goes to the primary, queries too.
    /// With [`FeedKind::Notify`](crate::FeedKind) the standby is not used. [`Status`] tells how often it answered.
    pub fn standby(mut self, dsn: &str) -> ClientBuilder {
        let set = |mut config: ClientConfig| config.set_standby(dsn).map(|()| config);
        self.config = self.config.and_then(set);
        self
    }

    /// Connects, and checks that extension and SDK fit together.
    ///
    /// # Errors
    /// [`Error::is_unavailable`] when Postgres cannot be reached; else the message says which setting is out of bounds,
    /// which side to upgrade, or that a pooler is in between that is not in session mode.
    pub async fn connect(self) -> Result<Client, Error> {
        let config = self.config?;
        config.check()?;
        let standby = config.standby.as_ref().map(|postgres| Standby::new(&config, postgres, &self.connector));
        let standby = standby.transpose()?.map(Arc::new);
        let store = Arc::new(Store::new(&config, self.connector)?);
        store.check_sessions().await?;
        store.check_versions().await?;
        let feed = Arc::new(Feed::new());
        let common = Arc::new(Common {
            freshness: Freshness::new(config.feed_timeout),
            room: Room::new(config.buffer_entries_max, config.buffer_bytes_max, config.when_full),
            clock: Mutex::new(ClientClock::default()),
            started: Instant::now(),
            closed: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            stale_while_unavailable: config.stale_while_unavailable,
            batch_entries_max: config.batch_entries_max,
        });
        let shared = Arc::new(Shared {
            results: Results::new(&config, common.clone(), store.clone(), feed.clone()),
            flush_connection: Arc::new(FlushConnection::new(store.clone())),
            tables: Mutex::default(),
            tasks: Mutex::default(),
            common: common.clone(),
            feed: feed.clone(),
            store: store.clone(),
            standby,
            config,
        });
        shared.spawn(None, async move { feed.run(&store, &common).await });
        Ok(Client { shared })
    }
}

impl Client {
    /// Connects with default settings.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect(dsn: &str) -> Result<Client, Error> {
        Client::builder(dsn).connect().await
    }

    /// Settings first. `dsn` is a Postgres connection string, of either form.
    pub fn builder(dsn: &str) -> ClientBuilder {
        ClientBuilder { config: ClientConfig::new(dsn), connector: Connector::new(NoTls) }
    }

    /// A cache of one attached table: `K` is its key (a tuple for several columns), `V` a struct whose members are columns.
    /// `table` is a table's name as SQL would write it.
    pub fn cache<K, V>(&self, table: &str) -> CacheBuilder<K, V>
    where
        K: Key,
        V: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        CacheBuilder::new(self.shared.clone(), table)
    }

    /// A query whose result is cached until a row on which it depends changes: `T` is a struct whose members are columns of
    /// the result. `sql` is one SELECT.
    ///
    /// ```no_run
    /// # #[derive(serde::Deserialize)] struct Post { id: i64, body: String }
    /// # async fn example(client: cache_sync::Client) -> Result<(), cache_sync::Error> {
    /// let newest = client
    ///     .query::<Post>("SELECT id, body FROM post WHERE author = $1 ORDER BY id DESC LIMIT 20")
    ///     .bind(7_i64)
    ///     .depends_on("post", "author", 7_i64)
    ///     .fetch()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn query<T: DeserializeOwned + Send + Sync + 'static>(&self, sql: &str) -> Query<T> {
        Query::new(self.shared.clone(), sql)
    }

    /// Waits until everything that was committed before this call has been seen by all caches of this client.
    ///
    /// # Errors
    /// [`Error::is_unavailable`] when Postgres or the feed does not answer in time.
    pub async fn catch_up(&self) -> Result<(), Error> {
        let shared = &self.shared;
        if shared.feed.is_idle() {
            return Ok(());
        }
        within("catching up with the feed", shared.config.query_timeout, async {
            while !shared.feed.probed().await {
                match shared.store.feed_head().await {
                    Ok((epoch, position)) if shared.feed.reached(epoch, position).await => break,
                    // The server was restarted meanwhile.
                    Ok(_) => {}
                    // The server was started without the library; the feed will notice.
                    Err(error) if error.sqlstate() == Some(NOT_PRELOADED) => shared.feed.is_heard_by_notify().await,
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
        .await
    }

    /// Waits until every write accepted before this call has its outcome.
    ///
    /// # Errors
    /// [`Error::is_closed`] when the client is closed meanwhile.
    pub async fn flush(&self) -> Result<(), Error> {
        self.shared.common.check_alive()?;
        let tables: Vec<_> = lock(&self.shared.tables).iter().map(|(_, table)| table.clone()).collect();
        let receipts: Vec<Receipt> = tables.iter().flat_map(|table| table.flush_now()).collect();
        for receipt in receipts {
            receipt.written().await?;
        }
        Ok(())
    }

    /// Accepts no more, writes what is buffered for up to `deadline`, and ends every task. Returns what Postgres may not
    /// have: nothing, if all went well.
    ///
    /// # Errors
    /// [`Error::is_closed`] when it was closed before.
    pub async fn close(&self, deadline: Duration) -> Result<Vec<Unwritten>, Error> {
        let shared = &self.shared;
        if shared.common.closed.swap(true, Ordering::AcqRel) {
            return Err(Error::closed());
        }
        shared.common.room.close();
        let in_time = tokio::time::timeout(deadline, self.flush()).await;
        if in_time.is_err() {
            tracing::warn!(?deadline, "the client closes with unwritten patches");
        }
        let tasks = std::mem::take(&mut *lock(&shared.tasks));
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            drop(task.await);
        }
        shared.store.close();
        shared.standby.iter().for_each(|standby| standby.close());
        let tables = std::mem::take(&mut *lock(&shared.tables));
        tables.iter().for_each(|(_, table)| table.abandon());
        Ok(tables.into_iter().flat_map(|(_, table)| table.take_unwritten_json()).collect())
    }

    /// What the client is doing.
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        let progress = shared.feed.progress();
        Status {
            feed_kind: shared.feed.kind(),
            feed_live: shared.common.freshness.is_live(),
            epoch: progress.epoch.0,
            feed_position: progress.position.0,
            feed_connects: shared.feed.connects.load(Ordering::Relaxed),
            gaps: shared.feed.gaps.load(Ordering::Relaxed),
            buffered: shared.common.room.entries(),
            buffered_bytes: shared.common.room.bytes(),
            standby_loads: shared.standby.as_ref().map_or(0, |standby| standby.loads.get()),
            standby_passed_over: shared.standby.as_ref().map_or(0, |standby| standby.passed_over.get()),
            query_results: shared.results.count(),
            query_hits: shared.results.hits.get(),
            query_loads: shared.results.loads.get(),
            caches: lock(&shared.tables).iter().map(|(_, table)| table.status()).collect(),
        }
    }

    /// Only for tests: the feed goes on, but tells nobody.
    #[cfg(feature = "test-faults")]
    pub fn mute_feed(&self, muted: bool) {
        self.shared.feed.muted.store(muted, Ordering::Release);
    }
}
