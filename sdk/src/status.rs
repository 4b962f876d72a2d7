//! What a client is doing, for people and their metrics.

use crate::common::trouble::Trouble;
use crate::config::Mode;
use serde::Serialize;

/// The state of a [`Client`](crate::Client).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// How the feed is heard, or was last; `None` before the first message.
    pub feed_kind: Option<FeedKind>,
    /// The feed is heard: entries are served from memory.
    pub feed_live: bool,
    /// The epoch of the feed; 0 before the first message.
    pub epoch: u64,
    /// How many changes of the whole server the feed has passed; 0 with [`FeedKind::Notify`].
    pub feed_position: u64,
    /// How often the feed connected.
    pub feed_connects: u64,
    /// Why the feed cannot be heard, while it is tried again.
    pub feed_trouble: Option<Trouble>,
    /// How often everything held had to be doubted; once by the first connection.
    pub gaps: u64,
    /// Patches that Postgres does not have yet.
    pub buffered: usize,
    /// Their size in bytes.
    pub buffered_bytes: usize,
    /// Statements that loaded rows from the standby of [`ClientBuilder::standby`](crate::ClientBuilder::standby).
    pub standby_loads: u64,
    /// Statements that went to the primary because the standby was behind or away.
    pub standby_passed_over: u64,
    /// Results of queries that are held.
    pub query_results: u64,
    /// Queries answered from memory.
    pub query_hits: u64,
    /// Queries sent to Postgres.
    pub query_loads: u64,
    /// The caches, by table.
    pub caches: Vec<CacheStatus>,
}

/// How a client hears of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum FeedKind {
    /// From shared memory, by `CALL cache_sync.stream`.
    Stream,
    /// By NOTIFY, because the server is older than PostgreSQL 17 and has not preloaded the extension's library: writers are slower,
    /// and every new connection means that all that is held must be loaded again, and so does one's own write.
    Notify,
}

/// The state of a [`Cache`](crate::Cache). Counters count since it was opened.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CacheStatus {
    /// The table, with its schema.
    pub table: String,
    /// What it does at present.
    pub mode: Mode,
    /// It has gone back by itself ([`CacheBuilder::retreat_after`](crate::CacheBuilder::retreat_after)), and no other mode has been
    /// asked for since: asking again for the one that was asked for last changes nothing, so ask for [`Mode::Shadow`] first.
    pub has_retreated: bool,
    /// Entries held.
    pub entries: u64,
    /// Reads answered from memory.
    pub hits: u64,
    /// Reads that waited for a load.
    pub misses: u64,
    /// Reads answered with what was held although it could not be confirmed.
    pub stale_served: u64,
    /// Reads answered with what a change had replaced, while it was loaded again
    /// ([`CacheBuilder::stale_while_refreshing`](crate::CacheBuilder::stale_while_refreshing)).
    pub replaced_served: u64,
    /// Statements that loaded rows.
    pub load_statements: u64,
    /// Keys that those statements asked for.
    pub loaded_keys: u64,
    /// Changes heard of this table.
    pub changes: u64,
    /// Writes accepted.
    pub writes: u64,
    /// Batches whose outcome is known.
    pub batches: u64,
    /// Patches in those batches; fewer than writes where writes coalesced.
    pub patches: u64,
    /// How often a batch was sent again or waited.
    pub flush_retries: u64,
    /// Why patches wait for Postgres, while they are tried again.
    pub write_trouble: Option<Trouble>,
    /// Patches that Postgres refused; `cache_sync.dead_letters` has them with the reason.
    pub rejected: u64,
    /// Patches of which nobody can tell any more what became.
    pub unknown: u64,
    /// How often what is held was compared with what Postgres says ([`CacheBuilder::verify`](crate::CacheBuilder::verify), [`Mode::Shadow`]) and was
    /// the same.
    pub verified_equal: u64,
    /// How often Postgres had another row already, and what is held was let go, or served no longer, before it could have been too old.
    pub verified_behind: u64,
    /// How often there is no verdict: a write of this client waits, the two cannot be compared, or Postgres is away or busy.
    pub unverified: u64,
    /// How often a row was held that had changed, of which the cache would not have heard: more than the bound on staleness allows.
    pub violations: u64,
    /// How often the cache has gone back to [`Mode::Shadow`] by itself.
    pub retreats: u64,
}
