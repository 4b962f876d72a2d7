//! What cache_sync does, seen from outside: one behaviour per file, one folder per topic.

// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

mod feed;
mod freshness;
mod merge;
mod operation;
mod rights;
mod schemas;
mod sdk;
mod sql;
mod write;
