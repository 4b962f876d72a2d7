//! A database in memory does what Postgres does: the same tests run against both.

// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

mod batches;
mod behaviours;
mod world;
