//! A row that somebody holds, and batches that take longer than they may: everything else goes on, nothing is applied twice, and no
//! backend is left behind.

use cache_sync::{Client, Patch, Receipt, Verdict};
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, wait_until};
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
