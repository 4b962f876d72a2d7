//! A per-key cache in your application that stays in step with its Postgres.
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
//! use cache_sync::{Cache, Client, Durability, Freshness, Patch};
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
//! // As fresh as is asked for, whatever the feed has told, with what is known of it.
//! let latest = players.lookup(&42, Freshness::Latest).await?;
//!
//! // Writes return once they are buffered, and show in what this process reads. The closure's changes become a patch:
//! // `gold` goes as a difference, so that nobody's gold is lost, whoever else changes it meanwhile.
//! let receipt = players.update(&42, |player| player.gold += 10).await?;
//! let _ = players.patch(&43, Patch::new().add("gold", -10)).await?;
//!
//! // Whatever else: the closure looks at the row as Postgres has it, and is called again where somebody was quicker.
//! let left = players.modify(&42, |player| {
//!     player.gold -= 5;
//!     Ok::<_, cache_sync::Error>(player.gold)
//! });
//! println!("{} left", left.await?);
//!
//! // The row as it is now, and then each time that it changes, whoever changes it.
//! let mut watch = players.watch(&42);
//! if let Some(read) = watch.next().await {
//!     println!("{} gold", read?.value.map_or(0, |player| player.gold));
//! }
//!
//! // What Postgres made of it.
//! let outcome = receipt.written().await?;
//! println!("{:?} at version {}", outcome.verdict, outcome.version);
//!
//! // Results are held until a row changes that could change them: the server knows what a query reads.
//! let best = client.query::<(String, i32)>("SELECT name, best FROM player ORDER BY best DESC LIMIT 10").fetch().await?;
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
//! | Postgres is away | fail, or are served stale up to [`ClientBuilder::stale_while_unavailable`] | are buffered up to the bounds, and sent when it is back; who waits for them hears why after a minute ([`ClientBuilder::write_timeout`]) |
//! | the password was rotated | as when Postgres is away | the same; [`ClientBuilder::credentials`] is asked for the new one |
//! | another server takes the writes | go there | go there, if the DSN names both (of several hosts, the one that takes writes) |
//! | the table cannot be written | go on | wait in the buffer; who waits for them hears why after a minute ([`ClientBuilder::write_timeout`]) |
//! | Postgres was restarted | are loaded anew, once each, on demand | the batch under way is sent again, and applied once |
//! | the buffer is full | go on | wait, or fail ([`ClientBuilder::when_full`]) |
//! | this process crashes | | what was buffered is lost, unless awaited |
//!
//! # Seeing it
//!
//! [`Client::status`] and [`Cache::status`] say what there is now. The feature `metrics` tells the recorder of the facade of that name, from which
//! exporters take it: install the recorder before the first client is made. Loads, batches, queries and the feed's connections are
//! spans of `tracing`, and what goes wrong is in the log; neither holds keys or values, but for a row that would be lost otherwise.
//! docs/metrics.md has every metric, span and line, with what to do about it, and docs/grafana.json is a dashboard.
//!
//! # Bringing it in
//!
//! Into a service that reads Postgres by itself, step by step: switched off, compared in the shadow, for some keys, for all. [`Mode`] says what a cache
//! does, [`CacheBuilder::verify`] has a share of the hits compared with Postgres, and docs/guide/rollout.md goes through the steps.
//!
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `derive` (default) | `#[derive(Key)]` |
//! | `chrono`, `jiff`, `time` | dates and times of these crates as keys, and their lengths of time in [`interval`] columns |
//! | `packed` | `Packed`, members as MessagePack and zstd |
//! | `tls` | encrypted connections: `sslmode` and the other options that libpq has for it in a DSN (docs/tls.md) |
//! | `in-memory` | `Client::in_memory`, a database in memory for tests of services, with rules, feed and faults |
//! | `metrics` | counters, gauges and histograms for the recorder of the facade `metrics`; `METRICS` lists them |
//!
//! Which types members may be of is in docs/types.md; for dates and times the features `serde` of these crates are enough.
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

// The plan. A room imports only rooms on floors below its own; `cargo xtask house` draws it, and a test holds it against the code.
//
// floor 9: cache     what users hold of one table: its rows by key
// floor 9: query     what users hold of cached queries
// floor 8: client    the handle on a database, its tasks, what all its handles share
// floor 7: results   what a client holds of queries
// floor 6: read      the walk of a key: hit, miss, load
// floor 6: write     the walk of a patch: accepted, sent, settled
// floor 6: change    the walk of a change: the feed, and what it is applied to
// floor 5: in_memory a database in memory as a client's, for tests
// floor 5: pg        a Postgres as a client's database: everything that is said to it
// floor 4: entries   what a cache holds, the one state that the walks share; no I/O
// floor 4: store     what a client asks of its database, whichever that is
// floor 3: patch     changes that a caller spells out
// floor 3: receipt   what a write hands back
// floor 3: status    what a client is doing
// floor 3: tls       TLS as libpq does it, from files
// floor 2: codec     types against columns
// floor 2: common    what a client shares with its tables: is it open, is the feed heard, the time
// floor 2: config    settings
// floor 1: error     what went wrong
// floor 1: meter     what is measured where it happens

mod cache;
mod change;
mod client;
mod codec;
mod common;
mod config;
mod entries;
mod error;
#[cfg(feature = "in-memory")]
pub mod in_memory;
mod meter;
mod patch;
mod pg;
mod query;
mod read;
mod receipt;
mod results;
mod status;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod write;

pub use cache::{Cache, CacheBuilder};
pub use cache_sync_core::number::{KeyHash, Version};
pub use cache_sync_core::outcome::Verdict;
#[cfg(feature = "derive")]
pub use cache_sync_derive::Key;
pub use change::Change;
pub use client::{Client, ClientBuilder, Token};
pub use codec::interval;
pub use codec::key::{Key, KeyColumnType, KeyPart, KeyVisitor, LookUp};
#[cfg(feature = "packed")]
pub use codec::packed::Packed;
pub use codec::value::CacheValue;
pub use common::trouble::Trouble;
pub use common::watch::Watch;
pub use config::{Credentials, Durability, Mode, WhenFull};
pub use error::{Error, ErrorKind};
#[cfg(feature = "metrics")]
pub use meter::{METRICS, Metric, MetricKind};
pub use patch::Patch;
pub use query::{Float, Parameters, PreparedQuery, Query, QueryRead, QueryReads};
pub use read::{Freshness, Lookup, Source};
pub use receipt::{Operation, Outcome, Receipt, Unwritten, Written};
pub use results::TagValue;
pub use status::{CacheStatus, FeedKind, Status};
