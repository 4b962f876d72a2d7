//! Versions and stamps from a server whose clock ran ahead, or from whoever made them up: what is written now is written over them, the
//! numbers of a row only rise, and nobody sets the clock of the server by them.

use cache_sync_tests::{Database, start, unsynced};

fn pages(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE page (path text PRIMARY KEY, title text, hits int NOT NULL DEFAULT 0);
         SELECT cache_sync.attach('page', versioned => true, rules => '{\"hits\": \"add\"}')",
    );
}

/// How far the server's clock is ahead of its wall clock, in milliseconds.
fn ahead(db: &Database<'_>) -> i64 {
    let micros = "(cache_sync.hlc() - (extract(epoch FROM clock_timestamp()) * 1e6)::bigint)";
    db.psql(&format!("SELECT {micros} / 1000")).parse().unwrap()
}

/// The kinds of the changes that `sql` makes, in their order.
fn told(db: &Database<'_>, sql: &str) -> String {
    let place = db.psql("SELECT epoch || ', ' || feed_position FROM cache_sync.feed_head()");
    db.psql(sql);
    db.psql(&format!("SELECT string_agg(kind, ' ') FROM cache_sync.changes({place}) WHERE tbl = 'page'::regclass"))
}

/// The rows were written while the clock ran three seconds ahead, which has been set right since.
#[tokio::test]
async fn what_sql_writes_now_wins_over_what_is_still_to_come() {
    let db = Database::with_extension();
    pages(&db);
    let outcome = |call: &str| db.psql(&format!("SELECT outcome FROM cache_sync.{call}"));
    let version = || db.psql("SELECT cs_version FROM page WHERE path = 'a'").parse::<i64>().unwrap();
    db.psql_as_replica(
        "INSERT INTO page (path, title, cs_version) SELECT unnest('{a,b}'::text[]), 'old', cache_sync.hlc() + 3000000",
    );
    let before = version();
    assert_eq!(outcome("edit('page', '{\"path\": \"a\"}', '{\"title\": \"new\"}')"), "applied");
    assert_eq!(outcome("upsert('page', '{\"path\": \"a\", \"title\": \"newer\"}')"), "applied");
    assert_eq!(db.psql("SELECT title FROM page WHERE path = 'a'"), "newer");
    let after = version();
    assert!(after > before, "the versions of a row rise");
    assert_eq!(told(&db, "UPDATE page SET title = 'newest' WHERE path = 'a'"), "versioned");
    assert!(version() > after);
    assert_eq!(outcome("delete('page', '{\"path\": \"b\"}')"), "applied");
    assert_eq!(db.psql("SELECT count(*) FROM page"), "1");
    assert!(ahead(&db) < 1_000, "{}", ahead(&db));
}

/// Whoever may insert rows cannot set the clock, step by step, to tomorrow; and a version from there says nothing about order.
#[tokio::test]
async fn nobody_sets_the_clock_by_what_he_inserts() {
    let db = Database::with_extension();
    pages(&db);
    db.psql_as_replica(
        "INSERT INTO page (path, cs_version) SELECT n, (extract(epoch FROM clock_timestamp()) * 1e6)::bigint + n * 4900000::bigint
         FROM generate_series(1, 2000) n",
    );
    assert!(ahead(&db) < 1_000, "{} ms ahead", ahead(&db));
    db.psql("UPDATE page SET title = 'x'");
    assert!(ahead(&db) < 1_000, "{} ms ahead", ahead(&db));
    assert_eq!(told(&db, "UPDATE page SET title = 'y' WHERE path = '2000'"), "versioned", "its version is of now");
    db.psql_as_replica("INSERT INTO page (path, cs_version) VALUES ('tomorrow', cache_sync.hlc() + 86400000000)");
    assert_eq!(told(&db, "UPDATE page SET title = 'z' WHERE path = 'tomorrow'"), "unversioned");
    assert_eq!(told(&db, "UPDATE page SET title = 'z' WHERE path = 'tomorrow'"), "versioned");
}

/// Each call of `hlc()` is more than the one before, so whoever called it faster than microseconds pass moved the clock of all ahead, by
/// as long as he went on. After a restart the versions and stamps from then were not plausible any more, and older writes won.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sets_the_clock_by_asking_for_it() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    pages(&db);
    let ask = "SELECT count(cache_sync.hlc() + n) FROM generate_series(1, 2000000) n";
    let asking = [db.connect().await, db.connect().await]
        .map(|client| tokio::spawn(async move { client.batch_execute(ask).await }));
    for asked in asking {
        asked.await.unwrap().unwrap();
    }
    assert!(ahead(&db) < 2_000, "{} ms ahead", ahead(&db));
    db.psql("INSERT INTO page (path, title) VALUES ('a', 'before')");
    cluster.restart_immediate().unwrap();
    // What was written before the restart still counts.
    let version = || db.psql("SELECT cs_version FROM page").parse::<i64>().unwrap();
    let before = version();
    db.psql("UPDATE page SET title = 'after'");
    assert!(version() > before);
}
