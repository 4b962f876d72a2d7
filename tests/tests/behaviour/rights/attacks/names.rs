//! Things of the attacker's that are named like those the extension uses.

use super::make;
use cache_sync_tests::batches::sqlstate;
use cache_sync_tests::{Database, connect, start, unsynced};
use tokio_postgres::Client;

/// Types that the extension names.
const TYPES: &[&str] = &[
    "text",
    "name",
    "jsonb",
    "json",
    "regclass",
    "regprocedure",
    "oid",
    "int4",
    "int8",
    "int2",
    "bytea",
    "uuid",
    "numeric",
    "interval",
    "timestamptz",
    "bool",
    "date",
    "varchar",
];

/// Types whose values it compares.
const COMPARED: &[&str] = &[
    "text",
    "name",
    "int2",
    "int4",
    "int8",
    "oid",
    "uuid",
    "bytea",
    "jsonb",
    "interval",
    "timestamptz",
    "numeric",
    "\"char\"",
    "bool",
];

/// Other operators: name of the function, operator, operands, result.
const OPERATORS: &[(&str, &str, &str, &str, &str)] = &[
    ("cat", "||", "text", "text", "text"),
    ("cat", "||", "jsonb", "jsonb", "jsonb"),
    ("cat", "||", "int4[]", "int4[]", "int4[]"),
    ("get", "->", "jsonb", "text", "jsonb"),
    ("get_text", "->>", "jsonb", "text", "text"),
    ("path_text", "#>>", "jsonb", "text[]", "text"),
    ("without", "-", "jsonb", "text[]", "jsonb"),
    ("minus", "-", "int4", "int4", "int4"),
    ("plus", "+", "int4", "int4", "int4"),
    ("plus", "+", "int8", "int8", "int8"),
    ("plus", "+", "int4", "int8", "int8"),
    ("plus", "+", "int8", "int4", "int8"),
    ("plus", "+", "numeric", "numeric", "numeric"),
    ("plus", "+", "timestamptz", "interval", "timestamptz"),
    ("plus", "+", "interval", "interval", "interval"),
    ("eq", "=", "int8", "int4", "bool"),
    ("gt", ">", "int8", "int4", "bool"),
    ("eq", "=", "oid", "int4", "bool"),
    ("eq", "=", "name", "text", "bool"),
    ("and", "&", "int4", "int4", "int4"),
    ("is_in", "<@", "jsonb", "jsonb", "bool"),
];

/// Functions that it calls: arguments, result, names.
const FUNCTIONS: &[(&str, &str, &[&str])] = &[
    ("", "timestamptz", &["now"]),
    ("", "name", &["current_schema"]),
    ("text", "text", &["quote_ident", "quote_literal", "current_setting", "lower"]),
    ("text", "regprocedure", &["to_regprocedure"]),
    ("text", "text[]", &["parse_ident"]),
    ("text, text", "text", &["format"]),
    ("text, text, text", "text", &["format"]),
    ("text, name, text", "text", &["format"]),
    ("text, regclass", "text", &["format"]),
    ("text, text, bool", "text", &["set_config"]),
    ("oid, int4", "text", &["format_type"]),
    ("jsonb", "text", &["jsonb_typeof"]),
    ("jsonb", "int4", &["jsonb_array_length"]),
    ("jsonb, text[], jsonb", "jsonb", &["jsonb_set"]),
    ("text, jsonb", "jsonb", &["jsonb_build_object"]),
    ("text, text, text, jsonb", "jsonb", &["jsonb_build_object"]),
    ("text, name, text, jsonb", "jsonb", &["jsonb_build_object"]),
    ("anyelement", "jsonb", &["to_jsonb"]),
    ("anyarray, int4", "int4", &["array_length", "array_upper"]),
    ("anyarray", "int4", &["cardinality"]),
    ("regclass, text", "bool", &["has_table_privilege", "has_any_column_privilege"]),
    ("oid, text", "bool", &["has_table_privilege", "has_any_column_privilege", "pg_has_role"]),
    ("oid", "bool", &["row_security_active"]),
    ("jsonb, text", "int4", &["num_nulls"]),
    ("regclass, name, jsonb", "int4", &["num_nulls"]),
    ("int4", "int4", &["abs", "max", "count"]),
    ("bytea, text", "text", &["encode"]),
];

/// A schema full of things named like those that the extension uses. Each tells, by a sequence that no rollback takes
/// back, when it is run: `trap` is asked whether to.
fn shadows(schema: &str, trap: &str) -> String {
    let mut sql = format!(
        "CREATE SEQUENCE {schema}.caught; GRANT USAGE, SELECT ON SEQUENCE {schema}.caught TO PUBLIC;
         CREATE FUNCTION {schema}.spring() RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$ BEGIN
             IF {trap} THEN PERFORM pg_catalog.nextval('{schema}.caught'); END IF; RETURN true; END $$;
         CREATE FUNCTION {schema}.spring(pg_catalog.anyelement) RETURNS pg_catalog.bool LANGUAGE sql AS 'SELECT {schema}.spring()';\n"
    );
    for name in TYPES {
        sql += &domain_of(schema, name, schema);
    }
    for of in COMPARED {
        for (name, operator) in [("eq", "="), ("ne", "<>"), ("lt", "<"), ("gt", ">"), ("le", "<="), ("ge", ">=")] {
            sql += &operator_of(schema, name, operator, of, of, "bool");
        }
    }
    for (name, operator, left, right, result) in OPERATORS {
        sql += &operator_of(schema, name, operator, left, right, result);
    }
    for (arguments, result, names) in FUNCTIONS {
        for name in *names {
            sql += &function_of(schema, name, arguments, result);
        }
    }
    sql
}

/// A type named like one of the system's, with the trap of another schema in it.
fn domain_of(schema: &str, name: &str, trap: &str) -> String {
    format!("CREATE DOMAIN {schema}.\"{name}\" AS pg_catalog.\"{name}\" CHECK ({trap}.spring(VALUE));\n")
}

fn function_of(schema: &str, name: &str, arguments: &str, result: &str) -> String {
    let arguments: Vec<_> =
        arguments.split(", ").filter(|of| !of.is_empty()).map(|of| format!("pg_catalog.{of}")).collect();
    format!(
        "CREATE FUNCTION {schema}.{name}({}) RETURNS pg_catalog.{result} LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM {schema}.spring(); RETURN NULL; END $$;\n",
        arguments.join(", ")
    )
}

fn operator_of(schema: &str, name: &str, operator: &str, left: &str, right: &str, result: &str) -> String {
    format!(
        "{}CREATE OPERATOR {schema}.{operator} (LEFTARG = pg_catalog.{left}, RIGHTARG = pg_catalog.{right}, FUNCTION = {schema}.op_{name});\n",
        function_of(schema, &format!("op_{name}"), &format!("{left}, {right}"), result)
    )
}

/// What an owner of tables, and what a user of them, can ask for. `v.t` is attached, `v.other` and `v.made` are not there yet.
const CALLS: &[&str] = &[
    "CREATE TABLE v.other (id pg_catalog.int8 PRIMARY KEY, a pg_catalog.text, n pg_catalog.numeric, at pg_catalog.timestamptz)",
    "SELECT cache_sync.attach('v.other', true, '{\"n\": \"max\"}', '{a}')",
    "SELECT cache_sync.set_rule('v.other', 'n', '\"add\"')",
    "SELECT cache_sync.set_expiry('v.other', 'at')",
    "SELECT cache_sync.upsert('v.other', '{\"id\": 1, \"a\": \"x\", \"n\": 1, \"at\": null}')",
    "SELECT cache_sync.edit('v.other', '{\"id\": 1}', '{\"a\": \"y\", \"n\": 2}')",
    "SELECT cache_sync.compare_and_set('v.other', '{\"id\": 1, \"a\": \"z\"}', 1)",
    "SELECT cache_sync.delete('v.other', '{\"id\": 1}')",
    "SELECT cache_sync.repair('v.other')",
    "SELECT cache_sync.detach('v.other', true)",
    "SELECT cache_sync.create_table('v.made', '1 day')",
    "SELECT cache_sync.set_rule('v.made', 'likes', '\"add\"')",
    "SELECT cache_sync.upsert('v.made', '{\"key\": \"k\", \"value\": {\"likes\": 1, \"a\": {\"b\": 1}}}')",
    "SELECT cache_sync.edit('v.made', '{\"key\": \"k\"}', '{\"value\": {\"likes\": 1, \"a\": 2}}')",
    "SELECT cache_sync.upsert('v.t', '{\"id\": 1, \"a\": \"one\", \"i4\": 1, \"l\": [1], \"s\": [1], \"sa\": [1], \"la\": [1], \"u\": \"x\"}')",
    "SELECT cache_sync.edit('v.t', '{\"id\": 1}', '{\"a\": \"two\", \"b\": \"b\", \"i2\": 1, \"i4\": 1, \"n\": 1.5, \"iv\": \"1 day\", \"d\": {\"x\": 1},
        \"l\": [2], \"s\": {\"add\": [2]}, \"sa\": {\"add\": [2]}, \"la\": [2], \"m\": 5, \"first\": \"f\", \"u\": \"y\", \"v\": \"abc\"}')",
    "SELECT cache_sync.open_session('v.t', '33333333-3333-4333-8333-333333333333')",
    "SELECT cache_sync.apply('v.t', '33333333-3333-4333-8333-333333333333', (SELECT s.last_value FROM v.fence s), 1,
        '[{\"op\": \"put\", \"fields\": [\"a\", \"i4\"]}, {\"op\": \"replace\", \"fields\": [\"b\"]}, {\"op\": \"edit\", \"fields\": [\"i4\", \"n\"]}, {\"op\": \"delete\"}]',
        ARRAY['[{\"#\": 0, \"@\": 1, \"id\": 10, \"a\": \"x\", \"i4\": 1}, {\"#\": 1, \"@\": 1, \"id\": 11, \"a\": \"x\", \"i4\": 1}]',
              '[{\"#\": 2, \"@\": 1, \"id\": 12, \"b\": \"x\"}]', '[{\"#\": 3, \"@\": 1, \"id\": 1, \"i4\": 99999999999, \"n\": 1}]',
              '[{\"#\": 4, \"@\": 9000000000000000000, \"id\": 13}]']::pg_catalog.text[])",
    "SELECT cache_sync.requeue_dead_letter((SELECT pg_catalog.max(d.id) FROM cache_sync.dead_letters d), true)",
    "SELECT cache_sync.discard_dead_letter((SELECT pg_catalog.max(d.id) FROM cache_sync.dead_letters d))",
    "SELECT cache_sync.load_state('33333333-3333-4333-8333-333333333333', 1)",
    "SELECT cache_sync.key_hash('v.t', '{\"id\": 1}')",
    "SELECT cache_sync.describe('v.t')",
    "SELECT * FROM cache_sync.changes()",
    "SELECT cache_sync.merge('\"add\"', '1', '2'), cache_sync.merge('\"add\"', '\"1 day\"', '\"2 days\"'), cache_sync.merge('\"union\"', '[1]', '{\"add\": [2]}'),
        cache_sync.merge('{\"rule\": \"append\", \"cap\": 1}', '[1]', '[2]')",
    "SELECT cache_sync.merge('{\"rule\": \"function\", \"name\": \"v.longer(pg_catalog.text,pg_catalog.text)\"}', '\"a\"', '\"b\"')",
    "SELECT cache_sync.set_rule('v.t', 'u', '{\"rule\": \"function\", \"name\": \"v.longer(pg_catalog.text,pg_catalog.text)\"}')",
    "SELECT cache_sync.edit('v.t', '{\"id\": 1}', '{\"u\": \"longer\"}')",
    "SELECT * FROM cache_sync.check_tables()",
    "SELECT * FROM cache_sync.tables",
    "SELECT * FROM cache_sync.dead_letters",
    "SELECT * FROM cache_sync.listeners",
    "SELECT * FROM cache_sync.run_maintenance()",
    "SELECT cache_sync.status()",
    "SELECT cache_sync.versions()",
    "UPDATE v.t SET i4 = 5",
    "DELETE FROM v.t",
];

async fn run(client: &Client, calls: &[&str]) {
    for call in calls {
        match client.batch_execute(call).await {
            // It is refused again, for the reason that it was refused for.
            Err(error) if call.contains("requeue") => assert_eq!(sqlstate(Err::<(), _>(error)), "22003", "{call}"),
            result => result.unwrap_or_else(|error| panic!("{call}\n{:?}", error.as_db_error())),
        }
    }
}

/// The victim, or an administrator, has a schema of the attacker's before all others in the search_path.
#[tokio::test]
async fn things_named_like_ours_are_not_taken_for_them() {
    let db = Database::with_extension();
    make(&db, "shadowed");
    db.psql(&format!("CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC; {}", shadows("evil", "true")));
    let caught = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM evil.caught";
    let client = connect(&db.dsn_as("shadowed")).await;
    client.batch_execute("SET search_path = evil, pg_catalog, v").await.unwrap();
    for call in CALLS {
        run(&client, &[call]).await;
        assert_eq!(db.psql(caught), "0", "{call}");
    }
    // The administrator's, who does the same once more to tables of others.
    db.psql("DROP TABLE v.other, v.made; DELETE FROM cache_sync.session");
    let client = db.connect().await;
    client.batch_execute("SET search_path = evil, pg_catalog, v").await.unwrap();
    for call in CALLS.iter().chain(&["SELECT cache_sync.detach_all()", "DROP EXTENSION cache_sync CASCADE"]) {
        run(&client, &[call]).await;
        assert_eq!(db.psql(caught), "0", "{call}");
    }
    // The trap works.
    client.batch_execute("SELECT 1 = 1").await.unwrap();
    assert_ne!(db.psql(caught), "0");
}

/// Temporary tables, views and types stand before all others unless one says otherwise. Whoever calls a function that works
/// as the owner of the extension might put some there.
#[tokio::test]
async fn temporary_things_are_not_taken_for_ours() {
    let db = Database::with_extension();
    make(&db, "shadowing");
    let client = connect(&db.dsn_as("shadowing")).await;
    let mut traps = String::from("CREATE SCHEMA own; ");
    db.psql(&format!("GRANT CREATE, TEMPORARY ON DATABASE \"{}\" TO shadowing", db.name()));
    // What runs as somebody else than the one who is connected has won.
    traps += &shadows("own", "current_user OPERATOR(pg_catalog.<>) session_user");
    for name in TYPES {
        traps += &domain_of("pg_temp", name, "own");
    }
    for table in [
        "attached",
        "field",
        "session",
        "dead_letter",
        "secret",
        "pg_class",
        "pg_attribute",
        "pg_proc",
        "pg_type",
        "pg_trigger",
        "pg_index",
        "t",
    ] {
        traps += &format!("CREATE TEMP TABLE {table} (id pg_catalog.int4 PRIMARY KEY, a pg_catalog.text);\n");
    }
    client.batch_execute(&traps).await.unwrap();
    let before = db.psql("SELECT table_id, tbl FROM cache_sync.attached");
    for path in ["pg_temp, pg_catalog, own, v", "own, v"] {
        client.batch_execute(&format!("SET search_path = {path}")).await.unwrap();
        run(&client, CALLS).await;
        assert_eq!(db.psql("SELECT is_called FROM own.caught"), "f", "something ran as another role");
        client.batch_execute("DROP TABLE v.other, v.made").await.unwrap();
        db.psql("DELETE FROM cache_sync.session; SELECT cache_sync_internal.forget_dropped()");
    }
    assert_eq!(db.psql("SELECT table_id, tbl FROM cache_sync.attached"), before);
}

/// CREATE EXTENSION is a superuser's. Once a function in the schema where he creates things fitted a call in the script better
/// than the one that was meant, and ran as he.
#[test]
fn what_stands_before_the_extension_gets_nothing_by_it() {
    let db = Database::empty_in(cache_sync_tests::cluster());
    db.psql(&format!(
        "GRANT USAGE ON SCHEMA public TO PUBLIC; {}; CREATE FUNCTION public.pg_extension_config_dump(text, text) RETURNS void
         LANGUAGE plpgsql AS 'BEGIN PERFORM nextval(''public.caught''); END';
         CREATE FUNCTION public.pg_get_serial_sequence(name, name) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM nextval(''public.caught''); RETURN NULL; END';
         CREATE FUNCTION public.substr(text, bigint, bigint) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM nextval(''public.caught''); RETURN NULL; END'",
        shadows("public", "true")
    ));
    db.psql("CREATE EXTENSION cache_sync");
    assert_eq!(db.psql("SELECT is_called FROM caught"), "f");
    assert_eq!(db.psql("SELECT count(*) FROM pg_extension, unnest(extconfig) WHERE extname = 'cache_sync'"), "6");
    assert_eq!(db.psql("SHOW search_path"), "\"$user\", public");
    db.psql("DROP EXTENSION cache_sync; CREATE ROLE came_before; CREATE SCHEMA cache_sync AUTHORIZATION came_before");
    assert!(db.psql_error("CREATE EXTENSION cache_sync").contains("42P06"));
    db.psql("DROP SCHEMA cache_sync; CREATE SCHEMA cache_sync_internal AUTHORIZATION came_before");
    assert!(db.psql_error("CREATE EXTENSION cache_sync").contains("42P06"));
    assert_eq!(db.psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'cache_sync'"), "0");
}

#[test]
fn roles_that_stand_before_the_extension_are_taken_over_as_they_are() {
    let own = start(unsynced());
    let db = Database::empty_in(&own);
    db.psql("CREATE ROLE cache_sync_admin; CREATE ROLE cache_sync_user; CREATE ROLE someone LOGIN IN ROLE cache_sync_admin; CREATE EXTENSION cache_sync");
    // An admin is a user also when somebody else made the roles.
    db.psql(
        "CREATE SCHEMA s AUTHORIZATION someone; SET ROLE someone; CREATE TABLE s.t (id int PRIMARY KEY, v int);
             SELECT cache_sync.attach('s.t'); SELECT cache_sync.upsert('s.t', '{\"id\": 1}')",
    );
    assert_eq!(
        db.psql("SELECT count(*) FROM pg_roles WHERE rolname ~ '^cache_sync' AND (rolsuper OR rolcanlogin)"),
        "0"
    );
}
