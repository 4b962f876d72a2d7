//! A column on which queries can depend: the feed tells the hash of each value that it had or has in a row that changed.

use super::key::KeyKind;
use crate::pg::descriptor;
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
    /// A composite, part by part, each with its type.
    Row(Vec<(pg_sys::Oid, TagKind)>),
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
            let parts = (0..(*descriptor).natts).map(|place| &*descriptor::column(descriptor, place));
            let kind = |part: &pg_sys::FormData_pg_attribute| Some((part.atttypid, TagKind::of(part.atttypid)?));
            let kinds: Option<Vec<_>> = parts.filter(|part| !part.attisdropped).map(kind).collect();
            pg_sys::FreeTupleDesc(descriptor);
            kinds.map(TagKind::Row)
        }
    }

    /// Gives a value of this kind to the hasher. `false`: the value is a composite whose type has other parts than it had, and
    /// cannot be told.
    ///
    /// # Safety
    /// `value` must be of the type that this is the kind of, whatever was done to its parts since.
    #[must_use]
    pub(crate) unsafe fn hash(&self, hasher: &mut KeyHasher, value: Option<pg_sys::Datum>) -> bool {
        let Some(value) = value else {
            hasher.null();
            return true;
        };
        let parts = match self {
            TagKind::Plain(kind) => {
                // SAFETY: the caller vouches for the value.
                unsafe { kind.hash(hasher, value) };
                return true;
            }
            TagKind::Row(parts) => parts,
        };
        hasher.row(parts.len());
        // SAFETY: a composite is a tuple behind a header that names its type; it is taken apart by that type's descriptor as it
        // is now. Nobody who alters the type waits for us, so its parts are compared with those that are known.
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
            let column = |place: usize| &*descriptor::column(descriptor, place as i32);
            let live = || (0..columns).filter(|place| !column(*place).attisdropped);
            let mut is_told = live().map(|place| column(place).atttypid).eq(parts.iter().map(|(oid, _)| *oid));
            for ((_, kind), place) in parts.iter().zip(live()) {
                is_told = is_told && kind.hash(hasher, (!nulls[place]).then_some(values[place]));
            }
            pg_sys::FreeTupleDesc(descriptor);
            is_told
        }
    }
}
