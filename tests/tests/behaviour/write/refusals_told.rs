//! A write that Postgres refuses is told of, also if nobody asked: what Postgres said, and where the write is kept.

use cache_sync::{Patch, Verdict};
use cache_sync_tests::logged::Logged;
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, wait_until};
use std::time::Duration;

#[tokio::test]
async fn the_outcome_says_what_postgres_said_and_where_the_write_is_kept() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    db.psql("ALTER TABLE account ADD CONSTRAINT nobody_owes CHECK (balance >= 0)");
    let client = open(cache_sync::Client::builder(&db.dsn()).flush_interval(Duration::from_millis(50))).await;
    let cache = accounts(&client).await;
    let good = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
    let bad = cache.patch(&2, Patch::new().add("balance", -1)).await.unwrap();
    let outcome = bad.written().await.unwrap();
    assert_eq!((outcome.verdict, outcome.sqlstate.as_deref()), (Some(Verdict::Rejected), Some("23514")));
    assert!(outcome.message.as_deref().is_some_and(|message| message.contains("nobody_owes")), "{outcome:?}");
    assert_eq!(outcome.constraint.as_deref(), Some("nobody_owes"));
    let good = good.written().await.unwrap();
    assert_eq!((good.message, good.constraint), (None, None));
    let letter = outcome.dead_letter.expect("it says where it is kept");
    let kept =
        db.psql(&format!("SELECT patch->>'id', constraint_name FROM cache_sync.dead_letters WHERE id = {letter}"));
    assert_eq!(kept, "2|nobody_owes");
    db.psql("ALTER TABLE account DROP CONSTRAINT nobody_owes");
    assert_eq!(db.psql(&format!("SELECT outcome FROM cache_sync.requeue_dead_letter({letter})")), "applied");
    close(client).await;
}

/// Who reads no dead letters hears the code, and is kept no longer.
#[tokio::test]
async fn who_may_not_read_it_hears_the_code_alone() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let role = format!("writer_of_{}", db.name());
    db.psql(&format!(
        "CREATE ROLE {role} LOGIN IN ROLE cache_sync_user; GRANT SELECT, INSERT, UPDATE ON account TO {role};
         ALTER TABLE account ENABLE ROW LEVEL SECURITY; CREATE POLICY all_rows ON account USING (true);
         ALTER TABLE account ADD CHECK (balance >= 0)"
    ));
    let client = open(cache_sync::Client::builder(&db.dsn_as(&role))).await;
    let cache = accounts(&client).await;
    let bad = cache.patch(&2, Patch::new().add("balance", -1)).await.unwrap();
    let outcome = tokio::time::timeout(SOON, bad.written()).await.unwrap().unwrap();
    assert_eq!(outcome.sqlstate.as_deref(), Some("23514"));
    assert_eq!((outcome.message, outcome.constraint, outcome.dead_letter), (None, None, None));
    close(client).await;
}

/// A receipt that was dropped: the refusal was once seen by nobody who did not look at the dead letters.
#[tokio::test]
async fn the_log_tells_of_those_that_nobody_waits_for_but_not_of_each() {
    let logged = Logged::start();
    let db = Database::with_extension();
    make_accounts(&db, 3);
    db.psql("ALTER TABLE account ADD CONSTRAINT nobody_owes CHECK (balance >= 0)");
    let client = open(cache_sync::Client::builder(&db.dsn()).flush_interval(Duration::ZERO)).await;
    let cache = accounts(&client).await;
    let rejected = async |count: u64| {
        let is_told = async || client.status().caches[0].rejected == count;
        wait_until(SOON, "it is refused", is_told).await;
    };
    for count in 1..=20 {
        let _ = cache.patch(&2, Patch::new().add("balance", -1)).await.unwrap();
        rejected(count).await;
    }
    let lines = logged.with(&["WARN", "public.account", "23514", "constraint=\"nobody_owes\"", "dead_letter="]);
    assert!((1..20).contains(&lines.len()), "{lines:?}");
    assert!(lines[0].contains("dead_letter=1"), "{lines:?}");
    close(client).await;
}

/// Two keys that are one to the column's collation cannot go together. Both were once given up, with nothing kept of them.
#[tokio::test]
async fn keys_that_are_one_to_postgres_go_one_after_the_other() {
    let db = Database::with_extension();
    db.psql(
        "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE tally (name text COLLATE loose PRIMARY KEY, count bigint NOT NULL);
         INSERT INTO tally VALUES ('ann', 0)",
    );
    if db.try_psql("SELECT cache_sync.attach('tally', rules => '{\"count\": \"add\"}')").is_err() {
        // The server refuses such keys by itself.
        return;
    }
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Tally {
        count: i64,
    }
    let client = open(cache_sync::Client::builder(&db.dsn()).flush_interval(Duration::from_millis(50))).await;
    let cache: cache_sync::Cache<String, Tally> = client.cache("tally").open().await.unwrap();
    let mut receipts = Vec::new();
    for name in ["ann", "Ann"] {
        receipts.push(cache.patch(&name.to_owned(), Patch::new().add("count", 1)).await.unwrap());
    }
    for receipt in receipts {
        let outcome = tokio::time::timeout(SOON, receipt.written()).await.unwrap().unwrap();
        assert_eq!(outcome.verdict, Some(Verdict::Applied), "{outcome:?}");
    }
    assert_eq!(db.psql("SELECT count FROM tally"), "2");
    close(client).await;
}
