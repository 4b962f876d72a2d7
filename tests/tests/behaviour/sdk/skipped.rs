//! What a type does not write: a member that it skips for its value is null; one that it never writes, or a map that lacks it, is left
//! alone. Either way the cache shows what Postgres has.

use cache_sync::{Cache, CacheValue, Client, Verdict};
use cache_sync_tests::Database;
use cache_sync_tests::locks::until_waiting;
use cache_sync_tests::rows::{client, close};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The note is skipped when it is empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Skips {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// The note is read, never written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reads {
    name: String,
    #[serde(skip_serializing)]
    note: Option<String>,
}

type Map = BTreeMap<String, serde_json::Value>;

fn skips(name: &str, note: Option<&str>) -> Skips {
    Skips { name: name.into(), note: note.map(Into::into) }
}

fn reads(name: &str, note: Option<&str>) -> Reads {
    Reads { name: name.into(), note: note.map(Into::into) }
}

fn make(db: &Database<'_>, options: &str) {
    db.psql(&format!(
        "CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, note text DEFAULT 'none');
         INSERT INTO person VALUES (1, 'one', 'kept'); SELECT cache_sync.attach('person'{options})"
    ));
}

async fn open<V: CacheValue>(client: &Client) -> Cache<i32, V> {
    client.cache("person").open().await.unwrap()
}

/// Puts, and checks that the cache shows the same before the write, after it, and when it has loaded the row.
async fn put<V: CacheValue + Clone + PartialEq + std::fmt::Debug>(
    db: &Database<'_>,
    cache: &Cache<i32, V>,
    id: i32,
    value: V,
    note: &str,
    is_whole: bool,
) {
    let receipt = cache.put(id, value.clone()).await.unwrap();
    let early = cache.get(&id).await.unwrap().unwrap();
    assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
    let late = cache.get(&id).await.unwrap().unwrap();
    assert_eq!(db.psql(&format!("SELECT note FROM person WHERE id = {id}")), note);
    cache.invalidate(&id);
    let loaded = cache.get(&id).await.unwrap().unwrap();
    assert_eq!(late, loaded);
    // Who puts a value sees it.
    assert!(early == loaded || (!is_whole && early == Arc::new(value)), "{early:?} {loaded:?}");
}

#[tokio::test]
async fn for_its_value_is_null() {
    for options in ["", ", versioned => true"] {
        let db = Database::with_extension();
        make(&db, options);
        let client = client(&db).await;
        let cache = open::<Skips>(&client).await;
        cache.get(&1).await.unwrap();
        put(&db, &cache, 1, skips("new", None), "", true).await;
        put(&db, &cache, 2, skips("two", None), "", true).await;
        put(&db, &cache, 2, skips("two", Some("x")), "x", true).await;
        // Two that become one.
        let first = cache.put(2, skips("two", Some("y"))).await.unwrap();
        let second = cache.put(2, skips("too", None)).await.unwrap();
        assert_eq!(*cache.get(&2).await.unwrap().unwrap(), skips("too", None));
        first.written().await.unwrap();
        second.written().await.unwrap();
        assert_eq!(db.psql("SELECT name || coalesce(note, '-') FROM person WHERE id = 2"), "too-");
        let receipt = cache.update(&2, |person| person.note = Some("z".into())).await.unwrap();
        receipt.written().await.unwrap();
        let receipt = cache.update(&2, |person| person.note = None).await.unwrap();
        receipt.written().await.unwrap();
        assert_eq!(db.psql("SELECT name || coalesce(note, '-') FROM person WHERE id = 2"), "too-");
        close(client).await;
    }
}

#[tokio::test]
async fn always_leaves_the_column_alone() {
    for options in ["", ", versioned => true"] {
        let db = Database::with_extension();
        make(&db, options);
        let client = client(&db).await;
        let cache = open::<Reads>(&client).await;
        cache.get(&1).await.unwrap();
        put(&db, &cache, 1, reads("new", Some("not written")), "kept", false).await;
        put(&db, &cache, 2, reads("two", Some("not written")), "none", false).await;
        put(&db, &cache, 2, reads("too", None), "none", false).await;
        close(client).await;
    }
}

#[tokio::test]
async fn of_a_map_leaves_the_column_alone() {
    let db = Database::with_extension();
    make(&db, ", versioned => true");
    let client = client(&db).await;
    let cache = open::<Map>(&client).await;
    cache.get(&1).await.unwrap();
    for id in [1, 2] {
        let map = Map::from([("id".to_owned(), id.into()), ("name".to_owned(), "new".into())]);
        put(&db, &cache, id, map, if id == 1 { "kept" } else { "none" }, false).await;
    }
    close(client).await;
}

/// Null cannot be written there, and leaving the column alone would leave what it had.
#[tokio::test]
async fn of_a_column_that_is_not_null_is_refused() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, note text NOT NULL DEFAULT '');
         SELECT cache_sync.attach('person')",
    );
    let client = client(&db).await;
    let cache = open::<Skips>(&client).await;
    let error = cache.put(1, skips("new", None)).await.expect_err("null is no note");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("\"note\"") && source.contains("NOT NULL"), "{source}");
    cache.put(1, skips("new", Some("x"))).await.unwrap().written().await.unwrap();
    close(client).await;
}

/// A put whose row may have expired by the time that the next one arrives: that one creates it.
#[tokio::test]
async fn rows_that_expire_are_put_again() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Login {
        ends: Option<String>,
    }
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE login (id int PRIMARY KEY, ends timestamptz); INSERT INTO login VALUES (1, NULL);
         SELECT cache_sync.attach('login', versioned => true); SELECT cache_sync.set_expiry('login', 'ends')",
    );
    let client = Client::builder(&db.dsn()).flush_interval(Duration::from_secs(3600)).connect().await.unwrap();
    let cache = client.cache::<i32, Login>("login").open().await.unwrap();
    cache.get(&1).await.unwrap();
    let ended = Login { ends: Some("2001-01-01T00:00:00Z".into()) };
    // The row has been seen, and does not expire. The first put sees to it that it is gone when the second one arrives.
    let first = cache.put(1, ended).await.unwrap();
    let hold = db.connect().await;
    hold.batch_execute("BEGIN; SELECT FROM login WHERE id = 1 FOR UPDATE").await.unwrap();
    let flush = tokio::spawn({
        let client = client.clone();
        async move { client.flush().await }
    });
    until_waiting(&db, 1).await;
    let second = cache.put(1, Login { ends: None }).await.unwrap();
    hold.batch_execute("COMMIT").await.unwrap();
    flush.await.unwrap().unwrap();
    client.flush().await.unwrap();
    first.written().await.unwrap();
    assert_eq!(second.written().await.unwrap().verdict, Some(Verdict::Applied), "puts create");
    assert_eq!(db.psql("SELECT count(*) FROM login WHERE ends IS NULL"), "1");
    close(client).await;
}
