//! What a cache is to its client, whatever its types.

use crate::client::CacheTable;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::receipt::{Receipt, Unwritten};
use crate::status::CacheStatus;
use crate::write::Writes;

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
        Writes::take_unwritten(self)
    }

    fn status(&self) -> CacheStatus {
        let (entries, counters) = (&self.entries, &self.entries.counters);
        CacheStatus {
            table: self.entries.schema.display_name(),
            mode: entries.mode(),
            has_retreated: entries.has_retreated(),
            entries: entries.len(),
            hits: entries.hits(),
            misses: counters.misses.get(),
            stale_served: counters.stale_served.get(),
            replaced_served: counters.replaced_served.get(),
            load_statements: counters.load_statements.get(),
            loaded_keys: counters.loaded_keys.get(),
            changes: counters.changes.get(),
            writes: counters.writes.get(),
            batches: counters.batches.get(),
            patches: counters.patches.get(),
            flush_retries: counters.flush_retries.get(),
            write_trouble: self.hindrance.trouble(),
            rejected: counters.rejected.get(),
            unknown: counters.unknown.get(),
            verified_equal: counters.verified_equal.get(),
            verified_behind: counters.verified_behind.get(),
            unverified: counters.unverified.get(),
            violations: counters.violations.get(),
            retreats: counters.retreats.get(),
        }
    }
}
