//! The row that most tests cache.

use cache_sync::{Cache, Client, ClientBuilder};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::{Database, SOON, wait_until};

/// A row of the table `account`: a counter and two fields that are last-write-wins (arrival on a plain table).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The key.
    pub id: i64,
    /// Rule `lww`, or `arrival`.
    pub name: String,
    /// Rule `add`.
    pub balance: i64,
    /// Rule `lww`, or `arrival`.
    pub note: Option<String>,
}

/// Makes the table `account` with rows 1 to `rows`, attached versioned.
pub fn make_accounts(db: &Database<'_>, rows: i64) {
    make(db, rows, "versioned => true, ");
}

/// The same, attached plain.
pub fn make_plain_accounts(db: &Database<'_>, rows: i64) {
    make(db, rows, "");
}

fn make(db: &Database<'_>, rows: i64, versioned: &str) {
    db.psql(&format!(
        "CREATE TABLE account (id bigint PRIMARY KEY, name text NOT NULL, balance bigint NOT NULL DEFAULT 0, note text);
         INSERT INTO account SELECT n, 'name ' || n, 0, NULL FROM generate_series(1, {rows}) n;
         SELECT cache_sync.attach('account', {versioned} rules => '{{\"balance\": \"add\"}}')"
    ));
}

/// A client of the database.
pub async fn client(db: &Database<'_>) -> Client {
    open(Client::builder(&db.dsn())).await
}

/// A client with settings.
pub async fn open(builder: ClientBuilder) -> Client {
    builder.connect().await.unwrap_or_else(|error| panic!("{error:?}"))
}

/// A cache of the table `account`.
pub async fn accounts(client: &Client) -> Cache<i64, Account> {
    client.cache("account").open().await.unwrap_or_else(|error| panic!("{error:?}"))
}

/// A node: a client of the database and its cache of the table `account`.
pub async fn node(db: &Database<'_>) -> (Client, Cache<i64, Account>) {
    let client = client(db).await;
    let cache = accounts(&client).await;
    (client, cache)
}

/// A node of a fresh database with rows 1 to `rows`, attached versioned.
pub async fn node_with(rows: i64) -> (Database<'static>, Client, Cache<i64, Account>) {
    let db = Database::with_extension();
    make_accounts(&db, rows);
    let (client, cache) = node(&db).await;
    (db, client, cache)
}

/// The row as psql shows what the cache says; empty where there is none.
pub fn shown(row: Option<&Account>) -> String {
    let line =
        |row: &Account| format!("{}|{}|{}|{}", row.id, row.name, row.balance, row.note.as_deref().unwrap_or_default());
    row.map(line).unwrap_or_default()
}

/// The same row as Postgres has it.
pub fn stored(db: &Database<'_>, id: i64) -> String {
    db.psql(&format!("SELECT id, name, balance, note FROM account WHERE id = {id}"))
}

/// The cache serves what Postgres has.
pub async fn assert_served(cache: &Cache<i64, Account>, db: &Database<'_>, ids: &[i64], when: &str) {
    let rows = cache.get_many(ids).await.unwrap_or_else(|error| panic!("{when}: {error:?}"));
    for (id, row) in ids.iter().zip(rows) {
        assert_eq!(shown(row.as_deref()), stored(db, *id), "key {id} {when}");
    }
}

/// What the cache holds is what Postgres has.
pub fn assert_held(cache: &Cache<i64, Account>, db: &Database<'_>, ids: impl IntoIterator<Item = i64>) {
    for id in ids {
        if let Some(held) = cache.cached(&id) {
            assert_eq!(shown(held.as_deref()), stored(db, id));
        }
    }
}

/// Waits until the feed is live again and of another epoch than `before`.
pub async fn until_another_epoch(client: &Client, before: u64) {
    wait_until(SOON, "another epoch is heard", async || {
        let status = client.status();
        status.feed_live && status.epoch != before
    })
    .await;
}

/// Closes the client; all it had accepted must have been written.
pub async fn close(client: Client) {
    let unwritten = client.close(Duration::from_secs(20)).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert!(unwritten.is_empty(), "{unwritten:?}");
}
