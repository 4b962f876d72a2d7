//! PUBLIC has nothing but what a column's default needs, and every function that runs with its owner's rights is pinned.

use cache_sync_tests::Database;

#[test]
fn the_public_has_no_rights() {
    let db = Database::with_extension();
    db.psql("CREATE ROLE nobody_in_particular LOGIN; CREATE TABLE t (id int PRIMARY KEY, v int)");
    let may = |sql: &str| db.psql(&format!("SELECT coalesce(string_agg(x::text, ' '), 'none') FROM ({sql}) s(x)"));
    let role = "'nobody_in_particular'";
    assert_eq!(
        may(&format!("SELECT 'schema' WHERE has_schema_privilege({role}, 'cache_sync', 'USAGE, CREATE')")),
        "none"
    );
    assert_eq!(
        may(&format!(
            "SELECT oid::regprocedure FROM pg_proc
             WHERE pronamespace = 'cache_sync'::regnamespace AND has_function_privilege({role}, oid, 'EXECUTE')"
        )),
        "cache_sync.hlc()",
        "a column's default runs with the rights of who inserts"
    );
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
fn functions_with_their_owners_rights_pin_the_search_path() {
    let db = Database::with_extension();
    let loose = db.psql(
        "SELECT coalesce(string_agg(oid::regprocedure::text, ' '), 'none') FROM pg_proc
         WHERE pronamespace = 'cache_sync'::regnamespace AND prosecdef
           AND NOT coalesce(array_to_string(proconfig, ' ') LIKE '%search_path=%', false)",
    );
    assert_eq!(loose, "none");
}
