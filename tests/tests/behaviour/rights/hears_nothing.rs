//! Nobody hears of rows that they may not read.

use cache_sync_core::wire::{Body, ChangeKind};
use cache_sync_tests::Database;
use cache_sync_tests::feed::Feed;

/// A database with the attached tables `open` (1) and `closed` (2), and a role that may read the first.
fn with_reader(role: &str) -> Database<'static> {
    let db = Database::with_extension();
    db.psql(&format!(
        "CREATE ROLE {role} LOGIN IN ROLE cache_sync_user;
         CREATE TABLE open (id int PRIMARY KEY, v int); CREATE TABLE closed (id int PRIMARY KEY, v int);
         SELECT cache_sync.attach('open'); SELECT cache_sync.attach('closed'); GRANT SELECT ON open TO {role};
         INSERT INTO open VALUES (1, 0); INSERT INTO closed VALUES (1, 0)"
    ));
    db
}

#[tokio::test]
async fn of_tables_they_may_not_select() {
    let db = with_reader("reads_open");
    let dsn = db.dsn_as("reads_open");
    let mut feed = Feed::call(&dsn, "").await.unwrap();
    db.psql("UPDATE closed SET v = 1; UPDATE open SET v = 1");
    assert_eq!(feed.changes(&db).await.iter().map(|change| change.table.0).collect::<Vec<_>>(), [1]);
    let refused = Feed::call(&dsn, "ARRAY[1, 2]").await.unwrap_err();
    assert!(refused.starts_with("42501"), "{refused}");
    let refused = db.psql_error("SET ROLE reads_open; SELECT cache_sync.key_hash('closed', '{\"id\": 1}')");
    assert!(refused.contains("42501"), "{refused}");
    let told = db.psql("SET ROLE reads_open; SELECT DISTINCT tbl FROM cache_sync.changes() WHERE tbl IS NOT NULL");
    assert_eq!(told, "open");
}

#[tokio::test]
async fn once_the_right_is_taken_away() {
    let db = with_reader("loses_open");
    let dsn = db.dsn_as("loses_open");
    let named = Feed::call(&dsn, "ARRAY[1]").await.unwrap();
    let mut all = Feed::call(&dsn, "").await.unwrap();
    db.psql("REVOKE SELECT ON open FROM loses_open");
    let end = named.end().await;
    assert!(end.starts_with("42501"), "{end}");
    // The other one looks again at each heartbeat; the second one after the REVOKE has surely seen it.
    let revoked: i64 = db.psql("SELECT cache_sync.hlc()").parse().unwrap();
    let mut heartbeats = 0;
    while heartbeats < 2 {
        let message = all.next(cache_sync_tests::SOON).await.expect("a heartbeat");
        heartbeats += u32::from(message.body == Body::Heartbeat && message.hlc.0 > revoked);
    }
    db.psql("UPDATE open SET v = 2");
    assert_eq!(all.changes(&db).await, []);
    // What changed while it was not told of counts as changed once it is told again.
    db.psql("GRANT SELECT ON open TO loses_open");
    let told = loop {
        let changes = all.changes(&db).await;
        if !changes.is_empty() {
            break changes;
        }
    };
    assert_eq!(
        told.iter().map(|change| (change.table.0, change.kind)).collect::<Vec<_>>(),
        [(1, ChangeKind::FlushTable)]
    );
}

#[tokio::test]
async fn behind_row_level_security() {
    let db = with_reader("sees_few");
    db.psql("ALTER TABLE open ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON open FOR SELECT USING (id < 0)");
    let mut feed = Feed::call(&db.dsn_as("sees_few"), "ARRAY[1]").await.unwrap();
    db.psql("INSERT INTO open SELECT n FROM generate_series(2, 50) n");
    let told = feed.changes(&db).await;
    assert!(!told.is_empty() && told.iter().all(|change| change.kind == ChangeKind::FlushTable), "{told:?}");
    assert!(told.len() < 49, "the number of rows shows");
}

#[tokio::test]
async fn and_nobody_needs_rights_on_the_extension_to_write() {
    let db = with_reader("only_writes");
    db.psql(
        "REVOKE cache_sync_user FROM only_writes; CREATE TABLE v (id int PRIMARY KEY, v int);
         SELECT cache_sync.attach('v', versioned => true); GRANT SELECT, INSERT, UPDATE, DELETE ON v TO only_writes",
    );
    let mut feed = Feed::open(&db).await;
    for statement in ["INSERT INTO v VALUES (1, 0)", "UPDATE v SET v = 1", "DELETE FROM v"] {
        db.psql(&format!("SET ROLE only_writes; {statement}"));
        assert_eq!(feed.changes(&db).await.len(), 1, "{statement}");
    }
    let refused = db.psql_error("SET ROLE only_writes; SELECT cache_sync.hlc()");
    assert!(refused.contains("42501"), "{refused}");
}

/// Whoever makes a trigger of ours on a table of his own, under another one's number, would see his keys hashed as that one's are, and
/// tell everybody of changes that nobody made.
#[tokio::test]
async fn by_a_trigger_under_anothers_number() {
    let db = with_reader("forges_changes");
    db.psql(
        "CREATE SCHEMA mine AUTHORIZATION forges_changes; SET ROLE forges_changes;
         CREATE TABLE mine.t (id int PRIMARY KEY, cs_version bigint);
         CREATE TRIGGER x AFTER INSERT OR UPDATE ON mine.t FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('2');
         CREATE TABLE mine.p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE mine.part PARTITION OF mine.p DEFAULT;
         CREATE TRIGGER x AFTER INSERT ON mine.p FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('2')",
    );
    let mut feed = Feed::open(&db).await;
    db.psql(
        "SET ROLE forges_changes; INSERT INTO mine.t VALUES (1, 1); UPDATE mine.t SET cs_version = 2; INSERT INTO mine.p VALUES (1);
         RESET ROLE; UPDATE open SET v = 1",
    );
    assert_eq!(feed.changes(&db).await.iter().map(|change| change.table.0).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn nor_do_those_who_ask_hear_how_many() {
    let db = with_reader("asks_for_few");
    db.psql("ALTER TABLE open ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON open FOR SELECT USING (id < 0)");
    db.psql("INSERT INTO open SELECT n FROM generate_series(2, 50) n");
    let told = "SET ROLE asks_for_few; SELECT kind FROM cache_sync.changes() WHERE tbl = 'open'::regclass";
    assert_eq!(db.psql(told), "flush_table");
}
