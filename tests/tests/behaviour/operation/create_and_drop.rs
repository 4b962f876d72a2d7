//! CREATE EXTENSION and DROP EXTENSION.

use cache_sync::Client;
use cache_sync_tests::{Database, cluster};

#[test]
fn creates_and_drops_without_a_trace() {
    let db = Database::empty_in(cluster());
    let before = db.schema();
    db.psql("CREATE EXTENSION cache_sync");
    assert_eq!(db.psql("SELECT extversion FROM pg_extension WHERE extname = 'cache_sync'"), "0.2.0");
    db.psql("DROP EXTENSION cache_sync");
    // Without CASCADE: only an empty schema can be dropped like this.
    db.psql("DROP SCHEMA IF EXISTS cache_sync");
    assert_eq!(db.schema(), before);
    assert_eq!(db.psql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'cache_sync%'"), "0");
}

/// Other protocols call other functions, but for the one that says so.
#[tokio::test]
async fn an_sdk_of_another_protocol_is_told_which_side_to_upgrade() {
    let db = Database::with_extension();
    for (step, advice) in [(-1, "upgrade the extension on the server"), (1, "upgrade the SDK")] {
        db.psql(&format!(
            "CREATE OR REPLACE FUNCTION cache_sync.versions(OUT library text, OUT script text, OUT protocol integer)
             LANGUAGE sql AS $$ SELECT '0.9.0', '0.9.0', {} $$",
            cache_sync_core::PROTOCOL + step
        ));
        let refused = Client::connect(&db.dsn()).await.err().unwrap().to_string();
        assert!(refused.contains("speaks protocol") && refused.contains(advice), "{refused}");
    }
}

#[test]
fn comes_back_with_another_hash_key_and_epoch() {
    let db = Database::with_extension();
    let ask = "SELECT encode(hash_key, 'hex'), cache_sync.epoch() FROM cache_sync.secret";
    let first = db.psql(ask);
    db.psql("DROP EXTENSION cache_sync; CREATE EXTENSION cache_sync");
    let second = db.psql(ask);
    for (first, second) in first.split('|').zip(second.split('|')) {
        assert_ne!(first, second);
    }
}

/// Numbers of tables begin anew with the extension: what the ring and the counts still had of the old one was shown under the names of
/// the new tables.
#[test]
fn nothing_of_the_one_before_is_told() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE old (id int PRIMARY KEY); SELECT cache_sync.attach('old'); INSERT INTO old SELECT generate_series(1, 3);
         TRUNCATE old; SELECT cache_sync.detach_all(); DROP EXTENSION cache_sync; CREATE EXTENSION cache_sync;
         CREATE TABLE new (id int PRIMARY KEY); SELECT cache_sync.attach('new')",
    );
    let told = "SELECT kind FROM cache_sync.changes() WHERE tbl IS NOT NULL";
    let counts = "SELECT tbl, coalesce(changes, 0), coalesce(flushes, 0) FROM cache_sync.table_stats";
    assert_eq!(db.psql(told), "");
    assert_eq!(db.psql(counts), "new|0|0");
    db.psql("INSERT INTO new VALUES (1), (2)");
    assert_eq!(db.psql(told), "unversioned\nunversioned");
    assert_eq!(db.psql(counts), "new|2|0");
}
