//! What a cache is to its client, whatever its types.

use crate::client::CacheTable;
use crate::codec::key::{self, Key};
use crate::codec::schema::Schema;
use crate::codec::text::push_json_string;
use crate::codec::value::CacheValue;
use crate::receipt::{Receipt, Unwritten};
use crate::status::CacheStatus;
use crate::write::Writes;
use cache_sync_core::patch::RowPatch;

impl<K: Key, V: CacheValue> CacheTable for Writes<K, V> {
    fn flush_now(&self) -> Vec<Receipt> {
        Writes::flush_now(self)
    }

    fn abandon(&self) {
        self.entries.abandon();
    }

    fn is_retired(&self) -> bool {
        self.entries.is_retired()
    }

    fn is_left(&self) -> bool {
        Writes::is_left(self)
    }

    fn take_unwritten(&self) -> Vec<Unwritten> {
        let taken = Writes::take_unwritten(self).into_iter();
        taken.map(|(key, patch)| unwritten(&self.entries.schema, &key, &patch)).collect()
    }

    fn status(&self) -> CacheStatus {
        let counters = &self.entries.counters;
        CacheStatus {
            table: self.entries.schema.display_name(),
            entries: self.entries.len(),
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
            rejected: counters.rejected.get(),
            unknown: counters.unknown.get(),
        }
    }
}

/// A patch for people, as JSON.
fn unwritten<K: Key>(schema: &Schema, key: &K, patch: &RowPatch) -> Unwritten {
    let mut members = String::new();
    key::write_members(key, &schema.meta.key, &mut members);
    let mut fields = String::new();
    for (field, value) in patch.fields().iter() {
        fields.push_str(if fields.is_empty() { "" } else { "," });
        push_json_string(&mut fields, &schema.layout.columns[usize::from(field)].name);
        fields.push(':');
        fields.push_str(value);
    }
    let patch = format!("{{\"kind\":\"{:?}\",\"fields\":{{{fields}}}}}", patch.kind);
    Unwritten { table: schema.display_name(), key: format!("{{{members}}}"), patch }
}
