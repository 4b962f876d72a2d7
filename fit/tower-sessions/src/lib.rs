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
//! - *A session expires.* From that moment no node shows it. `cache_sync.run_maintenance()` deletes the rows, so have it run now and then.
//! - *Postgres is away.* Sessions that a node holds can be read if
//!   [`stale_while_unavailable`](cache_sync::CacheBuilder::stale_while_unavailable) allows it; what changes them is an error.
//!
//! Ids are made by tower-sessions, 128 random bits each, and none is taken from a browser. They lie in the table as they are: who may read it can
//! take over sessions.
#![forbid(unsafe_code)]

use async_trait::async_trait;
use cache_sync::{Cache, Client, Durability, Error, Outcome, Patch, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Display;
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
        CacheSyncStore { sessions, awaits_saves: true }
    }

    /// Whether a request waits until what it has saved is in Postgres. Default: it does. If it does not, a process that crashes may lose what was
    /// saved last, other nodes show it a flush interval later, and what Postgres refuses is only in the log; sessions are created and deleted in Postgres
    /// all the same.
    #[must_use]
    pub fn await_saves(mut self, awaits: bool) -> CacheSyncStore {
        self.awaits_saves = awaits;
        self
    }
}

#[async_trait]
impl SessionStore for CacheSyncStore {
    /// Of several who create a session under one id, one does; the others get other ids.
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        for _ in 0..IDS_MAX {
            let session = StoredSession { data: record.data.clone(), expires: record.expiry_date };
            let outcome = self.sessions.insert(key(&record.id), session).await.map_err(backend)?;
            if outcome.verdict != Some(Verdict::Conflict) {
                return written(&outcome);
            }
            record.id = Id::default();
        }
        Err(backend(format!("{IDS_MAX} ids in a row are taken")))
    }

    /// Nothing is written if the session has been deleted, or has expired.
    async fn save(&self, record: &Record) -> session_store::Result<()> {
        let patch = Patch::new().set("data", &record.data).set("expires", At(record.expiry_date));
        let receipt = self.sessions.patch(&key(&record.id), patch).await.map_err(backend)?;
        if self.awaits_saves { found_or_gone(&receipt.written().await.map_err(backend)?) } else { Ok(()) }
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let session = self.sessions.get(&key(id)).await.map_err(backend)?;
        Ok(session.map(|session| Record { id: *id, data: session.data.clone(), expiry_date: session.expires }))
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        let receipt = self.sessions.delete(&key(id)).await.map_err(backend)?;
        found_or_gone(&receipt.written().await.map_err(backend)?)
    }
}

fn key(id: &Id) -> Uuid {
    Uuid::from_u128(id.0 as u128)
}

fn backend(error: impl Display) -> session_store::Error {
    session_store::Error::Backend(error.to_string())
}

fn found_or_gone(outcome: &Outcome) -> session_store::Result<()> {
    if outcome.verdict == Some(Verdict::Missing) { Ok(()) } else { written(outcome) }
}

fn written(outcome: &Outcome) -> session_store::Result<()> {
    if outcome.is_written() {
        return Ok(());
    }
    let why = outcome.message.as_deref().or(outcome.sqlstate.as_deref()).unwrap_or("see cache_sync.dead_letters");
    Err(backend(format!("Postgres refused the session: {why}")))
}
