//! What tower-sessions asks of a store, on one node and on two.

#![allow(clippy::unwrap_used)]

mod layer;
mod store;

use cache_sync::{Cache, Client, Durability};
use cache_sync_tests::Database;
use cache_sync_tower_sessions::{CacheSyncStore, MIGRATION, StoredSession};
use uuid::Uuid;

/// A database with the table.
fn database() -> Database<'static> {
    let db = Database::with_extension();
    db.psql(MIGRATION);
    db
}

/// A node: its client, and its store.
async fn node(db: &Database<'_>) -> (Client, CacheSyncStore) {
    let client = Client::connect(&db.dsn()).await.unwrap();
    let store = CacheSyncStore::open(&client).await.unwrap();
    (client, store)
}

/// The same store, without waiting for what is saved.
async fn hasty_node(db: &Database<'_>) -> (Client, CacheSyncStore) {
    let client = Client::connect(&db.dsn()).await.unwrap();
    let sessions: Cache<Uuid, StoredSession> =
        client.cache("tower_session").durability(Durability::Memory).open().await.unwrap();
    (client, CacheSyncStore::over(sessions).await_saves(false))
}
