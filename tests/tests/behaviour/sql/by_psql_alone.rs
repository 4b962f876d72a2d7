//! Everything a person can do from psql alone.

use cache_sync_tests::Database;

#[test]
fn attach_upsert_edit_and_watch_the_changes() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE users (id bigint PRIMARY KEY, name text, visits int NOT NULL DEFAULT 0);
         SELECT cache_sync.attach('users', versioned => true, rules => '{\"visits\": \"add\"}')",
    );
    let head = db.psql("SELECT epoch, max(feed_position) FROM cache_sync.changes() GROUP BY epoch");
    let (epoch, position) = head.split_once('|').unwrap();

    assert_eq!(
        db.psql("SELECT outcome, row_after->>'name' FROM cache_sync.upsert('users', '{\"id\": 1, \"name\": \"Ann\"}')"),
        "applied|Ann"
    );
    let edit = "SELECT outcome FROM cache_sync.edit('users', '{\"id\": 1}', '{\"visits\": 2}')";
    assert_eq!(db.psql(edit), "applied");
    assert_eq!(db.psql(edit), "applied");
    assert_eq!(db.psql("SELECT name, visits, cs_version > 0 FROM users"), "Ann|4|t");
    assert_eq!(db.psql("SELECT outcome FROM cache_sync.edit('users', '{\"id\": 2}', '{\"visits\": 2}')"), "missing");

    let changes = db.psql(&format!(
        "SELECT count(*), count(DISTINCT key_hash), bool_and(key_hash = cache_sync.key_hash('users', '{{\"id\": 1}}'))
         FROM cache_sync.changes({epoch}, {position}) WHERE key_hash IS NOT NULL AND tbl = 'users'::regclass"
    ));
    assert_eq!(changes, "3|1|t");

    assert_eq!(db.psql("SELECT outcome FROM cache_sync.delete('users', '{\"id\": 1}')"), "applied");
    assert_eq!(db.psql("SELECT count(*) FROM users"), "0");
    assert_eq!(db.psql("SELECT tbl, versioned FROM cache_sync.tables"), "users|t");
}

#[test]
fn changes_tell_what_plain_sql_did() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t')");
    let head = db.psql("SELECT epoch, max(feed_position) FROM cache_sync.changes() GROUP BY epoch");
    let (epoch, position) = head.split_once('|').unwrap();
    db.psql("INSERT INTO t SELECT n, n FROM generate_series(1, 10) n");
    db.psql("BEGIN; UPDATE t SET v = 0; ROLLBACK");
    db.psql("UPDATE t SET v = 0 WHERE id <= 3; DELETE FROM t WHERE id = 4");
    let hashes = |ids: &str| {
        db.psql(&format!(
            "SELECT string_agg(h::text, ',' ORDER BY h) FROM
             (SELECT cache_sync.key_hash('t', jsonb_build_object('id', n)) h FROM generate_series({ids}) n) s"
        ))
    };
    let seen = db.psql(&format!(
        "SELECT string_agg(key_hash::text, ',' ORDER BY key_hash) FROM
         (SELECT key_hash FROM cache_sync.changes({epoch}, {position}) WHERE key_hash IS NOT NULL GROUP BY key_hash
          HAVING count(*) > 1) s"
    ));
    assert_eq!(seen, hashes("1, 4"), "rows that were inserted and changed again, and none of the rolled-back ones");
}
