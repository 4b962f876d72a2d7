//! Queries of the user's.

use crate::codec::layout::{Layout, TableMeta, quote};
use crate::codec::row::Columns;
use crate::error::Error;
use cache_sync_core::number::Epoch;
use std::time::Duration;
use tokio_postgres::types::ToSql;

/// A query, and what is done with its rows.
pub(crate) struct Selecting<'a> {
    pub(crate) sql: &'a str,
    pub(crate) params: &'a [&'a (dyn ToSql + Sync)],
    pub(crate) expiries: &'a [NextExpiry],
    /// Reads each row as it comes. After the first that cannot be read no other one is shown.
    pub(crate) read: &'a mut (dyn FnMut(&Layout, &dyn Columns) -> Result<(), Error> + Send),
}

/// What a query brought, beside its rows.
pub(crate) struct Selected {
    /// That of the server that ran it.
    pub(crate) epoch: Epoch,
    /// How many bytes the rows had as they came.
    pub(crate) bytes: usize,
    /// Of what they say: two results with the same one are the same.
    pub(crate) digest: u64,
    /// For how long the result is good, counted from before it was asked for: until the first row expires that may matter to it.
    pub(crate) good_for: Option<Duration>,
}

/// Asks when the next row expires of those that may matter to a result.
#[derive(Debug)]
pub(crate) struct NextExpiry {
    /// Answers with the time in microseconds; takes the value, if there is one.
    pub(crate) text: String,
    pub(crate) value: Option<Box<dyn ToSql + Send + Sync>>,
}

impl NextExpiry {
    /// `is_it` says which rows matter, `$1` in it is the value.
    pub(crate) fn new(
        meta: &TableMeta,
        is_it: Option<&str>,
        value: Option<Box<dyn ToSql + Send + Sync>>,
    ) -> Option<NextExpiry> {
        let column = meta.expires.as_ref()?;
        let text = format!(
            "SELECT (EXTRACT(EPOCH FROM pg_catalog.min(t.{column}) OPERATOR(pg_catalog.-) pg_catalog.now()) \
             OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8 FROM {schema}.{table} AS t \
             WHERE t.{column} OPERATOR(pg_catalog.>) pg_catalog.now() AND pg_catalog.isfinite(t.{column}) AND {is_it}",
            schema = quote(&meta.schema),
            table = quote(&meta.name),
            is_it = is_it.unwrap_or("true"),
        );
        Some(NextExpiry { text, value })
    }
}
