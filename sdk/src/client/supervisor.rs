//! Owns the tasks of a client.

use super::table::CacheTable;
use crate::common::Common;
use crate::common::lock::lock;
use crate::write::Budget;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// Owns the tasks of a client: they end with it.
pub(crate) struct Supervisor {
    common: Arc<Common>,
    budget: Arc<Budget>,
    /// Where they run.
    runtime: tokio::runtime::Handle,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Those that are waited for: whoever gives that up leaves the rest to the next one.
    joining: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
    /// They are to end.
    ending: Arc<AtomicBool>,
}

impl Supervisor {
    pub(super) fn new(common: Arc<Common>, budget: Arc<Budget>) -> Supervisor {
        Supervisor {
            common,
            budget,
            runtime: tokio::runtime::Handle::current(),
            tasks: Mutex::default(),
            joining: tokio::sync::Mutex::default(),
            ending: Arc::default(),
        }
    }

    /// Runs a task, perhaps for one table. One that is ended before it is done, or asked to end, makes every later call fail, and lets go who waits for
    /// the table.
    pub(crate) fn spawn(&self, table: Option<Arc<dyn CacheTable>>, work: impl Future<Output = ()> + Send + 'static) {
        let (common, budget, ending) = (self.common.clone(), self.budget.clone(), self.ending.clone());
        let guard = DeathNotice { common, budget, ending, table, is_done: false };
        let task = self.runtime.spawn(async move {
            let mut guard = guard;
            work.await;
            guard.is_done = true;
        });
        let mut tasks = lock(&self.tasks);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    /// Where the client's tasks run.
    pub(crate) fn runtime(&self) -> tokio::runtime::Handle {
        self.runtime.clone()
    }

    /// Asks all tasks to end.
    pub(super) fn abort(&self) {
        self.ending.store(true, Ordering::Release);
        lock(&self.tasks).iter().for_each(JoinHandle::abort);
    }

    /// Ends all tasks, and waits until they have ended.
    pub(super) async fn end(&self) {
        self.abort();
        let mut joining = self.joining.lock().await;
        joining.append(&mut lock(&self.tasks));
        while let Some(task) = joining.last_mut() {
            drop(task.await);
            joining.pop();
        }
    }

    /// Whether its tasks have been asked to end.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
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
    ending: Arc<AtomicBool>,
    table: Option<Arc<dyn CacheTable>>,
    /// It has come to its end by itself: there was nothing left to do.
    is_done: bool,
}

impl Drop for DeathNotice {
    fn drop(&mut self) {
        let why = match std::thread::panicking() {
            true => "a task of this client has panicked; make a new client",
            false => "the runtime in which this client was made has ended; make a new client",
        };
        if std::thread::panicking() || !(self.is_done || self.ending.load(Ordering::Acquire)) {
            if self.common.broken.set(why).is_ok() {
                tracing::error!(why, "the client is good for nothing any more");
            }
            self.common.freshness.end();
            self.budget.close();
            self.table.iter().for_each(|table| table.abandon());
        }
    }
}
