//! PUBLIC has nothing, and every function that runs with its owner's rights is pinned.

use cache_sync_tests::Database;

#[test]
fn the_public_has_no_rights_but_to_what_its_own_statements_call() {
    let db = Database::with_extension();
    db.psql("CREATE ROLE nobody_in_particular LOGIN; CREATE TABLE t (id int PRIMARY KEY, v int)");
    let may = |sql: &str| db.psql(&format!("SELECT coalesce(string_agg(x::text, ' '), 'none') FROM ({sql}) s(x)"));
    let role = "'nobody_in_particular'";
    assert_eq!(
        may(&format!(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'cache_sync%' AND has_schema_privilege({role}, oid, 'USAGE, CREATE')"
        )),
        "none"
    );
    assert_eq!(
        may(&format!(
            "SELECT oid::regprocedure FROM pg_proc
             WHERE pronamespace IN ('cache_sync'::regnamespace, 'cache_sync_internal'::regnamespace)
               AND has_function_privilege({role}, oid, 'EXECUTE') ORDER BY proname"
        )),
        // The default of cs_version runs with the rights of whoever inserts, and the triggers must be executable for who makes a
        // partition. Without the schema nobody can name them.
        "cache_sync.hlc() cache_sync.note_change() cache_sync.note_truncate() cache_sync.set_version()"
    );
    let refused = db.psql_error("SET ROLE nobody_in_particular; SELECT cache_sync.hlc()");
    assert!(refused.contains("42501"), "{refused}");
    assert_eq!(
        may(&format!(
            "SELECT oid::regclass FROM pg_class
             WHERE relnamespace = 'cache_sync'::regnamespace AND relkind IN ('r', 'v', 'm', 'p')
               AND has_table_privilege({role}, oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')"
        )),
        "none"
    );
    assert_eq!(
        may(&format!(
            "SELECT oid::regclass FROM pg_class WHERE relnamespace = 'cache_sync'::regnamespace
             AND CASE relkind WHEN 'S' THEN has_sequence_privilege({role}, oid, 'USAGE, SELECT, UPDATE') ELSE false END"
        )),
        "none"
    );
    let refused = db.psql_error("SET ROLE nobody_in_particular; SELECT cache_sync.attach('t')");
    assert!(refused.contains("42501"), "{refused}");
}

#[test]
fn who_may_write_a_table_may_write_it_attached() {
    let db = Database::with_extension();
    db.psql(
        "CREATE ROLE some_writer LOGIN; CREATE TABLE t (id int PRIMARY KEY, v int);
         GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON t TO some_writer;
         SELECT cache_sync.attach('t', versioned => true)",
    );
    let version = db.psql("SET ROLE some_writer; INSERT INTO t VALUES (1, 1) RETURNING cs_version");
    let newer = db.psql("SET ROLE some_writer; UPDATE t SET v = 2 RETURNING cs_version");
    assert!(newer.parse::<i64>().unwrap() > version.parse::<i64>().unwrap(), "{version}, then {newer}");
    db.psql("SET ROLE some_writer; DELETE FROM t; TRUNCATE t");
}

#[test]
fn functions_with_their_owners_rights_pin_the_search_path() {
    let db = Database::with_extension();
    let loose = db.psql(
        "SELECT coalesce(string_agg(oid::regprocedure::text, ' '), 'none') FROM pg_proc
         WHERE pronamespace IN ('cache_sync'::regnamespace, 'cache_sync_internal'::regnamespace) AND prosecdef
           AND NOT coalesce(array_to_string(proconfig, ' ') LIKE '%search_path=%', false)",
    );
    assert_eq!(loose, "none");
}
