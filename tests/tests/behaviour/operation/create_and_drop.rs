//! CREATE EXTENSION and DROP EXTENSION.

use cache_sync_tests::{Database, cluster};

#[test]
fn creates_and_drops_without_a_trace() {
    let db = Database::empty_in(cluster());
    let before = db.schema();
    db.psql("CREATE EXTENSION cache_sync");
    assert_eq!(db.psql("SELECT extversion FROM pg_extension WHERE extname = 'cache_sync'"), "0.2.0");
    db.psql("DROP EXTENSION cache_sync");
    // Without CASCADE: only an empty schema can be dropped like this.
    db.psql("DROP SCHEMA IF EXISTS cache_sync");
    assert_eq!(db.schema(), before);
}

#[test]
fn comes_back_with_another_hash_key_and_epoch() {
    let db = Database::with_extension();
    let ask = "SELECT encode(hash_key, 'hex'), cache_sync.epoch() FROM cache_sync.secret";
    let first = db.psql(ask);
    db.psql("DROP EXTENSION cache_sync; CREATE EXTENSION cache_sync");
    let second = db.psql(ask);
    for (first, second) in first.split('|').zip(second.split('|')) {
        assert_ne!(first, second);
    }
}
