//! An attached table, and how its keys and tags are hashed.

use super::key::HashedColumn;
use super::tag::Tag;
use cache_sync_core::key::{HashKey, KeyHasher};
use cache_sync_core::number::{FieldId, KeyHash, TableId};
use cache_sync_core::rule::Rule;
use pgrx::pg_sys;
use smallvec::SmallVec;

/// The columns of a key, beside the rest of its table unless they are many.
pub(crate) type HashedColumns = SmallVec<[HashedColumn; 4]>;

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
    /// extension's tables say nothing of this one: then every change is one of the whole table, unless `is_others`.
    pub(crate) key: HashedColumns,
    pub(super) hash_key: HashKey,
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
    /// Whether it is no part of the table with this number: what changes here concerns nobody there.
    pub(crate) is_others: bool,
    /// The fields of this relation that have stamps and can be written.
    pub(crate) stamped: Vec<Stamped>,
}

impl Table {
    /// The hash of a key whose columns `value` gives, as datums that are not null.
    ///
    /// # Safety
    /// Each datum must be of its column's type.
    #[inline]
    pub(crate) unsafe fn hash(&self, value: impl Fn(usize, HashedColumn) -> pg_sys::Datum) -> KeyHash {
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
