//! When a feed is refused, when it ends, and that writers go on whatever happens to the extension.

use cache_sync_core::wire::{Body, ChangeKind};
use cache_sync_tests::feed::Feed;
use cache_sync_tests::{Database, start, unsynced};

#[tokio::test]
async fn it_is_refused_with_a_reason() {
    let db = Database::with_extension();
    for (sql, sqlstate) in [
        ("BEGIN; CALL cache_sync.stream()", "25001"),
        ("CALL cache_sync.stream(ARRAY[77])", "CS005"),
        ("CALL cache_sync.stream(ARRAY[NULL::int])", "22004"),
        ("SELECT cache_sync.key_hash('pg_class', '{}')", "CS005"),
        ("SELECT * FROM cache_sync.changes(max_rows => 0)", "22023"),
    ] {
        let refused = db.psql_error(sql);
        assert!(refused.contains(sqlstate), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn it_ends_when_it_is_cancelled_and_the_connection_lives_on() {
    let db = Database::with_extension();
    let feed = Feed::open(&db).await;
    db.psql(&format!("SELECT pg_cancel_backend({})", feed.pid));
    let pid = feed.pid;
    let end = feed.end().await;
    assert!(end.starts_with("57014"), "{end}");
    assert_eq!(db.psql(&format!("SELECT count(*) FROM cache_sync.listeners WHERE pid = {pid}")), "0");
}

#[tokio::test]
async fn it_ends_with_the_extension_and_another_one_is_another_epoch() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t')");
    let feed = Feed::open(&db).await;
    let before = feed.start.clone();
    db.psql("DROP EXTENSION cache_sync CASCADE; INSERT INTO t VALUES (1, 0); UPDATE t SET v = 1");
    let end = feed.end().await;
    assert!(end.starts_with("55000"), "{end}");
    db.psql("CREATE EXTENSION cache_sync; SELECT cache_sync.attach('t')");
    let arguments = format!("NULL, {}, {}", before.epoch, before.position);
    let feed = Feed::call(&db.dsn(), &arguments).await.unwrap();
    assert_ne!(feed.start.epoch, before.epoch);
    assert_eq!(feed.start.body, Body::Start { resumed: false });
}

#[tokio::test]
async fn writers_go_on_whatever_becomes_of_the_table() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0); SELECT cache_sync.attach('t')");
    let writer = db.connect().await;
    let mut feed = Feed::open(&db).await;
    for (ddl, kind) in [
        ("ALTER TABLE t ADD extra int DEFAULT 5", ChangeKind::Unversioned),
        ("ALTER TABLE t RENAME id TO ident", ChangeKind::Unversioned),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey", ChangeKind::FlushTable),
        // Clients know its rows by another key.
        ("ALTER TABLE t ADD PRIMARY KEY (ident, extra)", ChangeKind::FlushTable),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (ident)", ChangeKind::Unversioned),
        ("ALTER TABLE t ALTER ident TYPE numeric", ChangeKind::FlushTable),
        ("ALTER TABLE t ALTER ident TYPE bigint", ChangeKind::Unversioned),
        ("DELETE FROM cache_sync.attached", ChangeKind::FlushTable),
    ] {
        db.psql(ddl);
        if !ddl.starts_with("DELETE") {
            let told = feed.changes(&db).await;
            assert!(
                told.iter().all(|change| change.kind == ChangeKind::FlushTable) && !told.is_empty(),
                "{ddl}: {told:?}"
            );
        }
        // A connection that has written to the table before.
        writer.batch_execute("UPDATE t SET v = v + 1").await.unwrap();
        let head = db.psql("SELECT feed_position FROM cache_sync.feed_head()").parse().unwrap();
        if ddl.starts_with("DELETE") {
            continue;
        }
        let told = feed.changes_up_to(head).await;
        assert!(told.iter().any(|change| change.kind == kind), "{ddl}: {told:?}");
    }
}

/// Nobody tells of the table any more, and who reads it finds out by looking again.
#[tokio::test]
async fn a_table_that_is_detached_is_told_as_changed() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE v (id int PRIMARY KEY); SELECT cache_sync.attach('t'), cache_sync.attach('v', true)");
    for table in ["t", "v"] {
        let mut feed = Feed::open(&db).await;
        let id: i32 = db
            .psql(&format!("SELECT table_id FROM cache_sync.tables WHERE tbl = '{table}'::regclass"))
            .parse()
            .unwrap();
        db.psql(&format!("SELECT cache_sync.detach('{table}')"));
        let told = feed.changes(&db).await;
        assert!(
            !told.is_empty() && told.iter().all(|change| (change.table.0, change.kind) == (id, ChangeKind::FlushTable)),
            "{told:?}"
        );
    }
}

/// What is done to tables from then on nobody tells, so no message may say that everything has been told until then.
#[tokio::test]
async fn it_claims_nothing_once_the_extension_is_gone() {
    let cluster = start(unsynced().setting("cache_sync.heartbeat_interval", "60s"));
    let (db, other) = (Database::with_extension_in(&cluster), Database::with_extension_in(&cluster));
    for db in [&db, &other] {
        db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t')");
    }
    let feed = Feed::open(&db).await;
    db.psql("DROP EXTENSION cache_sync CASCADE");
    other.psql("INSERT INTO t VALUES (1, 0)");
    let end = feed.end().await;
    assert!(end.starts_with("55000"), "{end}");
}
