//! A client has its pool, one connection for its batches and one for the feed, each named for what it does.

use cache_sync::{Cache, Client, Patch, Verdict};
use cache_sync_tests::locks::until_waiting_where;
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Serialize, Deserialize)]
struct Visits {
    count: i64,
}

/// The pool's only connection waits for a locked table; the batches of another one go through.
#[tokio::test]
async fn writes_do_not_wait_for_loads() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    db.psql(
        "CREATE TABLE visits (id bigint PRIMARY KEY, count bigint NOT NULL); INSERT INTO visits VALUES (1, 0);
         SELECT cache_sync.attach('visits', versioned => true, rules => '{\"count\": \"add\"}')",
    );
    let builder = Client::builder(&format!("{}?application_name=shop", db.dsn()));
    let client = open(builder.pool_size(1).flush_interval(Duration::ZERO)).await;
    let slow = accounts(&client).await;
    let quick: Cache<i64, Visits> = client.cache("visits").open().await.unwrap();

    let theirs = db.connect().await;
    theirs.batch_execute("BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let waiting = tokio::spawn({
        let slow = slow.clone();
        async move { slow.get(&1).await }
    });
    until_waiting_where(&db, 1, "application_name = 'shop pool'").await;
    let receipt = quick.patch(&1, Patch::new().add("count", 1)).await.unwrap();
    let outcome = tokio::time::timeout(SOON, receipt.written()).await.expect("the batch waits for the load");
    assert_eq!(outcome.unwrap().verdict, Some(Verdict::Applied));
    assert_eq!(
        db.psql(
            "SELECT string_agg(application_name, ',' ORDER BY application_name) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name LIKE 'shop%'"
        ),
        "shop feed,shop flusher,shop pool"
    );
    theirs.batch_execute("COMMIT").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().unwrap().id, 1);
    close(client).await;
}

/// Whoever asks first has a connection made, and may be of a runtime that nobody drives any more.
#[tokio::test(flavor = "multi_thread")]
async fn live_where_the_client_was_made() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = open(Client::builder(&db.dsn()).pool_size(1)).await;
    let ask = |sql: &str| client.query::<Visits>(sql).depends_on_table("account").fetch();
    ask("SELECT 1::bigint AS count").await.unwrap();
    db.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name LIKE '% pool' AND datname = current_database()",
    );
    let asked = (0..100).map(|number| ask(&format!("SELECT {number}::bigint AS count"))).collect::<Vec<_>>();
    let (stays, ends) = std::sync::mpsc::channel::<()>();
    let (answered, answer) = tokio::sync::oneshot::channel();
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let is_answered = runtime.block_on(async {
            for asking in asked {
                if asking.await.is_ok() {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            false
        });
        answered.send(is_answered).unwrap();
        ends.recv().unwrap_err();
    });
    assert!(answer.await.unwrap(), "a new connection is made");
    let next = tokio::time::timeout(SOON / 4, ask("SELECT -1::bigint AS count")).await;
    assert_eq!(next.expect("its connection stands still").unwrap()[0].count, -1);
    drop(stays);
    elsewhere.join().unwrap();
    close(client).await;
}
