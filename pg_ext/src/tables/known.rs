//! What a backend knows of attached tables: read on first use, kept until Postgres says that something changed.
//!
//! A relcache callback counts a generation up whenever a relation changes that something known was read from: the
//! table itself, `attached`, `field` or `secret` (whose own triggers announce changes of their rows). The callback
//! may come in the middle of anything, so it neither allocates nor touches what is kept.

use super::catalog::{self, Locked, Secret};
use super::read;
use super::table::Table;
use crate::pg::backend::OfBackend;
use cache_sync_core::number::TableId;
use pgrx::{pg_guard, pg_sys};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

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

/// How many tables a backend keeps: reading one again costs a few look-ups.
const TABLES_MAX: usize = 1024;

/// What this backend keeps. In this order, so that what each row needs lies together.
#[repr(C)]
struct Known {
    /// Counts the changes of what was read.
    generation: Cell<u64>,
    /// Of which generation the rest is.
    read_at: Cell<u64>,
    last: RefCell<Option<Rc<Table>>>,
    /// That of the secret; 0 while none is known.
    incarnation: Cell<u32>,
    watched: Watched,
    tables: RefCell<BTreeMap<(u32, TableId), Rc<Table>>>,
    secret: Cell<Option<Secret>>,
    is_registered: Cell<bool>,
}

static KNOWN: OfBackend<Known> = OfBackend::new(Known {
    generation: Cell::new(1),
    read_at: Cell::new(0),
    last: RefCell::new(None),
    incarnation: Cell::new(0),
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

/// The database's secret, as of now.
pub(crate) fn secret(locked: Locked) -> Option<Secret> {
    KNOWN.secret(locked)
}

/// Which of the extensions that this database has had is there, as far as this backend knows by what it noted last; 0 if it
/// could not be read.
#[inline]
pub(crate) fn incarnation() -> u32 {
    KNOWN.incarnation.get()
}

/// Rises whenever what was read of the extension's tables is no longer what they say, as far as this backend has heard.
pub(crate) fn generation() -> u64 {
    KNOWN.generation.get()
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
            let mut tables = self.tables.borrow_mut();
            if tables.len() >= TABLES_MAX {
                tables.clear();
            }
            tables.insert((relid.to_u32(), id), Rc::clone(&table));
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
        self.incarnation.set(secret.incarnation());
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
            self.incarnation.set(0);
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
