//! What a transaction changes, and its commit, which tells.
//!
//! ```text
//! trigger  notes what changes     pending  the keys of this transaction, and the callback at its commit
//! notify   the feed without shared memory
//! ```
//! `trigger` gives each changed row to `pending`, which publishes in `crate::ring` once the transaction is committed, or, where there
//! is no ring, puts notifications by `notify` before it.

mod notify;
pub(crate) mod pending;
mod trigger;
