//! Map and moka, on their own: what one holds, the other knows.

use super::*;
use crate::codec::value::Row;
use crate::common::lock::lock;
use crate::common::time::Moment;
use crate::entries::entry::Lifetime;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, Weak};

mod hit_rate;

const LOCKS: usize = 64;
const CONFIRMED: Confirmed = Confirmed { generation: 1, lifetime: Lifetime::ENDLESS, at: Moment::NEVER };

impl<K: Key, V: Send + Sync + 'static> Memory<K, V> {
    fn of(count: u64, time_to_live: Option<Duration>) -> Memory<K, V> {
        Memory::new(Capacity::new(count, 1 << 30), None, &Ages { time_to_live, ..Ages::default() })
    }

    /// What lies in the map, and what moka knows.
    fn both(&self) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let mut in_map = BTreeSet::new();
        let guard = self.held.guard();
        in_map.extend(self.held.iter(&guard).map(|(hash, _)| hash.0));
        (in_map, self.policy.iter().map(|(hash, _)| hash.0).collect())
    }

    /// Everything that moka has put off.
    fn settle(&self) {
        self.policy.run_pending_tasks();
    }
}

/// A hash that looks like a random one: splitmix64.
fn spread(number: u64) -> KeyHash {
    let mixed = [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB];
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    KeyHash(mixed.into_iter().fold(number ^ (number >> 30), |number, factor: u64| {
        let number = number.wrapping_mul(factor);
        number ^ (number >> 28)
    }))
}

#[test]
fn keys_of_one_hash_are_not_taken_for_each_other() {
    let memory = Memory::of(10, None);
    let hash = KeyHash(7);
    let read = |key: &str| memory.read(hash, &key.to_owned(), |entry: &Entry<String, String>| entry.value.clone());
    for key in ["a", "b"] {
        let _ = memory.hold(hash, &key.to_owned(), &Some(Row::new(key.to_owned(), 1)), Version(1), CONFIRMED);
        assert_eq!(read(key).as_deref().map(String::as_str), Some(key));
    }
    assert!(read("a").is_none());
    memory.drop_entry(hash);
    assert!(memory.peek(hash, |_| ()).is_none());
}

#[test]
fn a_cache_without_room_holds_nothing() {
    let memory = Memory::of(0, None);
    for number in 0..1000 {
        let _ = memory.hold(spread(number), &(number as i64), &Some(Row::new(number, 1)), Version(1), CONFIRMED);
    }
    memory.settle();
    assert_eq!((memory.both().0.len(), memory.len()), (0, 0));
}

/// Threads store, drop and read the keys of a cache with room for a tenth of them, so that moka evicts all the time.
fn storm(memory: &Memory<i64, (u64, u64)>) {
    const KEYS: u64 = 2000;
    const STEPS: u64 = 20_000;
    let locks: Vec<Mutex<u64>> = (0..LOCKS).map(|_| Mutex::default()).collect();
    let is_over = AtomicBool::new(false);
    let step = |number: u64, thread: u64| {
        let key = spread(number * 8 + thread).0 % KEYS;
        let (hash, mut turn) = (spread(key), lock(&locks[key as usize % LOCKS]));
        let seen = || memory.peek(hash, |entry| entry.value.as_deref().copied()).flatten();
        match number % 5 {
            0 => {
                memory.drop_entry(hash);
                assert_eq!(seen(), None, "what was dropped is still there");
            }
            _ => {
                *turn += 1;
                // Some weigh more than moka was told of the one before.
                let bytes = (*turn % 3) as usize * (10 << 20);
                let _ = memory.hold(hash, &(key as i64), &Some(Row::new((key, *turn), bytes)), Version(1), CONFIRMED);
                let seen = seen();
                assert!(seen.is_none_or(|seen| seen == (key, *turn)), "{seen:?} instead of ({key}, {turn})");
            }
        }
    };
    std::thread::scope(|scope| {
        let reader = || {
            for number in (0..).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                let key = spread(number).0 % KEYS;
                let read = memory.read(spread(key), &(key as i64), |entry| entry.value.clone());
                assert!(read.is_none_or(|value| value.0 == key));
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        let writers: Vec<_> =
            (0..4).map(|thread| scope.spawn(move || (0..STEPS).for_each(|number| step(number, thread)))).collect();
        let writers: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        writers.into_iter().for_each(|writer| writer.unwrap());
    });
    memory.settle();
    let (in_map, in_moka) = memory.both();
    assert!(in_map == in_moka, "{} in the map, {} in moka", in_map.len(), in_moka.len());
    assert!(!in_map.is_empty() && in_map.len() as u64 <= KEYS / 10, "{}", in_map.len());
}

#[test]
fn after_a_storm_map_and_moka_hold_the_same() {
    storm(&Memory::of(200, None));
}

/// Each value is a stay of its own then.
#[test]
fn after_a_storm_of_what_ages_map_and_moka_hold_the_same() {
    storm(&Memory::of(200, Some(Duration::from_secs(3600))));
}

/// Room is made beside those who store, drop and read.
#[test]
fn what_grows_meanwhile_loses_nothing_and_brings_nothing_back() {
    const THREADS: u64 = 4;
    const EACH: u64 = 60_000;
    let memory = Memory::<i64, u64>::of(2 * THREADS * EACH, None);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let is_dropped = |number: u64| number.is_multiple_of(3);
    let store = |thread: u64| {
        let _here = runtime.enter();
        for number in (0..EACH).map(|number| THREADS * number + thread) {
            let value = Some(Row::new(number, 1));
            if memory.hold(spread(number), &(number as i64), &value, Version(1), CONFIRMED) {
                memory.keep_up();
            }
            if is_dropped(number) {
                memory.drop_entry(spread(number));
            }
            let one_before = number / 2 / THREADS * THREADS + thread;
            let read = memory.read(spread(one_before), &(one_before as i64), |entry| entry.value.as_deref().copied());
            assert_eq!(read, (!is_dropped(one_before)).then_some(one_before));
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|thread| drop(scope.spawn(move || store(thread)))));
    // Waits for who makes room.
    drop(runtime);
    memory.settle();
    let (in_map, in_moka) = memory.both();
    let kept: BTreeSet<u64> = (0..THREADS * EACH).filter(|number| !is_dropped(*number)).map(|n| spread(n).0).collect();
    assert!(in_map == kept && in_moka == kept, "{} in the map, {} in moka", in_map.len(), in_moka.len());
}

#[test]
fn what_has_aged_gives_its_memory_back() {
    let memory = Memory::of(1000, Some(Duration::from_millis(20)));
    for number in 0..100 {
        let _ = memory.hold(spread(number), &(number as i64), &Some(Row::new(number, 1)), Version(1), CONFIRMED);
    }
    for _ in 0..500 {
        memory.settle();
        if memory.both().0.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} entries are left", memory.both().0.len());
}

/// moka never speaks again to a listener that panicked, and whatever it evicted then would lie in the map for ever.
#[test]
fn a_value_that_panics_when_it_is_dropped_does_not_end_evictions() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    }
    let memory = Memory::of(10, None);
    for number in 0..1000 {
        let value = Some(Row::new(Panics, 1));
        let _ = memory.hold(spread(number), &(number as i64), &value, Version(1), CONFIRMED);
        // It may have been evicted by now: then this is the last that there is of it.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
    }
    memory.settle();
    let (in_map, in_moka) = memory.both();
    assert_eq!((in_map.len(), in_moka.len()), (10, 10));
    assert!(in_map == in_moka);
}

/// moka waits for itself if it is told to do what it has put off by somebody whom it has called.
#[test]
fn a_value_that_has_memory_kept_up_when_it_is_dropped_is_not_waited_for() {
    struct KeepsUp(Weak<Memory<i64, KeepsUp>>);
    impl Drop for KeepsUp {
        fn drop(&mut self) {
            self.0.upgrade().into_iter().for_each(|memory| memory.keep_up());
        }
    }
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let memory = Arc::new(Memory::of(10, None));
        for number in 0..1000 {
            let value = Some(Row::new(KeepsUp(Arc::downgrade(&memory)), 1));
            let _ = memory.hold(spread(number), &(number as i64), &value, Version(1), CONFIRMED);
        }
        memory.settle();
        let (in_map, in_moka) = memory.both();
        let _ = ended.send((in_map == in_moka, in_map.len()));
    });
    assert_eq!(end.recv_timeout(Duration::from_secs(20)), Ok((true, 10)));
}

/// A change of a row is no sign that anybody wants it.
#[test]
fn only_reads_and_writes_count() {
    let memory = Memory::of(10, None);
    let _ = memory.hold(spread(1), &1i64, &Some(Row::new(1, 1)), Version(1), CONFIRMED);
    for _ in 0..100 {
        memory.peek(spread(1), |_| ());
    }
    assert_eq!(memory.hits(), 0);
    assert!(memory.read(spread(1), &1, |_| None::<()>).is_none(), "what may not be served is no hit");
    assert_eq!(memory.hits(), 0);
    memory.read(spread(1), &1, |_| Some(()));
    assert_eq!(memory.hits(), 1);
}
