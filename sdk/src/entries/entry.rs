//! A row, or its known absence, in memory, and what a read is answered.

use crate::codec::caught::caught;
use crate::codec::key::{self, Key};
use crate::codec::value::{Row, Value};
use crate::common::time::Moment;
use cache_sync_core::number::Version;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// So many hits of a stay are told to moka whatever else: whether something is read again is what moka has to know most.
const TOLD_FIRST: u8 = 3;
/// Somebody has read it: it is worth being loaded again so many times.
const WORTH_MAX: u8 = 7;

/// A row, or its known absence, in memory. It lies in the map's own node, and in one piece: a hit costs as much as the cache
/// lines that it touches.
#[derive(Debug)]
pub(crate) struct Entry<K, V> {
    key: K,
    pub(crate) value: Option<Arc<V>>,
    /// The version of the row that the value is based on.
    pub(crate) version: Version,
    /// The generation in which it was confirmed.
    pub(crate) generation: u64,
    /// Those of its [`Lifetime`], apart because they take less room so.
    until: Moment,
    row_expires: bool,
    /// When it was read last, or written.
    used_at: AtomicU64,
    /// How many bytes the row has.
    bytes: u32,
    pub(super) stay: Stay,
}

impl<K: Clone, V> Entry<K, V> {
    pub(super) fn new(key: &K, value: Value<V>, version: Version, confirmed: Confirmed, stay: Stay) -> Entry<K, V> {
        let Confirmed { generation, lifetime: Lifetime { until, row_expires }, at } = confirmed;
        let (value, bytes) = value.map_or((None, 0), |row| (Some(row.value), row.bytes));
        let (key, used_at) = (key.clone(), AtomicU64::new(at.nanos()));
        Entry { key, value, version, generation, until, row_expires, used_at, bytes, stay }
    }
}

/// How many bytes a value takes, where its type's user knows better than what is written of it.
pub(crate) type Weigher<K, V> = Arc<dyn Fn(&K, &V) -> u64 + Send + Sync>;

/// About how many bytes of memory an entry takes: with what moka and the map need for it, but without what a type needs beyond what is
/// written of it, unless somebody weighs that.
pub(super) fn size<K: Key, V>(key: &K, value: &Value<V>, weigher: Option<&Weigher<K, V>>) -> u64 {
    const OF_MOKA_AND_MAP: usize = 280;
    let fixed = OF_MOKA_AND_MAP + size_of::<Entry<K, V>>() + if value.is_some() { size_of::<V>() } else { 0 };
    let of_row = value.as_ref().map_or(0, |row| {
        let weighed = weigher.map(|weigh| caught(|| weigh(key, &row.value)));
        weighed.and_then(Result::ok).unwrap_or(u64::from(row.bytes))
    });
    ((fixed + key::size(key)) as u64).saturating_add(of_row)
}

/// The number of a stay. Those that could be taken for each other are four billion stays apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tenure(pub(super) u32);

/// One stay of a hash in memory, from when moka is told until moka or a change ends it. What moka evicts is a stay, so that it
/// cannot take what came for the same hash afterwards.
#[derive(Debug)]
pub(super) struct Stay {
    pub(super) tenure: Tenure,
    /// What it weighs, as far as moka knows.
    weight: u32,
    /// Its [`Reads`], in one byte.
    reads: AtomicU8,
}

/// What is known of who reads an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Reads {
    /// How many of its hits moka was told because they were the first, up to [`TOLD_FIRST`].
    told: u8,
    /// How many more times it is loaded again by itself.
    worth: u8,
}

impl Reads {
    const MANY: u8 = Reads { told: TOLD_FIRST, worth: WORTH_MAX }.packed();

    const fn packed(self) -> u8 {
        self.told | self.worth << 2
    }

    const fn of(packed: u8) -> Reads {
        Reads { told: packed & 3, worth: packed >> 2 }
    }
}

impl Stay {
    pub(super) fn new(tenure: Tenure, weight: u32) -> Stay {
        Stay { tenure, weight, reads: AtomicU8::new(0) }
    }

    /// Whether it can go on with a value of this weight: one that weighs more, or much less, has to be told.
    pub(super) fn can_bear(&self, weight: u32) -> bool {
        weight <= self.weight && self.weight - weight <= self.weight / 4
    }

    /// The same stay, with another value, which nobody has read.
    fn goes_on(&self) -> Stay {
        let Reads { told, worth } = self.reads();
        self.with(Reads { told, worth: worth.saturating_sub(1) })
    }

    /// The same stay, with the same value.
    fn stays(&self) -> Stay {
        self.with(self.reads())
    }

    fn with(&self, reads: Reads) -> Stay {
        Stay { reads: AtomicU8::new(reads.packed()), ..*self }
    }

    fn reads(&self) -> Reads {
        Reads::of(self.reads.load(Ordering::Relaxed))
    }

    /// Whether a hit now is one of the first. Of two at the same time one may not count.
    #[inline]
    pub(super) fn has_begun(&self) -> bool {
        let reads = self.reads.load(Ordering::Relaxed);
        if reads == Reads::MANY {
            return false;
        }
        let told = Reads::of(reads).told;
        let reads = Reads { told: (told + 1).min(TOLD_FIRST), worth: WORTH_MAX };
        self.reads.store(reads.packed(), Ordering::Relaxed);
        told < TOLD_FIRST
    }
}

impl<K, V> Entry<K, V> {
    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    #[inline]
    pub(crate) fn lifetime(&self) -> Lifetime {
        Lifetime { until: self.until, row_expires: self.row_expires }
    }

    #[inline]
    pub(super) fn used_at(&self) -> Moment {
        Moment::from_nanos(self.used_at.load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn set_used(&self, at: Moment) {
        self.used_at.store(at.nanos(), Ordering::Relaxed);
    }

    /// The same stay, with this value.
    pub(super) fn stay_with(&self, value: &Value<V>) -> Stay {
        let is_same = match (&self.value, value) {
            (Some(before), Some(row)) => Arc::ptr_eq(before, &row.value),
            (before, value) => before.is_none() && value.is_none(),
        };
        if is_same { self.stay.stays() } else { self.stay.goes_on() }
    }

    /// Whether it was read lately: it, or one of the last that lay here.
    pub(super) fn is_read(&self) -> bool {
        self.stay.reads().worth > 0
    }

    pub(crate) fn answer(&self) -> Answer<V> {
        Answer { value: self.row(), version: self.version, as_of: None, is_loaded: false }
    }

    /// What it says of the row.
    pub(crate) fn row(&self) -> Value<V> {
        let bytes = self.bytes;
        self.value.clone().map(|value| Row { value, bytes })
    }
}

impl<K: Clone, V> Entry<K, V> {
    /// The same, but somebody has changed the row.
    pub(super) fn superseded(&self, generation: u64, until: Moment) -> Entry<K, V> {
        Entry {
            key: self.key.clone(),
            value: self.value.clone(),
            used_at: AtomicU64::new(self.used_at.load(Ordering::Relaxed)),
            stay: self.stay.stays(),
            generation,
            until,
            ..*self
        }
    }
}

/// What a read is answered.
#[derive(Debug)]
pub(crate) struct Answer<V> {
    /// What is shown.
    pub(crate) value: Value<V>,
    /// The version of the row that it is based on.
    pub(crate) version: Version,
    /// Everything that was committed before is in it. None: everything that the feed has told.
    pub(crate) as_of: Option<Moment>,
    /// For whoever has asked, and not held.
    pub(crate) is_loaded: bool,
}

impl<V> Clone for Answer<V> {
    fn clone(&self) -> Answer<V> {
        Answer { value: self.value.clone(), ..*self }
    }
}

/// Whoever lets go of the last reference runs the type's own code: moka, to which a listener that panicked once never speaks again,
/// or a reader of another key.
impl<K, V> Drop for Entry<K, V> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take()
            && let Err(panic) = caught(|| drop(value))
        {
            tracing::error!(panic, "a value could not be dropped");
        }
    }
}

/// When an entry was confirmed, and until when it is good.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirmed {
    pub(super) generation: u64,
    pub(super) lifetime: Lifetime,
    /// When somebody read or wrote it, for whom it is held.
    pub(super) at: Moment,
}

/// Until when an entry is good: its row expires then, or the cache's time to live is over, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub(crate) until: Moment,
    /// The row itself expires some time.
    pub(crate) row_expires: bool,
}

impl Lifetime {
    pub(crate) const ENDLESS: Lifetime = Lifetime { until: Moment::NEVER, row_expires: false };

    #[inline]
    pub(crate) fn is_over(self, now: Moment) -> bool {
        self.until <= now
    }

    /// When the row expires, at the latest.
    pub(crate) fn row_ends_at(self) -> Option<Moment> {
        self.row_expires.then_some(self.until)
    }
}
