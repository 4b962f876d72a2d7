//! Rights on some of a table's columns.

use cache_sync_tests::Database;
use cache_sync_tests::batches::{Batches, sqlstate};
use serde_json::json;

/// Rights on some columns are enough for patches of them, but not for what shows or compares the whole row.
#[tokio::test]
async fn rights_on_columns_count_for_patches_of_these_columns() {
    let db = Database::with_extension();
    db.psql(
        "CREATE ROLE some_columns LOGIN IN ROLE cache_sync_user; CREATE TABLE t (id int PRIMARY KEY, a text, n int, secret text);
         SELECT cache_sync.attach('t', true, '{\"n\": \"add\"}'); SET session_replication_role = replica; INSERT INTO t (id, a, n, secret, cs_version) VALUES (1, 'x', 1, 'hidden', 1);
         GRANT SELECT (id, a, n, cs_version, cs_clock), INSERT (id, a, cs_clock), UPDATE (a, n, cs_clock) ON t TO some_columns",
    );
    let mut batches = Batches::open_as(&db.dsn_as("some_columns"), "t").await;
    let edit = |fields: &[&str]| json!([{"op": "edit", "fields": fields}]);
    let rows = json!([{"#": 0, "@": 5, "id": 1, "a": "y", "n": 1}]);
    assert_eq!(batches.verdicts(edit(&["a", "n"]), &[rows]).await, ["applied"]);
    let rows = json!([{"#": 0, "@": 5, "id": 2, "a": "new"}]);
    assert_eq!(batches.verdicts(json!([{"op": "put", "fields": ["a"]}]), &[rows]).await, ["applied"]);
    let hidden = [json!([{"#": 0, "@": 6, "id": 1, "secret": "stolen"}])];
    assert_eq!(batches.refusal(edit(&["secret"]), &hidden).await, "42501");
    assert_eq!(batches.refusal(json!([{"op": "delete"}]), &[json!([{"#": 0, "@": 6, "id": 1}])]).await, "42501");
    let client = batches.client();
    for call in [
        "edit('t', '{\"id\": 1}', '{\"a\": \"z\"}')",
        "upsert('t', '{\"id\": 1, \"a\": \"z\"}')",
        "key_hash('t', '{\"id\": 1}')",
        "edit('t', '{\"id\": 1}', '{\"secret\": \"z\"}')",
    ] {
        assert_eq!(sqlstate(client.batch_execute(&format!("SELECT cache_sync.{call}")).await), "42501", "{call}");
    }
    let told = client.query_one("SELECT count(*) FROM cache_sync.changes() WHERE tbl IS NOT NULL", &[]).await.unwrap();
    assert_eq!(told.get::<_, i64>(0), 0, "the feed tells of a table that he may not SELECT as a whole");
    assert_eq!(db.psql("SELECT id, a, n, secret FROM t ORDER BY id"), "1|y|2|hidden\n2|new||");
}

/// Who may only read holds no lock of a writer, with which he would keep others from maintaining the table.
#[tokio::test]
async fn who_may_not_write_gets_no_lock_of_writers() {
    let db = Database::with_extension();
    db.psql(
        "CREATE ROLE reads_column LOGIN IN ROLE cache_sync_user; CREATE TABLE t (id int PRIMARY KEY, a text);
         SELECT cache_sync.attach('t', true); GRANT SELECT (a) ON t TO reads_column",
    );
    let session = "77777777-7777-4777-8777-777777777777";
    db.psql(&format!("SELECT cache_sync.open_session('t', '{session}')"));
    let client = cache_sync_tests::connect(&db.dsn_as("reads_column")).await;
    client
        .batch_execute(&format!("BEGIN; SELECT cache_sync.apply('t', '{session}', 1, 1, '[]', '{{}}')"))
        .await
        .unwrap();
    let held = "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND mode = 'RowExclusiveLock'
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(db.psql(held), "0");
}
