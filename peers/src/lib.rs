//! What cache_sync is compared with: other ways to read and write the same rows, each as a good team would write it.
//!
//! ```text
//! cache_sync   ours, with buffered or with durable writes
//! plain        Postgres alone
//! foyer        values in memory, with a time to live
//! notified     values in memory, dropped by a trigger that notifies
//! cache_aside  values in Redis, with a time to live
//! tracked      the same, and in memory until Redis says that they have changed
//! held         values in memory that may be dropped while they are loaded
//! shelf        how a row lies in Redis
//! database     the statements that all but ours send, and how many there were
//! peer         what they have in common
//! record       a row, and a change of it
//! ```
//! Imports run downwards in that list only.
#![forbid(unsafe_code)]

mod cache_aside;
mod cache_sync;
mod database;
mod foyer;
mod held;
mod notified;
mod peer;
mod plain;
mod record;
mod shelf;
mod tracked;

pub use cache_aside::{CacheAside, Found};
pub use cache_sync::CacheSync;
pub use database::Database;
pub use foyer::Foyer;
pub use notified::Notified;
pub use peer::{Peer, Written};
pub use plain::Plain;
pub use record::{Change, FIELD_BYTES, FIELDS, Record, Write};
pub use tracked::Tracked;
