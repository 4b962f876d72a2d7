//! What cache_sync is compared with: other ways to read and write the same rows, each as a good team would write it.
//!
//! ```text
//! cache_aside  values in Redis, with a time to live
//! database     the statements that all of them send, and how many there were
//! record       a row, and a change of it
//! peer         what they have in common
//! ```
//! Imports run downwards in that list only.
#![forbid(unsafe_code)]

mod cache_aside;
mod database;
mod peer;
mod record;

pub use cache_aside::CacheAside;
pub use database::Database;
pub use peer::Peer;
pub use record::{Change, FIELD_BYTES, FIELDS, Record, Write};
