//! What waits to be compared with Postgres.

use super::Lookup;
use super::pause::Pause;
use crate::codec::value::Value;
use crate::common::lock::lock;
use crate::common::time::Moment;
use crate::entries::Claim;
use crate::error::Error;
use crate::store::Aside;
use cache_sync_core::number::{KeyHash, Version};
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use tokio::sync::{Notify, oneshot};

/// Keys in one statement.
const KEYS_MAX: usize = 1000;
/// So many hits wait at most to be compared.
const HITS_MAX: usize = 1000;

/// What waits to be compared, and what has turned out to be different.
pub(super) struct Comparisons<K, V> {
    pub(super) of_readers: Line<K, V>,
    pub(super) of_hits: Line<K, V>,
    /// Those of hits have failed.
    pub(super) pause: Pause,
    pub(super) suspects: Mutex<HashMap<KeyHash, Claim<K, V>>>,
    pub(super) suspected: Notify,
}

/// Who waits for what is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum For<'a> {
    Readers,
    /// Whoever asks so is alone.
    Nobody(&'a Aside<'a>),
}

pub(super) struct Comparison<K, V> {
    pub(super) claim: Claim<K, V>,
    /// Who wants to know what Postgres says; none: a hit was answered.
    pub(super) reader: Option<oneshot::Sender<Result<Lookup<V>, Error>>>,
}

/// All that is compared with one row.
pub(super) struct OfKey<K, V> {
    pub(super) key: K,
    pub(super) comparisons: Vec<Comparison<K, V>>,
}

/// A row as Postgres has it.
pub(super) struct Said<V> {
    pub(super) value: Value<V>,
    pub(super) version: Version,
    /// When it was asked.
    pub(super) sent: Moment,
    /// It was the server whose changes are heard.
    pub(super) is_the_feeds: bool,
}

impl<K: Clone + Eq, V> Comparisons<K, V> {
    /// Readers of so many keys may wait.
    pub(super) fn new(keys_max: usize) -> Comparisons<K, V> {
        Comparisons {
            of_readers: Line::new(Room::Keys(keys_max)),
            of_hits: Line::new(Room::Comparisons(HITS_MAX)),
            pause: Pause::default(),
            suspects: Mutex::default(),
            suspected: Notify::new(),
        }
    }
}

impl<K, V> Comparisons<K, V> {
    /// Whoever waits hears that nothing is read any more, and nothing is suspected.
    pub(super) fn close(&self) {
        self.of_readers.close();
        self.of_hits.close();
        let suspects = std::mem::take(&mut *lock(&self.suspects));
        drop(suspects);
        self.suspected.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.of_hits.waiting).is_closed
    }
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
enum Room {
    /// Whoever waits for the same key takes none.
    Keys(usize),
    Comparisons(usize),
}

/// What waits, by its keys: one statement asks for each of them once, however many read it.
pub(super) struct Line<K, V> {
    room: Room,
    waiting: Mutex<Waiting<K, V>>,
    arrived: Notify,
}

struct Waiting<K, V> {
    /// In the order in which they were asked for.
    of_keys: BTreeMap<u64, Group<K, V>>,
    /// Where the key of a hash stands.
    places: HashMap<KeyHash, u64>,
    comparisons: usize,
    next: u64,
    is_closed: bool,
}

struct Group<K, V> {
    key: K,
    hash: KeyHash,
    comparisons: BTreeMap<u64, Comparison<K, V>>,
}

/// A comparison in its line. Dropped, it does not wait any more.
pub(super) struct Place<'a, K, V> {
    line: &'a Line<K, V>,
    of_key: u64,
    number: u64,
}

impl<K, V> Drop for Place<'_, K, V> {
    fn drop(&mut self) {
        let left = lock(&self.line.waiting).remove(self.of_key, self.number);
        // Without the lock: it runs the type's own code.
        drop(left);
    }
}

impl<K: Clone + Eq, V> Line<K, V> {
    fn new(room: Room) -> Line<K, V> {
        let waiting =
            Waiting { of_keys: BTreeMap::new(), places: HashMap::new(), comparisons: 0, next: 0, is_closed: false };
        Line { room, waiting: Mutex::new(waiting), arrived: Notify::new() }
    }

    /// Lets it wait, if there is room.
    pub(super) fn push(&self, comparison: Comparison<K, V>) -> Option<Place<'_, K, V>> {
        let mut waiting = lock(&self.waiting);
        let (of_key, number) = waiting.push(comparison, self.room)?;
        drop(waiting);
        self.arrived.notify_one();
        Some(Place { line: self, of_key, number })
    }
}

impl<K, V> Line<K, V> {
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.waiting).comparisons == 0
    }

    /// Takes what waits, and waits until there is something; none once nobody will read any more.
    pub(super) async fn take(&self) -> Option<Vec<OfKey<K, V>>> {
        while self.arrives().await {
            let taken = self.take_waiting();
            if !taken.is_empty() {
                return Some(taken);
            }
        }
        None
    }

    /// Waits until there is something, and lets it wait on; `false` once nobody will read any more.
    pub(super) async fn arrives(&self) -> bool {
        loop {
            {
                let waiting = lock(&self.waiting);
                if waiting.is_closed {
                    self.arrived.notify_one();
                    return false;
                }
                if waiting.comparisons > 0 {
                    return true;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Takes what waits now, of as many keys as go into one statement.
    pub(super) fn take_waiting(&self) -> Vec<OfKey<K, V>> {
        let mut waiting = lock(&self.waiting);
        let taken = std::iter::from_fn(|| waiting.pop()).take(KEYS_MAX).collect();
        if waiting.comparisons > 0 {
            self.arrived.notify_one();
        }
        taken
    }

    fn close(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.is_closed = true;
        let left = std::mem::take(&mut waiting.of_keys);
        waiting.places.clear();
        waiting.comparisons = 0;
        drop(waiting);
        drop(left);
        self.arrived.notify_one();
    }
}

impl<K: Clone + Eq, V> Waiting<K, V> {
    fn push(&mut self, comparison: Comparison<K, V>, room: Room) -> Option<(u64, u64)> {
        let (key, hash) = (&comparison.claim.key, comparison.claim.hash);
        // Another key of the same hash stands for itself.
        let is_of_key = |at: &u64| self.of_keys.get(at).is_some_and(|group| group.key == *key);
        let known = self.places.get(&hash).copied().filter(is_of_key);
        let has_room = match room {
            Room::Keys(max) => known.is_some() || self.of_keys.len() < max,
            Room::Comparisons(max) => self.comparisons < max,
        };
        if self.is_closed || !has_room {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.comparisons += 1;
        let of_key = known.unwrap_or_else(|| {
            let group = Group { key: key.clone(), hash, comparisons: BTreeMap::new() };
            self.places.entry(hash).or_insert(number);
            self.of_keys.insert(number, group);
            number
        });
        self.of_keys.get_mut(&of_key)?.comparisons.insert(number, comparison);
        Some((of_key, number))
    }
}

impl<K, V> Waiting<K, V> {
    fn pop(&mut self) -> Option<OfKey<K, V>> {
        let (place, group) = self.of_keys.pop_first()?;
        self.forget(group.hash, place);
        self.comparisons -= group.comparisons.len();
        Some(OfKey { key: group.key, comparisons: group.comparisons.into_values().collect() })
    }

    /// It may have been taken already.
    fn remove(&mut self, of_key: u64, number: u64) -> Option<Comparison<K, V>> {
        let group = self.of_keys.get_mut(&of_key)?;
        let (left, hash, is_last) = (group.comparisons.remove(&number)?, group.hash, group.comparisons.is_empty());
        self.comparisons -= 1;
        if is_last {
            self.of_keys.remove(&of_key);
            self.forget(hash, of_key);
        }
        Some(left)
    }

    fn forget(&mut self, hash: KeyHash, place: u64) {
        if self.places.get(&hash) == Some(&place) {
            self.places.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    type Read = oneshot::Receiver<Result<Lookup<i64>, Error>>;

    fn comparison(key: i64, hash: u64) -> (Comparison<i64, i64>, Read) {
        let (sender, receiver) = oneshot::channel();
        (Comparison { claim: Claim::absent(key, KeyHash(hash)), reader: Some(sender) }, receiver)
    }

    fn taken(line: &Line<i64, i64>) -> Vec<(i64, usize)> {
        let taken = line.take().now_or_never().flatten().unwrap_or_default();
        taken.iter().map(|of_key| (of_key.key, of_key.comparisons.len())).collect()
    }

    #[test]
    fn readers_of_one_key_wait_as_one_and_there_is_room_for_so_many_keys() {
        let line = Line::new(Room::Keys(3));
        let mut places = Vec::new();
        for (key, hash, is_taken) in
            [(1, 1, true), (2, 2, true), (1, 1, true), (3, 1, true), (4, 4, false), (2, 2, true), (1, 1, true)]
        {
            let place = line.push(comparison(key, hash).0);
            assert_eq!(place.is_some(), is_taken, "{key}");
            places.extend(place);
        }
        assert_eq!(taken(&line), [(1, 3), (2, 2), (3, 1)]);
        assert!(line.is_empty() && taken(&line).is_empty());
        drop(places);
        assert!(line.push(comparison(4, 4).0).is_some());
    }

    #[test]
    fn who_leaves_does_not_wait_any_more() {
        let line = Line::new(Room::Keys(2));
        let [first, second, other] =
            [(1, 1), (1, 1), (2, 2)].map(|(key, hash)| line.push(comparison(key, hash).0).unwrap());
        drop(first);
        drop(other);
        let third = line.push(comparison(3, 3).0).unwrap();
        assert_eq!(taken(&line), [(1, 1), (3, 1)]);
        let again = line.push(comparison(1, 1).0).unwrap();
        drop((second, third));
        assert!(!line.is_empty(), "what was taken before is not what waits now");
        drop(again);
        assert!(line.is_empty() && taken(&line).is_empty());
    }

    #[test]
    fn hits_are_counted_one_by_one() {
        let line = Line::new(Room::Comparisons(2));
        let places: Vec<_> = (0..3).map(|_| line.push(comparison(1, 1).0)).collect();
        assert_eq!(places.iter().flatten().count(), 2);
    }

    #[test]
    fn what_is_not_taken_yet_takes_up_room() {
        let line = Line::new(Room::Comparisons(1));
        let _place = line.push(comparison(1, 1).0).unwrap();
        for _ in 0..2 {
            assert_eq!(line.arrives().now_or_never(), Some(true));
            assert!(line.push(comparison(2, 2).0).is_none(), "it still waits");
        }
        assert_eq!(line.take_waiting().len(), 1);
        assert!(line.arrives().now_or_never().is_none());
        assert!(line.push(comparison(2, 2).0).is_some());
    }

    #[test]
    fn nothing_waits_when_all_is_over() {
        let comparisons = Comparisons::new(9);
        let (waits, mut reader) = comparison(1, 1);
        let place = comparisons.of_readers.push(waits);
        lock(&comparisons.suspects).insert(KeyHash(1), Claim::absent(1, KeyHash(1)));
        comparisons.close();
        assert!(place.is_some() && reader.try_recv().is_err() && lock(&comparisons.suspects).is_empty());
        assert!(comparisons.is_closed() && comparisons.of_readers.push(comparison(1, 1).0).is_none());
        assert!(comparisons.of_readers.take().now_or_never().unwrap().is_none());
    }
}
