//! What has been confirmed so far, and what reads are held against it.
//!
//! A write gets a number that no other write of its key has. Once it is confirmed, to whoever it may be, every read that begins later has
//! to bring this number or a higher one, on every node.

use cache_sync_kit::clock::now_ns;
use cache_sync_kit::locked;
use serde::{Deserialize, Serialize};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// What was confirmed, of all keys.
pub(super) struct Confirmed {
    keys: Vec<Key>,
    /// The next one that is inserted.
    next_key: AtomicI64,
    /// The highest one whose insert was confirmed.
    newest: AtomicI64,
    /// Additions to counters.
    counts: AtomicU64,
}

struct Key {
    /// The highest number that was given to a write.
    given: AtomicI64,
    /// The highest number of a write that was confirmed.
    confirmed: AtomicI64,
    confirmations: Mutex<History>,
    /// Where a peer buffers writes, a commit is later than the confirmation.
    commits: Mutex<History>,
}

/// When something newer than all before came: both rise.
#[derive(Default)]
struct History(Vec<Came>);

#[derive(Clone, Copy)]
struct Came {
    version: i64,
    at_ns: i64,
}

/// How long before a read began something newer than what it brought had been there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Age {
    pub(super) since_confirmed: Duration,
    /// Zero: nothing newer had been committed.
    pub(super) since_committed: Duration,
}

/// A read that has begun.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    pub(super) at_ns: i64,
    /// What had been confirmed by then.
    version: i64,
}

/// What was confirmed, and is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lost {
    /// Additions to counters; below zero, some were made twice.
    pub(super) counts: i64,
    /// Rows that miss a write.
    pub(super) rows: u64,
}

impl Lost {
    /// How many writes Postgres lacks, or has twice.
    pub(super) fn wrong(self) -> u64 {
        self.counts.unsigned_abs() + self.rows
    }
}

impl Confirmed {
    /// So many rows of version 1, and room for inserts.
    pub(super) fn new(rows: u64, inserts_max: u64) -> Confirmed {
        let key = |number| {
            let version = i64::from(number < rows);
            Key {
                given: version.into(),
                confirmed: version.into(),
                confirmations: Mutex::default(),
                commits: Mutex::default(),
            }
        };
        Confirmed {
            keys: (0..rows + inserts_max).map(key).collect(),
            next_key: AtomicI64::new(rows as i64),
            newest: AtomicI64::new(rows as i64 - 1),
            counts: AtomicU64::new(0),
        }
    }

    /// A key that nobody has inserted yet; `None`: there is no more room.
    pub(super) fn new_key(&self) -> Option<i64> {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        (key < self.keys.len() as i64).then_some(key)
    }

    pub(super) fn newest_key(&self) -> i64 {
        self.newest.load(Ordering::Acquire)
    }

    /// The number of a write that begins.
    pub(super) fn next_version(&self, key: i64) -> i64 {
        self.key(key).given.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A write was confirmed.
    pub(super) fn confirm(&self, number: i64, version: i64, counts: u64) {
        let key = self.key(number);
        locked(&key.confirmations).note(version);
        // Who sees this finds it in the history, too.
        key.confirmed.fetch_max(version, Ordering::AcqRel);
        self.newest.fetch_max(number, Ordering::AcqRel);
        self.counts.fetch_add(counts, Ordering::Relaxed);
    }

    /// It was committed, no later than it was confirmed where nothing is buffered.
    pub(super) fn commit(&self, number: i64, version: i64) {
        locked(&self.key(number).commits).note(version);
    }

    pub(super) fn begin(&self, key: i64) -> Begun {
        let version = self.key(key).confirmed.load(Ordering::Acquire);
        Begun { version, at_ns: now_ns() }
    }

    /// How old a read is that misses what had been confirmed before it began. `None`: it does not.
    pub(super) fn age(&self, key: i64, begun: Begun, version: i64) -> Option<Age> {
        if version >= begun.version {
            return None;
        }
        let since = |history: &Mutex<History>| locked(history).since(version, begun.at_ns);
        let key = self.key(key);
        Some(Age { since_confirmed: since(&key.confirmations), since_committed: since(&key.commits) })
    }

    /// Compares with the rows as they are: key, version, counter.
    pub(super) fn lost(&self, rows: impl IntoIterator<Item = (i64, i64, i64)>) -> Lost {
        let mut versions = vec![0; self.keys.len()];
        let mut counts = 0;
        for (key, version, counter) in rows {
            versions[key as usize] = version;
            counts += counter;
        }
        let misses = |(key, version): &(&Key, i64)| key.confirmed.load(Ordering::Acquire) > *version;
        Lost {
            counts: self.counts.load(Ordering::Relaxed) as i64 - counts,
            rows: self.keys.iter().zip(versions).filter(misses).count() as u64,
        }
    }

    fn key(&self, key: i64) -> &Key {
        &self.keys[key as usize]
    }
}

impl History {
    fn note(&mut self, version: i64) {
        if self.0.last().is_none_or(|last| last.version < version) {
            self.0.push(Came { version, at_ns: now_ns() });
        }
    }

    /// Since when something newer than `version` was there; zero: it was not.
    fn since(&self, version: i64, now_ns: i64) -> Duration {
        let next = self.0.partition_point(|came| came.version <= version);
        let at_ns = self.0.get(next).map_or(now_ns, |came| came.at_ns);
        Duration::from_nanos(u64::try_from(now_ns - at_ns).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_stale_if_something_newer_was_confirmed_before_it_began() {
        let confirmed = Confirmed::new(2, 1);
        let early = confirmed.begin(0);
        assert_eq!(confirmed.age(0, early, 1), None);
        let version = confirmed.next_version(0);
        assert_eq!((version, confirmed.age(0, confirmed.begin(0), 1)), (2, None), "it is not confirmed yet");
        confirmed.confirm(0, version, 0);
        let late = confirmed.begin(0);
        assert!(confirmed.age(0, late, 1).is_some(), "what was confirmed is not there");
        assert_eq!((confirmed.age(0, late, 2), confirmed.age(0, early, 1)), (None, None));
        assert_eq!(confirmed.age(1, confirmed.begin(1), 1), None, "another key");
        assert!(confirmed.age(1, confirmed.begin(1), 0).is_some(), "the row is gone");
    }

    /// What came a little later is not held against a read that began in between.
    #[test]
    fn what_came_right_after_is_no_older_than_it_is() {
        let mut history = History::default();
        history.note(2);
        let noted = now_ns();
        // A later one, so that what came at `noted` would have an age.
        let between = std::iter::repeat_with(now_ns).find(|now| *now > noted).unwrap();
        [4, 3].into_iter().for_each(|version| history.note(version));
        assert_eq!(history.since(2, between), Duration::ZERO);
        assert!(history.since(1, between) < Duration::from_secs(1));
        let later = now_ns();
        assert_eq!(history.since(3, later), history.since(2, later));
        assert_eq!(history.since(4, later), Duration::ZERO);
    }

    #[test]
    fn its_age_is_that_of_the_first_thing_that_it_misses() {
        let confirmed = Confirmed::new(1, 0);
        let pause = Duration::from_millis(20);
        for _ in 0..3 {
            confirmed.confirm(0, confirmed.next_version(0), 0);
            std::thread::sleep(pause);
        }
        let begun = confirmed.begin(0);
        let age = |version| confirmed.age(0, begun, version).unwrap_or_default().since_confirmed;
        assert!(age(1) >= 3 * pause && age(2) >= 2 * pause && age(3) >= pause, "{:?}", [age(1), age(2), age(3)]);
        assert!(age(1) >= age(2) + pause && age(2) >= age(3) + pause && age(4).is_zero());
    }

    #[test]
    fn what_is_buffered_is_confirmed_before_it_is_committed() {
        let (confirmed, pause) = (Confirmed::new(1, 0), Duration::from_millis(20));
        confirmed.confirm(0, confirmed.next_version(0), 0);
        std::thread::sleep(pause);
        let age = || confirmed.age(0, confirmed.begin(0), 1).unwrap_or_default();
        assert!(age().since_confirmed >= pause && age().since_committed.is_zero(), "{:?}", age());
        confirmed.commit(0, 2);
        std::thread::sleep(pause);
        let Age { since_confirmed, since_committed } = age();
        assert!(since_committed >= pause && since_confirmed >= since_committed + pause, "{:?}", age());
    }

    #[test]
    fn what_is_not_there_is_lost() {
        let confirmed = Confirmed::new(2, 2);
        let inserted = confirmed.new_key().expect("room");
        confirmed.confirm(inserted, confirmed.next_version(inserted), 0);
        confirmed.confirm(0, confirmed.next_version(0), 1);
        confirmed.confirm(0, confirmed.next_version(0), 1);
        let all = [(0, 3, 2), (1, 1, 0), (2, 1, 0)];
        assert_eq!(confirmed.lost(all), Lost::default());
        assert_eq!(confirmed.lost([(0, 3, 1), (1, 1, 0), (2, 1, 0)]), Lost { counts: 1, rows: 0 });
        let twice = confirmed.lost([(0, 3, 3), (1, 1, 0), (2, 1, 0)]);
        assert_eq!((twice, twice.wrong()), (Lost { counts: -1, rows: 0 }, 1));
        assert_eq!(confirmed.lost([(0, 2, 2), (1, 1, 0), (2, 1, 0)]), Lost { counts: 0, rows: 1 });
        assert_eq!(confirmed.lost([(0, 3, 2), (1, 1, 0)]), Lost { counts: 0, rows: 1 });
        assert_eq!((inserted, confirmed.newest_key(), confirmed.new_key(), confirmed.new_key()), (2, 2, Some(3), None));
    }
}
