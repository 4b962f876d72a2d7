//! Owns the tasks of a client.

use super::table::CacheTable;
use crate::common::Common;
use crate::common::lock::lock;
use crate::write::Budget;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// Owns the tasks of a client: they end with it.
pub(crate) struct Supervisor {
    common: Arc<Common>,
    budget: Arc<Budget>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Supervisor {
    pub(super) fn new(common: Arc<Common>, budget: Arc<Budget>) -> Supervisor {
        Supervisor { common, budget, tasks: Mutex::default() }
    }

    /// Runs a task, perhaps for one table. One that dies makes every later call fail, and lets go who waits for the table.
    pub(crate) fn spawn(&self, table: Option<Arc<dyn CacheTable>>, work: impl Future<Output = ()> + Send + 'static) {
        let guard = DeathNotice { common: self.common.clone(), budget: self.budget.clone(), table };
        let task = tokio::spawn(async move {
            let _guard = guard;
            work.await;
        });
        lock(&self.tasks).push(task);
    }

    /// Asks all tasks to end.
    pub(super) fn abort(&self) {
        lock(&self.tasks).iter().for_each(JoinHandle::abort);
    }

    /// Ends all tasks, and waits until they have ended.
    pub(super) async fn end(&self) {
        self.abort();
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks {
            drop(task.await);
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Tells everybody when its task dies.
struct DeathNotice {
    common: Arc<Common>,
    budget: Arc<Budget>,
    table: Option<Arc<dyn CacheTable>>,
}

impl Drop for DeathNotice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.common.broken.store(true, Ordering::Release);
            self.common.freshness.end();
            self.budget.close();
            self.table.iter().for_each(|table| table.abandon());
        }
    }
}
