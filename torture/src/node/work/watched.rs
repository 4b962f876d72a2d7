//! Rows that are watched for as long as the process lives.

use super::{HOT, Row, Work};
use crate::history::Event;
use cache_sync::{Cache, Error, Lookup, Watch};
use cache_sync_kit::{Result, locked, wait};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// How long after everything has been heard a watcher may take to show it.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// What a watcher was shown last.
#[derive(Clone)]
struct Shown {
    row: Arc<Row>,
    is_doubted: bool,
    epoch: u64,
}

/// What the watchers of a process were shown last, by key.
#[derive(Default)]
pub(super) struct Watchers(Mutex<BTreeMap<i32, Shown>>);

impl Work {
    /// Watches the rows that are changed most.
    pub(in super::super) fn begin_to_watch(self: &Arc<Work>) {
        for id in 1..=HOT as i32 {
            tokio::spawn(watch(Arc::downgrade(self), id));
        }
    }

    /// Nothing is ever taken back that was shown: numbers only grow, but for this node's own, which it may have been refused.
    fn is_shown(&self, id: i32, row: Arc<Row>, is_doubted: bool) {
        let epoch = self.client.status().epoch;
        let shown = Shown { row, is_doubted, epoch };
        let before = locked(&self.watchers.0).insert(id, shown.clone());
        let Some(before) = before.filter(|before| before.epoch == epoch && before.row.home == shown.row.home) else {
            return;
        };
        let values = before.row.values().into_iter().zip(shown.row.values()).enumerate();
        let goes_back =
            values.filter(|(column, _)| *column != self.number as usize).any(|(_, (before, now))| now < before);
        locked(&self.counts).watched += 1;
        if goes_back {
            let (before, now) = (before.row.values(), shown.row.values());
            let message = format!("node {}: a watcher of row {id} went from {before:?} back to {now:?}", self.number);
            locked(&self.counts).unexpected.push(message);
        }
    }

    /// Writes down what the watchers were shown last: everything that there is, by now.
    pub(super) async fn write_watched(&self) -> Result<()> {
        let cache = self.kept.now().cache;
        let all = async || Ok(!self.is_late(&cache).await);
        let _ = wait::until(SHOWN_WITHIN, PAUSE, all).await;
        let shown = locked(&self.watchers.0).clone();
        for (id, Shown { row, is_doubted, .. }) in shown {
            if !is_doubted {
                self.log.write(&Event::HeldRow { home: row.home, id, values: row.values() })?;
            }
        }
        Ok(())
    }

    /// Whether some watcher was shown something else than a reader would be.
    async fn is_late(&self, cache: &Cache<i32, Row>) -> bool {
        let shown = locked(&self.watchers.0).clone();
        for (id, shown) in shown {
            let now = cache.get(&id).await.ok().flatten();
            if now.is_some_and(|now| now.values() != shown.row.values()) {
                return true;
            }
        }
        false
    }
}

async fn watch(work: Weak<Work>, id: i32) {
    loop {
        let Some(mut rows) = work.upgrade().map(|work| work.kept.now().cache.watch(&id)) else { return };
        follow(&work, id, &mut rows).await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Until the cache has to be opened again.
async fn follow(work: &Weak<Work>, id: i32, rows: &mut Watch<std::result::Result<Lookup<Row>, Error>>) {
    while let Some(read) = rows.next().await {
        let Some(work) = work.upgrade() else { return };
        let Ok(read) = read else { continue };
        if let Some(row) = read.value {
            work.is_shown(id, row, read.stale_for.is_some());
        }
    }
}
