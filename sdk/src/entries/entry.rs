//! A row, or its known absence, in memory, and what a read is answered.

use crate::codec::caught::{caught, let_go};
use crate::codec::key::{self, Key};
use crate::codec::value::{Row, Value};
use crate::common::time::Moment;
use crate::entries::generation::is_replaced;
use cache_sync_core::number::Version;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

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
    /// Somebody was shown something else, perhaps ahead of the feed.
    overtaken: AtomicBool,
    /// When it was read last, or written.
    used_at: AtomicU64,
    /// How many bytes the row has.
    bytes: u32,
    /// Of a row its digest; of an absence what tells it from others.
    mark: u32,
    pub(super) stay: Stay,
}

impl<K: Clone, V> Entry<K, V> {
    /// `absence` is a number that others do not have, should there be no row.
    pub(super) fn new(
        key: &K,
        value: Value<V>,
        absence: u32,
        version: Version,
        confirmed: Confirmed,
        stay: Stay,
    ) -> Entry<K, V> {
        let Confirmed { generation, lifetime: Lifetime { until, row_expires }, at } = confirmed;
        let (value, bytes, mark) = value.map_or((None, 0, absence), |row| (Some(row.value), row.bytes, row.digest));
        let (key, used_at) = (key.clone(), AtomicU64::new(at.nanos()));
        let overtaken = AtomicBool::new(false);
        Entry { key, value, version, generation, until, row_expires, overtaken, used_at, bytes, mark, stay }
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
    /// Its [`Interest`], in one byte.
    interest: AtomicU8,
}

/// What is known of who reads a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Interest {
    /// How many of its hits moka was told because they were the first, up to [`TOLD_FIRST`].
    told: u8,
    /// How many more times it is loaded again by itself.
    worth: u8,
}

impl Interest {
    const MANY: u8 = Interest { told: TOLD_FIRST, worth: WORTH_MAX }.packed();

    const fn packed(self) -> u8 {
        self.told | self.worth << 2
    }

    const fn of(packed: u8) -> Interest {
        Interest { told: packed & 3, worth: packed >> 2 }
    }
}

impl Stay {
    /// A new one, of a key of which this was known.
    pub(super) fn new(tenure: Tenure, weight: u32, interest: Interest) -> Stay {
        let interest = Interest { told: 0, ..interest };
        Stay { tenure, weight, interest: AtomicU8::new(interest.packed()) }
    }

    /// Whether it can go on with a value of this weight: one that weighs more, or much less, has to be told.
    pub(super) fn can_bear(&self, weight: u32) -> bool {
        weight <= self.weight && self.weight - weight <= self.weight / 4
    }

    /// The same stay, with another value.
    pub(super) fn goes_on(&self) -> Stay {
        Stay { interest: AtomicU8::new(self.interest().packed()), ..*self }
    }

    pub(super) fn interest(&self) -> Interest {
        Interest::of(self.interest.load(Ordering::Relaxed))
    }

    /// A load has ended that was for a reader, or for nobody.
    pub(super) fn was_loaded(&self, for_a_reader: bool) {
        let Interest { told, worth } = self.interest();
        let worth = if for_a_reader { WORTH_MAX } else { worth.saturating_sub(1) };
        self.interest.store(Interest { told, worth }.packed(), Ordering::Relaxed);
    }

    /// Whether a hit now is one of the first. Of two at the same time one may not count.
    #[inline]
    pub(super) fn has_begun(&self) -> bool {
        let interest = self.interest.load(Ordering::Relaxed);
        if interest == Interest::MANY {
            return false;
        }
        let told = Interest::of(interest).told;
        let interest = Interest { told: (told + 1).min(TOLD_FIRST), worth: WORTH_MAX };
        self.interest.store(interest.packed(), Ordering::Relaxed);
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

    /// Whether it is worth being loaded again by itself: it was read, and not loaded too often since for nobody.
    pub(crate) fn is_read(&self) -> bool {
        self.stay.interest().worth > 0
    }

    /// Whether a change of the row was heard since.
    pub(crate) fn is_replaced(&self) -> bool {
        is_replaced(self.generation)
    }

    pub(super) fn is_overtaken(&self) -> bool {
        self.overtaken.load(Ordering::Relaxed)
    }

    /// Its shard is locked: what is made of it meanwhile would not know.
    pub(super) fn overtake(&self) {
        self.overtaken.store(true, Ordering::Relaxed);
    }

    pub(crate) fn answer(&self) -> Answer<V> {
        Answer { value: self.row(), version: self.version, as_of: None, is_loaded: false }
    }

    /// What it says of the row.
    pub(crate) fn row(&self) -> Value<V> {
        let (bytes, digest) = (self.bytes, self.mark);
        self.value.clone().map(|value| Row { value, bytes, digest })
    }

    /// Two absences that were confirmed one after the other have different ones.
    pub(super) fn mark(&self) -> u32 {
        self.mark
    }
}

impl<K: Clone, V> Entry<K, V> {
    /// The same, but somebody has changed the row.
    pub(super) fn replaced(&self, generation: u64, until: Moment) -> Entry<K, V> {
        Entry {
            key: self.key.clone(),
            value: self.value.clone(),
            overtaken: AtomicBool::new(self.is_overtaken()),
            used_at: AtomicU64::new(self.used_at.load(Ordering::Relaxed)),
            stay: self.stay.goes_on(),
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
        self.value.take().into_iter().for_each(let_go);
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
