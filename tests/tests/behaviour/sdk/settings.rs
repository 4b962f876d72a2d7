//! What is set for one cache holds for that one.

use cache_sync::{Cache, CacheBuilder, Client, Source};
use cache_sync_tests::locks::until_waiting;
use cache_sync_tests::rows::{Account, accounts, client, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::time::{Duration, Instant};
use tokio::time::timeout;

const HOUR: Duration = Duration::from_secs(3600);

async fn cache(client: &Client, set: impl FnOnce(Builder) -> Builder) -> Cache<i64, Account> {
    set(client.cache("account")).open().await.unwrap()
}

type Builder = CacheBuilder<i64, Account>;
type Setting = fn(Builder) -> Builder;

/// Whoever reads a row again and again never waits for it, though each time it is only good for so long.
#[tokio::test]
async fn what_is_read_is_loaded_ahead_of_its_end() {
    let db = Database::with_extension();
    make_accounts(&db, 2);
    let client = client(&db).await;
    let set = |builder: Builder| builder.time_to_live(Duration::from_secs(10)).refresh_ahead(0.99);
    let cache = cache(&client, set).await;
    cache.get_many(&[1, 2]).await.unwrap();
    wait_until(SOON, "it is loaded again and again", async || {
        assert!(cache.get(&1).await.unwrap().is_some());
        cache.status().loaded_keys >= 5
    })
    .await;
    assert_eq!(cache.status().misses, 2, "nobody has waited");
    close(client).await;
}

#[tokio::test]
async fn what_nobody_reads_and_what_is_missing_is_let_go() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = client(&db).await;
    let set = |builder: Builder| builder.time_to_idle(HOUR).absent_time_to_live(Duration::from_millis(50));
    let missing = cache(&client, set).await;
    missing.get_many(&[1, 7]).await.unwrap();
    wait_until(SOON, "it may have been made", async || missing.cached(&7).is_none()).await;
    assert!(missing.cached(&1).is_some());
    drop(missing);
    let idle = cache(&client, |builder| builder.time_to_idle(Duration::from_millis(50))).await;
    idle.get(&1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(idle.cached(&1).is_none());
    close(client).await;
}

/// Nobody waits longer and longer: who finds too many before him is told so at once, and who joins a load that is under way is not.
#[tokio::test]
async fn so_many_keys_wait_and_no_more() {
    let db = Database::with_extension();
    make_accounts(&db, 10);
    let client = open(Client::builder(&db.dsn()).pool_size(8)).await;
    let cache = cache(&client, |builder| builder.loads_max(1).waiting_keys_max(3)).await;
    let lock = db.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE account").await.unwrap();
    let get = |key: i64| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get(&key).await })
    };
    let mut waiting = Vec::new();
    // The first reader leads his own load, and one at a time is another's.
    for (key, backends) in [(1, 1), (2, 2)] {
        waiting.push(get(key));
        until_waiting(&db, backends).await;
    }
    let before = cache.status().misses;
    waiting.extend([3, 4, 5].map(get));
    wait_until(SOON, "they wait", async || cache.status().misses == before + 3).await;
    let refused = timeout(SOON, cache.get(&6)).await.expect("it is refused at once").unwrap_err();
    assert!(refused.is_overloaded() && refused.is_retryable(), "{refused}");
    waiting.extend([5, 1].map(get));
    wait_until(SOON, "they join", async || cache.status().misses == before + 5).await;
    until_waiting(&db, 2).await;
    lock.batch_execute("COMMIT").await.unwrap();
    for reader in waiting {
        assert!(reader.await.unwrap().unwrap().is_some());
    }
    assert!(cache.get(&6).await.unwrap().is_some());
    close(client).await;
}

/// While Postgres is known to be away nobody waits to hear it again, and when it is back that is found out soon.
#[tokio::test]
async fn reads_fail_fast_while_postgres_is_away() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    let client = open(Client::builder(&db.dsn()).feed_timeout(Duration::from_millis(500))).await;
    let cache = cache(&client, |builder| builder.fail_fast(true)).await;
    cluster.stop("fast").unwrap();
    wait_until(SOON, "it is known to be away", async || {
        cache.get(&1).await.is_err_and(|error| error.to_string().contains("is away"))
    })
    .await;
    let begun = Instant::now();
    for _ in 0..10_000 {
        assert!(cache.get(&1).await.unwrap_err().is_unavailable());
    }
    // Those among them who looked were refused by the kernel.
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    cluster.launch().unwrap();
    wait_until(SOON, "it is back", async || cache.get(&1).await.is_ok()).await;
    close(client).await;
}

#[tokio::test]
async fn writes_go_together_as_each_cache_says() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    db.psql("CREATE TABLE other (id bigint PRIMARY KEY, name text NOT NULL); SELECT cache_sync.attach('other')");
    let client = client(&db).await;
    let slow = cache(&client, |builder| builder.flush_interval(HOUR).batch_entries_max(3)).await;
    let quick: Cache<i64, Named> = client.cache("other").open().await.unwrap();
    let mut receipts = Vec::new();
    for key in 1..=2 {
        receipts.push(slow.patch(&key, cache_sync::Patch::new().add("balance", 1)).await.unwrap());
    }
    let named = quick.put(1, Named { name: "ann".to_owned() }).await.unwrap();
    let _ = timeout(SOON, named.written()).await.expect("the other cache waits for nobody").unwrap();
    assert_eq!(db.psql("SELECT sum(balance) FROM account"), "0");
    receipts.push(slow.patch(&3, cache_sync::Patch::new().add("balance", 1)).await.unwrap());
    for receipt in receipts {
        let _ = timeout(SOON, receipt.written()).await.expect("the batch is full").unwrap();
    }
    assert_eq!(db.psql("SELECT sum(balance) FROM account"), "3");
    close(client).await;
}

#[derive(Clone, serde::Deserialize, serde::Serialize)]
struct Named {
    name: String,
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = client(&db).await;
    let refused: [(&str, Setting); 12] = [
        ("time_to_live", |builder| builder.time_to_live(Duration::ZERO)),
        ("time_to_idle", |builder| builder.time_to_idle(Duration::ZERO)),
        ("absent_time_to_live", |builder| builder.absent_time_to_live(Duration::ZERO)),
        ("refresh_ahead", |builder| builder.time_to_live(HOUR).refresh_ahead(1.0)),
        ("refresh_ahead", |builder| builder.refresh_ahead(0.5)),
        ("together", |builder| builder.time_to_live(HOUR).refresh_ahead(0.5).time_to_live_jitter(0.5)),
        ("time_to_live_jitter", |builder| builder.time_to_live(HOUR).time_to_live_jitter(f64::NAN)),
        ("loads_max", |builder| builder.loads_max(0)),
        ("waiting_keys_max", |builder| builder.waiting_keys_max(0)),
        ("batch_entries_max", |builder| builder.batch_entries_max(10_001)),
        ("buffer_entries_max", |builder| builder.buffer_entries_max(0)),
        ("buffer_bytes_max", |builder| builder.buffer_bytes_max(1023)),
    ];
    for (name, set) in refused {
        let error = set(client.cache("account")).open().await.expect_err("it is refused").to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
    let cache = accounts(&client).await;
    assert_eq!(cache.lookup(&1, cache_sync::Freshness::Cached).await.unwrap().source, Source::Postgres);
    close(client).await;
}
