//! What all handles of a client and of its caches share: connections, tables, tasks.

use crate::common::Common;
use crate::config::ClientConfig;
use crate::error::{Error, Kind};
use crate::feed::{Feed, Part};
use crate::flusher::FlushConnection;
use crate::lock::lock;
use crate::receipt::Receipt;
use crate::results::Results;
use crate::standby::Standby;
use crate::status::CacheStatus;
use crate::store::Store;
use cache_sync_core::number::TableId;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

pub(crate) struct Shared {
    pub(crate) config: ClientConfig,
    pub(crate) common: Arc<Common>,
    pub(crate) store: Arc<Store>,
    pub(crate) standby: Option<Arc<Standby>>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) results: Results,
    pub(crate) flush_connection: Arc<FlushConnection>,
    /// Those that have retired too: what they have not written may still be.
    pub(crate) tables: Mutex<Vec<(TableId, Arc<dyn CacheTable>)>>,
    pub(crate) tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// A write that Postgres may not have when the client closes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unwritten {
    /// The table, with its schema.
    pub table: String,
    /// The key's columns as a JSON object.
    pub key: String,
    /// The change as JSON: its kind and its fields.
    pub patch: String,
}

/// What a client does with each of its tables, whatever their types.
pub(crate) trait CacheTable: Send + Sync {
    /// Asks for a flush and returns receipts for all that is pending.
    fn flush_now(&self) -> Vec<Receipt>;
    /// Lets everybody go who waits for the table's tasks.
    fn abandon(&self);
    /// It is not the table any more that was opened, so that another cache may take its place.
    fn is_retired(&self) -> bool;
    fn take_unwritten_json(&self) -> Vec<Unwritten>;
    fn status(&self) -> CacheStatus;
}

impl Shared {
    /// Runs a task of this client, perhaps for one table. One that dies makes every later call fail, and lets go who waits
    /// for the table.
    pub(crate) fn spawn(&self, table: Option<Arc<dyn CacheTable>>, work: impl Future<Output = ()> + Send + 'static) {
        let guard = DeathNotice { common: self.common.clone(), table };
        let task = tokio::spawn(async move {
            let _guard = guard;
            work.await;
        });
        lock(&self.tasks).push(task);
    }

    pub(crate) fn add_table(&self, id: TableId, table: Arc<dyn CacheTable>) -> Result<(), Error> {
        let mut tables = lock(&self.tables);
        if tables.iter().any(|(of, table)| *of == id && !table.is_retired()) {
            return Err(Error::new(Kind::Config, "this client has a cache of that table already; clone its handle"));
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
        lock(&self.tasks).iter().for_each(JoinHandle::abort);
        let buffered = self.common.room.entries();
        if buffered > 0 && !self.common.closed.load(Ordering::Acquire) {
            tracing::error!(buffered, "the client was dropped without close: these patches are lost");
        }
    }
}

struct DeathNotice {
    common: Arc<Common>,
    table: Option<Arc<dyn CacheTable>>,
}

impl Drop for DeathNotice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.common.broken.store(true, Ordering::Release);
            self.common.freshness.lost();
            self.common.room.close();
            self.table.iter().for_each(|table| table.abandon());
        }
    }
}
