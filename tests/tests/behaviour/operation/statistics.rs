//! What operators see: how much changes and is applied in each table, which clients cannot apply what they have, and who hears late. It
//! is for who watches the server, and tells of rows to nobody who may not read them.

use cache_sync_tests::batches::Batches;
use cache_sync_tests::feed::Feed;
use cache_sync_tests::rows::{close, node};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use serde_json::json;

const COUNTED: &str =
    "SELECT batches, applied, merged, superseded, unchanged, missing, conflict, rejected, swallowed, failures
                       FROM cache_sync.table_stats WHERE tbl = 't'::regclass";

fn with_table() -> Database<'static> {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v < 100), w int);
         SELECT cache_sync.attach('t', versioned => true); INSERT INTO t SELECT n, 0, 0 FROM generate_series(1, 9) n",
    );
    db
}

#[tokio::test]
async fn patches_are_counted_by_what_became_of_them() {
    let db = with_table();
    assert_eq!(db.psql(COUNTED), "0|0|0|0|0|0|0|0|0|0");
    let mut batches = Batches::open(&db, "t").await;
    let now = batches.now().await;
    let shapes = json!([{"op": "edit", "fields": ["v"]}, {"op": "edit", "fields": ["v", "w"]}, {"op": "compare_and_set", "fields": ["v"]}]);
    batches
        .send(json!([{"op": "edit", "fields": ["v"]}]), &[json!([{"#": 0, "@": now, "id": 2, "v": 1}])])
        .await
        .unwrap();
    let rows = [
        json!([{"#": 0, "@": now, "id": 1, "v": 1}, {"#": 1, "@": 1, "id": 2, "v": 5}, {"#": 2, "@": now, "id": 77, "v": 1},
               {"#": 3, "@": now, "id": 3, "v": 100}]),
        json!([{"#": 4, "@": now - 1, "id": 4, "v": 1, "w": 1}]),
        json!([{"#": 5, "=": 1, "id": 5, "v": 1}]),
    ];
    let verdicts = batches.verdicts(shapes.clone(), &rows).await;
    assert_eq!(verdicts[..4], ["applied", "superseded", "missing", "rejected 23514"]);
    assert_eq!(verdicts[5], "conflict");
    // The same once more is the same batch.
    batches.send_as(1, 2, shapes, &rows).await.unwrap();
    let applied = verdicts.iter().filter(|verdict| *verdict == "applied").count() + 1;
    let merged = verdicts.iter().filter(|verdict| *verdict == "merged").count();
    let superseded = verdicts.iter().filter(|verdict| *verdict == "superseded").count();
    let after = |applied: usize, unchanged: usize| format!("2|{applied}|{merged}|{superseded}|{unchanged}|1|1|1|0|0");
    assert_eq!(db.psql(COUNTED), after(applied, 0));
    let times = "SELECT apply_seconds_max > 0, apply_seconds >= apply_seconds_max, apply_seconds < 60, since < now() FROM cache_sync.table_stats";
    assert_eq!(db.psql(times), "t|t|t|t");
    // Patches by themselves; what is undone does not count.
    db.psql("SELECT cache_sync.edit('t', '{\"id\": 6}', '{\"v\": 6}')");
    db.psql("BEGIN; SELECT cache_sync.edit('t', '{\"id\": 6}', '{\"v\": 7}'); ROLLBACK");
    assert_eq!(db.psql(COUNTED), after(applied + 1, 0));
    db.psql("SELECT cache_sync.reset_stats('t')");
    assert_eq!(db.psql(COUNTED), "0|0|0|0|0|0|0|0|0|0");
    assert_eq!(
        db.psql("SELECT changes, flushes, since > now() - interval '1 minute' FROM cache_sync.table_stats"),
        "0|0|t"
    );
}

/// A client whose batches fail again and again is seen until one is applied.
#[tokio::test]
async fn a_client_whose_batch_cannot_be_applied_is_seen() {
    let db = with_table();
    db.psql(
        "CREATE ROLE stats_reader LOGIN; GRANT cache_sync_user TO stats_reader; GRANT SELECT ON t TO stats_reader;
         CREATE ROLE stats_other LOGIN; GRANT cache_sync_user TO stats_other;
         CREATE ROLE stats_monitor LOGIN; GRANT pg_monitor TO stats_monitor",
    );
    let mut batches = Batches::open(&db, "t").await;
    batches.client().batch_execute("SET lock_timeout = '50ms'").await.unwrap();
    let holder = db.connect().await;
    holder.batch_execute("BEGIN; UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
    let shapes = json!([{"op": "edit", "fields": ["w"]}]);
    let rows = |stamp: i64| [json!([{"#": 0, "@": stamp, "id": 1, "w": stamp % 7}])];
    let first = rows(batches.now().await);
    for _ in 0..3 {
        assert_eq!(batches.refusal(shapes.clone(), &first).await, "55P03");
    }
    // The session's own state is no failure of the batch.
    assert!(batches.send_as(7, 1, shapes.clone(), &first).await.is_err());
    let stuck = "SELECT tbl, session IS NOT NULL, failures, since <= last_failed_at AND last_failed_at <= clock_timestamp(), sqlstate, message
                 FROM cache_sync.stuck_batches";
    let as_role = |role: &str, sql: &str| db.psql(&format!("SET SESSION AUTHORIZATION {role}; {sql}"));
    let said = "canceling statement due to lock timeout";
    assert_eq!(db.psql(stuck), format!("t|t|3|t|55P03|{said}"));
    assert_eq!(as_role("stats_reader", stuck), format!("t|f|3|t|55P03|{said}"));
    assert_eq!(as_role("stats_monitor", stuck), "t|f|3|t|55P03|");
    assert_eq!(as_role("stats_other", stuck), "");
    let last = "SELECT failures, last_sqlstate, last_failed_at > now() - interval '1 minute', last_message FROM cache_sync.table_stats";
    assert_eq!(as_role("stats_reader", last), format!("3|55P03|t|{said}"));
    assert_eq!(as_role("stats_monitor", last), "3|55P03|t|");
    assert_eq!(as_role("stats_other", last), "");
    holder.batch_execute("COMMIT").await.unwrap();
    batches.send(shapes.clone(), &first).await.unwrap();
    assert_eq!(db.psql(stuck), "");
    assert_eq!(db.psql(last), format!("3|55P03|t|{said}"));
    // One that failed and is gone.
    holder.batch_execute("BEGIN; UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
    let second = rows(batches.now().await);
    assert_eq!(batches.refusal(shapes, &second).await, "55P03");
    assert!(db.psql(stuck).starts_with("t|t|1|"));
    db.psql("DELETE FROM cache_sync.session");
    assert_eq!(db.psql(stuck), "");
}

/// What is remembered is bounded: of many clients, those that failed last.
#[tokio::test]
async fn more_clients_than_are_remembered() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t'); INSERT INTO t VALUES (1, 1)");
    let client = db.connect().await;
    let holder = db.connect().await;
    holder.batch_execute("BEGIN; UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
    client
        .batch_execute(
            "SET lock_timeout = '1ms'; DO $$ DECLARE id uuid; BEGIN FOR n IN 1..140 LOOP
               id := ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid;
               PERFORM cache_sync.open_session('t', id);
               BEGIN
                 PERFORM cache_sync.apply('t', id, 1, 1, '[{\"op\": \"edit\", \"fields\": [\"v\"]}]', ARRAY['[{\"#\": 0, \"id\": 1, \"v\": 2}]']);
               EXCEPTION WHEN lock_not_available THEN NULL; END;
             END LOOP; END $$",
        )
        .await
        .unwrap();
    let seen =
        "SELECT count(*), min(right(session::text, 3)), max(right(session::text, 3)) FROM cache_sync.stuck_batches";
    assert_eq!(db.psql(seen), "128|013|140");
    assert_eq!(db.psql("SELECT failures FROM cache_sync.table_stats"), "140");
}

/// Whoever watches the server needs no right on tables, and gets none to their rows.
#[tokio::test]
async fn who_watches_the_server_sees_how_much_happens() {
    let db = with_table();
    db.psql("CREATE ROLE watches LOGIN; GRANT pg_monitor TO watches; CREATE ROLE bystander LOGIN");
    let as_role = |role: &str, sql: &str| db.try_psql(&format!("SET SESSION AUTHORIZATION {role}; {sql}"));
    for view in ["tables", "listeners", "feed_stats", "table_stats", "stuck_batches"] {
        as_role("watches", &format!("SELECT * FROM cache_sync.{view}")).unwrap();
        assert!(
            as_role("bystander", &format!("SELECT * FROM cache_sync.{view}")).unwrap_err().contains("42501"),
            "{view}"
        );
    }
    assert_eq!(as_role("watches", "SELECT tbl, changes FROM cache_sync.table_stats").unwrap(), "t|9");
    assert_eq!(as_role("watches", "SELECT dead_letters, sessions FROM cache_sync.tables").unwrap(), "0|0");
    assert_eq!(as_role("watches", "SELECT cache_sync.status() -> 'tables'").unwrap(), "1");
    for sql in [
        "SELECT * FROM t",
        "SELECT * FROM cache_sync.dead_letters",
        "SELECT * FROM cache_sync.session",
        "SELECT cache_sync.reset_stats()",
    ] {
        assert!(as_role("watches", sql).unwrap_err().contains("42501"), "{sql}");
    }
    // Admins count their own tables anew.
    db.psql("CREATE ROLE counts_anew LOGIN; GRANT cache_sync_admin TO counts_anew");
    for sql in ["SELECT cache_sync.reset_stats('t')", "SELECT cache_sync.reset_stats()"] {
        assert!(as_role("counts_anew", sql).unwrap_err().contains("42501"), "{sql}");
    }
    db.psql("ALTER TABLE t OWNER TO counts_anew");
    as_role("counts_anew", "SELECT cache_sync.reset_stats('t')").unwrap();
    assert_eq!(db.psql("SELECT changes FROM cache_sync.table_stats"), "0");
    assert!(db.psql_error("CREATE TABLE u (id int PRIMARY KEY); SELECT cache_sync.reset_stats('u')").contains("CS005"));
}

/// How old is what a client has been told, and whose feed it is. What is in docs/install.md tells feeds from long queries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_is_told_from_long_queries_and_from_others() {
    let cluster =
        start(unsynced().setting("cache_sync.heartbeat_interval", "100ms").setting("cache_sync.send_timeout", "60s"));
    let db = Database::with_extension_in(&cluster);
    cache_sync_tests::rows::make_accounts(&db, 3000);
    let (client, _cache) = node(&db).await;
    let seen = |what: &str, whose: &str| db.psql(&format!("SELECT {what} FROM cache_sync.listeners WHERE {whose}"));
    let of_sdk = "application_name = 'cache_sync feed'";
    wait_until(SOON, "the feed has caught up", async || {
        seen("age < '1 second' AND usename = 'postgres' AND client_addr = '127.0.0.1'", of_sdk) == "t"
    })
    .await;
    let activity = "SELECT state, backend_xmin IS NULL, query LIKE 'CALL cache_sync.stream(%', wait_event_type FROM pg_stat_activity
                    WHERE application_name = 'cache_sync feed'";
    // Between two waits it may be at work.
    wait_until(SOON, "it waits without a snapshot", async || db.psql(activity) == "active|t|t|Extension").await;
    // The documents' query, for what runs for longer than no time.
    let document = cache_sync_tests::document::read("docs/install.md");
    let query =
        document.split("```sql\n").find(|block| block.starts_with("SELECT pid")).unwrap().split("```").next().unwrap();
    let query = query.replace("5 minutes", "0 s");
    let sleeper = db.connect().await;
    let sleeps = tokio::spawn(async move { sleeper.batch_execute("SELECT pg_sleep(600)").await.is_err() });
    wait_until(SOON, "the long query is seen", async || db.psql(&query).contains("pg_sleep")).await;
    assert!(!db.psql(&query).contains("stream"), "{}", db.psql(&query));
    let without = query.replace("AND pid NOT IN (SELECT pid FROM cache_sync.listeners)", "");
    assert!(db.psql(&without).contains("CALL cache_sync.stream("), "{}", db.psql(&without));
    db.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()");
    assert!(sleeps.await.unwrap());
    // Who takes nothing hears of nothing.
    // The kernel keeps less for a unix socket than for TCP.
    let (host, port) = (cluster.socket_dir().display(), cluster.port());
    let dsn = format!("host={host} port={port} user=postgres dbname={}", db.name());
    let feed = Feed::call(&dsn, "").await.unwrap();
    feed.stop_reading();
    let of_feed = format!("pid = {}", feed.pid);
    wait_until(SOON, "it is late", async || {
        db.psql("UPDATE account SET balance = balance + 1");
        seen("age > '2 seconds' AND lag > 0", &of_feed) == "t"
    })
    .await;
    assert_eq!(seen("age < '2 seconds'", of_sdk), "t");
    close(client).await;
}
