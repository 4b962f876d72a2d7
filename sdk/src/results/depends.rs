//! What a result depends on: counters that changes raise. A result knows what they said before it was loaded, and may be
//! served as long as they say the same; so a change during the load needs no case of its own.

use super::question::{Rows, TagIs};
use super::tag::TagValue;
use crate::change::Subscriber;
use crate::codec::layout::{TableMeta, quote};
use crate::common::lock::lock;
use crate::error::{Error, ErrorKind};
use crate::meter::ToldAt;
use crate::store::{NextExpiry, Store};
use cache_sync_core::number::{KeyHash, TableId};
use cache_sync_core::wire::{Change, ChangeKind};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// So many tags and keys are looked after before those that no result depends on any more are let go.
const SWEEP_MIN: usize = 1024;

/// A table on which results depend.
pub(crate) struct Source {
    /// As it was described last.
    meta: Mutex<Arc<TableMeta>>,
    pub(super) id: TableId,
    /// That with the feed, set once: results may be held when it is served.
    pub(super) registration: OnceLock<u64>,
    /// Every change.
    changes: Counter,
    /// Those of the whole table, and the moments after which nothing is trusted unseen.
    flushes: Counter,
    tags: Mutex<Tags>,
    retired: AtomicBool,
}

/// A counter whose rise can be waited for.
#[derive(Default)]
struct Counter {
    count: AtomicU64,
    raised: Notify,
}

impl Counter {
    fn get(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    fn raise(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.raised.notify_waiters();
    }
}

/// Counters of the tags and keys on which results depend.
#[derive(Default)]
struct Tags {
    counters: HashMap<KeyHash, Weak<Counter>>,
    sweep_at: usize,
}

impl Source {
    /// The table's, with its schema, for people.
    pub(super) fn name(&self) -> String {
        let meta = lock(&self.meta);
        format!("{}.{}", meta.schema, meta.name)
    }

    pub(super) fn new(meta: TableMeta) -> Source {
        Source {
            id: meta.table_id,
            meta: Mutex::new(Arc::new(meta)),
            registration: OnceLock::new(),
            changes: Counter::default(),
            flushes: Counter::default(),
            tags: Mutex::default(),
            retired: AtomicBool::new(false),
        }
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// How often the table as a whole changed, with its name and its tags perhaps.
    pub(super) fn flushes(&self) -> u64 {
        self.flushes.get()
    }

    /// Takes over what the table looks like now.
    pub(super) fn describe_as(&self, meta: TableMeta) {
        *lock(&self.meta) = Arc::new(meta);
    }

    /// What those rows say now. `flushes` is what the table said before it was described last.
    ///
    /// # Errors
    /// When the table has no such tag, or it cannot hold the value.
    pub(super) fn look(self: &Arc<Source>, flushes: u64, rows: &Rows) -> Result<Mark, Error> {
        let hash = match rows {
            Rows::All => {
                let on = On::Table(self.changes.get());
                return Ok(Mark { source: self.clone(), flushes, on });
            }
            Rows::Tag(tag) => self.hash_of_tag(tag)?,
            Rows::Key(columns) => TagValue::hash_of_key(&lock(&self.meta).hash_key, columns),
        };
        let counter = self.counter(hash);
        let seen = counter.get();
        Ok(Mark { source: self.clone(), flushes, on: On::Tag(counter, seen) })
    }

    fn hash_of_tag(&self, TagIs { name, value }: &TagIs) -> Result<KeyHash, Error> {
        let meta = lock(&self.meta).clone();
        let mismatch = |message: String| Error::new(ErrorKind::Mismatch, message);
        let place = meta.tags.iter().position(|tag| tag.name == *name).ok_or_else(|| {
            let tags: Vec<_> = meta.tags.iter().map(|tag| &*tag.name).collect();
            mismatch(format!(
                "\"{name}\" is no tag of the table {}, which has: {}; name it in attach or set_tags",
                meta.name,
                if tags.is_empty() { "none".to_owned() } else { tags.join(", ") }
            ))
        })?;
        if !meta.tags[place].kind.as_ref().is_some_and(|kind| value.is_of(kind)) {
            return Err(mismatch(format!("the tag \"{name}\" of the table {} cannot hold {value:?}", meta.name)));
        }
        Ok(value.hash(&meta.hash_key, place))
    }

    /// How to ask when the next of those rows expires.
    pub(super) fn next_expiry(&self, rows: &Rows) -> Option<NextExpiry> {
        let meta = lock(&self.meta).clone();
        let (name, value) = match rows {
            Rows::Tag(TagIs { name, value }) if value.is_parameter() => (name, value),
            Rows::Key(columns) if columns.len() == 1 => (&meta.key.first()?.name, &columns[0]),
            _ => return NextExpiry::new(&meta, None, None),
        };
        if *value == TagValue::Null {
            return NextExpiry::new(&meta, Some(&format!("t.{} IS NULL", quote(name))), None);
        }
        // By the operator that an index of the column has, whatever its type.
        NextExpiry::new(&meta, Some(&format!("t.{} = $1", quote(name))), Some(Box::new(value.clone())))
    }

    fn counter(&self, hash: KeyHash) -> Arc<Counter> {
        let mut tags = lock(&self.tags);
        if let Some(counter) = tags.counters.get(&hash).and_then(Weak::upgrade) {
            return counter;
        }
        if tags.counters.len() >= tags.sweep_at.max(SWEEP_MIN) {
            tags.counters.retain(|_, counter| counter.strong_count() > 0);
            tags.sweep_at = 2 * tags.counters.len();
        }
        let counter: Arc<Counter> = Arc::default();
        tags.counters.insert(hash, Arc::downgrade(&counter));
        counter
    }
}

/// What one thing that a result depends on said before the result was loaded.
#[derive(Clone)]
pub(super) struct Mark {
    source: Arc<Source>,
    flushes: u64,
    on: On,
}

#[derive(Clone)]
enum On {
    Table(u64),
    Tag(Arc<Counter>, u64),
}

impl Mark {
    /// Whether it still says the same.
    pub(super) fn is_current(&self) -> bool {
        let is_unchanged = match &self.on {
            On::Table(seen) => self.source.changes.get() == *seen,
            On::Tag(counter, seen) => counter.get() == *seen,
        };
        is_unchanged && self.is_of_same_table()
    }

    /// Each comes back once it may say something else than at this call.
    pub(super) fn raised(&self) -> [Notified<'_>; 2] {
        let on = match &self.on {
            On::Table(_) => &self.source.changes,
            On::Tag(counter, _) => counter,
        };
        [on.raised.notified(), self.source.flushes.raised.notified()]
    }

    /// Whether nothing but rows has changed: no gap, no other server, no other table of the name, no other rights.
    pub(super) fn is_of_same_table(&self) -> bool {
        self.source.flushes.get() == self.flushes && !self.source.is_retired()
    }
}

impl Subscriber for Source {
    fn tell(&self, change: &Change, _: &ToldAt) {
        self.changes.raise();
        if change.kind == ChangeKind::FlushTable {
            self.doubt_all();
        } else if let Some(counter) = lock(&self.tags).counters.get(&change.key).and_then(Weak::upgrade) {
            counter.raise();
        }
    }

    // A change of what a result depends on is never held back.
    fn end_holds(&self) {}

    fn doubt_all(&self) {
        self.flushes.raise();
    }

    fn check_again<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let meta = lock(&self.meta).clone();
            let is_there = store.is_still(&meta).await?;
            if !is_there {
                self.retired.store(true, Ordering::Release);
                self.doubt_all();
            }
            Ok(is_there)
        })
    }
}
