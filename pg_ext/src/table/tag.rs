//! A column on which queries can depend: the feed tells the hash of each value that it had or has in a row that changed.

use crate::key::KeyKind;
use cache_sync_core::key::KeyHasher;
use pgrx::pg_sys;

/// A tag of a table.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    /// Its column in the relation at hand.
    pub(crate) attnum: i16,
    /// How its values are hashed.
    pub(crate) kind: TagKind,
}

/// How values are hashed.
#[derive(Clone, Debug)]
pub(crate) enum TagKind {
    /// As those of a key's column.
    Plain(KeyKind),
    /// A composite, part by part.
    Row(Vec<TagKind>),
}

impl TagKind {
    /// The kind of a type, a domain being taken for its base type; `None` for types that cannot be tags.
    pub(crate) fn of(type_oid: pg_sys::Oid) -> Option<TagKind> {
        if let Some(kind) = KeyKind::of(type_oid) {
            return Some(TagKind::Plain(kind));
        }
        // SAFETY: looks types up in the system catalogs; a composite's descriptor is released when it has been read.
        unsafe {
            let base = pg_sys::getBaseType(type_oid);
            if !pg_sys::type_is_rowtype(base) || base == pg_sys::RECORDOID {
                return None;
            }
            let descriptor = pg_sys::lookup_rowtype_tupdesc_copy(base, -1);
            let parts = (0..(*descriptor).natts).map(|place| &*super::column(descriptor, place));
            let kinds: Option<Vec<_>> =
                parts.filter(|part| !part.attisdropped).map(|part| TagKind::of(part.atttypid)).collect();
            pg_sys::FreeTupleDesc(descriptor);
            kinds.map(TagKind::Row)
        }
    }

    /// Gives a value of this kind to the hasher.
    ///
    /// # Safety
    /// `value` must be of a type of this kind.
    pub(crate) unsafe fn hash(&self, hasher: &mut KeyHasher, value: Option<pg_sys::Datum>) {
        let Some(value) = value else { return hasher.null() };
        let parts = match self {
            // SAFETY: the caller vouches for the value.
            TagKind::Plain(kind) => return unsafe { kind.hash(hasher, value) },
            TagKind::Row(parts) => parts,
        };
        hasher.row(parts.len());
        // SAFETY: a composite is a tuple behind a header that names its type; it is taken apart by that type's descriptor,
        // which has a column for each of the kinds, in their order, beside those that were dropped.
        unsafe {
            let header = pg_sys::pg_detoast_datum(value.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
            let type_oid = (*header).t_choice.t_datum.datum_typeid;
            let descriptor = pg_sys::lookup_rowtype_tupdesc_copy(type_oid, (*header).t_choice.t_datum.datum_typmod);
            let columns = (*descriptor).natts as usize;
            let (mut values, mut nulls) = (vec![pg_sys::Datum::from(0); columns], vec![true; columns]);
            let mut tuple = pg_sys::HeapTupleData {
                t_len: pgrx::varlena::varsize_4b(header.cast()) as u32,
                t_data: header,
                ..pg_sys::HeapTupleData::default()
            };
            pg_sys::heap_deform_tuple(&mut tuple, descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            let live = (0..columns).filter(|place| !(*super::column(descriptor, *place as i32)).attisdropped);
            for (kind, place) in parts.iter().zip(live) {
                kind.hash(hasher, (!nulls[place]).then_some(values[place]));
            }
            pg_sys::FreeTupleDesc(descriptor);
        }
    }
}
