//! What a client and its caches count, published now and then: a hit tells nobody.

use super::table::CacheTable;
use crate::common::lock::lock;
use crate::common::trouble::Trouble;
use crate::config::Mode;
use crate::meter::{ClientMeter, IS_ON, Series};
use crate::status::{CacheStatus, FeedKind, Status};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Weak};

/// The caches of a client.
type Tables = Vec<Arc<dyn CacheTable>>;

/// What was published so far. Nothing once the client has ended.
pub(super) struct Publisher(Mutex<Option<Published>>);

struct Published {
    of_client: Series,
    of_tables: Vec<OfTable>,
    feed: FeedCount,
}

/// The series of one cache.
struct OfTable {
    table: Weak<dyn CacheTable>,
    series: Series,
}

impl Publisher {
    pub(super) fn new(meter: &ClientMeter) -> Publisher {
        let published = || Published { of_client: meter.series(), of_tables: Vec::new(), feed: FeedCount::default() };
        Publisher(Mutex::new(IS_ON.then(published)))
    }

    /// Publishes what a client and its caches count by now.
    pub(super) fn publish(&self, look: impl FnOnce() -> (Status, Tables), meter: &ClientMeter) {
        self.with(|published| {
            if let Some(published) = published {
                published.publish(look(), meter);
            }
        });
    }

    /// A cache has ended, and all its tasks: what it has counted last counts, too.
    pub(super) fn table_left(&self, table: &Arc<dyn CacheTable>, meter: &ClientMeter) {
        self.with(|published| {
            if let Some(published) = published {
                published.publish_table(table, meter);
                published.of_tables.retain(|known| !known.is_of(table));
            }
        });
    }

    /// The client has ended: what it has counted last counts, too.
    pub(super) fn end(&self, look: impl FnOnce() -> (Status, Tables), meter: &ClientMeter) {
        self.with(|published| {
            if let Some(last) = published {
                last.publish(look(), meter);
            }
            *published = None;
        });
    }

    /// The recorder is somebody else's code: what goes wrong with it ends the publishing, and nothing else.
    fn with(&self, publish: impl FnOnce(&mut Option<Published>)) {
        let mut published = lock(&self.0);
        if catch_unwind(AssertUnwindSafe(|| publish(&mut published))).is_err() {
            tracing::error!("the recorder of metrics has panicked; this client publishes nothing any more");
            // Whose end would ask it once more.
            std::mem::forget(published.take());
        }
    }
}

impl Published {
    fn publish(&mut self, (status, tables): (Status, Tables), meter: &ClientMeter) {
        let feed_changes = self.feed.changes(status.epoch, status.feed_position);
        self.of_client.publish(&counters(&status, feed_changes), &gauges(&status));
        tables.iter().for_each(|table| self.publish_table(table, meter));
    }

    fn publish_table(&mut self, table: &Arc<dyn CacheTable>, meter: &ClientMeter) {
        let status = table.status();
        let known = self.of_tables.iter().position(|known| known.is_of(table));
        let place = known.unwrap_or_else(|| {
            let series = meter.series_of(status.table.clone());
            self.of_tables.push(OfTable { table: Arc::downgrade(table), series });
            self.of_tables.len() - 1
        });
        self.of_tables[place].series.publish(&counters_of_table(&status), &gauges_of_table(&status));
    }
}

impl OfTable {
    /// Its address is nobody else's as long as it is known here.
    fn is_of(&self, table: &Arc<dyn CacheTable>) -> bool {
        std::ptr::addr_eq(self.table.as_ptr(), Arc::as_ptr(table))
    }
}

/// How far the feed has come, as a number that only grows: positions begin anew with each epoch.
#[derive(Debug, Default)]
struct FeedCount {
    epoch: u64,
    position: u64,
    changes: u64,
}

impl FeedCount {
    fn changes(&mut self, epoch: u64, position: u64) -> u64 {
        if epoch == self.epoch && epoch != 0 {
            self.changes += position.saturating_sub(self.position);
        }
        (self.epoch, self.position) = (epoch, position);
        self.changes
    }
}

fn seconds(trouble: Option<&Trouble>) -> u64 {
    // Some, as soon as there is any.
    trouble.map_or(0, |trouble| trouble.lasting.as_secs() + 1)
}

fn counters(status: &Status, feed_changes: u64) -> [(&'static str, u64); 7] {
    [
        ("cache_sync_feed_changes_total", feed_changes),
        ("cache_sync_feed_connects_total", status.feed_connects),
        ("cache_sync_gaps_total", status.gaps),
        ("cache_sync_standby_loads_total", status.standby_loads),
        ("cache_sync_standby_passed_over_total", status.standby_passed_over),
        ("cache_sync_query_hits_total", status.query_hits),
        ("cache_sync_query_loads_total", status.query_loads),
    ]
}

fn gauges(status: &Status) -> [(&'static str, u64); 7] {
    [
        ("cache_sync_clients", 1),
        ("cache_sync_feed_live", u64::from(status.feed_live)),
        ("cache_sync_feed_by_notify", u64::from(status.feed_live && status.feed_kind == Some(FeedKind::Notify))),
        ("cache_sync_feed_trouble_seconds", seconds(status.feed_trouble.as_ref())),
        ("cache_sync_buffered_patches", status.buffered as u64),
        ("cache_sync_buffered_bytes", status.buffered_bytes as u64),
        ("cache_sync_query_results", status.query_results),
    ]
}

fn counters_of_table(status: &CacheStatus) -> [(&'static str, u64); 18] {
    [
        ("cache_sync_hits_total", status.hits),
        ("cache_sync_misses_total", status.misses),
        ("cache_sync_stale_served_total", status.stale_served),
        ("cache_sync_replaced_served_total", status.replaced_served),
        ("cache_sync_load_statements_total", status.load_statements),
        ("cache_sync_loaded_keys_total", status.loaded_keys),
        ("cache_sync_changes_total", status.changes),
        ("cache_sync_writes_total", status.writes),
        ("cache_sync_batches_total", status.batches),
        ("cache_sync_patches_total", status.patches),
        ("cache_sync_flush_retries_total", status.flush_retries),
        ("cache_sync_rejected_total", status.rejected),
        ("cache_sync_unknown_total", status.unknown),
        ("cache_sync_verified_equal_total", status.verified_equal),
        ("cache_sync_verified_behind_total", status.verified_behind),
        ("cache_sync_unverified_total", status.unverified),
        ("cache_sync_violations_total", status.violations),
        ("cache_sync_retreats_total", status.retreats),
    ]
}

fn gauges_of_table(status: &CacheStatus) -> [(&'static str, u64); 4] {
    [
        ("cache_sync_entries", status.entries),
        ("cache_sync_not_on", u64::from(status.mode != Mode::On)),
        ("cache_sync_retreated", u64::from(status.has_retreated)),
        ("cache_sync_write_trouble_seconds", seconds(status.write_trouble.as_ref())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_feed_has_passed_is_counted_from_where_it_began_through_all_epochs() {
        let mut feed = FeedCount::default();
        assert_eq!((feed.changes(0, 0), feed.changes(7, 1000)), (0, 0), "others had made those");
        assert_eq!((feed.changes(7, 1005), feed.changes(8, 9000), feed.changes(8, 9001)), (5, 5, 6));
    }
}
