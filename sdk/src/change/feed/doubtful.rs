//! Tables that have changed as a whole: another one may have taken the name.

use crate::common::lock::lock;
use cache_sync_core::number::TableId;
use cache_sync_core::wire::{Change, ChangeKind};
use std::collections::HashSet;
use std::sync::Mutex;
use tokio::sync::Notify;

/// The tables that are to be looked at.
#[derive(Debug, Default)]
pub(super) struct Doubtful {
    tables: Mutex<HashSet<TableId>>,
    arrived: Notify,
}

impl Doubtful {
    /// Notes those that changed as a whole.
    pub(super) fn note(&self, changes: &[Change]) {
        self.add(changes.iter().filter(|change| change.kind == ChangeKind::FlushTable).map(|change| change.table));
    }

    pub(super) fn add(&self, some: impl IntoIterator<Item = TableId>) {
        let mut tables = lock(&self.tables);
        let before = tables.len();
        tables.extend(some);
        if tables.len() > before {
            self.arrived.notify_one();
        }
    }

    /// Waits until there are some, and takes them.
    pub(super) async fn take(&self) -> HashSet<TableId> {
        self.arrived.notified().await;
        std::mem::take(&mut *lock(&self.tables))
    }
}
