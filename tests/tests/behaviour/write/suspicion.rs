//! Errors whose code does not say whose fault they are: a malformed value that its type calls an internal error, what a trigger meets
//! because of one row. One bad row stops nothing else; a table that nobody can write waits until somebody mends it.

use cache_sync::{Cache, Client, Outcome, Patch, Receipt, Verdict};
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, wait_until};
use std::time::Duration;

/// What a trigger runs into for rows with the note `bad`, by the SQLSTATE that this is.
const TROUBLES: [(&str, &str); 4] = [
    ("XX000", "RAISE EXCEPTION 'invalid geometry' USING ERRCODE = 'XX000'"),
    ("38000", "RAISE EXCEPTION 'plpy.error' USING ERRCODE = '38000'"),
    ("42P01", "EXECUTE 'SELECT FROM nowhere'"),
    ("42601", "EXECUTE 'SELECT FROM FROM'"),
];

fn trouble(db: &Database<'_>, condition: &str, trouble: &str) {
    db.psql(&format!(
        "CREATE OR REPLACE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN IF {condition} THEN {trouble}; END IF; RETURN NEW; END $$;
         CREATE OR REPLACE TRIGGER trouble BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION trouble()"
    ));
}

async fn node(db: &Database<'_>) -> (Client, Cache<i64, Account>) {
    // All that is written within a moment is one batch.
    let client = open(Client::builder(&db.dsn()).flush_interval(Duration::from_millis(50))).await;
    let cache = accounts(&client).await;
    (client, cache)
}

async fn write(cache: &Cache<i64, Account>, ids: std::ops::RangeInclusive<i64>, bad: i64) -> Vec<(i64, Receipt)> {
    let mut receipts = Vec::new();
    for id in ids {
        let note = if id == bad { "bad" } else { "good" };
        receipts.push((id, cache.patch(&id, Patch::new().set("note", note)).await.unwrap()));
    }
    receipts
}

async fn outcome(receipt: Receipt) -> Outcome {
    tokio::time::timeout(SOON, receipt.written()).await.expect("it waits for ever").unwrap()
}

#[tokio::test]
async fn one_bad_row_stops_nothing_else_whatever_the_code() {
    for (sqlstate, what) in TROUBLES {
        let db = Database::with_extension();
        make_accounts(&db, 20);
        trouble(&db, "NEW.note = 'bad'", what);
        let (client, cache) = node(&db).await;
        for (id, receipt) in write(&cache, 1..=20, 13).await {
            let outcome = outcome(receipt).await;
            let verdict = if id == 13 { Verdict::Rejected } else { Verdict::Applied };
            assert_eq!(outcome.verdict, Some(verdict), "{sqlstate}: {id}: {outcome:?}");
        }
        assert_eq!(db.psql("SELECT sqlstate || (patch->>'id') FROM cache_sync.dead_letters"), format!("{sqlstate}13"));
        // Alone in its batch it is found out, too.
        let (_, receipt) = write(&cache, 7..=7, 7).await.pop().unwrap();
        assert_eq!(outcome(receipt).await.verdict, Some(Verdict::Rejected), "{sqlstate}");
        let (_, receipt) = write(&cache, 7..=7, 0).await.pop().unwrap();
        assert_eq!(outcome(receipt).await.verdict, Some(Verdict::Applied), "{sqlstate}: the table goes on");
        close(client).await;
    }
}

/// A trigger that fails for every row: nothing is given up, and all is written once it is mended.
#[tokio::test]
async fn a_table_that_nobody_can_write_waits() {
    for rows in [1, 5] {
        let db = Database::with_extension();
        make_accounts(&db, 5);
        trouble(&db, "true", "EXECUTE 'SELECT FROM nowhere'");
        let (client, cache) = node(&db).await;
        let receipts = write(&cache, 1..=rows, 0).await;
        // That there is no such row says nothing of the table.
        let (_, missing) = write(&cache, 99..=99, 0).await.pop().unwrap();
        let has_tried = async || client.status().caches[0].flush_retries >= 6;
        wait_until(SOON, "it has been tried often enough", has_tried).await;
        assert_eq!(db.psql("SELECT count(*) FROM cache_sync.dead_letters"), "0", "it was given up");
        db.psql("CREATE TABLE nowhere ()");
        assert_eq!(outcome(missing).await.verdict, Some(Verdict::Missing));
        for (_, receipt) in receipts {
            assert_eq!(outcome(receipt).await.verdict, Some(Verdict::Applied));
        }
        close(client).await;
    }
}

/// Nor is a right that is missing any row's fault.
#[tokio::test]
async fn so_does_one_that_may_not_be_written() {
    let db = Database::with_extension();
    make_accounts(&db, 2);
    db.psql("CREATE ROLE writer_of_accounts LOGIN IN ROLE cache_sync_user; GRANT SELECT, INSERT ON account TO writer_of_accounts");
    let client = open(Client::builder(&db.dsn_as("writer_of_accounts"))).await;
    let cache = accounts(&client).await;
    let receipts = write(&cache, 1..=2, 0).await;
    let has_tried = async || client.status().caches[0].flush_retries >= 6;
    wait_until(SOON, "it has been tried often enough", has_tried).await;
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.dead_letters"), "0", "it was given up");
    db.psql("GRANT UPDATE ON account TO writer_of_accounts");
    for (_, receipt) in receipts {
        assert_eq!(outcome(receipt).await.verdict, Some(Verdict::Applied));
    }
    close(client).await;
}
