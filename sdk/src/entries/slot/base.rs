//! What is known of a row without the patches that are pending.

use crate::codec::value::Value;
use crate::entries::entry::Lifetime;
use cache_sync_core::number::Version;
use cache_sync_core::patch::RowPatch;

/// What a load or an outcome confirmed of the row, without the patches that are pending.
#[derive(Debug)]
pub(crate) enum Base<V> {
    Unknown,
    Known {
        value: Value<V>,
        version: Version,
        generation: u64,
        /// When it is over, the row has to be loaded again.
        lifetime: Lifetime,
    },
}

impl<V> Clone for Base<V> {
    fn clone(&self) -> Base<V> {
        match self {
            Base::Unknown => Base::Unknown,
            Base::Known { value, version, generation, lifetime } => {
                Base::Known { value: value.clone(), version: *version, generation: *generation, lifetime: *lifetime }
            }
        }
    }
}

/// How a patch changes what is shown. The slot decides when; only the schema knows how.
pub(crate) trait Preview<V> {
    /// The value with the patch, or `None` when that cannot be told here.
    fn preview(&self, patch: &RowPatch, value: &Value<V>) -> Option<Value<V>>;
    /// Whether the row can be told from what it was and the patch, where Postgres says that nothing coerced it.
    fn is_told(&self, patch: &RowPatch) -> bool;
    /// Whether the row expires after the patch when it did before.
    fn leaves_expiry(&self, patch: &RowPatch) -> bool;
    /// The later patch merged into the earlier one.
    fn coalesce(&self, earlier: RowPatch, later: RowPatch) -> Result<RowPatch, Box<(RowPatch, RowPatch)>>;
}
