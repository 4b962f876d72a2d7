//! Processes that start at the same time attach the same tables, and whoever attaches may have an old snapshot.

use cache_sync_tests::Database;
use cache_sync_tests::locks::until_waiting;

const VERSIONED: &str = "SELECT versioned FROM cache_sync.tables";

/// Two processes run their migrations as they start. The second waited for the first one's lock, and then wrote what the first one
/// had written: 23505.
#[tokio::test]
async fn of_two_at_once_both_succeed() {
    for (isolation, versioned) in [("READ COMMITTED", false), ("READ COMMITTED", true), ("REPEATABLE READ", true)] {
        let db = Database::with_extension();
        db.psql("CREATE TABLE t (id int PRIMARY KEY, v int)");
        let (first, second) = (db.connect().await, db.connect().await);
        let attach = format!("SELECT cache_sync.attach('t', versioned => {versioned}, if_not_attached => true)");
        first.batch_execute(&format!("BEGIN; {attach}")).await.unwrap();
        second.batch_execute(&format!("BEGIN ISOLATION LEVEL {isolation}")).await.unwrap();
        let commits = async {
            until_waiting(&db, 1).await;
            first.batch_execute("COMMIT").await.unwrap();
        };
        let (attached, ()) = tokio::join!(second.batch_execute(&attach), commits);
        attached.unwrap();
        second.batch_execute("COMMIT").await.unwrap();
        assert_eq!(db.psql(VERSIONED), if versioned { "t" } else { "f" });
        assert_eq!(db.psql("SELECT count(*) FROM cache_sync.check_tables()"), "0");
    }
}

/// Who does not say that it may be attached, or wants it otherwise, is told so as if he had come later.
#[tokio::test]
async fn the_second_is_told_what_is_there() {
    for (arguments, expected) in [("'t'", "42710"), ("'t', versioned => true, if_not_attached => true", "42710")] {
        let db = Database::with_extension();
        db.psql("CREATE TABLE t (id int PRIMARY KEY, v int)");
        let (first, second) = (db.connect().await, db.connect().await);
        first.batch_execute("BEGIN; SELECT cache_sync.attach('t')").await.unwrap();
        let commits = async {
            until_waiting(&db, 1).await;
            first.batch_execute("COMMIT").await.unwrap();
        };
        let attach = format!("SELECT cache_sync.attach({arguments})");
        let (refused, ()) = tokio::join!(second.batch_execute(&attach), commits);
        assert_eq!(refused.unwrap_err().code().map(|code| code.code().to_owned()).as_deref(), Some(expected));
        assert_eq!(db.psql(VERSIONED), "f");
    }
}

/// A table that somebody else has attached since this transaction began is attached, and one that he has detached is not.
#[tokio::test]
async fn an_old_snapshot_is_no_reason() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE two (id int PRIMARY KEY); SELECT cache_sync.attach('two')",
    );
    let old = db.connect().await;
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    db.psql("SELECT cache_sync.attach('one'), cache_sync.detach('two')");
    let attach = "SELECT cache_sync.attach(t, if_not_attached => true) FROM unnest('{one,two}'::regclass[]) t; COMMIT";
    old.batch_execute(attach).await.unwrap();
    assert_eq!(db.psql("SELECT tbl FROM cache_sync.tables ORDER BY tbl::text"), "one\ntwo");
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    db.psql(
        "SELECT cache_sync.detach('one'); SELECT cache_sync.attach('one');
         SELECT cache_sync.open_session('two', '00000000-0000-4000-8000-000000000001')",
    );
    old.batch_execute("SELECT cache_sync.detach_all(); COMMIT").await.unwrap();
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.tables; SELECT count(*) FROM cache_sync.session"), "0\n0");
}
