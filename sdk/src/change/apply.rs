//! What a cache does with what the feed tells.

use super::feed::Subscriber;
use crate::codec::key::Key;
use crate::codec::layout::quote;
use crate::codec::value::CacheValue;
use crate::entries::Entries;
use crate::error::Error;
use crate::pg::Store;
use cache_sync_core::wire::{Change, ChangeKind};
use futures_util::future::BoxFuture;

impl<K: Key, V: CacheValue> Subscriber for Entries<K, V> {
    fn tell(&self, change: &Change) {
        self.counters.changes.add(1);
        match change.kind {
            ChangeKind::FlushTable => self.raise_generation(),
            // What depends on it are queries.
            ChangeKind::Tag => {}
            ChangeKind::Versioned | ChangeKind::Unversioned => self.change(change),
        }
    }

    fn doubt_all(&self) {
        self.raise_generation();
    }

    fn check_again<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let known = &self.schema.meta;
            let name = format!("{}.{}", quote(&known.schema), quote(&known.name));
            match store.describe(&name).await {
                Ok((_, meta)) if meta.hash_key == known.hash_key && meta.table_id == known.table_id => Ok(true),
                Err(error) if error.is_unavailable() => Err(error),
                Ok(_) | Err(_) => {
                    tracing::error!(
                        table = %name,
                        "the table is no longer attached as it was; its cache must be opened again"
                    );
                    self.retire();
                    Ok(false)
                }
            }
        })
    }
}
