//! Count up, and create the row if it is not there, from several processes at once. Whoever patches first and puts `1` where there is no row
//! loses a count for each who does the same at that time: a put leaves the counter of a row that is there alone. What is exact is to put
//! the neutral value, and then to patch.

use cache_sync::{Cache, Client, Patch, Verdict};
use cache_sync_tests::Database;
use cache_sync_tests::rows::{client, close};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const CLIENTS: usize = 4;
const KEYS: i64 = 5;
const COUNTS: i64 = 60;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counter {
    hits: i64,
}

async fn counters(db: &Database<'_>) -> Vec<(Client, Cache<i64, Counter>)> {
    db.psql(
        "CREATE TABLE counter (id bigint PRIMARY KEY, hits bigint NOT NULL DEFAULT 0);
         SELECT cache_sync.attach('counter', versioned => true, rules => '{\"hits\": \"add\"}')",
    );
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = client(db).await;
        let cache = client.cache("counter").open().await.unwrap();
        clients.push((client, cache));
    }
    clients
}

/// Counts once, as the documentation of `Cache::patch` says; again where somebody has deleted the row in between.
async fn count_up(cache: &Cache<i64, Counter>, key: i64) {
    loop {
        drop(cache.put(key, Counter { hits: 0 }).await.unwrap());
        let counted = cache.patch(&key, Patch::new().add("hits", 1)).await.unwrap().written().await.unwrap();
        match counted.verdict {
            Some(Verdict::Applied) => return,
            Some(Verdict::Missing) => {}
            verdict => panic!("{verdict:?}"),
        }
    }
}

async fn all_count(clients: &[(Client, Cache<i64, Counter>)]) {
    let mut tasks = Vec::new();
    for round in 0..COUNTS {
        for (_, cache) in clients {
            let (cache, key) = (cache.clone(), round % KEYS);
            tasks.push(tokio::spawn(async move { count_up(&cache, key).await }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn put_of_nothing_then_patch_is_exact() {
    let db = Database::with_extension();
    let clients = counters(&db).await;
    all_count(&clients).await;
    let expected = COUNTS * CLIENTS as i64;
    assert_eq!(db.psql("SELECT sum(hits) FROM counter"), expected.to_string());
    for (client, _) in clients {
        close(client).await;
    }
}

/// What was counted until a row was deleted went with it, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn also_where_rows_are_deleted_in_between() {
    let db = Database::with_extension();
    let clients = counters(&db).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (until, deleter) = (Arc::clone(&is_over), db.connect().await);
    let deleting = tokio::spawn(async move {
        let (mut gone, mut rows) = (0, 0);
        while !until.load(Ordering::Relaxed) {
            let delete = "WITH d AS (DELETE FROM counter WHERE random() < 0.5 RETURNING hits) SELECT coalesce(sum(hits), 0)::bigint, count(*) FROM d";
            let deleted = deleter.query_one(delete, &[]).await.unwrap();
            gone += deleted.get::<_, i64>(0);
            rows += deleted.get::<_, i64>(1);
        }
        (gone, rows)
    });
    all_count(&clients).await;
    is_over.store(true, Ordering::Relaxed);
    let (gone, rows) = deleting.await.unwrap();
    let left: i64 = db.psql("SELECT coalesce(sum(hits), 0) FROM counter").parse().unwrap();
    assert_eq!(gone + left, COUNTS * CLIENTS as i64, "{rows} rows were deleted");
    assert!(rows > 0);
    for (client, _) in clients {
        close(client).await;
    }
}
