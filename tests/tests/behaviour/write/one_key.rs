//! Many patches of one key that cannot become one: they go one after the other, and other keys do not wait for them.

use cache_sync::{Cache, Client, Patch, Verdict};
use cache_sync_tests::rows::{close, open};
use cache_sync_tests::{Database, SOON};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Serialize, Deserialize)]
struct Reading {
    label: String,
    seen: String,
}

const WRITES: usize = 400;

async fn node(db: &Database<'_>) -> (Client, Cache<i64, Reading>) {
    db.psql(
        "CREATE TABLE reading (id bigint PRIMARY KEY, label text NOT NULL, seen timestamptz NOT NULL);
         INSERT INTO reading SELECT n, '', 'epoch' FROM generate_series(1, 3) n;
         SELECT cache_sync.attach('reading', versioned => true, rules => '{\"label\": \"max\", \"seen\": \"max\"}')",
    );
    let client = open(Client::builder(&db.dsn()).flush_interval(Duration::from_millis(20))).await;
    let cache = client.cache("reading").open().await.unwrap();
    (client, cache)
}

/// Postgres alone knows how texts compare. All keys of the table once waited for all patches of this one.
#[tokio::test]
async fn another_key_waits_for_one_batch_not_for_all() {
    let db = Database::with_extension();
    let (client, cache) = node(&db).await;
    for number in 0..WRITES {
        let _ = cache.patch(&1, Patch::new().max("label", format!("label {number:05}"))).await.unwrap();
    }
    let other = cache.patch(&2, Patch::new().max("label", "x")).await.unwrap();
    let outcome = tokio::time::timeout(SOON, other.written()).await.expect("it waits for ever").unwrap();
    assert_eq!(outcome.verdict, Some(Verdict::Applied));
    let left = client.status().buffered;
    assert!(left > WRITES / 2, "only {left} are left of {WRITES}: it has waited for the others");
    client.flush().await.unwrap();
    assert_eq!(db.psql("SELECT label FROM reading WHERE id = 1"), format!("label {:05}", WRITES - 1));
    close(client).await;
}

/// Times as programs write them have the order of their texts, so these become one patch.
#[tokio::test]
async fn times_of_one_form_become_one_patch() {
    let db = Database::with_extension();
    let (client, cache) = node(&db).await;
    for number in 0..WRITES {
        let (minute, second) = (number / 60 % 60, number % 60);
        let time = format!("2024-02-29T12:{minute:02}:{second:02}.5Z");
        let _ = cache.patch(&1, Patch::new().max("seen", time)).await.unwrap();
    }
    client.flush().await.unwrap();
    let patches = client.status().caches[0].patches;
    assert!(patches < WRITES as u64 / 4, "{patches} patches were sent");
    assert_eq!(db.psql("SELECT seen AT TIME ZONE 'UTC' FROM reading WHERE id = 1"), "2024-02-29 12:06:39.5");
    close(client).await;
}
