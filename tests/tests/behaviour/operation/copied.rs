//! A database that was copied, secret and all.

use cache_sync_tests::Database;

/// `CREATE DATABASE ... TEMPLATE` copies the secret, the numbers of tables and the sessions: a client that came to the copy took its
/// feed for the original's, and went on where it was.
#[test]
fn a_copy_is_not_taken_for_the_original() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY); SELECT cache_sync.attach('t'); INSERT INTO t VALUES (1)");
    let copy = format!("{}_copy", db.name());
    let cluster = db.cluster();
    cluster.psql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {}", db.name())).unwrap();
    let identities = [
        "SELECT cache_sync.epoch()",
        "SELECT cache_sync.key_hash('t', '{\"id\": 1}')",
        "SELECT database FROM cache_sync_internal.server_state()",
        "SELECT cache_sync.describe('t') ->> 'hash_key'",
        "SELECT epoch FROM cache_sync.feed_head()",
    ];
    for identity in identities {
        let (of_copy, again) = (cluster.psql(&copy, identity).unwrap(), cluster.psql(&copy, identity).unwrap());
        assert_ne!(of_copy, db.psql(identity), "{identity}");
        assert_eq!(of_copy, again, "{identity}");
    }
    let place = db.psql("SELECT epoch || ', ' || feed_position FROM cache_sync.feed_head()");
    let since = format!("SELECT kind FROM cache_sync.changes({place}) WHERE tbl IS NOT NULL OR kind = 'gap'");
    cluster.psql(&copy, "INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(cluster.psql(&copy, &since).unwrap(), "gap", "a place in the original's feed is none in the copy's");
    assert_eq!(db.psql(&since), "");
    assert_eq!(cluster.psql(&copy, "SELECT tbl, changes FROM cache_sync.table_stats").unwrap(), "t|1");
}
