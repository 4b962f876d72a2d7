//! Patches that Postgres does not have yet: those that wait, and the one that is under way.

use super::base::Preview;
use crate::codec::value::Value;
use crate::common::time::Moment;
use crate::entries::generation::{is_of_none, now_replaced, replaced};
use crate::receipt::Settler;
use cache_sync_core::number::{Sequence, Version};
use cache_sync_core::patch::{PatchKind, RowPatch};

/// A patch with those who wait for it.
pub(crate) struct Pending<V> {
    pub(crate) patch: RowPatch,
    /// What it makes where there is no row, as far as that is known here; none for an edit.
    pub(crate) value: Option<Value<V>>,
    /// It makes that value whatever the row is.
    pub(crate) determined: bool,
    /// What becomes of it, for all whose writes it is.
    pub(crate) fate: Settler,
    /// Its share of the buffer's bytes.
    pub(crate) size: usize,
}

impl<V> Pending<V> {
    /// It is known what the row is where it wins.
    pub(super) fn sets_all(&self) -> bool {
        self.patch.kind == PatchKind::CompareAndSet && self.value.is_some()
    }

    /// The value that this patch makes where there is no row, once the later one is merged into it.
    pub(super) fn value_with(&self, later: &Pending<V>, schema: &impl Preview<V>) -> Option<Value<V>> {
        let over_this = match &self.value {
            Some(value @ Some(_)) if !later.determined => schema.preview(&later.patch, value),
            _ => None,
        };
        over_this.or_else(|| later.value.clone())
    }
}

pub(super) struct UnderWay<V> {
    pub(super) sequence: Sequence,
    pub(super) generation: u64,
    pub(super) pending: Pending<V>,
    /// The base already contains it.
    pub(super) included: bool,
    pub(super) held: Option<Held>,
}

/// Changes that arrived while a batch was under way: its echo, or somebody else's.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) version: Version,
    pub(super) foreign: bool,
    pub(super) hold: Hold,
}

/// What may be shown of a row that has changed.
#[derive(Clone, Copy)]
pub(crate) struct Hold {
    /// While the change may be an echo, what the row was before may be shown until then.
    pub(crate) until: Moment,
    /// All that was committed before is in that.
    pub(crate) as_of: Moment,
    /// To who takes what a change has replaced it may be shown until then; none: it is not kept.
    pub(crate) kept_until: Option<Moment>,
}

impl Hold {
    /// What becomes of a value that was confirmed in `generation` and is good until `until`, in place of these two, once the change counts; none:
    /// it is let go, as what was held before a gap is. One that was replaced before gains nothing by another change.
    pub(crate) fn replaced(self, generation: u64, current: u64, until: Moment) -> Option<(u64, Moment)> {
        let until = until.min(self.kept_until?);
        match generation {
            _ if generation == current => Some((replaced(self.as_of), until)),
            // As old as it was.
            _ if is_of_none(generation) => Some((now_replaced(generation), until)),
            _ => None,
        }
    }
}

/// The value with the pending patches; none where that cannot be told here.
pub(super) fn apply_all<'a, V: 'a>(
    base: Option<Value<V>>,
    pending: impl Iterator<Item = &'a Pending<V>>,
    schema: &impl Preview<V>,
) -> Option<Value<V>> {
    pending.fold(base, |value, pending| match (value, &pending.value) {
        // Whether it wins is for Postgres to say.
        (value, _) if pending.patch.kind == PatchKind::CompareAndSet => value,
        (_, Some(whole)) if pending.determined => Some(whole.clone()),
        (Some(None), Some(created))
            if matches!(pending.patch.kind, PatchKind::Put { seen: false } | PatchKind::Replace) =>
        {
            Some(created.clone())
        }
        // Who puts a value sees it, also where only Postgres knows what becomes of it.
        (value, Some(put)) if matches!(pending.patch.kind, PatchKind::Put { .. }) => {
            schema.preview(&pending.patch, &value?).or_else(|| Some(put.clone()))
        }
        (value, _) => schema.preview(&pending.patch, &value?),
    })
}
