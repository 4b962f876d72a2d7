//! What a backend knows of an attached table: read on first use, kept until Postgres says that something changed.
//!
//! A relcache callback counts a generation up whenever a relation changes that something known was read from: the
//! table itself, `attached`, `field` or `secret` (whose own triggers announce changes of their rows). The callback
//! may come in the middle of anything, so it neither allocates nor touches what is kept.
//!
//! ```text
//! read   reads it      tag   columns on which queries can depend
//! ```

mod read;
mod tag;

pub(crate) use read::column;
pub(crate) use tag::Tag;

use super::catalog::{self, Locked, Secret};
use super::key::KeyColumn;
use crate::pg::backend::OfBackend;
use cache_sync_core::key::{HashKey, KeyHasher};
use cache_sync_core::number::{FieldId, KeyHash, TableId};
use cache_sync_core::rule::Rule;
use pgrx::{pg_guard, pg_sys};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The columns of a key, beside the rest of its table unless they are many.
pub(crate) type KeyColumns = SmallVec<[KeyColumn; 4]>;

/// A field that has stamps, in the relation at hand: a partition numbers its columns on its own.
#[derive(Clone, Debug)]
pub(crate) struct Stamped {
    /// Its number, the same in all partitions.
    pub(crate) id: FieldId,
    /// Its column here.
    pub(crate) attnum: i16,
    /// How values of its type are stored.
    pub(crate) is_by_value: bool,
    pub(crate) length: i16,
    /// Its rule: `lww`, `first` or `json`.
    pub(crate) rule: Rule,
}

/// An attached table, or a partition of one. In this order, so that what each row needs lies together.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Table {
    /// The number under which it is attached.
    pub(crate) id: TableId,
    /// The relation at hand.
    pub(crate) relid: pg_sys::Oid,
    /// The columns of the primary key, in its order. Empty when there is none that could be hashed, or when the
    /// extension's tables say nothing of this one: then every change is one of the whole table.
    pub(crate) key: KeyColumns,
    hash_key: HashKey,
    /// The last column that a key, a tag or the version is in.
    pub(crate) last_noted_attnum: i16,
    /// The number of `cs_version`, or 0.
    pub(crate) version_attnum: i16,
    /// The columns on which queries can depend.
    pub(crate) tags: Vec<Tag>,
    /// The number of `cs_clock`, or 0.
    pub(crate) clock_attnum: i16,
    /// Whether it was attached with versions.
    pub(crate) versioned: bool,
    /// The fields of this relation that have stamps and can be written.
    pub(crate) stamped: Vec<Stamped>,
}

impl Table {
    /// The hash of a key whose columns `value` gives, as datums that are not null.
    ///
    /// # Safety
    /// Each datum must be of its column's type.
    #[inline]
    pub(crate) unsafe fn hash(&self, value: impl Fn(usize, KeyColumn) -> pg_sys::Datum) -> KeyHash {
        let mut hasher = KeyHasher::new(&self.hash_key);
        for (place, column) in self.key.iter().enumerate() {
            // SAFETY: the caller vouches for the datum, and a key's columns are never null.
            unsafe { column.kind.hash(&mut hasher, value(place, *column)) };
        }
        hasher.finish()
    }
}

impl Table {
    /// The hash of a value of its tag in this place of the list, from 0; `None` where the tag's type was altered meanwhile.
    ///
    /// # Safety
    /// The value must be of the tag's type.
    pub(crate) unsafe fn tag_hash(&self, place: usize, value: Option<pg_sys::Datum>) -> Option<KeyHash> {
        let mut hasher = KeyHasher::of_tag(&self.hash_key, place + 1);
        // SAFETY: the caller vouches for the value.
        let is_told = unsafe { self.tags[place].kind.hash(&mut hasher, value) };
        is_told.then(|| hasher.finish())
    }
}

/// Which relations were read from: a set that may hold more than was put in, so that the callback can ask it at any
/// time.
struct Watched([Cell<u64>; 16]);

impl Watched {
    fn bit(&self, relid: pg_sys::Oid) -> (&Cell<u64>, u64) {
        let hash = relid.to_u32().wrapping_mul(0x9e37_79b9) >> 22;
        (&self.0[(hash >> 6) as usize], 1 << (hash & 63))
    }

    fn add(&self, relid: pg_sys::Oid) {
        let (word, bit) = self.bit(relid);
        word.set(word.get() | bit);
    }

    fn has(&self, relid: pg_sys::Oid) -> bool {
        let (word, bit) = self.bit(relid);
        word.get() & bit != 0
    }

    fn clear(&self) {
        self.0.iter().for_each(|word| word.set(0));
    }
}

/// What this backend keeps. In this order, so that what each row needs lies together.
#[repr(C)]
struct Known {
    /// Counts the changes of what was read.
    generation: Cell<u64>,
    /// Of which generation the rest is.
    read_at: Cell<u64>,
    last: RefCell<Option<Rc<Table>>>,
    watched: Watched,
    tables: RefCell<BTreeMap<(u32, TableId), Rc<Table>>>,
    secret: Cell<Option<Secret>>,
    is_registered: Cell<bool>,
}

static KNOWN: OfBackend<Known> = OfBackend::new(Known {
    generation: Cell::new(1),
    read_at: Cell::new(0),
    last: RefCell::new(None),
    watched: Watched([const { Cell::new(0) }; 16]),
    tables: RefCell::new(BTreeMap::new()),
    secret: Cell::new(None),
    is_registered: Cell::new(false),
});

/// What is known of a relation that carries the triggers of table `id`.
///
/// # Safety
/// The relation must be open.
#[inline]
pub(crate) unsafe fn of(relation: pg_sys::Relation, id: TableId) -> Rc<Table> {
    // SAFETY: the caller vouches for the relation.
    let relid = unsafe { (*relation).rd_id };
    if KNOWN.generation.get() == KNOWN.read_at.get()
        && let Some(last) = &*KNOWN.last.borrow()
        && last.relid == relid
        && last.id == id
    {
        return Rc::clone(last);
    }
    KNOWN.find(relation, relid, id)
}

/// The table's number, from the argument of its triggers; `None` if somebody made a trigger without it.
///
/// # Safety
/// The trigger must be what Postgres gave a trigger function.
#[inline]
pub(crate) unsafe fn id_of(trigger: *const pg_sys::Trigger) -> Option<TableId> {
    // SAFETY: the caller vouches for the trigger; it has `tgnargs` strings.
    unsafe {
        if (*trigger).tgnargs < 1 {
            return None;
        }
        parse(*(*trigger).tgargs).map(TableId)
    }
}

/// The integer that a text is. By hand, since this runs for every row: `str::parse` wants its length and that it is UTF-8 first.
///
/// # Safety
/// The text must end with a zero.
#[inline]
unsafe fn parse(text: *const std::ffi::c_char) -> Option<i32> {
    // SAFETY: the caller vouches for the end, and nothing behind it is looked at.
    let byte = |place: usize| unsafe { *text.add(place) } as u8;
    let is_negative = byte(0) == b'-';
    let first = usize::from(is_negative);
    let (mut place, mut negated) = (first, 0_i32);
    while byte(place) != 0 {
        let digit = byte(place).wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // There is one more number below zero than above.
        negated = negated.checked_mul(10)?.checked_sub(i32::from(digit))?;
        place += 1;
    }
    if place == first {
        None
    } else if is_negative {
        Some(negated)
    } else {
        negated.checked_neg()
    }
}

/// The database's secret, as of now.
pub(crate) fn secret(locked: Locked) -> Option<Secret> {
    KNOWN.secret(locked)
}

impl Known {
    fn find(&self, relation: pg_sys::Relation, relid: pg_sys::Oid, id: TableId) -> Rc<Table> {
        self.forget_what_changed();
        let kept = self.tables.borrow().get(&(relid.to_u32(), id)).map(Rc::clone);
        if let Some(table) = kept {
            *self.last.borrow_mut() = Some(Rc::clone(&table));
            return table;
        }
        self.watched.add(relid);
        let generation = self.generation.get();
        // SAFETY: `of` was given an open relation.
        let (table, is_certain) = unsafe { read::table(relation, id, self.secret(Locked::GiveUp)) };
        let table = Rc::new(table);
        // What could not be read now may be readable for the next row, and what changed meanwhile is read again.
        if is_certain && generation == self.generation.get() {
            self.tables.borrow_mut().insert((relid.to_u32(), id), Rc::clone(&table));
            *self.last.borrow_mut() = Some(Rc::clone(&table));
        }
        table
    }

    fn secret(&self, locked: Locked) -> Option<Secret> {
        self.forget_what_changed();
        if let Some(secret) = self.secret.get() {
            return Some(secret);
        }
        for name in [c"attached", c"field", c"secret"] {
            self.watched.add(catalog::relid(name)?);
        }
        let generation = self.generation.get();
        let secret = catalog::secret(locked)?;
        if generation == self.generation.get() {
            self.secret.set(Some(secret));
        }
        Some(secret)
    }

    fn forget_what_changed(&self) {
        if !self.is_registered.replace(true) {
            // SAFETY: a backend may register callbacks at any time; this one is registered once.
            unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::from(0)) };
        }
        if self.read_at.replace(self.generation.get()) != self.generation.get() {
            self.watched.clear();
            self.secret.set(None);
            *self.last.borrow_mut() = None;
            self.tables.borrow_mut().clear();
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_arg: pg_sys::Datum, relid: pg_sys::Oid) {
    if relid == pg_sys::InvalidOid || KNOWN.watched.has(relid) {
        KNOWN.generation.set(KNOWN.generation.get() + 1);
    }
}
