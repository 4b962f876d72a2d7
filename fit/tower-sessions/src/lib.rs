//! Sessions of [tower-sessions](https://docs.rs/tower-sessions) in Postgres: a node reads those that it has seen from its memory, and hears when
//! another one changes or ends them.
//!
//! ```no_run
//! # async fn start() -> Result<(), cache_sync::Error> {
//! use cache_sync_tower_sessions::CacheSyncStore;
//!
//! let client = cache_sync::Client::connect("postgres://localhost/app").await?;
//! let store = CacheSyncStore::open(&client).await?;
//! // let sessions = tower_sessions::SessionManagerLayer::new(store).with_expiry(Expiry::OnInactivity(Duration::hours(1)));
//! # Ok(())
//! # }
//! ```
//!
//! The table is made once, by [`MIGRATION`].
//!
//! # What happens when
//!
//! - *Two requests change one session at a time, on whatever nodes.* Each saves the session as a whole, and the one that Postgres gets last
//!   stays, as in every store of tower-sessions.
//! - *A session is deleted while a request with it is under way.* It stays deleted: what the request saves then is for nobody, and saving says nothing.
//! - *Another node asks right after a session was saved.* It hears of the change as it commits. Until then, or while the feed is silent, for at most
//!   [`feed_timeout`](cache_sync::ClientBuilder::feed_timeout), it may show the session as it was before.
//! - *Somebody logs out.* In Postgres the session is gone when that returns, and on the node that was asked. A node that holds it and does not hear
//!   the feed lets its cookie in for at most `feed_timeout` more, 3 s by default; and where `stale_while_unavailable` is set, for that long while
//!   Postgres is away, too. Where that is too long, ask for [`Freshness::Latest`]: [`freshness`](CacheSyncStore::freshness).
//! - *A session expires.* From that moment no node shows it. `cache_sync.run_maintenance()` deletes the rows, so have it run now and then.
//! - *Postgres is away.* Sessions that a node holds can be read if
//!   [`stale_while_unavailable`](cache_sync::CacheBuilder::stale_while_unavailable) allows it; what changes them is an error.
//!
//! Ids are made by tower-sessions, 128 random bits each, and none is taken from a browser. They lie in the table as they are: who may read it can
//! take over sessions. What tower-sessions is told of an error, and logs, is its kind, SQLSTATE and constraint and the number of the dead letter: what
//! Postgres says may quote the row. `cache_sync.dead_letters` has that.
//!
//! ```text
//! lib   the store      failed   what is told of an error
//! ```
//!
//! The crate is not published: take it from a checkout, as a path dependency.
#![forbid(unsafe_code)]

mod failed;

use async_trait::async_trait;
use cache_sync::{Cache, Client, Durability, Error, Freshness, Patch, Verdict};
use failed::{backend, failed, found_or_gone, written};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use time::OffsetDateTime;
use tower_sessions_core::SessionStore;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store;
use uuid::Uuid;

/// The SQL that makes the table of [`CacheSyncStore::open`], for your migrations.
pub const MIGRATION: &str = include_str!("../migrations/tower_session.sql");

/// What the table is called in [`MIGRATION`].
const TABLE: &str = "tower_session";

/// So many ids that are taken in a row are no chance.
const IDS_MAX: u32 = 8;

/// What a row of the table says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredSession {
    /// What the application keeps.
    data: HashMap<String, Value>,
    #[serde(with = "time::serde::rfc3339")]
    expires: OffsetDateTime,
}

/// A moment as the table has it.
#[derive(Serialize)]
struct At(#[serde(with = "time::serde::rfc3339")] OffsetDateTime);

/// A store of sessions over a cache. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct CacheSyncStore {
    sessions: Cache<Uuid, StoredSession>,
    /// Whether a session is saved once Postgres has it.
    awaits_saves: bool,
    freshness: Freshness,
}

impl CacheSyncStore {
    /// Opens the table that [`MIGRATION`] makes.
    ///
    /// # Errors
    /// As [`CacheBuilder::open`](cache_sync::CacheBuilder::open).
    pub async fn open(client: &Client) -> Result<CacheSyncStore, Error> {
        client.cache(TABLE).durability(Durability::Database).open().await.map(CacheSyncStore::over)
    }

    /// A store over a cache with settings of its own, of a table like that of [`MIGRATION`], whatever it is called. With
    /// [`Durability::Database`] what is saved does not wait for others to share its batch.
    pub fn over(sessions: Cache<Uuid, StoredSession>) -> CacheSyncStore {
        CacheSyncStore { sessions, awaits_saves: true, freshness: Freshness::Cached }
    }

    /// Whether a request waits until what it has saved is in Postgres. Default: it does. If it does not, a process that crashes may lose what was
    /// saved last, other nodes show it a flush interval later, and what Postgres refuses is only in the log; sessions are created and deleted in Postgres
    /// all the same.
    #[must_use]
    pub fn await_saves(mut self, awaits: bool) -> CacheSyncStore {
        self.awaits_saves = awaits;
        self
    }

    /// How fresh a session must be that is loaded. Default [`Freshness::Cached`]: from memory while the feed is heard, and a logout on another node
    /// counts here once its change has come.
    ///
    /// With [`Freshness::Latest`] each request with a session asks Postgres, so a logout that has returned is one everywhere; and without Postgres
    /// there are no sessions. [`Freshness::AtMost`] bounds it by a time that is shorter than `feed_timeout`. With [`Freshness::AtLeast`] each load is an
    /// error: the table has no versions.
    #[must_use]
    pub fn freshness(mut self, freshness: Freshness) -> CacheSyncStore {
        self.freshness = freshness;
        self
    }
}

#[async_trait]
impl SessionStore for CacheSyncStore {
    /// Of several who create a session under one id, one does; the others get other ids.
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        for _ in 0..IDS_MAX {
            let session = StoredSession { data: record.data.clone(), expires: record.expiry_date };
            let outcome = self.sessions.insert(key(&record.id), session).await.map_err(failed)?;
            if outcome.verdict != Some(Verdict::Conflict) {
                return written(&outcome);
            }
            record.id = Id::default();
        }
        Err(backend(&format!("{IDS_MAX} ids in a row are taken")))
    }

    /// Nothing is written if the session has been deleted, or has expired.
    async fn save(&self, record: &Record) -> session_store::Result<()> {
        let patch = Patch::new().set("data", &record.data).set("expires", At(record.expiry_date));
        let receipt = self.sessions.patch(&key(&record.id), patch).await.map_err(failed)?;
        if self.awaits_saves { found_or_gone(&receipt.written().await.map_err(failed)?) } else { Ok(()) }
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let read = self.sessions.lookup(&key(id), self.freshness).await.map_err(failed)?;
        Ok(read.value.map(|session| Record { id: *id, data: session.data.clone(), expiry_date: session.expires }))
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        let receipt = self.sessions.delete(&key(id)).await.map_err(failed)?;
        found_or_gone(&receipt.written().await.map_err(failed)?)
    }
}

fn key(id: &Id) -> Uuid {
    Uuid::from_u128(id.0 as u128)
}
