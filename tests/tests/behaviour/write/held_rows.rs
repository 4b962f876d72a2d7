//! A row that somebody holds, and batches that take longer than they may: everything else goes on, nothing is applied twice, and no
//! backend is left behind.

use cache_sync::{Client, Patch, Receipt, Verdict};
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::time::{Duration, Instant};

fn flushers(db: &Database<'_>) -> String {
    db.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '% flusher' AND datname = current_database()")
}

async fn is_applied(receipt: Receipt, limit: Duration) {
    let outcome =
        tokio::time::timeout(limit, receipt.written()).await.expect("it waits behind the row that is held").unwrap();
    assert_eq!(outcome.verdict, Some(Verdict::Applied));
}

/// `SELECT ... FOR UPDATE` in a console, forgotten.
#[tokio::test]
async fn a_row_that_is_held_keeps_nothing_else_waiting() {
    let db = Database::with_extension();
    make_accounts(&db, 50);
    db.psql("CREATE TABLE other (id int PRIMARY KEY, n int); INSERT INTO other VALUES (1, 0); SELECT cache_sync.attach('other', rules => '{\"n\": \"add\"}')");
    let client = open(Client::builder(&db.dsn()).flush_interval(Duration::from_millis(20))).await;
    let cache = accounts(&client).await;
    let other = client.cache::<i32, serde_json::Map<String, serde_json::Value>>("other").open().await.unwrap();
    let console = db.connect().await;
    console.batch_execute("BEGIN; SELECT FROM account WHERE id = 7 FOR UPDATE").await.unwrap();
    let add = async |id: i64| cache.patch(&id, Patch::new().add("balance", 1)).await.unwrap();
    let mut held = Vec::new();
    for round in 0..3 {
        let mut receipts = Vec::new();
        for id in 1..=50 {
            if id == 7 { held.push(add(id).await) } else { receipts.push(add(id).await) }
        }
        let begun = Instant::now();
        is_applied(other.patch(&1, Patch::new().add("n", 1)).await.unwrap(), Duration::from_secs(8)).await;
        for receipt in receipts {
            is_applied(receipt, Duration::from_secs(20)).await;
        }
        assert!(round == 0 || begun.elapsed() < Duration::from_secs(6), "round {round}: {:?}", begun.elapsed());
    }
    assert_eq!(db.psql("SELECT string_agg(DISTINCT balance::text, ' ') FROM account WHERE id <> 7"), "3");
    assert_eq!(flushers(&db), "1", "each try leaves a backend behind");
    assert_eq!(cache.get(&7).await.unwrap().unwrap().balance, 3, "what waits is shown");
    console.batch_execute("COMMIT").await.unwrap();
    for receipt in held {
        is_applied(receipt, SOON).await;
    }
    assert_eq!(db.psql("SELECT balance FROM account WHERE id = 7"), "3", "once each");
    close(client).await;
}

/// Each row takes a while, and a thousand of them longer than a statement may.
#[tokio::test]
async fn a_batch_that_takes_too_long_goes_in_parts() {
    let db = Database::with_extension();
    make_accounts(&db, 60);
    db.psql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let client = open(Client::builder(&db.dsn()).query_timeout(Duration::from_secs(1))).await;
    let cache = accounts(&client).await;
    for id in 1..=60 {
        let _ = cache.patch(&id, Patch::new().add("balance", 1)).await.unwrap();
    }
    let begun = Instant::now();
    let written = async || db.psql("SELECT count(*) FROM account WHERE balance = 1") == "60";
    wait_until(Duration::from_secs(40), "all are written", written).await;
    client.flush().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(db.psql("SELECT sum(balance) FROM account"), "60", "each once");
    close(client).await;
}

/// The first try is never answered, since the network swallows everything for a while; and somebody holds a row all the time.
#[tokio::test]
async fn an_answer_that_never_came_does_not_keep_the_others_waiting() {
    let db = Database::with_extension();
    make_accounts(&db, 10);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).query_timeout(Duration::from_secs(1))).await;
    let cache = accounts(&client).await;
    // So that its session is open.
    is_applied(cache.patch(&1, Patch::new().set("note", "first")).await.unwrap(), SOON).await;
    let console = db.connect().await;
    console.batch_execute("BEGIN; SELECT FROM account WHERE id = 7 FOR UPDATE").await.unwrap();
    proxy.faults.set(|faults| &faults.silent, true);
    let mut receipts = Vec::new();
    for id in 1..=10 {
        receipts.push((id, cache.patch(&id, Patch::new().add("balance", 1)).await.unwrap()));
    }
    let given_up = async || client.status().caches[0].flush_retries >= 1;
    wait_until(SOON, "nobody answers", given_up).await;
    proxy.faults.set(|faults| &faults.silent, false);
    let mut held = Vec::new();
    for (id, receipt) in receipts {
        if id == 7 { held.push(receipt) } else { is_applied(receipt, SOON).await }
    }
    console.batch_execute("COMMIT").await.unwrap();
    for receipt in held {
        is_applied(receipt, SOON).await;
    }
    assert_eq!(db.psql("SELECT sum(balance) FROM account"), "10", "each once");
    close(client).await;
}

/// The batch is as good as committed, but the commit waits for a standby that does not answer: for longer than any time-out. Every
/// error that later tries get meanwhile says nothing of it.
#[tokio::test]
async fn a_commit_that_waits_for_a_standby_is_not_written_twice() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 8);
    let client = open(Client::builder(&db.dsn()).query_timeout(Duration::from_millis(500))).await;
    let cache = accounts(&client).await;
    is_applied(cache.patch(&1, Patch::new().set("note", "first")).await.unwrap(), SOON).await;
    let wait_for = |standbys: &str| {
        db.psql(&format!("ALTER SYSTEM SET synchronous_standby_names = '{standbys}'"));
        db.psql("SELECT pg_reload_conf()");
    };
    wait_for("nobody");
    let is_set = async || db.psql("SHOW synchronous_standby_names") == "nobody";
    wait_until(SOON, "commits wait", is_set).await;
    let mut receipts = Vec::new();
    for id in 1..=8 {
        receipts.push(cache.patch(&id, Patch::new().add("balance", 1)).await.unwrap());
    }
    let waits = async || db.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != "0";
    wait_until(SOON, "its commit waits", waits).await;
    let has_tried = async || client.status().caches[0].flush_retries >= 5;
    wait_until(SOON, "it has been tried again and again", has_tried).await;
    wait_for("");
    for receipt in receipts {
        is_applied(receipt, SOON).await;
    }
    assert_eq!(db.psql("SELECT string_agg(DISTINCT balance::text, ' ') FROM account"), "1", "each once");
    assert_eq!(client.status().caches[0].unknown, 0);
    close(client).await;
}
