//! A per-key cache in your application that stays in step with its Postgres.
//!
//! ```text
//! client   the handle on a database, owner of all tasks     cache    what users hold
//! table    what all handles of a cache share                slot     the state of one key with something under way
//! memory   moka                                             loader   misses become batched loads
//! room     the bounds of the buffer                         flusher  frozen batches, sent until their outcome is known
//! feed     hears what was committed                         freshness whether entries may be served
//! store    pool, connections, every SQL text                batch    a frozen batch as it is sent
//! layout, row, fields, key    types matched to columns, rows read, values written, keys hashed
//! ```
#![forbid(unsafe_code)]

mod batch;
mod cache;
mod client;
mod config;
mod counters;
mod edit;
mod error;
mod feed;
mod fields;
mod flusher;
mod freshness;
mod key;
mod layout;
mod loader;
mod lock;
mod memory;
mod receipt;
mod room;
mod row;
mod slot;
mod status;
mod store;
mod table;
mod text;

pub use cache::{Cache, CacheBuilder, Read};
pub use cache_sync_core::number::Version;
pub use cache_sync_core::outcome::Verdict;
pub use client::{Client, ClientBuilder, Unwritten};
pub use config::{Durability, WhenFull};
pub use edit::Patch;
pub use error::Error;
pub use key::{Key, KeyPart, KeyVisitor};
pub use receipt::{Outcome, Receipt, Written};
pub use status::{CacheStatus, Status};
