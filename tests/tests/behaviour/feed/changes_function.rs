//! `changes()`, the feed for those who ask instead of waiting.

use cache_sync_tests::{Database, start, unsynced};

fn cluster_of_its_own() -> cache_sync_cluster::Cluster {
    start(unsynced().setting("cache_sync.ring_size", "1024"))
}

#[test]
fn tells_what_changed_since_a_position() {
    let cluster = cluster_of_its_own();
    let db = Database::with_extension_in(&cluster);
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t', versioned => true)");
    let kinds = |arguments: &str| {
        db.psql(&format!(
            "SELECT string_agg(kind, ' ' ORDER BY n) FROM cache_sync.changes({arguments}) WITH ORDINALITY
                          AS c(epoch, feed_position, tbl, key_hash, version, kind, n)"
        ))
    };
    assert_eq!(kinds(""), "start position");
    for statement in ["INSERT INTO t VALUES (1, 0)", "UPDATE t SET v = 1", "TRUNCATE t"] {
        db.psql(statement);
    }
    assert_eq!(kinds(""), "start unversioned versioned flush_table position");
    assert_eq!(kinds("max_rows => 1"), "start flush_table position", "the latest");
    assert_eq!(kinds("cache_sync.epoch(), 0, 2"), "start unversioned versioned position");
    assert_eq!(kinds("cache_sync.epoch(), 2"), "start flush_table position");
    assert_eq!(kinds("cache_sync.epoch(), 3"), "start position");
    assert_eq!(kinds("cache_sync.epoch(), 4"), "gap position");
    assert_eq!(kinds("cache_sync.epoch() + 1, 2"), "gap position");
    let last = "SELECT feed_position FROM cache_sync.changes(cache_sync.epoch(), 0, 2) WHERE kind = 'position'";
    assert_eq!(db.psql(last), "2", "where to go on");
    db.psql("INSERT INTO t SELECT n, 0 FROM generate_series(1, 1024) n");
    assert_eq!(kinds("cache_sync.epoch(), 2"), "gap position");
    assert_eq!(
        db.psql("SELECT key_hash = cache_sync.key_hash('t', '{\"id\": 1024}') FROM cache_sync.changes(max_rows => 1) WHERE tbl = 't'::regclass"),
        "t"
    );
}

/// Triggers have the table's number as text.
#[test]
fn names_the_table_however_long_its_number_is() {
    let cluster = cluster_of_its_own();
    let db = Database::with_extension_in(&cluster);
    for id in ["7", "10", "999999999", "1000000000", "2147483647"] {
        db.psql(&format!(
            "ALTER TABLE cache_sync.attached ALTER table_id RESTART WITH {id};
             CREATE TABLE t{id} (id int PRIMARY KEY); SELECT cache_sync.attach('t{id}'); INSERT INTO t{id} VALUES (1)"
        ));
        let told = format!(
            "SELECT tbl, table_id, kind FROM cache_sync.changes(max_rows => 1) JOIN cache_sync.tables USING (tbl)
             WHERE key_hash = cache_sync.key_hash('t{id}', '{{\"id\": 1}}')"
        );
        assert_eq!(db.psql(&told), format!("t{id}|{id}|unversioned"));
        db.psql(&format!("SELECT cache_sync.detach('t{id}')"));
    }
}
