//! A dump brings attachments along; the restored database hashes keys by its own secret.

use cache_sync_tests::{Database, cluster, output};

#[test]
fn attached_tables_stay_attached() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE gone (id int); DROP TABLE gone;
         CREATE TABLE accounts (id int PRIMARY KEY, dropped int, name text, balance int);
         ALTER TABLE accounts DROP COLUMN dropped;
         SELECT cache_sync.attach('accounts', versioned => true, rules => '{\"balance\": \"add\"}');
         INSERT INTO accounts VALUES (1, 'Ann', 10)",
    );
    let file = db.cluster().data_dir().with_file_name(format!("{}.sql", db.name()));
    output(db.client("pg_dump").arg("--file").arg(&file));

    let restored = Database::empty_in(cluster());
    output(restored.client("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file));
    assert_eq!(restored.psql("SELECT tbl, versioned FROM cache_sync.tables"), "accounts|t");
    let secret = "SELECT encode(hash_key, 'hex') FROM cache_sync.secret";
    assert_ne!(restored.psql(secret), db.psql(secret));

    let version = restored.psql("SELECT cs_version FROM accounts");
    assert_eq!(
        restored.psql("SELECT outcome FROM cache_sync.edit('accounts', '{\"id\": 1}', '{\"balance\": 5}')"),
        "applied"
    );
    assert_eq!(restored.psql(&format!("SELECT name, balance, cs_version > {version} FROM accounts")), "Ann|15|t");
    let head = restored.psql("SELECT epoch, max(feed_position) FROM cache_sync.changes() GROUP BY epoch");
    let (epoch, position) = head.split_once('|').unwrap();
    restored.psql("UPDATE accounts SET name = 'Bob'");
    assert_eq!(
        restored.psql(&format!(
            "SELECT key_hash = cache_sync.key_hash('accounts', '{{\"id\": 1}}')
             FROM cache_sync.changes({epoch}, {position}) WHERE key_hash IS NOT NULL"
        )),
        "t"
    );
}
