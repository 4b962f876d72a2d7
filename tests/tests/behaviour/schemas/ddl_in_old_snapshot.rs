//! DDL in a REPEATABLE READ transaction sees the catalogs as they are, and so does what is noted of it.

use cache_sync_tests::Database;
use cache_sync_tests::heard::Heard;
use cache_sync_tests::locks::until_waiting;

const FIELDS: &str = "SELECT string_agg(field_id || ' ' || name || ' ' || (rule #>> '{}'), ', ' ORDER BY field_id)
                      FROM cache_sync.field WHERE NOT dropped";

async fn begun(db: &Database<'_>) -> tokio_postgres::Client {
    let old = db.connect().await;
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    old
}

/// A migration ran in one transaction at REPEATABLE READ, and somebody had altered the table since it began: the event trigger
/// failed with 40001 or 23505 where the ALTER TABLE alone would have gone through.
#[tokio::test]
async fn what_others_have_altered_is_no_reason_to_fail() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v int, n int);
         SELECT cache_sync.attach('t', true, '{\"n\": \"add\"}', '{v}')",
    );
    let old = begun(&db).await;
    db.psql("ALTER TABLE t ADD b int; ALTER TABLE t RENAME v TO w; SELECT cache_sync.set_rule('t', 'b', '\"max\"')");
    let ddl = "ALTER TABLE t ADD c int; ALTER TABLE t RENAME w TO x; ALTER TABLE t RENAME b TO m; ALTER TABLE t DROP n; COMMIT";
    old.batch_execute(ddl).await.unwrap();
    assert_eq!(db.psql(FIELDS), "1 x lww, 3 m max, 4 c lww");
    assert_eq!(db.psql("SELECT tags FROM cache_sync.tables"), "{x}");
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.check_tables()"), "0");
    let outcome = db.psql("SELECT outcome FROM cache_sync.upsert('t', '{\"id\": 1, \"x\": 1, \"m\": 2, \"c\": 3}')");
    assert_eq!(outcome, "applied");
}

/// The transaction does not see that it was attached: what it altered was not told.
#[tokio::test]
async fn a_table_that_was_attached_since_is_told_of() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int)");
    let old = begun(&db).await;
    db.psql("SELECT cache_sync.attach('t')");
    let mut heard = Heard::from_now(&db);
    old.batch_execute("ALTER TABLE t ADD c int; COMMIT").await.unwrap();
    assert_eq!(heard.of("t", &[]), "*");
    assert_eq!(db.psql(FIELDS), "1 v arrival, 2 c arrival");
}

#[tokio::test]
async fn another_key_is_noted() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL); SELECT cache_sync.attach('t')");
    let old = begun(&db).await;
    db.psql("SELECT cache_sync.set_tags('t', '{v}'); ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (v)");
    old.batch_execute("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id); COMMIT").await.unwrap();
    assert_eq!(
        db.psql("SELECT rekeyed FROM cache_sync.attached; SELECT count(*) FROM cache_sync.check_tables()"),
        "f\n0"
    );
}

/// Altering a type locks none of its tables by itself, so they may go while it is under way. It failed with a syntax error.
#[tokio::test]
async fn tables_that_go_while_their_type_is_altered_are_no_reason_to_fail() {
    for goes in ["DROP TABLE gone", "SELECT cache_sync.detach('gone')"] {
        let db = Database::with_extension();
        db.psql(
            "CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE held (id int PRIMARY KEY, m mood); CREATE TABLE gone (id int PRIMARY KEY, m mood);
             SELECT cache_sync.attach('held'), cache_sync.attach('gone')",
        );
        let (writer, altering) = (db.connect().await, db.connect().await);
        writer.batch_execute("BEGIN; INSERT INTO held VALUES (1)").await.unwrap();
        let meanwhile = async {
            until_waiting(&db, 1).await;
            db.psql(goes);
            writer.batch_execute("COMMIT").await.unwrap();
        };
        let (altered, ()) =
            tokio::join!(altering.batch_execute("ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'"), meanwhile);
        altered.unwrap_or_else(|error| panic!("{goes}: {error:?}"));
    }
}

/// It waits for whoever writes a table, who drops it.
#[tokio::test]
async fn a_table_that_is_dropped_while_it_is_waited_for_is_no_reason_to_fail() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE t (id int PRIMARY KEY, m mood); SELECT cache_sync.attach('t')",
    );
    let (drops, altering) = (db.connect().await, db.connect().await);
    drops.batch_execute("BEGIN; DROP TABLE t").await.unwrap();
    let meanwhile = async {
        until_waiting(&db, 1).await;
        drops.batch_execute("COMMIT").await.unwrap();
    };
    let (altered, ()) = tokio::join!(altering.batch_execute("ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'"), meanwhile);
    altered.unwrap();
}

/// What is noted of a table that the transaction does not see is written under the same lock, and not passed over.
#[tokio::test]
async fn what_is_noted_of_a_table_that_was_attached_since_is_noted_under_its_lock() {
    for (ddl, fields) in [
        ("ALTER TABLE t ADD c int", "1 v arrival, 2 m arrival, 3 c arrival"),
        ("DROP TYPE mood CASCADE", "1 v arrival"),
    ] {
        let db = Database::with_extension();
        db.psql("CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE t (id int PRIMARY KEY, v int, m mood)");
        let old = begun(&db).await;
        db.psql("SELECT cache_sync.attach('t')");
        old.batch_execute(ddl).await.unwrap();
        // Databases that are copies of one another have the same oids.
        let locked = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                      WHERE datname = current_database() AND locktype = 'object' AND classid = 'cache_sync.attached'::regclass";
        assert_eq!(db.psql(locked), "1", "{ddl}");
        old.batch_execute("COMMIT").await.unwrap();
        assert_eq!(db.psql(FIELDS), fields, "{ddl}");
    }
}
