//! A transaction that changed more keys than could be listed told of all its tables as changed as a whole, also of one with a single
//! row: whoever held a million rows of that loaded them again. The limit is each table's own.

use cache_sync_core::wire::{Change, ChangeKind};
use cache_sync_tests::feed::Feed;
use cache_sync_tests::{Database, start, unsynced};
use std::collections::BTreeMap;

/// Of each table by its number: the changes told one by one, or `None` when it was told as a whole.
fn by_tables(changes: &[Change]) -> BTreeMap<i32, Option<usize>> {
    let mut tables = BTreeMap::new();
    for change in changes {
        let count = tables.entry(change.table.0).or_insert(Some(0));
        match change.kind {
            ChangeKind::FlushTable => *count = None,
            _ => *count = count.map(|count| count + 1),
        }
    }
    tables
}

fn with_tables(count: usize) -> Database<'static> {
    let db = Database::with_extension();
    for n in 1..=count {
        db.psql(&format!(
            "CREATE TABLE t{n} (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t{n}', tags => '{{v}}')"
        ));
    }
    db
}

async fn told(db: &Database<'_>, feed: &mut Feed, sql: &str) -> BTreeMap<i32, Option<usize>> {
    db.psql(sql);
    by_tables(&feed.changes(db).await)
}

#[tokio::test]
async fn of_one_table_leave_the_keys_of_another_as_they_are() {
    let db = with_tables(3);
    let mut feed = Feed::open(&db).await;
    // A row is told by its key and the value of its tag.
    let one = "INSERT INTO t1 VALUES (1, 0)";
    let two = "INSERT INTO t3 VALUES (1, 0), (2, 0)";
    let many = "INSERT INTO t2 SELECT n, 0 FROM generate_series(1, 5000) n";
    let all = told(&db, &mut feed, &format!("BEGIN; {one}; {many}; {two}; COMMIT")).await;
    assert_eq!(all, BTreeMap::from([(1, Some(2)), (2, None), (3, Some(3))]));
    // In turns, so that the keys of both are among each other when one of them gets too many.
    let in_turns = "DO $$ BEGIN FOR n IN 1..5000 LOOP DELETE FROM t2 WHERE id = n;
                    IF n % 5 = 0 THEN INSERT INTO t1 VALUES (n, n % 2); END IF; END LOOP; END $$";
    assert_eq!(told(&db, &mut feed, in_turns).await, BTreeMap::from([(1, Some(1002)), (2, None)]));
    // The next transaction begins anew.
    assert_eq!(told(&db, &mut feed, "DELETE FROM t1 WHERE id <= 10").await, BTreeMap::from([(1, Some(5))]));
}

#[tokio::test]
async fn the_limit_is_a_setting() {
    let db = with_tables(2);
    let mut feed = Feed::open(&db).await;
    let insert =
        |table: u32, from: u32, to: u32| format!("INSERT INTO t{table} SELECT n FROM generate_series({from}, {to}) n");
    let with = |limit: u32, sql: String| format!("SET cache_sync.max_transaction_keys = {limit}; BEGIN; {sql}; COMMIT");
    // The tag's value, null, is one of them.
    assert_eq!(told(&db, &mut feed, &with(100, insert(1, 1, 99))).await[&1], Some(100));
    assert_eq!(told(&db, &mut feed, &with(100, insert(1, 101, 200))).await[&1], None);
    assert_eq!(told(&db, &mut feed, &with(16_384, insert(1, 1_001, 17_383))).await[&1], Some(16_384));
    assert_eq!(told(&db, &mut feed, &with(0, insert(1, 20_000, 20_000))).await[&1], None);
    // It is looked at again with each key.
    let raised =
        format!("{}; SET LOCAL cache_sync.max_transaction_keys = 50; {}", insert(1, 30_001, 30_080), insert(2, 1, 3));
    assert_eq!(told(&db, &mut feed, &with(100, raised)).await, BTreeMap::from([(1, Some(81)), (2, Some(4))]));
    // A role's or a database's, too.
    db.psql(&format!("ALTER DATABASE {} SET cache_sync.max_transaction_keys = 5", db.name()));
    assert_eq!(told(&db, &mut feed, &insert(1, 40_001, 40_010)).await[&1], None);
}

/// What is kept for a transaction is bounded: where all tables together have too many keys, those with the most are told as a whole.
#[tokio::test]
async fn of_all_tables_together() {
    let db = with_tables(6);
    let mut feed = Feed::open(&db).await;
    let insert = |table: usize, rows: usize| format!("INSERT INTO t{table} SELECT n FROM generate_series(1, {rows}) n");
    let rows = [3_000, 4_000, 3_500, 3_200, 2_000, 5_000];
    let inserts: Vec<String> = rows.iter().enumerate().map(|(table, rows)| insert(table + 1, *rows)).collect();
    let all = told(&db, &mut feed, &format!("BEGIN; {}; COMMIT", inserts.join("; "))).await;
    // The last one is beyond its own limit; the largest of the others had to make room for it before that showed.
    assert_eq!(
        all,
        BTreeMap::from([(1, Some(3_001)), (2, None), (3, Some(3_501)), (4, Some(3_201)), (5, Some(2_001)), (6, None)])
    );
}

/// Tables beyond those whose keys are counted.
#[tokio::test]
async fn of_more_tables_than_are_counted() {
    // Of its own: a server counts so many tables for its operators.
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    db.psql("CREATE TABLE t (id int PRIMARY KEY); SELECT cache_sync.attach('t')");
    // Attached tables, without the time that it takes to attach them.
    db.psql(
        "DO $$ BEGIN FOR n IN 1001..2100 LOOP EXECUTE format('CREATE TABLE many_%s (id int PRIMARY KEY);
         CREATE TRIGGER t AFTER INSERT ON many_%1$s FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change(%1$s);
         INSERT INTO cache_sync.attached (table_id, tbl, rel_oid, versioned)
         SELECT %1$s, c.oid, c.oid, false FROM pg_class c WHERE c.relname = %2$L', n, 'many_' || n); COMMIT; END LOOP; END $$",
    );
    let mut feed = Feed::open(&db).await;
    db.psql(
        "BEGIN; INSERT INTO t VALUES (1); DO $$ BEGIN FOR n IN 1001..2100 LOOP
         EXECUTE format('INSERT INTO many_%s SELECT generate_series(1, 15)', n); END LOOP; END $$; COMMIT",
    );
    let told = by_tables(&feed.changes(&db).await);
    assert_eq!((told.len(), told[&1]), (1_101, Some(1)));
    let as_a_whole = told.values().filter(|count| count.is_none()).count();
    assert!((1..20).contains(&as_a_whole), "{as_a_whole}");
}

/// A table that was emptied after its rows had been written has its keys listed, too, until somebody needs their places.
#[tokio::test]
async fn of_a_table_that_counts_as_a_whole_already() {
    let db = with_tables(5);
    let mut feed = Feed::open(&db).await;
    let insert = |table: usize, rows: usize| format!("INSERT INTO t{table} SELECT n FROM generate_series(1, {rows}) n");
    let inserts = [insert(2, 4_000), insert(3, 4_000), insert(4, 4_000), insert(5, 1_000)].join("; ");
    let all = told(&db, &mut feed, &format!("BEGIN; {}; TRUNCATE t1; {inserts}; COMMIT", insert(1, 4_090))).await;
    assert_eq!(
        all,
        BTreeMap::from([(1, None), (2, Some(4_001)), (3, Some(4_001)), (4, Some(4_001)), (5, Some(1_001))])
    );
}
