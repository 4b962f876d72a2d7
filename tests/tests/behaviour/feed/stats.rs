//! What operators see of the feed.

use cache_sync_tests::feed::Feed;
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};

fn stats(db: &Database<'_>) -> Vec<i64> {
    let row = db
        .psql("SELECT published, delivered, gaps, flushes, held, coalesce(slowest_lag, -1) FROM cache_sync.feed_stats");
    row.split('|').map(|number| number.parse().unwrap()).collect()
}

async fn until(db: &Database<'_>, expected: [i64; 6]) {
    wait_until(SOON, &format!("feed_stats says {expected:?}"), async || stats(db) == expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_told_and_missed_is_counted() {
    let cluster = start(unsynced().setting("cache_sync.ring_size", "1024").setting("cache_sync.send_timeout", "60s"));
    let db = Database::with_extension_in(&cluster);
    let other = Database::with_extension_in(&cluster);
    for db in [&db, &other] {
        db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY); SELECT cache_sync.attach('t'), cache_sync.attach('u')");
    }
    until(&db, [0, 0, 0, 0, 0, -1]).await;
    db.psql("INSERT INTO t SELECT n FROM generate_series(1, 10) n");
    db.psql("BEGIN; DELETE FROM t; ROLLBACK");
    until(&db, [10, 0, 0, 0, 10, -1]).await;
    let (one, two) = (Feed::open(&db).await, Feed::open(&db).await);
    let elsewhere = Feed::open(&other).await;
    db.psql("UPDATE t SET v = 1; TRUNCATE u");
    // Two feeds told of 11 changes, and one of none.
    until(&db, [21, 22, 0, 1, 21, 0]).await;
    let told = db.psql("SELECT string_agg(delivered::text, ' ' ORDER BY delivered) FROM cache_sync.listeners");
    assert_eq!(told, "0 11 11");
    // A client that has stopped reading falls behind by more than the ring holds.
    one.stop_reading();
    elsewhere.stop_reading();
    let lag = format!("SELECT lag FROM cache_sync.listeners WHERE pid = {}", one.pid);
    while db.psql(&lag).parse::<i64>().unwrap() < 2000 {
        db.psql(
            "DO $$ BEGIN FOR n IN 1..200 LOOP INSERT INTO u SELECT n * 1000 + m FROM generate_series(1, 1000) m;
                 COMMIT; DELETE FROM u; COMMIT; END LOOP; END $$",
        );
    }
    let seen = stats(&db);
    assert_eq!(seen[4], 1024);
    assert!(seen[5] >= 2000, "{seen:?}");
    assert!(
        [one.pid, elsewhere.pid].contains(&db.psql("SELECT slowest_pid FROM cache_sync.feed_stats").parse().unwrap())
    );
    let gaps_of =
        |pid: i32| db.psql(&format!("SELECT gaps FROM cache_sync.listeners WHERE pid = {pid}")).parse::<i64>().unwrap();
    let gaps = gaps_of(one.pid);
    one.read_on();
    wait_until(SOON, "the slow one is told of its gap", async || gaps_of(one.pid) > gaps).await;
    assert!(stats(&db)[2] > gaps);
    let before = db.psql("SELECT changes, flushes FROM cache_sync.table_stats WHERE tbl = 't'::regclass");
    assert_eq!(before, "20|0");
    let of_u = db.psql("SELECT changes >= 400000, flushes FROM cache_sync.table_stats WHERE tbl = 'u'::regclass");
    assert_eq!(of_u, "t|1");
    assert_eq!(
        other.psql("SELECT changes, flushes FROM cache_sync.table_stats ORDER BY table_id"),
        "|\n|",
        "nothing changed there"
    );
    drop(two);
    cluster.restart_immediate().unwrap();
    until(&db, [0, 0, 0, 0, 0, -1]).await;
}

/// Tables beyond those that have places are not counted by themselves, and nothing else becomes of them.
#[tokio::test]
async fn more_tables_than_are_counted() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    db.psql("CREATE TABLE t (id int PRIMARY KEY); SELECT cache_sync.attach('t'); INSERT INTO t VALUES (1)");
    db.psql("CREATE TABLE many ()");
    let mut feed = Feed::open(&db).await;
    db.psql(
        "DO $$ BEGIN FOR n IN 1000..2200 LOOP EXECUTE format('CREATE OR REPLACE TRIGGER t AFTER TRUNCATE ON many
         EXECUTE FUNCTION cache_sync.note_truncate(%s)', n); TRUNCATE many; COMMIT; END LOOP; END $$",
    );
    assert_eq!(stats(&db)[..4], [1202, 0, 0, 1201]);
    db.psql("INSERT INTO t VALUES (2)");
    assert_eq!(feed.changes(&db).await.len(), 1);
    assert_eq!(db.psql("SELECT changes FROM cache_sync.table_stats"), "2");
}

/// Neither are counts of tables that one may not read.
#[tokio::test]
async fn counts_are_told_to_those_who_may_read_the_table() {
    let db = Database::with_extension();
    db.psql("CREATE ROLE counting LOGIN; GRANT cache_sync_user TO counting;
        CREATE TABLE shown (id int PRIMARY KEY); CREATE TABLE hidden (id int PRIMARY KEY); CREATE TABLE partly (id int PRIMARY KEY);
        ALTER TABLE partly ENABLE ROW LEVEL SECURITY; GRANT SELECT ON shown, partly TO counting;
        SELECT cache_sync.attach('shown'), cache_sync.attach('hidden'), cache_sync.attach('partly')");
    db.psql("INSERT INTO shown VALUES (1); INSERT INTO hidden VALUES (1); INSERT INTO partly VALUES (1)");
    let rows = "SELECT tbl, changes FROM cache_sync.table_stats ORDER BY table_id";
    assert_eq!(db.psql(rows), "shown|1\nhidden|1\npartly|1");
    let as_counting = |sql: &str| db.psql(&format!("SET SESSION AUTHORIZATION counting; {sql}"));
    assert_eq!(as_counting(rows), "shown|1");
    let shown = db.psql("SELECT table_id FROM cache_sync.attached WHERE tbl = 'shown'::regclass");
    assert_eq!(
        as_counting("SELECT table_id, changes, flushes FROM cache_sync_internal.table_stats_now()"),
        format!("{shown}|1|0")
    );
}
