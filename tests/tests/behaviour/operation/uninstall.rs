//! What stays when the extension goes.

use cache_sync_tests::{Database, cluster};

const TABLES: &str = "CREATE TABLE plain (id int PRIMARY KEY, v text);
     CREATE TABLE versioned (id int PRIMARY KEY, v text DEFAULT 'x', n int);
     CREATE TABLE parts (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
     CREATE TABLE part_a PARTITION OF parts FOR VALUES IN ('a');
     INSERT INTO plain VALUES (1, 'one'); INSERT INTO versioned VALUES (1, 'one'); INSERT INTO parts VALUES (1, 'a', 'one')";

const ATTACH: &str = "SELECT cache_sync.attach('plain');
     SELECT cache_sync.attach('versioned', versioned => true, rules => '{\"n\": \"add\"}');
     SELECT cache_sync.attach('parts', versioned => true)";

#[test]
fn dropped_with_cascade_leaves_tables_that_take_writes() {
    let db = Database::with_extension();
    db.psql(TABLES);
    db.psql(ATTACH);
    db.psql("DROP EXTENSION cache_sync CASCADE");
    for table in ["plain", "versioned"] {
        db.psql(&format!("INSERT INTO {table} (id, v) VALUES (2, 'two'); UPDATE {table} SET v = v || '!'"));
        assert_eq!(db.psql(&format!("SELECT string_agg(v, ',' ORDER BY id) FROM {table}")), "one!,two!");
        db.psql(&format!("DELETE FROM {table}; TRUNCATE {table}"));
    }
    db.psql("INSERT INTO parts VALUES (2, 'a', 'two'); UPDATE parts SET v = v || '!'; TRUNCATE parts");
}

#[test]
fn detach_all_with_columns_leaves_the_catalog_as_before() {
    let db = Database::empty_in(cluster());
    db.psql(TABLES);
    let before = db.schema();
    db.psql("CREATE EXTENSION cache_sync");
    db.psql(ATTACH);
    assert_ne!(db.schema(), before);
    db.psql("SELECT cache_sync.detach_all(true); DROP EXTENSION cache_sync; DROP SCHEMA IF EXISTS cache_sync");
    assert_eq!(db.schema(), before);
    db.psql("UPDATE versioned SET v = 'still there'");
}
