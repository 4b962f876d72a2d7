//! The tables that results depend on, by the names that callers have for them.

use super::depends::Source;
use crate::change::{Feed, Part};
use crate::codec::layout::TableMeta;
use crate::common::lock::lock;
use crate::error::Error;
use crate::store::Store;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::Mutex as AsyncMutex;

/// What a caller's name for a table means.
#[derive(Clone)]
struct Named {
    source: Arc<Source>,
    /// How often the table had changed as a whole when the name was looked up and the table described.
    described: Option<u64>,
}

/// The tables of a client's results.
pub(super) struct Sources {
    store: Arc<Store>,
    feed: Arc<Feed>,
    names: Mutex<HashMap<String, Named>>,
    /// Tables are described by one caller at a time, for all.
    describing: AsyncMutex<()>,
}

impl Sources {
    pub(super) fn new(store: Arc<Store>, feed: Arc<Feed>) -> Sources {
        Sources { store, feed, names: Mutex::default(), describing: AsyncMutex::default() }
    }

    /// The table of this name, subscribed to and described, and how often it had changed as a whole before that: another
    /// table may have taken its name, or other tags their places.
    ///
    /// # Errors
    /// When it is not attached, or the feed does not answer.
    pub(super) async fn of(&self, name: &str) -> Result<(Arc<Source>, u64), Error> {
        loop {
            let named = lock(&self.names).get(name).filter(|named| !named.source.is_retired()).cloned();
            if let Some(Named { source, described: Some(described) }) = &named
                && *described == source.flushes()
            {
                return Ok((source.clone(), *described));
            }
            let _one = self.describing.lock().await;
            // Somebody may have done it meanwhile.
            let known = lock(&self.names).get(name).filter(|named| !named.source.is_retired()).cloned();
            let is_other =
                |now: &Named, then: &Named| now.described != then.described || !Arc::ptr_eq(&now.source, &then.source);
            if known.as_ref().is_some_and(|known| named.as_ref().is_none_or(|named| is_other(known, named))) {
                continue;
            }
            if let Some(registration) = known.as_ref().and_then(|known| known.source.registration.get()) {
                self.feed.subscribed(*registration, &self.store).await?;
            }
            let before = known.as_ref().map(|known| known.source.flushes());
            let meta = self.store.describe(name).await?;
            let named = match known {
                Some(Named { source, .. }) if source.id == meta.table_id => {
                    source.describe_as(meta);
                    Named { source, described: before }
                }
                // What it looks like is asked again once it is subscribed to: what changed before is not told.
                _ => Named { source: self.subscribed(meta), described: None },
            };
            lock(&self.names).insert(name.to_owned(), named);
        }
    }

    /// The table, which may be known by another name.
    fn subscribed(&self, meta: TableMeta) -> Arc<Source> {
        let is_it = |source: &&Arc<Source>| source.id == meta.table_id && !source.is_retired();
        if let Some(source) = lock(&self.names).values().map(|named| &named.source).find(is_it) {
            return source.clone();
        }
        let source = Arc::new(Source::new(meta));
        source.registration.get_or_init(|| self.feed.register(source.id, Part::Queries, source.clone()));
        source
    }
}
