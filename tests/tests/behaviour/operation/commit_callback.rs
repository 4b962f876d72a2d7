//! What runs at the commit neither allocates nor logs, raises or panics: the tests' build of the library ends the process where it
//! would. Whether that works is tried first, then it does its work under it.

use cache_sync_cluster::{Cluster, Variant};
use cache_sync_kit::Dice;
use cache_sync_tests::feed::Feed;
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::fs;

fn cluster() -> Cluster {
    start(
        unsynced()
            .variant(Variant::TestFaults)
            .setting("cache_sync.ring_size", "1024")
            .setting("cache_sync.send_timeout", "60s"),
    )
}

#[tokio::test]
async fn what_must_not_happen_there_is_caught() {
    let cluster = cluster();
    let db = Database::with_extension_in(&cluster);
    db.psql("CREATE TABLE t (id int PRIMARY KEY); SELECT cache_sync.attach('t')");
    for (misbehaviour, caught) in [
        (1, "cache_sync: the commit callback allocated\n"),
        (2, "was terminated by signal 11"),
        (3, "cache_sync: the commit callback logged or raised\n"),
        (4, "cache_sync: the commit callback logged or raised\n"),
        (5, "cache_sync: the commit callback allocated\n"),
    ] {
        let before = fs::read_to_string(cluster.log_file()).unwrap().len();
        let lost = db.psql_error(&format!(
            "SET cache_sync.misbehave_at_commit = {misbehaviour}; INSERT INTO t VALUES ({misbehaviour})"
        ));
        assert!(lost.contains("connection"), "{misbehaviour}: {lost}");
        // Before it begins anew the server still takes connections.
        wait_until(
            SOON,
            &format!("misbehaviour {misbehaviour} is in the log, and the server's new beginning"),
            async || {
                let log = fs::read_to_string(cluster.log_file()).unwrap();
                [caught, "reinitializing"].iter().all(|line| log[before..].contains(line))
            },
        )
        .await;
        db.until_back().await;
    }
}

/// Every kind of transaction, while feeds wait to be woken, while the ring wraps, and while it is overrun.
#[tokio::test(flavor = "multi_thread")]
async fn it_does_its_work_under_guard() {
    let cluster = cluster();
    let db = Database::with_extension_in(&cluster);
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v int, g int); CREATE TABLE plain (id text PRIMARY KEY, v int);
         CREATE TABLE parts (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (50); CREATE TABLE high PARTITION OF parts DEFAULT;
         CREATE TABLE many ();
         SELECT cache_sync.attach('t', versioned => true, rules => '{\"v\": \"add\"}', tags => '{g}'), cache_sync.attach('plain'),
                cache_sync.attach('parts', true)",
    );
    let started = db.psql("SELECT pg_postmaster_start_time(), cache_sync.epoch()");
    let (mut one, two) = (Feed::open(&db).await, Feed::open(&db).await);
    two.stop_reading();
    let mut dice = Dice::new(11);
    let statements = [
        "INSERT INTO t SELECT n, 0, n % 7 FROM generate_series(1, 200) n ON CONFLICT DO NOTHING",
        "UPDATE t SET v = v + 1 WHERE id % 10 = 3",
        "UPDATE t SET id = id + 1000 WHERE id = 5 AND NOT EXISTS (SELECT FROM t WHERE id = 1005)",
        "DELETE FROM t WHERE id > 150",
        "INSERT INTO plain SELECT n::text, n FROM generate_series(1, 5000) n ON CONFLICT (id) DO UPDATE SET v = plain.v + 1",
        "BEGIN; INSERT INTO plain VALUES ('x', 1) ON CONFLICT DO NOTHING; SAVEPOINT s; DELETE FROM plain WHERE v % 3 = 0; ROLLBACK TO s; COMMIT",
        "BEGIN; UPDATE plain SET v = 0; ROLLBACK",
        "TRUNCATE plain",
        "INSERT INTO parts SELECT n, n FROM generate_series(1, 100) n ON CONFLICT DO NOTHING",
        "UPDATE parts SET id = 100 - id + 1000 WHERE id < 10 AND NOT EXISTS (SELECT FROM parts WHERE id > 1000)",
        "TRUNCATE low",
        "ALTER TABLE t ADD IF NOT EXISTS extra int",
        "SELECT cache_sync.edit('t', '{\"id\": 1}', '{\"v\": 2}'), cache_sync.upsert('t', '{\"id\": 2, \"v\": 2, \"g\": 1}')",
        "DO $$ BEGIN FOR n IN 1..50 LOOP UPDATE t SET v = v + 1 WHERE id = n; COMMIT; END LOOP; END $$",
    ];
    for _ in 0..10 * statements.len() {
        let statement = statements[dice.below(statements.len() as u64) as usize];
        db.try_psql(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    // More tables as a whole than a transaction can list.
    db.psql(
        "DO $$ BEGIN FOR n IN 5000..6100 LOOP EXECUTE format('CREATE OR REPLACE TRIGGER t AFTER TRUNCATE ON many
         EXECUTE FUNCTION cache_sync.note_truncate(%s)', n); TRUNCATE many; END LOOP; END $$",
    );
    two.read_on();
    db.psql("INSERT INTO t VALUES (5000, 0, 0)");
    let told = async || db.psql("SELECT bool_and(lag = 0), count(*) FROM cache_sync.listeners") == "t|2";
    wait_until(SOON, "everything has been told", told).await;
    assert!(one.next(SOON).await.is_some());
    assert_eq!(db.psql("SELECT pg_postmaster_start_time(), cache_sync.epoch()"), started, "nothing was caught");
}
