//! Changes for callers who do something of their own with them: the last one of each row, kept until it is taken.

use super::feed::Subscriber;
use crate::codec::layout::TableMeta;
use crate::common::lock::lock;
use crate::error::{Error, ErrorKind};
use crate::meter::ToldAt;
use crate::store::Store;
use cache_sync_core::number::{KeyHash, TableId, Version};
use cache_sync_core::wire::{self, ChangeKind};
use futures_util::future::BoxFuture;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// So many rows are kept for whoever takes nothing. Then the table with most of them counts as changed as a whole.
const ROWS_MAX: usize = 10_000;

/// What was committed to a table: see [`Client::changes`](crate::Client::changes).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A row was written, created or deleted.
    #[non_exhaustive]
    Row {
        /// The table, as `schema.name`.
        table: Arc<str>,
        /// That of the row's key: [`Cache::key_hash`](crate::Cache::key_hash).
        key: KeyHash,
        /// The row's version since. `None`: not known, as where it was created or deleted, or the table has no versions.
        version: Option<Version>,
    },
    /// Any row of the table may have changed: it was changed as a whole (`TRUNCATE`, `ALTER TABLE`), in too many places to list them, or
    /// nobody knows what was committed while the feed was not heard.
    #[non_exhaustive]
    Table {
        /// The table, as `schema.name`.
        table: Arc<str>,
    },
    /// The feed is not heard any more. What is committed from here on is told when it is.
    Silent,
    /// The feed is heard again, and what was missed has been told ahead of this.
    Heard,
}

/// A table of which somebody wants to hear.
pub(crate) struct Listener {
    meta: TableMeta,
    name: Arc<str>,
    pending: Arc<Pending>,
    ending: AtomicBool,
    /// And that has been told.
    retired: AtomicBool,
}

impl Listener {
    pub(crate) fn new(meta: TableMeta, pending: Arc<Pending>) -> Listener {
        let name = format!("{}.{}", meta.schema, meta.name).into();
        let (ending, retired) = (AtomicBool::new(false), AtomicBool::new(false));
        Listener { meta, name, pending, ending, retired }
    }

    pub(crate) fn table(&self) -> TableId {
        self.meta.table_id
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Whether the table is still what it was.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub(crate) async fn check(&self, store: &Store) -> Result<bool, Error> {
        store.is_still(&self.meta).await
    }

    pub(crate) fn retirement(&self) -> Error {
        let message = format!("the table {} is no longer attached as it was; ask for its changes again", self.name);
        Error::new(ErrorKind::Mismatch, message)
    }
}

impl Subscriber for Listener {
    fn tell(&self, change: &wire::Change, _: &ToldAt) {
        let version = match change.kind {
            ChangeKind::Versioned => Some(change.version),
            ChangeKind::Unversioned => None,
            ChangeKind::FlushTable => return self.doubt_all(),
            // Its row is told, too.
            ChangeKind::Tag => return,
        };
        self.pending.add_row(Row { of: self.table(), key: change.key }, version, &self.name);
    }

    fn end_holds(&self) {}

    fn doubt_all(&self) {
        self.pending.add_table(self.table(), &self.name);
    }

    fn check_again<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let is_there = self.check(store).await?;
            // Several may find it out at a time.
            if !is_there && !self.ending.swap(true, Ordering::AcqRel) {
                self.pending.add_end(self.retirement());
                self.retired.store(true, Ordering::Release);
            }
            Ok(is_there)
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Row {
    of: TableId,
    key: KeyHash,
}

/// What has not been taken yet, in the order in which it began to be so.
#[derive(Default)]
pub(crate) struct Pending {
    told: Mutex<Told>,
    pub(crate) more: Notify,
}

#[derive(Default)]
struct Told {
    order: VecDeque<Item>,
    /// What each of the rows in that order says.
    rows: HashMap<Row, Option<Version>>,
    /// The tables in that order, of which no row is.
    changed: HashSet<TableId>,
}

enum Item {
    Row(Row, Arc<str>),
    Table(TableId, Arc<str>),
    End(Error),
}

impl Pending {
    fn add_row(&self, row: Row, version: Option<Version>, name: &Arc<str>) {
        let mut told = lock(&self.told);
        if told.changed.contains(&row.of) {
            return;
        }
        if let Some(known) = told.rows.get_mut(&row) {
            *known = version;
        } else if told.rows.len() < ROWS_MAX {
            told.rows.insert(row, version);
            told.order.push_back(Item::Row(row, name.clone()));
            self.more.notify_one();
        } else {
            told.add_largest();
            self.more.notify_one();
            drop(told);
            self.add_row(row, version, name);
        }
    }

    fn add_table(&self, table: TableId, name: &Arc<str>) {
        lock(&self.told).add_table(table, name.clone());
        self.more.notify_one();
    }

    /// What was told of rows and tables so far concerns nobody.
    pub(crate) fn clear(&self) {
        let mut told = lock(&self.told);
        told.order.retain(|item| matches!(item, Item::End(_)));
        told.rows.clear();
        told.changed.clear();
    }

    fn add_end(&self, error: Error) {
        lock(&self.told).order.push_back(Item::End(error));
        self.more.notify_one();
    }

    /// Takes what has been told first.
    pub(crate) fn take(&self) -> Option<Result<Change, Error>> {
        let mut told = lock(&self.told);
        Some(match told.order.pop_front()? {
            Item::Row(row, table) => {
                let version = told.rows.remove(&row).flatten();
                Ok(Change::Row { table, key: row.key, version })
            }
            Item::Table(of, table) => {
                told.changed.remove(&of);
                Ok(Change::Table { table })
            }
            Item::End(error) => Err(error),
        })
    }
}

impl Told {
    /// The table counts as changed as a whole.
    fn add_table(&mut self, table: TableId, name: Arc<str>) {
        if self.changed.insert(table) {
            self.rows.retain(|row, _| row.of != table);
            self.order.retain(|item| !matches!(item, Item::Row(row, _) if row.of == table));
            self.order.push_back(Item::Table(table, name));
        }
    }

    /// The table of which most rows wait does so.
    fn add_largest(&mut self) {
        let mut counts: HashMap<TableId, (usize, Arc<str>)> = HashMap::new();
        for item in &self.order {
            if let Item::Row(row, name) = item {
                counts.entry(row.of).or_insert_with(|| (0, name.clone())).0 += 1;
            }
        }
        if let Some((table, (_, name))) = counts.into_iter().max_by_key(|(_, (count, _))| *count) {
            self.add_table(table, name);
        }
    }
}
