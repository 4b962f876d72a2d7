//! A row that a load brings, and what it is to its type.

use super::{Columns, decode};
use crate::codec::schema::Schema;
use crate::codec::value::{CacheValue, Row, Value};
use crate::error::{Error, ErrorKind};
use cache_sync_core::number::Version;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

/// A row as it comes.
pub(crate) struct LoadedColumns<'a> {
    /// The key's place among those that were asked for, counted from 1; negative if there is no row.
    pub(crate) place: i64,
    /// As stored; none on plain tables.
    pub(crate) version: Option<i64>,
    /// For how many microseconds it is good, counted from the start of the load; none if it does not expire.
    pub(crate) good_for: Option<i64>,
    pub(crate) row: &'a dyn Columns,
    /// Where those of the type begin.
    pub(crate) first: usize,
}

/// A row of the type.
pub(crate) struct LoadedRow<V> {
    /// The key's place among those that were asked for.
    pub(crate) place: usize,
    /// The row; none if there is none, an error if it does not fit the type.
    pub(crate) value: Result<Value<V>, Error>,
    /// As stored; [`Version::NONE`] on plain tables and where there is no row.
    pub(crate) version: Version,
    /// For how long the row is good, counted from the start of the load; none if it does not expire.
    pub(crate) good_for: Option<Duration>,
}

/// Of what the row says from this column on.
fn digest(row: &dyn Columns, first_column: usize) -> u32 {
    let mut hasher = DefaultHasher::new();
    row.digest(first_column, &mut hasher);
    // 0 has a meaning of its own.
    (hasher.finish() as u32).max(1)
}

impl<V: CacheValue> LoadedRow<V> {
    /// Reads it, with a digest where it is to be compared; `None` when a place is named that was not asked for.
    pub(crate) fn of(loaded: &LoadedColumns<'_>, schema: &Schema, is_compared: bool) -> Option<LoadedRow<V>> {
        let LoadedColumns { place, version, good_for, row, first } = loaded;
        let value = (*place > 0).then(|| {
            let decoded = decode::<V>(&schema.layout, *row, *first);
            let digest = if is_compared { digest(*row, *first) } else { 0 };
            let sent = |value| Row { digest, ..Row::new(value, row.size()) };
            decoded.map(sent).map_err(|error| {
                let place = error.place().map(|place| format!(": {place}")).unwrap_or_default();
                let message = format!("a row of table {} does not fit the type{place}", schema.meta.name);
                Error::caused(ErrorKind::Value, message, error)
            })
        });
        Some(LoadedRow {
            place: usize::try_from(place.checked_abs()? - 1).ok()?,
            value: value.transpose(),
            version: version.map_or(Version::NONE, Version),
            good_for: good_for.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs())),
        })
    }
}
