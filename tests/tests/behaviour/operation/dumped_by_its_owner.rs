//! Databases are dumped by those who own them, who are no superusers.

use cache_sync_tests::dump::run_script;
use cache_sync_tests::{Database, cluster, output};

/// pg_dump locks and reads the extension's tables like others: `permission denied for table session`.
#[test]
fn by_an_owner_who_is_no_superuser_all_goes_along() {
    let db = Database::with_extension();
    db.psql(&format!(
        "CREATE ROLE dumps LOGIN IN ROLE cache_sync_admin; ALTER DATABASE {} OWNER TO dumps; SET ROLE dumps;
         CREATE TABLE t (id int PRIMARY KEY, n int); SELECT cache_sync.attach('t', true, '{{\"n\": \"add\"}}'); INSERT INTO t VALUES (1, 1);
         SELECT cache_sync.open_session('t', '00000000-0000-4000-8000-000000000001')",
        db.name()
    ));
    let dump = |name: &str, options: &[&str]| {
        let file = db.cluster().data_dir().with_file_name(format!("{}.{name}", db.name()));
        output(db.client("pg_dump").args(["-U", "dumps", "--file"]).arg(&file).args(options));
        file
    };
    let restored = Database::empty_in(cluster());
    run_script(&restored, &dump("owner", &[]));
    assert_eq!(
        restored.psql("SELECT tbl, rules FROM cache_sync.tables; SELECT count(*) FROM cache_sync.session"),
        "t|{\"n\": \"add\"}\n1"
    );
    assert_eq!(restored.psql("SELECT row_after ->> 'n' FROM cache_sync.edit('t', '{\"id\": 1}', '{\"n\": 2}')"), "3");
    let schema_only = Database::empty_in(cluster());
    run_script(&schema_only, &dump("owner_schema", &["--schema-only"]));
    let one_table = Database::with_extension();
    run_script(&one_table, &dump("owner_table", &["--table", "t"]));
    assert_eq!(one_table.psql("SELECT id, n FROM t"), "1|1");
    // What the keys are hashed with is for nobody, and what is kept for the database's owner is for him alone.
    let denied = "SELECT * FROM cache_sync.secret";
    assert!(db.psql_error(&format!("SET ROLE dumps; {denied}")).contains("42501"));
    db.psql("CREATE ROLE dumps_not LOGIN IN ROLE cache_sync_user");
    for table in ["session", "dead_letter"] {
        assert!(db.psql_error(&format!("SET ROLE dumps_not; SELECT * FROM cache_sync.{table}")).contains("42501"));
    }
    restored.psql("DROP OWNED BY dumps CASCADE");
    for db in [&schema_only, &one_table] {
        db.psql("DROP OWNED BY dumps CASCADE");
    }
    db.psql(&format!(
        "ALTER DATABASE {} OWNER TO CURRENT_USER; DROP OWNED BY dumps CASCADE; DROP ROLE dumps, dumps_not",
        db.name()
    ));
}
