//! Changes out: from the row that changes to the client that hears of it.
//!
//! ```text
//! trigger  notes what changes                     stream        `CALL stream`
//! pending  the keys of this transaction, and      changes       `changes()`, for those who ask
//!          the callback at its commit             subscription  the tables that one feed tells of
//! notify   the feed without shared memory         since         from where on it is asked for
//! hashes   by which keys and tags are named       look          what there is to see of it
//! ```
//! `trigger` gives each changed row to `pending`, which publishes in `crate::ring` at the commit, or puts notifications by `notify`
//! before it. `stream` and `changes` read the ring from `since` on, and tell what the `subscription` selects.

mod changes;
mod hashes;
mod look;
mod notify;
pub(crate) mod pending;
mod since;
mod stream;
mod subscription;
mod trigger;
