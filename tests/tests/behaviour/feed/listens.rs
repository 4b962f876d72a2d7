//! A connection that LISTENs to some channel called `stream()`. While the call ran it took no notification, so Postgres kept
//! whatever anybody in the server notified, until its queue was full and their commits failed. Now it is refused.

use cache_sync_tests::{Database, SOON, wait_until};

#[tokio::test]
async fn a_connection_that_listens_has_no_feed() {
    let db = Database::with_extension();
    let listens = db.connect().await;
    // Whatever is not refused ends.
    listens.batch_execute("SET statement_timeout = '2s'; LISTEN other").await.unwrap();
    let call = async |sql: &str| {
        let error = listens.batch_execute(sql).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        format!("{} {}", error.code().code(), error.hint().unwrap_or_default())
    };
    let refused = "55000 The feed needs no LISTEN: send UNLISTEN * before, or LISTEN on another connection.";
    assert_eq!(call("CALL cache_sync.stream()").await, refused);
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.listeners l JOIN pg_stat_activity USING (pid) WHERE datname = current_database()"), "0");
    listens.batch_execute("UNLISTEN other").await.unwrap();
    assert!(call("CALL cache_sync.stream()").await.starts_with("57014"), "the feed runs until it is cancelled");
    // What is listened to from the commit on with which the feed begins.
    assert_eq!(call("DO $$ BEGIN LISTEN late; CALL cache_sync.stream(); END $$").await, refused);
    // The connection goes on, and takes what others notify.
    db.psql("SELECT pg_notify('late', n || repeat('x', 7000)) FROM generate_series(1, 200) n");
    let usage = "SELECT pg_notification_queue_usage() = 0";
    wait_until(SOON, "nothing is kept", async || {
        listens.batch_execute("SELECT 1").await.unwrap();
        db.psql(usage) == "t"
    })
    .await;
}
