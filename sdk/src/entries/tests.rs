//! Hits: an entry is served as long as nothing makes it doubtful.

use super::change::Turned;
use super::*;
use crate::codec::layout::{Layout, tests::table};
use crate::codec::value::Row;
use crate::common::freshness::FeedFreshness;
use crate::common::lock::lock;
use crate::entries::entry::Confirmed;
use crate::meter::ClientMeter;
use cache_sync_core::number::{Sequence, Version};
use cache_sync_core::wire::{Change, ChangeKind};
use futures_util::FutureExt;
use std::sync::Mutex;
use std::task::{Context, Wake, Waker};
use tokio::sync::oneshot;

mod modes;

const TIMEOUT: Duration = Duration::from_secs(3600);
const HASH: KeyHash = KeyHash(7);

fn entries() -> Entries<i64, i64> {
    entries_with(Ages::default())
}

fn entries_with(ages: Ages) -> Entries<i64, i64> {
    entries_of(&CacheConfig { ages, ..CacheConfig::default() })
}

fn entries_of(config: &CacheConfig) -> Entries<i64, i64> {
    let common = Arc::new(Common::new(FeedFreshness::new(TIMEOUT), ClientMeter::new("d")));
    let layout = Layout::new(None, &table()).unwrap();
    Entries::new(Schema::new(table(), layout), config, None, common)
}

impl Entries<i64, i64> {
    fn hear(&self) {
        self.common.freshness.in_step(self.common.now());
    }

    /// As a load or a write does.
    fn hold(&self, value: i64, lifetime: Lifetime) {
        let confirmed = Confirmed { generation: self.generation(), lifetime, at: self.common.now() };
        let _ = self.memory.hold(HASH, &value, &Some(Row::new(value, 1)), Version(1), confirmed);
    }

    fn hit(&self, key: i64) -> Option<i64> {
        self.read(&key, HASH, |entry| entry.value.as_deref().copied())
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
        assert_eq!(entries.hold_back(now).until, until);
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

/// Memory alone knows the row; what nobody has read since it came is not loaded again by itself.
#[test]
fn what_a_change_has_replaced_is_kept_for_a_while_but_no_hit() {
    let (bound, entries) = (TIMEOUT / 4, |bound| {
        let config = CacheConfig { stale_while_refreshing: bound, refresh_on_change: true, ..CacheConfig::default() };
        let entries = entries_of(&config);
        entries.hear();
        entries.hold(1, Lifetime::ENDLESS);
        entries
    });
    let change = |entries: &Entries<i64, i64>, version: i64| {
        let (table, kind, version) = (entries.schema.table_id(), ChangeKind::Versioned, Version(version));
        entries.change(&Change { table, key: HASH, kind, version })
    };
    let kept = |entries: &Entries<i64, i64>| entries.peek(&1, HASH, |entry| entry.lifetime().until);
    let keeps = entries(bound);
    assert_eq!(change(&keeps, 2), Some(Turned { to_refresh: None, is_dropped: true }), "nobody has read it");
    let until = kept(&keeps).expect("it is kept");
    assert!(until <= keeps.common.now() + bound);
    assert_eq!(keeps.hit(1), None);
    change(&keeps, 3);
    assert_eq!(kept(&keeps), Some(until));
    keeps.hold(1, Lifetime::ENDLESS);
    assert_eq!(keeps.hit(1), Some(1));
    for version in 4..11 {
        assert_eq!(change(&keeps, version), Some(Turned { to_refresh: Some(1), is_dropped: true }), "somebody has");
        keeps.hold(1, Lifetime::ENDLESS);
        keeps.note_load(HASH, false);
    }
    assert_eq!(change(&keeps, 11), Some(Turned { to_refresh: None, is_dropped: true }), "not for some time");
    keeps.hold(1, Lifetime::ENDLESS);
    keeps.note_load(HASH, true);
    assert_eq!(change(&keeps, 12), Some(Turned { to_refresh: Some(1), is_dropped: true }), "he has waited for it");
    // What was in doubt already is let go.
    keeps.hold(1, Lifetime::ENDLESS);
    keeps.raise_generation();
    change(&keeps, 13);
    assert_eq!(kept(&keeps), None);
    let lets_go = entries(Duration::ZERO);
    change(&lets_go, 2);
    assert_eq!(kept(&lets_go), None, "nobody has read it");
}

/// One load after another is overtaken by a change: what each of them brought is no reason to forget who has read the row.
#[test]
fn who_has_read_a_row_is_known_however_often_its_loads_are_overtaken() {
    let entries = entries_of(&CacheConfig { refresh_on_change: true, ..CacheConfig::default() });
    entries.hear();
    entries.hold(1, Lifetime::ENDLESS);
    assert_eq!(entries.hit(1), Some(1));
    let change = |version: i64| {
        let (table, kind, version) = (entries.schema.table_id(), ChangeKind::Versioned, Version(version));
        entries.change(&Change { table, key: HASH, kind, version }).expect("it is news").to_refresh
    };
    assert_eq!(change(2), Some(1));
    for version in 3..6 {
        let (sender, _) = oneshot::channel();
        let asked = entries.common.now();
        entries.place(HASH).slot_or_new(&1).join(version as u64, entries.generation(), Some(asked), sender);
        let (flight, _) = entries.start_load(HASH, entries.common.now()).unwrap();
        assert_eq!(change(version), Some(1), "while it is under way");
        let (last_seq, lifetime, value) = (Sequence(0), Lifetime::ENDLESS, Some(Row::new(version, 1)));
        let loaded = Loaded { value, version: Version(version - 1), lifetime, last_seq, trusted: true, as_of: asked };
        assert_eq!(entries.loaded(HASH, flight, loaded), Next::Overtaken);
        assert_eq!(entries.peek(&1, HASH, Entry::is_read), Some(true), "so it is loaded once more");
    }
}

/// Looks what a hit would be shown at the moment at which somebody is woken.
struct Woken {
    entries: Arc<Entries<i64, i64>>,
    shown: Mutex<Option<i64>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *lock(&self.shown) = self.entries.hit(1);
    }
}

/// Hits take no lock: who has waited for a load and reads again must not be shown what was there before it.
#[test]
fn memory_shows_what_was_loaded_before_anybody_is_told() {
    let entries = Arc::new(entries());
    entries.hear();
    entries.hold(1, Lifetime::ENDLESS);
    let (sender, mut receiver) = oneshot::channel();
    let now = entries.common.now();
    entries.place(HASH).slot_or_new(&1).join(1, entries.generation(), Some(now), sender);
    let (flight, _) = entries.start_load(HASH, entries.common.now()).unwrap();
    let woken = Arc::new(Woken { entries: entries.clone(), shown: Mutex::default() });
    let waker = Waker::from(woken.clone());
    assert!(receiver.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    let (last_seq, lifetime) = (Sequence(0), Lifetime::ENDLESS);
    let value = Some(Row::new(2, 1));
    let loaded = Loaded { value, version: Version(2), lifetime, last_seq, trusted: true, as_of: now };
    assert_eq!(entries.loaded(HASH, flight, loaded), Next::Nothing);
    assert_eq!(*lock(&woken.shown), Some(2));
}

#[cfg(feature = "test-faults")]
mod ages {
    use super::*;
    use std::collections::BTreeSet;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    impl Entries<i64, i64> {
        fn pass(&self, time: Duration) {
            self.common.clock.time.suspend(time);
            self.hear();
        }
    }

    /// Whoever reads keeps it alive; whoever only looks whether a change means it does not.
    #[test]
    fn what_nobody_reads_is_no_hit_any_more() {
        let entries = entries_with(Ages { time_to_idle: Some(HOUR), ..Ages::default() });
        entries.hear();
        entries.hold(1, Lifetime::ENDLESS);
        for _ in 0..10 {
            entries.pass(HOUR - MINUTE);
            assert_eq!(entries.hit(1), Some(1), "it was read an hour ago, nearly");
        }
        entries.pass(HOUR / 2);
        assert!(entries.peek(&1, HASH, |_| ()).is_some());
        entries.pass(HOUR / 2);
        assert_eq!(entries.hit(1), None);
        assert!(entries.all().is_empty());
        entries.hold(1, Lifetime::ENDLESS);
        assert_eq!(entries.hit(1), Some(1), "it was loaded again");
    }

    #[test]
    fn rows_and_their_absence_have_times_of_their_own() {
        let ages = Ages { time_to_live: Some(HOUR), absent_time_to_live: Some(MINUTE), ..Ages::default() };
        let entries = entries_with(ages);
        let now = entries.common.now();
        let until = |good_for: Option<Duration>, value: Value<i64>| {
            entries.lifetimes(HASH, now, good_for).of(&value).until.since(now)
        };
        let row = || Some(Row::new(1, 1));
        assert_eq!((until(None, row()), until(None, None)), (HOUR, MINUTE));
        assert_eq!((until(Some(MINUTE), row()), until(Some(2 * HOUR), row())), (MINUTE, HOUR), "its row expires");
    }

    /// What was loaded at the same moment ends at different ones, none later than it may, nor earlier than it should.
    #[test]
    fn jitter_spreads_the_ends() {
        let entries = entries_with(Ages { time_to_live: Some(HOUR), jitter: 0.1, ..Ages::default() });
        let now = entries.common.now();
        let ends: BTreeSet<Duration> = (0..1000)
            .map(|key| entries.lifetimes(KeyHash(key << 32), now, None).of(&Some(Row::new(1, 1))).until.since(now))
            .collect();
        assert!(ends.len() > 900, "{} of 1000", ends.len());
        let (first, last) = (*ends.first().unwrap(), *ends.last().unwrap());
        assert!(first >= HOUR.mul_f64(0.9) && last <= HOUR, "{first:?} to {last:?}");
        assert!(last - first > HOUR.mul_f64(0.09), "{first:?} to {last:?}");
    }
}
