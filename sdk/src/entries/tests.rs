//! Hits: an entry is served as long as nothing makes it doubtful.

use super::*;
use crate::codec::layout::{Layout, tests::table};
use crate::codec::value::Row;
use crate::common::freshness::Freshness;
use crate::entries::entry::Confirmed;
use cache_sync_core::number::Version;
use cache_sync_core::wire::{Change, ChangeKind};
use futures_util::FutureExt;

const TIMEOUT: Duration = Duration::from_secs(3600);
const HASH: KeyHash = KeyHash(7);

fn entries() -> Entries<i64, i64> {
    let common = Arc::new(Common::new(Freshness::new(TIMEOUT)));
    let layout = Layout::new(None, &table()).unwrap();
    Entries::new(Schema::new(table(), layout), &CacheConfig::default(), common)
}

impl Entries<i64, i64> {
    fn hear(&self) {
        self.common.freshness.in_step(self.common.now());
    }

    /// As a load or a write does.
    fn hold(&self, value: i64, lifetime: Lifetime) {
        let confirmed = Confirmed { generation: self.generation(), lifetime };
        self.memory.hold(HASH, &value, &Some(Row::new(value, 1)), Version(1), confirmed);
    }

    fn hit(&self, key: i64) -> Option<i64> {
        self.read(&key, HASH, |entry| entry.value.as_deref().copied()).flatten()
    }
}

#[test]
fn nothing_is_a_hit_that_may_not_be_served() {
    let entries = entries();
    entries.hold(1, Lifetime::ENDLESS);
    assert_eq!(entries.hit(1), None, "no changes were heard yet");
    entries.hear();
    assert_eq!((entries.hit(1), entries.hit(2)), (Some(1), None));
    entries.raise_generation();
    assert_eq!(entries.hit(1), None, "it was doubted");
    entries.hold(1, Lifetime::ENDLESS);
    assert_eq!(entries.hit(1), Some(1));
    for (until, expected) in [(TIMEOUT, Some(1)), (Duration::ZERO, None)] {
        entries.hold(1, Lifetime { until: entries.common.now() + until, row_expires: true });
        assert_eq!(entries.hit(1), expected, "good for {until:?}");
    }
    assert_eq!(entries.hits(), 3);
}

/// A change that is held back may have been committed just after the last one that was told.
#[test]
fn a_change_is_held_back_for_what_is_left_of_the_bound() {
    let entries = entries();
    entries.hear();
    let heard = entries.common.freshness.in_step_at();
    let left = Duration::from_millis(10);
    for (now, until) in [(heard, heard + Duration::from_millis(250)), (heard + (TIMEOUT - left), heard + TIMEOUT)] {
        assert_eq!(entries.hold_until(now), until);
    }
}

/// Its boot clock goes on, and nothing else does.
#[cfg(feature = "test-faults")]
#[test]
fn nothing_is_a_hit_on_a_machine_that_slept_for_longer_than_the_bound() {
    let entries = entries();
    entries.hold(1, Lifetime::ENDLESS);
    entries.hear();
    entries.common.clock.time.suspend(TIMEOUT / 2);
    assert_eq!(entries.hit(1), Some(1));
    entries.common.clock.time.suspend(TIMEOUT / 2);
    assert_eq!(entries.hit(1), None);
    entries.hear();
    assert_eq!(entries.hit(1), Some(1));
}

/// What they were shown may have been evicted since. What is held already is no news, nor is another key.
#[test]
fn whoever_watches_hears_of_what_is_not_held() {
    let entries = Arc::new(entries());
    let watched = entries.watch(HASH);
    let is_told = |key: KeyHash, version: i64| {
        let changed = watched.changed();
        let (table, kind, version) = (entries.schema.table_id(), ChangeKind::Versioned, Version(version));
        entries.change(&Change { table, key, kind, version });
        changed.now_or_never().is_some()
    };
    assert!(is_told(HASH, 5));
    assert!(!is_told(KeyHash(8), 6));
    entries.hold(1, Lifetime::ENDLESS);
    assert!(!is_told(HASH, 1), "that is what is held");
    assert!(is_told(HASH, 2));
    let changed = watched.changed();
    entries.raise_generation();
    assert!(changed.now_or_never().is_some());
    drop(watched);
    entries.shards.each_shard(|shard| assert!(shard.topics.is_empty(), "nobody watches any more"));
}
