//! DDL pays for what it concerns, and not for what else is attached. Counted, not timed: how often functions of ours are called.

use cache_sync_tests::dump::{dump, restore};
use cache_sync_tests::{Database, cluster};

/// How often functions of ours are called by these commands; what a session does first, reading its tables for one, is done before.
fn calls(db: &Database<'_>, commands: &str) -> i64 {
    let of_ours = "coalesce(sum(calls), 0) FROM pg_stat_xact_user_functions WHERE schemaname LIKE 'cache_sync%'";
    db.psql(&format!(
        "SET track_functions = 'all'; BEGIN; {commands}; ROLLBACK; BEGIN; {commands}; SELECT {of_ours}; ROLLBACK"
    ))
    .lines()
    .last()
    .unwrap()
    .parse()
    .unwrap()
}

fn attach(db: &Database<'_>, tables: std::ops::Range<u32>) {
    for table in tables {
        db.psql(&format!(
            "CREATE TABLE parts_{table} (id int PRIMARY KEY) PARTITION BY LIST (id);
             CREATE TABLE part_{table} PARTITION OF parts_{table} DEFAULT; SELECT cache_sync.attach('parts_{table}')"
        ));
    }
}

/// The same with eleven more tables, but for a call or two by which plans of the same query differ.
fn assert_same(before: &[i64], after: &[i64]) {
    for (before, after) in before.iter().zip(after) {
        assert!((before - after).abs() < 4, "{before} calls, and {after} with more tables");
    }
}

const UNATTACHED: [&str; 6] = [
    "ALTER TABLE other ADD w int",
    "ALTER TABLE other RENAME v TO w",
    "CREATE TEMP TABLE passing (id int)",
    "CREATE TABLE made (id int PRIMARY KEY, v int); DROP TABLE made",
    "CREATE INDEX ON other (v)",
    "GRANT SELECT ON other TO PUBLIC",
];

/// Each ALTER TABLE asked each attached table whether it was meant (34 ms with 1000 attached), and each CREATE TEMP TABLE looked at
/// each partition in the database.
#[test]
fn of_a_table_that_is_not_attached_is_the_same_however_many_are() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE other (id int PRIMARY KEY, v int)");
    attach(&db, 0..1);
    let before = UNATTACHED.map(|ddl| calls(&db, ddl));
    attach(&db, 1..12);
    assert_same(&before, &UNATTACHED.map(|ddl| calls(&db, ddl)));
    // Those that cannot concern an attached table are not looked at.
    assert_eq!(before[4..], [0, 0]);
}

/// A table's own commands look at that table.
#[test]
fn of_an_attached_table_is_the_same_however_many_are() {
    let db = Database::with_extension();
    attach(&db, 0..1);
    let ddl = ["ALTER TABLE parts_0 ADD v int", "ALTER TABLE part_0 ADD CHECK (id > 0)", "DROP TABLE part_0"];
    let before = ddl.map(|ddl| calls(&db, ddl));
    attach(&db, 1..12);
    let after = ddl.map(|ddl| calls(&db, ddl));
    assert_same(&before[..2], &after[..2]);
    assert!(before[0] > 0);
}

/// Attaching made two commands for each partition, each of which our own event trigger looked at, each time at all partitions of
/// the database: 3 to 6 s for 200, and 174 s for 400 in a full database, all the while under a lock that stops writers.
#[test]
fn attaching_is_no_ddl_for_each_partition() {
    let db = Database::with_extension();
    let parted = |name: &str, parts: u32| {
        db.psql(&format!("CREATE TABLE {name} (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)"));
        for part in 0..parts {
            let (from, to) = (part * 10, part * 10 + 10);
            db.psql(&format!("CREATE TABLE {name}_{part} PARTITION OF {name} FOR VALUES FROM ({from}) TO ({to})"));
        }
    };
    parted("few", 2);
    parted("many", 22);
    for versioned in [false, true] {
        let of = |name: &str| calls(&db, &format!("SELECT cache_sync.attach('{name}', versioned => {versioned})"));
        // One call for each makes the trigger that Postgres does not pass on to partitions.
        assert_eq!(of("many") - of("few"), 20);
    }
    db.psql("SELECT cache_sync.attach('many', true)");
    assert_eq!(db.psql("SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%cache_sync%' AND tgenabled = 'A'"), "69");
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.check_tables()"), "0");
}

/// pg_restore makes primary keys by several jobs. The first one's ALTER TABLE matched the fields of each table that was there
/// already, and all others waited until its transaction ended: with a large index, for hours.
#[tokio::test]
async fn jobs_of_a_restore_do_not_wait_for_each_other() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE one (id int PRIMARY KEY, v int); SELECT cache_sync.attach('one')");
    let file = dump(&db, "archive", &["--format=custom"]);
    let restored = Database::empty_in(cluster());
    restore(&restored, &file, &["--section=pre-data", "--section=data"]);
    restored.psql("CREATE TABLE large (id int); CREATE TABLE small (id int); ALTER TABLE one ADD PRIMARY KEY (id)");
    let first = restored.connect().await;
    first.batch_execute("BEGIN; ALTER TABLE large ADD PRIMARY KEY (id)").await.unwrap();
    restored.psql("SET lock_timeout = '10s'; ALTER TABLE small ADD PRIMARY KEY (id)");
    first.batch_execute("COMMIT").await.unwrap();
}
