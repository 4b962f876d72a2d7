//! `changes(wait => ...)`: a poll that is answered as soon as there is something to tell, for drivers that hand notifications over late.

use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const TOLD: &str =
    "SELECT coalesce(string_agg(kind, ' ' ORDER BY n), '') FROM cache_sync.changes($1, $2, wait => $3::text::interval)
                    WITH ORDINALITY AS c(epoch, feed_position, tbl, key_hash, version, kind, n)";

fn with_tables() -> Database<'static> {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); SELECT cache_sync.attach('t'), cache_sync.attach('u')");
    db
}

async fn place(client: &Client) -> (i64, i64) {
    let row = client.query_one("SELECT epoch, feed_position FROM cache_sync.feed_head()", &[]).await.unwrap();
    (row.get(0), row.get(1))
}

async fn poll(client: &Client, (epoch, position): (i64, i64), wait: &str) -> (String, Duration) {
    let begun = Instant::now();
    let row = client.query_one(TOLD, &[&epoch, &position, &wait]).await.unwrap();
    (row.get(0), begun.elapsed())
}

async fn waits(db: &Database<'_>, role: &str) {
    let waits = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND datname = current_database()
                         AND wait_event_type = 'Extension' AND query LIKE '%cache_sync.changes(%'"
    );
    wait_until(SOON, "somebody waits", async || db.psql(&waits) == "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_answered_once_there_is_a_change() {
    let db = with_tables();
    let client = db.connect().await;
    // What is there already is no reason to wait, nor is a gap.
    let before = place(&client).await;
    db.psql("INSERT INTO t VALUES (1)");
    let (told, took) = poll(&client, before, "50 s").await;
    assert_eq!(told, "start unversioned position");
    assert!(took < SOON, "{took:?}");
    let (told, took) = poll(&client, (before.0 + 1, before.1), "50 s").await;
    assert_eq!(told, "gap position");
    assert!(took < SOON, "{took:?}");
    // Nothing happens.
    let now = place(&client).await;
    let (told, took) = poll(&client, now, "300 ms").await;
    assert_eq!(told, "start position");
    assert!(took >= Duration::from_millis(300), "{took:?}");
    // Something does.
    let waiting = tokio::spawn(async move { poll(&client, now, "50 s").await });
    waits(&db, "postgres").await;
    // It is no listener, and has a snapshot, which is why the wait is bounded.
    let seen = "SELECT backend_xmin IS NOT NULL AND pid NOT IN (SELECT pid FROM cache_sync.listeners) FROM pg_stat_activity
                WHERE wait_event_type = 'Extension' AND query LIKE '%cache_sync.changes(%' AND datname = current_database()";
    wait_until(SOON, "it waits, and is no listener", async || db.psql(seen) == "t").await;
    db.psql("BEGIN; DELETE FROM t; ROLLBACK; INSERT INTO u VALUES (1)");
    let committed = Instant::now();
    let (told, _) = waiting.await.unwrap();
    assert_eq!(told, "start unversioned position");
    assert!(committed.elapsed() < Duration::from_secs(3), "{:?}", committed.elapsed());
}

/// What others do in tables that one may not read is no answer, and rights count as they are when something is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_not_answered_by_what_one_may_not_read() {
    let db = with_tables();
    db.psql("CREATE ROLE polling LOGIN; GRANT cache_sync_user TO polling; GRANT SELECT ON t TO polling");
    let client = cache_sync_tests::connect(&db.dsn_as("polling")).await;
    let now = place(&client).await;
    let waiting = tokio::spawn(async move { poll(&client, now, "50 s").await.0 });
    waits(&db, "polling").await;
    db.psql("INSERT INTO u VALUES (1)");
    db.psql("REVOKE SELECT ON t FROM polling; INSERT INTO t VALUES (1)");
    assert!(!waiting.is_finished());
    // A table that is attached meanwhile is told, too.
    db.psql(
        "CREATE TABLE late (id int PRIMARY KEY); GRANT SELECT ON late TO polling; SELECT cache_sync.attach('late')",
    );
    db.psql("INSERT INTO late VALUES (1)");
    let told = waiting.await.unwrap();
    assert!(
        ["start flush_table position", "start unversioned position", "start flush_table unversioned position"]
            .contains(&told.as_str()),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_when_it_is_cancelled_or_its_time_is_over() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let client = db.connect().await;
    client.batch_execute("SET statement_timeout = '200ms'").await.unwrap();
    let sql = "SELECT * FROM cache_sync.changes(wait => '50 s')";
    let begun = Instant::now();
    let timeout = client.batch_execute(sql).await.unwrap_err();
    assert_eq!(timeout.code().unwrap().code(), "57014");
    assert!(begun.elapsed() < SOON);
    client.batch_execute("RESET statement_timeout").await.unwrap();
    for how in ["pg_cancel_backend", "pg_terminate_backend"] {
        let client = db.connect().await;
        let waiting = tokio::spawn(async move { client.batch_execute(sql).await.unwrap_err() });
        waits(&db, "postgres").await;
        db.psql(&format!(
            "SELECT {how}(pid) FROM pg_stat_activity
             WHERE wait_event_type = 'Extension' AND query LIKE '%cache_sync.changes(%' AND datname = current_database()"
        ));
        let error = waiting.await.unwrap();
        let code = error.code().map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), Some(if how == "pg_cancel_backend" { "57014" } else { "57P01" }));
    }
    // A poll that waits keeps no server from stopping, which ends it.
    let waiting = tokio::spawn(async move { client.batch_execute(sql).await.is_err() });
    waits(&db, "postgres").await;
    let begun = Instant::now();
    cluster.stop("fast").unwrap();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(waiting.await.unwrap());
    cluster.launch().unwrap();
    for refused in ["-1 s", "61 s", "1 day", "1 month", "100000 years"] {
        let error = db.psql_error(&format!("SELECT * FROM cache_sync.changes(wait => '{refused}')"));
        assert!(error.contains("22023"), "{refused}: {error}");
    }
}
