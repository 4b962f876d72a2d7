//! What clients hear: a backend reads the ring and tells its client of the changes that are for it.
//!
//! ```text
//! stream   `CALL stream`                          subscription  the tables that one feed tells of
//! changes  `changes()`, for those who ask         since         from where on a feed is asked for
//! listen   what those ask who hear by NOTIFY      hashes        by which keys and tags are named
//! look     what there is to see of it             waiting       as what it is seen
//! ```
//! `stream` and `changes` read `crate::ring` from `since` on, and tell what the `subscription` selects.

mod changes;
mod hashes;
mod listen;
mod look;
mod since;
mod stream;
mod subscription;
mod waiting;
