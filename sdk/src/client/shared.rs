//! What all handles of a client and of its caches share: connections, tables, tasks.

use super::supervisor::Supervisor;
use super::table::CacheTable;
use crate::change::{Feed, Part};
use crate::common::Common;
use crate::common::lock::lock;
use crate::config::ClientConfig;
use crate::error::{Error, ErrorKind};
use crate::pg::{BatchConnection, Store};
use crate::read::Standby;
use crate::receipt::Unwritten;
use crate::results::Results;
use crate::write::Budget;
use cache_sync_core::number::TableId;
use std::sync::{Arc, Mutex};

/// What all handles of a client and of its caches share.
pub(crate) struct Shared {
    pub(crate) config: ClientConfig,
    pub(crate) common: Arc<Common>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) store: Arc<Store>,
    pub(crate) standby: Option<Arc<Standby>>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) results: Results,
    pub(crate) batch_connection: Arc<BatchConnection>,
    pub(crate) supervisor: Supervisor,
    /// Those that have retired too: what they have not written may still be.
    pub(super) tables: Mutex<Vec<(TableId, Arc<dyn CacheTable>)>>,
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
            results: Results::new(&config, common.clone(), store.clone(), feed.clone()),
            batch_connection: Arc::new(BatchConnection::new(store.clone())),
            supervisor: Supervisor::new(common.clone(), budget.clone()),
            tables: Mutex::default(),
            unwritten: tokio::sync::Mutex::default(),
            common: common.clone(),
            feed: feed.clone(),
            store: store.clone(),
            budget,
            standby,
            config,
        });
        shared.supervisor.spawn(None, async move { feed.run(&store, &common).await });
        shared
    }

    pub(crate) fn add_table(&self, id: TableId, table: Arc<dyn CacheTable>) -> Result<(), Error> {
        let mut tables = lock(&self.tables);
        if tables.iter().any(|(of, table)| *of == id && !table.is_retired()) {
            return Err(Error::new(
                ErrorKind::Config,
                "this client has a cache of that table already; clone its handle",
            ));
        }
        tables.push((id, table));
        Ok(())
    }

    pub(crate) fn remove_table(&self, id: TableId) {
        lock(&self.tables).retain(|(of, table)| *of != id || table.is_retired());
        self.feed.unregister(id, Part::Rows);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.supervisor.abort();
        let buffered = self.budget.entries();
        if buffered > 0 && self.unwritten.get_mut().is_none() {
            tracing::error!(buffered, "the client was dropped before it was closed: these patches are lost");
        }
    }
}
