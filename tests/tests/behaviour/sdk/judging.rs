//! What compares with Postgres, and judges what differs, is in nobody's way, waits for nobody in vain, and says what it could not find out.

use cache_sync::in_memory::Table;
use cache_sync::{Cache, Client};
use cache_sync_tests::logged::Logged;
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{Account, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, cluster_with_quick_heartbeats, start, unsynced, wait_until};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

type Accounts = Cache<i64, Account>;

/// Comparing waits for Postgres; who reads does not.
#[tokio::test]
async fn nobody_waits_for_it_and_what_cannot_be_compared_is_counted() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, 10);
    let client = open(Client::builder(&db.dsn())).await;
    let cache: Accounts = client.cache("account").verify(1.0).open().await.unwrap();
    cache.get(&1).await.unwrap();
    let lock = db.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE account").await.unwrap();
    let reads = async {
        for _ in 0..5000 {
            assert!(cache.get(&1).await.unwrap().is_some());
        }
    };
    tokio::time::timeout(SOON, reads).await.expect("all are answered while the table is locked");
    let status = cache.status();
    assert!(status.hits >= 5000 && status.unverified >= 1000, "more than wait: {status:?}");
    lock.batch_execute("COMMIT").await.unwrap();
    wait_until(SOON, "all have been compared", async || {
        let status = cache.status();
        status.verified_equal + status.unverified == status.hits
    })
    .await;
    assert!(cache.status().verified_equal > 0);
    close(client).await;
}

/// A comparison of which nothing is ever heard: Postgres does not count as away for that. (Had it only waited for a lock, Postgres might
/// have ended it first, which is an answer.)
#[tokio::test]
async fn a_comparison_that_is_not_answered_is_no_outage() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, 10);
    db.psql(
        "CREATE TABLE other (id bigint PRIMARY KEY, name text);
         INSERT INTO other SELECT n, 'n' FROM generate_series(1, 10) n;
         SELECT cache_sync.attach('other')",
    );
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).query_timeout(Duration::from_secs(1))).await;
    let cache: Accounts = client.cache("account").verify(1.0).open().await.unwrap();
    let other: Cache<i64, (i64, String)> =
        client.cache("other").columns(["id", "name"]).fail_fast(true).open().await.unwrap();
    let keys: Vec<i64> = (1..=10).collect();
    cache.get_many(&keys).await.unwrap();
    // Whatever has been asked so far is answered then.
    cache.get(&1).await.unwrap();
    wait_until(SOON, "it is compared", async || cache.status().verified_equal == 1).await;
    proxy.faults.set(|faults| &faults.hold_loads, true);
    proxy.faults.loads_to_hold.store(1, Ordering::Release);
    // One alone, so that none is left out for want of room.
    cache.get(&1).await.unwrap();
    wait_until(SOON, "the comparison is given up", async || cache.status().unverified == 1).await;
    assert_eq!(proxy.faults.loads_to_hold.load(Ordering::Acquire), 0, "its answer is kept");
    assert!(other.get(&1).await.is_ok(), "others are asked as ever");
    proxy.faults.set(|faults| &faults.hold_loads, false);
    wait_until(SOON, "the others are compared", async || {
        cache.get_many(&keys).await.unwrap();
        cache.status().verified_equal > 1
    })
    .await;
    close(client).await;
}

/// However many caches compare, one asks at a time, and what is given up is not asked again at once: the server is slow, and rows are held.
#[tokio::test]
async fn of_all_caches_one_asks_at_a_time_and_rests_when_it_is_not_answered() {
    const PATIENCE: Duration = Duration::from_millis(300);
    let table = |name| Table::new(name).key("id", "bigint").column("name", "text");
    let database = Client::in_memory().table(table("one")).table(table("other")).start().unwrap();
    let builder = database.client().query_timeout(PATIENCE).feed_timeout(Duration::from_secs(60));
    let client = builder.connect().await.unwrap();
    let mut caches: Vec<Cache<i64, Value>> = Vec::new();
    for name in ["one", "other"] {
        database.insert(name, json!({"id": 1, "name": "n"})).unwrap();
        let cache = client.cache(name).verify(1.0).open().await.unwrap();
        wait_until(SOON, "it is held", async || cache.get(&1).await.is_ok() && cache.cached(&1).is_some()).await;
        caches.push(cache);
    }
    let statements = || caches.iter().map(|cache| cache.status().load_statements).sum::<u64>();
    database.set_slow(SOON * 2);
    let (begun, before) = (Instant::now(), statements());
    // Each is asked three times, with a pause of a second and one of two in between.
    for (asked, at_least) in [(1, Duration::ZERO), (2, PATIENCE), (6, Duration::from_secs(3))] {
        wait_until(SOON, "so many are asked", async || {
            for cache in &caches {
                assert!(cache.get(&1).await.unwrap().is_some());
            }
            statements() >= before + asked
        })
        .await;
        assert!(begun.elapsed() >= at_least, "{asked} statements within {:?}", begun.elapsed());
    }
    database.set_slow(Duration::ZERO);
    client.close(SOON).await.unwrap();
}

/// With a standby those are waited for who may have written what it shows: but not who cannot have.
#[tokio::test]
async fn who_cannot_have_written_the_table_keeps_nothing_from_being_found() {
    let settings =
        unsynced().setting("cache_sync.heartbeat_interval", "100ms").setting("max_prepared_transactions", "2");
    let primary = start(settings);
    let (db, elsewhere) = (Database::with_extension_in(&primary), Database::with_extension_in(&primary));
    make_accounts(&db, 10);
    let standby = primary.standby(&[]).unwrap();
    let writer = elsewhere.connect().await;
    writer.batch_execute("BEGIN; CREATE TABLE lasts (id int)").await.unwrap();
    let prepares = db.connect().await;
    prepares.batch_execute("BEGIN; CREATE TABLE prepared (id int); PREPARE TRANSACTION 'lasts'").await.unwrap();
    let client = open(Client::builder(&db.dsn()).standby(&standby.dsn(db.name()))).await;
    let cache: Accounts = client.cache("account").verify(1.0).open().await.unwrap();
    cache.get(&1).await.unwrap();
    client.mute_feed(true);
    db.psql("UPDATE account SET balance = 7 WHERE id = 1");
    wait_until(SOON, "it is found", async || {
        cache.get(&1).await.unwrap();
        cache.status().violations == 1
    })
    .await;
    prepares.batch_execute("ROLLBACK PREPARED 'lasts'").await.unwrap();
    close(client).await;
}

/// Nobody has seen anything of a transaction that is under way, also of the one that began last: the end of a snapshot lies before it.
#[tokio::test]
async fn who_began_last_and_goes_on_keeps_nothing_from_being_found() {
    let primary = start(unsynced().setting("cache_sync.heartbeat_interval", "100ms").setting("autovacuum", "off"));
    let db = Database::with_extension_in(&primary);
    make_accounts(&db, 10);
    db.psql("CREATE TABLE other (id int)");
    let client = open(Client::builder(&db.dsn())).await;
    let cache: Accounts = client.cache("account").verify(1.0).open().await.unwrap();
    cache.get(&1).await.unwrap();
    client.mute_feed(true);
    db.psql("UPDATE account SET balance = 7 WHERE id = 1");
    let last = db.connect().await;
    last.batch_execute("BEGIN; INSERT INTO other VALUES (1)").await.unwrap();
    wait_until(SOON, "it is found", async || {
        cache.get(&1).await.unwrap();
        cache.status().violations == 1
    })
    .await;
    last.batch_execute("ROLLBACK").await.unwrap();
    close(client).await;
}

/// What differs, and cannot be asked for once more, is not served any longer.
#[tokio::test]
async fn what_cannot_be_judged_is_said_and_loaded_again() {
    let logged = Logged::start();
    let primary = start(unsynced().setting("cache_sync.heartbeat_interval", "1s"));
    let db = Database::with_extension_in(&primary);
    make_accounts(&db, 100);
    let builder = Client::builder(&db.dsn()).query_timeout(Duration::from_millis(500));
    let client = open(builder.feed_timeout(Duration::from_secs(60))).await;
    let cache: Accounts = client.cache("account").verify(1.0).open().await.unwrap();
    let lock = db.connect().await;
    client.mute_feed(true);
    let said = || logged.with(&["WARN", "it could not be found out whether rows should be held", "public.account"]);
    let mut id = 0;
    wait_until(SOON, "the table is locked in time", async || {
        id += 1;
        cache.get(&id).await.unwrap();
        db.psql(&format!("UPDATE account SET balance = 7 WHERE id = {id}"));
        let statements = cache.status().load_statements;
        assert_eq!(cache.get(&id).await.unwrap().unwrap().balance, 0, "it is held, and not told of");
        wait_until(SOON, "it is compared", async || cache.status().load_statements > statements).await;
        lock.batch_execute("BEGIN; LOCK TABLE account; SELECT pg_sleep(2); COMMIT").await.unwrap();
        !said().is_empty()
    })
    .await;
    assert_eq!(cache.get(&id).await.unwrap().unwrap().balance, 7, "it was let go");
    assert!(cache.status().unverified > 0, "{:?}", cache.status());
    assert!(!said().iter().any(|line| line.contains("name ")), "no row is in the log");
    close(client).await;
}
