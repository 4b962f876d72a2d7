//! What all handles of a client and of its caches share: connections, tables, tasks.

use super::publisher::Publisher;
use super::supervisor::Supervisor;
use super::table::CacheTable;
use crate::change::Feed;
use crate::common::Common;
use crate::common::liveness::Liveness;
use crate::common::lock::lock;
use crate::config::ClientConfig;
use crate::error::{Error, ErrorKind};
use crate::meter::IS_ON;
use crate::read::Standby;
use crate::receipt::{Hindrances, Unwritten};
use crate::results::Results;
use crate::status::{CacheStatus, Status};
use crate::store::{Batches, Store, within};
use crate::write::Budget;
use cache_sync_core::number::TableId;
use std::any::TypeId;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use tokio::sync::Notify;

/// A table, and what the cache has it as: a client has one cache of each, however many handles that has.
pub(crate) type CacheId = (TableId, TypeId);

/// What all handles of a client and of its caches share.
pub(crate) struct Shared {
    pub(crate) config: ClientConfig,
    pub(crate) common: Arc<Common>,
    pub(crate) budget: Arc<Budget>,
    /// What keeps writes from Postgres, which all are in the one buffer.
    pub(crate) hindrances: Arc<Hindrances>,
    pub(crate) store: Arc<Store>,
    pub(crate) standby: Option<Arc<Standby>>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) results: Arc<Results>,
    pub(crate) batch_connection: Arc<dyn Batches>,
    pub(crate) supervisor: Supervisor,
    /// Those that have retired too: what they have not written may still be.
    pub(super) tables: Mutex<Vec<(CacheId, Arc<dyn CacheTable>)>>,
    /// Whether the feed is heard; its task is begun by who asks first.
    liveness: OnceLock<Liveness>,
    publisher: Publisher,
    /// A table was taken off that list.
    table_left: Notify,
    /// What Postgres may not have, once the client has been closed. One closes it at a time.
    pub(super) unwritten: tokio::sync::Mutex<Option<Vec<Unwritten>>>,
}

impl Shared {
    /// A client's parts, with its feed at work.
    pub(super) fn begin(
        config: ClientConfig,
        common: Common,
        budget: Budget,
        store: Store,
        standby: Option<Arc<Standby>>,
    ) -> Arc<Shared> {
        let (common, budget) = (Arc::new(common), Arc::new(budget));
        let (store, feed) = (Arc::new(store), Arc::new(Feed::new()));
        let shared = Arc::new(Shared {
            results: Arc::new(Results::new(&config, common.clone(), store.clone(), feed.clone())),
            batch_connection: store.batches(),
            supervisor: Supervisor::new(common.clone(), budget.clone()),
            tables: Mutex::default(),
            liveness: OnceLock::new(),
            publisher: Publisher::new(&common.meter),
            table_left: Notify::new(),
            unwritten: tokio::sync::Mutex::default(),
            common: common.clone(),
            feed: feed.clone(),
            store: store.clone(),
            budget,
            hindrances: Arc::default(),
            standby,
            config,
        });
        shared.supervisor.spawn(None, async move { feed.run(&store, &common).await });
        if IS_ON {
            shared.supervisor.spawn(None, publish(Arc::downgrade(&shared)));
        }
        shared
    }

    /// Takes a table in. One whose handles are all gone is waited for, whatever its types: what was written to it comes first.
    ///
    /// # Errors
    /// When the client has a cache of it with these types, or its last writes take too long.
    pub(crate) async fn add_table(&self, id: CacheId, table: Arc<dyn CacheTable>) -> Result<(), Error> {
        within("waiting for the last writes to the table", self.config.query_timeout, async {
            loop {
                let left = self.table_left.notified();
                tokio::pin!(left);
                left.as_mut().enable();
                let is_open = {
                    let mut tables = lock(&self.tables);
                    let mut of_table = tables.iter().filter(|((of, _), table)| *of == id.0 && !table.is_retired());
                    if of_table.clone().any(|(of, table)| *of == id && !table.is_left()) {
                        true
                    } else if of_table.all(|(_, table)| !table.is_left()) {
                        tables.push((id, table));
                        return Ok(());
                    } else {
                        false
                    }
                };
                if is_open {
                    let message =
                        "this client has a cache of that table already, with the same types; clone its handle";
                    return Err(Error::new(ErrorKind::Config, message));
                }
                left.await;
            }
        })
        .await
    }

    /// Tells when the feed is heard and when not any more, until the client ends.
    pub(crate) fn liveness(&self) -> Liveness {
        let begin = || {
            let (liveness, follow) = Liveness::of(self.common.clone());
            self.supervisor.spawn(None, follow);
            liveness
        };
        self.liveness.get_or_init(begin).clone()
    }

    pub(crate) fn remove_table(&self, table: &Arc<dyn CacheTable>) {
        lock(&self.tables).retain(|(_, known)| !std::ptr::addr_eq(Arc::as_ptr(known), Arc::as_ptr(table)));
        self.publisher.table_left(table, &self.common.meter);
        self.table_left.notify_waiters();
    }

    /// What the client and its caches have counted last counts, too; from here on nothing of it is there any more.
    pub(super) fn publish_last(&self) {
        self.publisher.end(|| self.counted(), &self.common.meter);
    }

    fn counted(&self) -> (Status, Vec<Arc<dyn CacheTable>>) {
        (self.status(), lock(&self.tables).iter().map(|(_, table)| table.clone()).collect())
    }

    /// What the client is doing.
    pub(super) fn status(&self) -> Status {
        let progress = self.feed.progress();
        Status {
            feed_kind: self.feed.kind(),
            feed_live: self.common.is_live(),
            epoch: progress.epoch.0,
            feed_position: progress.position.0,
            feed_connects: self.feed.connects.load(Ordering::Relaxed),
            feed_trouble: self.feed.trouble(),
            gaps: self.feed.gaps.load(Ordering::Relaxed),
            buffered: self.budget.entries(),
            buffered_bytes: self.budget.bytes(),
            standby_loads: self.standby.as_ref().map_or(0, |standby| standby.loads.get()),
            standby_passed_over: self.standby.as_ref().map_or(0, |standby| standby.passed_over.get()),
            query_results: self.results.count(),
            query_hits: self.results.hits.get(),
            query_loads: self.results.loads.get(),
            caches: self.cache_statuses(),
        }
    }

    /// What the caches are doing. One that has retired is passed over when another one has taken its place.
    fn cache_statuses(&self) -> Vec<CacheStatus> {
        let tables = lock(&self.tables);
        let statuses: Vec<_> = tables.iter().map(|(id, table)| (*id, table.is_retired(), table.status())).collect();
        let is_followed = |place: usize, (_, types): CacheId, of: &CacheStatus| {
            statuses[place + 1..].iter().any(|((_, others), _, it)| *others == types && it.table == of.table)
        };
        let is_listed =
            |place: usize, id: CacheId, retired: bool, it: &CacheStatus| !retired || !is_followed(place, id, it);
        let listed =
            statuses.iter().enumerate().filter(|(place, (id, retired, it))| is_listed(*place, *id, *retired, it));
        listed.map(|(_, (_, _, status))| status.clone()).collect()
    }
}

/// Publishes what a client counts until it ends, which this does not keep alive.
async fn publish(client: Weak<Shared>) {
    let publishing = Publishing(client);
    loop {
        let Some(shared) = publishing.0.upgrade() else { return };
        let interval = shared.config.metrics_interval;
        shared.publisher.publish(|| shared.counted(), &shared.common.meter);
        drop(shared);
        tokio::time::sleep(interval).await;
    }
}

/// Whoever publishes. Where that ends before the client, it is the end of the runtime, and of all that the client does.
struct Publishing(Weak<Shared>);

impl Drop for Publishing {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade().filter(|shared| !shared.supervisor.is_ending()) {
            shared.publish_last();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.supervisor.abort();
        self.publish_last();
        let buffered = self.budget.entries();
        if buffered > 0 && self.unwritten.get_mut().is_none() {
            tracing::error!(buffered, "the client was dropped before it was closed: these patches are lost");
        }
    }
}
