//! The settings that make a backend kill itself exist in the tests' build only.

use cache_sync_tests::{Database, cluster_with_faults};

#[test]
fn builds_for_users_lack_them() {
    let db = Database::with_extension();
    // The library is loaded, else any setting with a dot in its name would be accepted.
    assert_ne!(db.psql("SELECT count(*) FROM pg_settings WHERE name LIKE 'cache_sync.%'"), "0");
    let refused = db.psql_error("SHOW cache_sync.kill_before_publish");
    assert!(refused.contains("42704"), "{refused}");
}

#[test]
fn builds_for_tests_have_them() {
    let db = Database::with_extension_in(cluster_with_faults());
    assert_eq!(db.psql("SHOW cache_sync.kill_before_publish"), "off");
}
