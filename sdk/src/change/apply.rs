//! What a cache does with what the feed tells.

use super::feed::Subscriber;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::entries::Entries;
use crate::error::Error;
use crate::meter::ToldAt;
use crate::store::Store;
use cache_sync_core::wire::{Change, ChangeKind};
use futures_util::future::BoxFuture;

impl<K: Key, V: CacheValue> Subscriber for Entries<K, V> {
    fn tell(&self, change: &Change, told: &ToldAt) {
        self.counters.changes.add(1);
        match change.kind {
            ChangeKind::FlushTable => self.raise_generation(),
            // What depends on it are queries.
            ChangeKind::Tag => {}
            ChangeKind::Versioned | ChangeKind::Unversioned => {
                if let Some(turned) = self.change(change) {
                    if turned.is_dropped {
                        self.meter.dropped(told, change.version.0);
                    }
                    turned.to_refresh.iter().for_each(|key| self.refresh(key, change.key));
                }
            }
        }
    }

    fn end_holds(&self) {
        Entries::end_holds(self);
    }

    fn doubt_all(&self) {
        self.raise_generation();
    }

    fn check_again<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let is_there = store.is_still(&self.schema.meta).await?;
            if !is_there {
                self.retire();
            }
            Ok(is_there)
        })
    }
}
