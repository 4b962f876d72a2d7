//! A per-key cache in your application that stays in step with its Postgres.
//!
//! ```text
//! client   the handle on a database                         cache    what users hold
//! shared   what their handles share, owner of all tasks     edit     changes that a caller spells out
//! table    what all handles of a cache share                slot     the state of one key with something under way
//! memory   moka                                             loader   misses become batched loads
//! room     the bounds of the buffer                         line     the keys that wait for the flusher
//! flusher  frozen batches, sent until their outcome is known
//! feed     hears what was committed                         freshness whether entries may be served
//! store    pool, connections, every SQL text                batch    a frozen batch as it is sent
//! standby  loads from a hot standby                         seen     what it must be up to date with
//! query    what users hold of cached queries                results  what a client holds of them
//! layout, row, fields, key    types matched to columns, rows read, values written, keys hashed
//! ```
//!
//! # The tour
//!
//! The database has the extension and an attached table:
//!
//! ```sql
//! CREATE EXTENSION cache_sync;
//! CREATE TABLE player (id bigint PRIMARY KEY, name text NOT NULL, gold bigint NOT NULL, best int NOT NULL);
//! SELECT cache_sync.attach('player', versioned => true, rules => '{"gold": "add", "best": "max"}');
//! ```
//!
//! The members of a struct are columns of the table; those that it does not name are left alone.
//!
//! ```no_run
//! use cache_sync::{Cache, Client, Durability, Patch};
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Player {
//!     name: String,
//!     gold: i64,
//!     best: i32,
//! }
//!
//! # async fn tour() -> Result<(), cache_sync::Error> {
//! let client = Client::builder("postgres://localhost/game").feed_timeout(Duration::from_secs(3)).connect().await?;
//! let players: Cache<i64, Player> = client.cache("player").max_capacity(100_000).open().await?;
//!
//! // Reads: from memory, or loaded (with everybody else who misses at that moment, in one statement).
//! let ann = players.get(&42).await?;
//! let held = players.cached(&42);
//!
//! // Writes return once they are buffered, and show in what this process reads. The closure's changes become a patch:
//! // `gold` goes as a difference, so that nobody's gold is lost, whoever else changes it meanwhile.
//! let receipt = players.update(&42, |player| player.gold += 10).await?;
//! let _ = players.patch(&43, Patch::new().add("gold", -10)).await?;
//!
//! // What Postgres made of it.
//! let outcome = receipt.written().await?;
//! println!("{:?} at version {}", outcome.verdict, outcome.version);
//!
//! // Everything committed before this call, by whomever, has been seen after it.
//! client.catch_up().await?;
//! let unwritten = client.close(Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What happens when
//!
//! | | reads | writes |
//! | --- | --- | --- |
//! | the feed falls silent | ask Postgres, after `feed_timeout` | go on |
//! | Postgres is away | fail, or are served stale up to [`ClientBuilder::stale_while_unavailable`] | are buffered up to the bounds, and sent when it is back |
//! | Postgres was restarted | are loaded anew, once each, on demand | the batch under way is sent again, and applied once |
//! | the buffer is full | go on | wait, or fail ([`ClientBuilder::when_full`]) |
//! | this process crashes | | what was buffered is lost, unless awaited |
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

mod batch;
mod cache;
mod client;
mod common;
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
mod line;
mod loader;
mod lock;
mod memory;
mod query;
mod receipt;
mod results;
mod room;
mod row;
mod seen;
mod shared;
mod slot;
mod standby;
mod status;
mod store;
mod table;
mod text;

pub use cache::{Cache, CacheBuilder, Read};
pub use cache_sync_core::number::Version;
pub use cache_sync_core::outcome::Verdict;
pub use client::{Client, ClientBuilder};
pub use config::{Durability, WhenFull};
pub use edit::Patch;
pub use error::Error;
pub use feed::FeedKind;
pub use key::{Key, KeyPart, KeyVisitor};
pub use query::{Query, QueryRead};
pub use receipt::{Outcome, Receipt, Written};
pub use results::TagValue;
pub use shared::Unwritten;
pub use status::{CacheStatus, Status};
