//! What a table is to its client and to the feed, whatever its types.

use super::Table;
use crate::error::Error;
use crate::feed::Subscriber;
use crate::key::{self, Key};
use crate::layout::quote;
use crate::receipt::Receipt;
use crate::shared::{CacheTable, Unwritten};
use crate::status::CacheStatus;
use crate::store::Store;
use crate::text::push_json_string;
use cache_sync_core::wire::Change;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

impl<K, V> CacheTable for Table<K, V>
where
    K: Key,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    fn flush_now(&self) -> Vec<Receipt> {
        let receipts = self.pending();
        self.request_flush();
        receipts
    }

    fn abandon(&self) {
        Table::abandon(self);
    }

    fn is_retired(&self) -> bool {
        Table::is_retired(self)
    }

    fn take_unwritten_json(&self) -> Vec<Unwritten> {
        let unwritten = self.take_unwritten().into_iter();
        let table = format!("{}.{}", self.meta.schema, self.meta.name);
        unwritten
            .map(|(key, patch)| {
                let mut members = String::new();
                key::write_members(&key, &self.meta.key, &mut members);
                let mut fields = String::new();
                for (field, value) in patch.fields().iter() {
                    fields.push_str(if fields.is_empty() { "" } else { "," });
                    push_json_string(&mut fields, &self.layout.columns[usize::from(field)].name);
                    fields.push(':');
                    fields.push_str(value);
                }
                let patch = format!("{{\"kind\":\"{:?}\",\"fields\":{{{fields}}}}}", patch.kind);
                Unwritten { table: table.clone(), key: format!("{{{members}}}"), patch }
            })
            .collect()
    }

    fn status(&self) -> CacheStatus {
        let counters = &self.counters;
        CacheStatus {
            table: format!("{}.{}", self.meta.schema, self.meta.name),
            entries: self.entry_count(),
            hits: counters.hits.sum(),
            misses: counters.misses.get(),
            stale_served: counters.stale_served.get(),
            load_statements: counters.load_statements.get(),
            loaded_keys: counters.loaded_keys.get(),
            changes: counters.changes.get(),
            writes: counters.writes.get(),
            batches: counters.batches.get(),
            patches: counters.patches.get(),
            flush_retries: counters.flush_retries.get(),
        }
    }
}

impl<K, V> Subscriber for Table<K, V>
where
    K: Key,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    fn change(&self, change: &Change) {
        Table::change(self, change);
    }

    fn raise_generation(&self) {
        Table::raise_generation(self);
    }

    fn check_again<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let name = format!("{}.{}", quote(&self.meta.schema), quote(&self.meta.name));
            match store.describe(&name).await {
                Ok((_, meta)) if meta.hash_key == self.meta.hash_key && meta.table_id == self.table_id() => Ok(true),
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
