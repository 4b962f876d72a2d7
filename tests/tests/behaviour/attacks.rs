//! What somebody might do who is let into the database, but not everywhere in it: none of it gets him a row, a key, a hash
//! of a hidden row, or a right.

use cache_sync_cluster::Options;
use cache_sync_tests::batches::{Batches, sqlstate};
use cache_sync_tests::{Database, connect, start};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// A schema full of things named like those that the extension uses. Each tells, by a sequence that no rollback takes
/// back, when it is run: `trap` is asked whether to.
fn shadows(schema: &str, trap: &str) -> String {
    let mut sql = format!(
        "CREATE SEQUENCE {schema}.caught; GRANT USAGE, SELECT ON SEQUENCE {schema}.caught TO PUBLIC;
         CREATE FUNCTION {schema}.spring() RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$ BEGIN
             IF {trap} THEN PERFORM pg_catalog.nextval('{schema}.caught'); END IF; RETURN true; END $$;
         CREATE FUNCTION {schema}.spring(pg_catalog.anyelement) RETURNS pg_catalog.bool LANGUAGE sql AS 'SELECT {schema}.spring()';\n"
    );
    for name in [
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
    ] {
        sql += &format!("CREATE DOMAIN {schema}.\"{name}\" AS pg_catalog.\"{name}\" CHECK ({schema}.spring(VALUE));\n");
    }
    let comparable = [
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
    for of in comparable {
        for (name, operator) in [("eq", "="), ("ne", "<>"), ("lt", "<"), ("gt", ">"), ("le", "<="), ("ge", ">=")] {
            sql += &operator_of(schema, name, operator, of, of, "bool");
        }
    }
    for (name, operator, left, right, result) in [
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
    ] {
        sql += &operator_of(schema, name, operator, left, right, result);
    }
    for (arguments, result, names) in [
        ("", "timestamptz", &["now"][..]),
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
    ] {
        for name in names {
            sql += &function_of(schema, name, arguments, result);
        }
    }
    sql
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
              '[{\"#\": 4, \"@\": 9000000000000000000, \"id\": 13}]']::pg_catalog.json[])",
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

/// The schema `v` of `owner` with the attached table `v.t`, in which every rule is in use.
fn make(db: &Database<'_>, owner: &str) {
    db.psql(&format!(
        r#"CREATE ROLE {owner} LOGIN IN ROLE cache_sync_admin; CREATE SCHEMA v AUTHORIZATION {owner}; SET ROLE {owner};
           CREATE FUNCTION v.longer(text, text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
               'BEGIN IF pg_catalog.length($1) OPERATOR(pg_catalog.>) pg_catalog.length($2) THEN RETURN $1; END IF; RETURN $2; END';
           CREATE SEQUENCE v.fence;
           CREATE TABLE v.t (id int PRIMARY KEY, a text, b text, i2 smallint, i4 int, n numeric, iv interval, d jsonb, l jsonb, s jsonb, sa int[],
               la int[], m int, first text, u text, v varchar(5));
           SELECT cache_sync.attach('v.t', true, '{{"i2": "add", "i4": "add", "n": "add", "iv": "add", "d": "json", "l": {{"rule": "append", "cap": 2}},
               "s": "union", "sa": "union", "la": {{"rule": "append", "cap": 2}}, "m": "max", "first": "first",
               "u": {{"rule": "function", "name": "v.longer(text,text)"}}}}')"#
    ));
}

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
    for name in [
        "text",
        "name",
        "jsonb",
        "json",
        "regclass",
        "regprocedure",
        "oid",
        "int4",
        "int8",
        "bytea",
        "uuid",
        "numeric",
        "timestamptz",
        "bool",
    ] {
        traps += &format!("CREATE DOMAIN pg_temp.\"{name}\" AS pg_catalog.\"{name}\" CHECK (own.spring(VALUE));\n");
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
        db.psql("DELETE FROM cache_sync.session; SELECT cache_sync.forget_dropped()");
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
}

#[test]
fn roles_that_stand_before_the_extension_are_taken_over_as_they_are() {
    let own = start(Options::default().fsync(false));
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

/// The table `v.t` of `owner`, with a session and a dead letter, and the number of that.
async fn with_letter(db: &Database<'_>, owner: &str) -> String {
    make(db, owner);
    db.psql("ALTER TABLE v.t ADD CHECK (i4 <> 77); INSERT INTO v.t (id, a, i4) VALUES (1, 'secret', 1)");
    let mut batches = Batches::open_as(&db.dsn_as(owner), "v.t").await;
    let rows = json!([{"#": 0, "id": 1, "i4": 76}]);
    assert_eq!(batches.verdicts(json!([{"op": "edit", "fields": ["i4"]}]), &[rows]).await, ["rejected 23514"]);
    db.psql("SELECT id FROM cache_sync.dead_letter")
}

const STATE: &str = "SELECT (SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM v.t), (SELECT md5(string_agg(d::text, '|')) FROM cache_sync.dead_letter d),
    (SELECT md5(string_agg(s::text, '|')) FROM cache_sync.session s), (SELECT md5(string_agg(a::text, '|')) FROM cache_sync.attached a),
    (SELECT md5(string_agg(f::text, '|')) FROM cache_sync.field f), (SELECT count(*) FROM pg_trigger WHERE tgrelid = 'v.t'::regclass)";

#[tokio::test]
async fn another_roles_tables_are_not_to_be_had() {
    let db = Database::with_extension();
    let letter = with_letter(&db, "owns_it").await;
    db.psql("CREATE ROLE has_nothing LOGIN IN ROLE cache_sync_admin; GRANT USAGE ON SCHEMA v TO has_nothing;
             CREATE ROLE reads_it LOGIN IN ROLE cache_sync_admin; GRANT USAGE ON SCHEMA v TO reads_it; GRANT SELECT ON v.t TO reads_it");
    let before = db.psql(STATE);
    let session = db.psql("SELECT session FROM cache_sync.session");
    // What is refused to the one who has nothing, and whether to the one who reads, too.
    for (call, code, is_for_readers) in [
        ("attach('v.t')", "42710", false),
        ("attach_table('v.t', true, '{}', '{}', false, NULL)", "42710", false),
        ("detach('v.t')", "42501", false),
        ("detach('v.t', true)", "42501", false),
        ("detach_all()", "42501", false),
        ("set_rule('v.t', 'a', '\"arrival\"')", "42501", false),
        ("set_expiry('v.t', NULL)", "42501", false),
        ("repair('v.t')", "42501", false),
        ("record_attached('v.t', '{}')", "42501", false),
        ("record_detached('v.t', '{}')", "42501", false),
        ("record_rule('v.t', '{\"field\": \"a\", \"rule\": \"arrival\"}')", "42501", false),
        ("record_expiry('v.t', '{\"field\": null}')", "42501", false),
        ("create_triggers('v.t', 1, true)", "42501", false),
        ("drop_triggers('v.t')", "42501", false),
        ("invalidate_table('v.t')", "42501", false),
        ("upsert('v.t', '{\"id\": 1, \"a\": \"x\"}')", "42501", false),
        ("upsert('v.t', '{\"id\": 2}')", "42501", false),
        ("edit('v.t', '{\"id\": 1}', '{\"a\": \"x\"}')", "42501", false),
        ("edit('v.t', '{\"id\": 2}', '{\"a\": \"x\"}')", "42501", false),
        ("delete('v.t', '{\"id\": 1}')", "42501", false),
        ("compare_and_set('v.t', '{\"id\": 1, \"a\": \"x\"}', 1)", "42501", false),
        (
            "apply('v.t', '{session}', 1, 2, '[{\"op\": \"edit\", \"fields\": [\"a\"]}]', ARRAY['[{\"#\": 0, \"@\": 1, \"id\": 1, \"a\": \"x\"}]']::json[])",
            "42501",
            false,
        ),
        ("apply('v.t', '44444444-4444-4444-8444-444444444444', 1, 1, '[]', '{}')", "CS001", false),
        ("requeue_dead_letter({letter})", "P0002", false),
        ("requeue_dead_letter({letter}, true)", "P0002", false),
        ("describe('v.t')", "42501", true),
        ("open_session('v.t', '55555555-5555-4555-8555-555555555555')", "42501", true),
        ("open_session('v.t', '{session}')", "42501", true),
        ("key_hash('v.t', '{\"id\": 1}')", "42501", true),
        ("layout('v.t')", "42501", false),
        ("description('v.t')", "42501", false),
        ("write_rule('v.t', '{}')", "42501", false),
        ("sync_fields(1)", "42501", false),
    ] {
        let sql = format!("SELECT cache_sync.{}", call.replace("{letter}", &letter).replace("{session}", &session));
        let refused = db.psql_error(&format!("SET SESSION AUTHORIZATION has_nothing; {sql}"));
        assert!(refused.contains(&format!(" {code}: ")), "{call}: {refused}");
        if is_for_readers {
            db.psql(&format!("BEGIN; SET LOCAL ROLE reads_it; {sql}; ROLLBACK"));
        } else {
            let refused = db.psql_error(&format!("SET SESSION AUTHORIZATION reads_it; {sql}"));
            let code = if call.starts_with("requeue") { "42501" } else { code };
            assert!(refused.contains(&format!(" {code}: ")), "{call}: {refused}");
        }
        assert_eq!(db.psql(STATE), before, "{call}");
    }
    for table in ["session", "dead_letter", "secret"] {
        let refused = db.psql_error(&format!("SET ROLE reads_it; SELECT * FROM cache_sync.{table}"));
        assert!(refused.contains("42501"), "{table}: {refused}");
    }
    for sql in [
        "INSERT INTO cache_sync.attached VALUES (9, 'v.t', 0, true)",
        "UPDATE cache_sync.field SET rule = '\"add\"'",
        "DELETE FROM cache_sync.attached",
        "TRUNCATE cache_sync.dead_letter",
        "SELECT nextval('cache_sync.dead_letter_id_seq')",
        "ALTER FUNCTION cache_sync.hlc() OWNER TO reads_it",
        "CREATE TABLE cache_sync.mine (id int)",
        "CREATE TRIGGER mine AFTER INSERT ON v.t FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('1')",
    ] {
        assert!(db.psql_error(&format!("SET ROLE reads_it; {sql}")).contains("42501"), "{sql}");
    }
    assert_eq!(db.psql(STATE), before);
}

/// A reader sees what was refused, but he can neither throw it away nor take over the session that it came by.
#[tokio::test]
async fn a_reader_cannot_throw_away_what_others_wrote() {
    let db = Database::with_extension();
    let letter = with_letter(&db, "wrote_it").await;
    db.psql("CREATE ROLE only_looks LOGIN IN ROLE cache_sync_user; GRANT USAGE ON SCHEMA v TO only_looks; GRANT SELECT ON v.t TO only_looks;
             CREATE ROLE sees_none LOGIN IN ROLE cache_sync_user; GRANT USAGE ON SCHEMA v TO sees_none; GRANT INSERT, UPDATE, DELETE ON v.t TO sees_none");
    let see = |role: &str| {
        db.psql(&format!("SET ROLE {role}; SELECT id, session IS NULL, patch->'i4' FROM cache_sync.dead_letters"))
    };
    assert_eq!(
        (see("only_looks"), see("wrote_it"), see("sees_none")),
        (format!("{letter}|t|76"), format!("{letter}|f|76"), String::new())
    );
    let discard = format!("SELECT cache_sync.discard_dead_letter({letter})");
    assert!(db.psql_error(&format!("SET ROLE only_looks; {discard}")).contains("42501"));
    assert_eq!(db.psql(&format!("SET ROLE sees_none; {discard}")), "f");
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.dead_letter"), "1");
    assert_eq!(db.psql(&format!("SET ROLE wrote_it; {discard}")), "t");
}

/// `check_tables()` once worked as its owner and told everybody about every table.
#[tokio::test]
async fn nobody_is_told_about_tables_that_he_may_not_read() {
    let db = Database::with_extension();
    with_letter(&db, "hides_it").await;
    db.psql("CREATE ROLE knows_little LOGIN IN ROLE cache_sync_user; GRANT USAGE ON SCHEMA v TO knows_little;
             CREATE TABLE open (id int PRIMARY KEY, a text, hidden text); SELECT cache_sync.attach('open'); GRANT SELECT (id) ON open TO knows_little;
             DROP TRIGGER cache_sync_change ON open; DROP TRIGGER cache_sync_change ON v.t;
             ALTER TABLE v.t ALTER n TYPE text; ALTER TABLE v.t DROP CONSTRAINT t_pkey");
    let told = |role: &str| {
        db.psql(&format!("SET ROLE {role}; SELECT DISTINCT tbl::text FROM cache_sync.check_tables() ORDER BY tbl"))
    };
    assert_eq!(
        (told("knows_little"), told("hides_it"), told("postgres")),
        ("open".into(), "v.t".into(), "open\nv.t".into())
    );
    let counts = |role: &str| {
        db.psql(&format!(
            "SET ROLE {role}; SELECT sessions, dead_letters FROM cache_sync.tables WHERE tbl = 'v.t'::regclass"
        ))
    };
    assert_eq!((counts("knows_little"), counts("hides_it")), ("|".into(), "1|1".into()));
    let status = |role: &str| {
        db.psql(&format!(
            "SET ROLE {role}; SELECT s->'sessions', s->'dead_letters', s->'tables' FROM cache_sync.status() s"
        ))
    };
    assert_eq!(
        (status("knows_little"), status("hides_it"), status("postgres")),
        ("0|0|2".into(), "1|1|2".into(), "1|1|2".into())
    );
}

/// A policy counts for every way to a row, and a row that it hides is as good as not there.
#[tokio::test]
async fn behind_row_level_security_there_is_nothing() {
    let db = Database::with_extension();
    db.psql(
        "CREATE ROLE owns_rows LOGIN IN ROLE cache_sync_admin; CREATE ROLE tenant_1 LOGIN IN ROLE cache_sync_user;
         CREATE ROLE bypasses LOGIN BYPASSRLS IN ROLE cache_sync_user; CREATE SCHEMA s AUTHORIZATION owns_rows; SET ROLE owns_rows;
         CREATE TABLE s.t (id int PRIMARY KEY, tenant text, a text, n int);
         SELECT cache_sync.attach('s.t', true, '{\"n\": \"add\"}');
         GRANT USAGE ON SCHEMA s TO PUBLIC; GRANT SELECT, INSERT, UPDATE, DELETE ON s.t TO tenant_1, bypasses;
         INSERT INTO s.t VALUES (1, 'tenant_1', 'mine', 1), (2, 'tenant_2', 'hidden', 2);
         ALTER TABLE s.t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON s.t USING (tenant = current_user) WITH CHECK (tenant = current_user AND a <> 'forbidden')",
    );
    let hidden = "SELECT tenant, a, n, cs_version FROM s.t WHERE id = 2";
    let before = db.psql(hidden);
    let as_tenant = |call: &str| {
        db.try_psql(&format!(
            "SET SESSION AUTHORIZATION tenant_1; SELECT outcome, version, row_after FROM cache_sync.{call}"
        ))
    };
    for call in [
        "edit('s.t', '{\"id\": 2}', '{\"a\": \"x\"}')",
        "edit('s.t', '{\"id\": 2}', '{\"a\": \"hidden\"}')",
        "edit('s.t', '{\"id\": 2}', '{\"n\": 1}')",
        "delete('s.t', '{\"id\": 2}')",
        "compare_and_set('s.t', '{\"id\": 2, \"a\": \"x\"}', 1)",
    ] {
        assert_eq!(as_tenant(call).unwrap(), "missing||", "{call}");
    }
    // That the key is taken no table can hide, but nothing else comes out, nor goes in.
    assert_eq!(
        as_tenant("upsert('s.t', '{\"id\": 2, \"tenant\": \"tenant_1\", \"a\": \"x\"}')").unwrap(),
        "swallowed||"
    );
    for call in [
        "upsert('s.t', '{\"id\": 3, \"tenant\": \"tenant_2\", \"a\": \"x\"}')",
        "edit('s.t', '{\"id\": 1}', '{\"tenant\": \"tenant_2\"}')",
        "edit('s.t', '{\"id\": 1}', '{\"a\": \"forbidden\"}')",
    ] {
        assert!(as_tenant(call).unwrap_err().contains("42501"), "{call}");
    }
    let mut batches = Batches::open_as(&db.dsn_as("tenant_1"), "s.t").await;
    let stamp = batches.now().await;
    let edit = json!([{"op": "edit", "fields": ["a", "n"]}]);
    let rows =
        json!([{"#": 0, "@": stamp, "id": 1, "a": "new", "n": 1}, {"#": 1, "@": stamp, "id": 2, "a": "new", "n": 1}]);
    assert_eq!(batches.verdicts(edit.clone(), &[rows]).await, ["applied", "missing"]);
    // Stamps, old and new, tell nothing of it either.
    for stamp in [0, 1, stamp, i64::MAX] {
        let rows = json!([{"#": 0, "@": stamp, "id": 2, "a": "hidden", "n": 0}]);
        assert_eq!(batches.verdicts(edit.clone(), &[rows]).await, ["missing"]);
        assert_eq!(
            batches.verdicts(json!([{"op": "delete"}]), &[json!([{"#": 0, "@": stamp, "id": 2}])]).await,
            ["missing"]
        );
    }
    let rows = json!([{"#": 0, "@": i64::MAX, "id": 1, "a": "forbidden", "n": 1}]);
    assert_eq!(batches.verdicts(edit, &[rows]).await, ["rejected 42501"]);
    let refused = batches
        .send(json!([{"op": "edit", "fields": ["n"]}]), &[json!([{"#": 0, "id": 2, "n": "none"}])])
        .await
        .unwrap();
    assert!(refused[0].sqlstate.is_some(), "{refused:?}");
    assert_eq!(db.psql("SET ROLE tenant_1; SELECT count(*) FROM cache_sync.dead_letters"), "0");
    let letter = db.psql("SELECT max(id) FROM cache_sync.dead_letter");
    assert!(as_tenant(&format!("requeue_dead_letter({letter})")).unwrap_err().contains("P0002"));
    assert_eq!(db.psql(&format!("SET ROLE tenant_1; SELECT cache_sync.discard_dead_letter({letter})")), "f");
    assert_eq!(db.psql("SET ROLE tenant_1; SELECT count(*) FROM cache_sync.changes() WHERE key_hash IS NOT NULL"), "0");
    assert_eq!(db.psql("SELECT id, a, n FROM s.t WHERE id <> 2"), "1|new|2");
    assert_eq!(db.psql(hidden), before);
    // It does not apply to these, until it is forced upon the owner.
    let edit_as = |role: &str| {
        let patch = json!({"a": format!("by {role}"), "tenant": "tenant_2"});
        db.psql(&format!(
            "SET SESSION AUTHORIZATION {role}; SELECT outcome FROM cache_sync.edit('s.t', '{{\"id\": 2}}', '{patch}')"
        ))
    };
    assert_eq!((edit_as("bypasses"), edit_as("owns_rows")), ("applied".into(), "applied".into()));
    db.psql("ALTER TABLE s.t FORCE ROW LEVEL SECURITY");
    assert_eq!((edit_as("bypasses"), edit_as("owns_rows")), ("applied".into(), "missing".into()));
}

/// A table's owner can put code of his own in many places. Whatever of it runs, runs as the one who writes the table, and
/// nothing of it when the table is only looked after.
#[tokio::test]
async fn code_of_a_tables_owner_never_runs_as_somebody_else() {
    let db = Database::with_extension();
    db.psql(
        r#"CREATE ROLE plants LOGIN IN ROLE cache_sync_admin; CREATE ROLE steps_in LOGIN IN ROLE cache_sync_user;
           CREATE SCHEMA s AUTHORIZATION plants; GRANT USAGE ON SCHEMA s TO PUBLIC; SET ROLE plants;
           CREATE SEQUENCE s.caught; CREATE SEQUENCE s.run; GRANT USAGE ON SEQUENCE s.caught, s.run TO PUBLIC;
           CREATE FUNCTION s.trap() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
               PERFORM nextval('s.run'); IF current_user <> session_user THEN PERFORM nextval('s.caught'); END IF; END $$;
           CREATE FUNCTION s.is_fine(anyelement) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM s.trap(); RETURN true; END $$;
           CREATE FUNCTION s.same(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM s.trap(); RETURN $1; END $$;
           CREATE FUNCTION s.merged(text, text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM s.trap(); RETURN $2; END $$;
           CREATE FUNCTION s.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM s.trap(); RETURN NEW; END $$;
           CREATE DOMAIN s.word AS text CHECK (s.is_fine(VALUE)); CREATE DOMAIN s.number AS int CHECK (s.is_fine(VALUE));
           CREATE DOMAIN s.words AS text[] CHECK (s.is_fine(VALUE)); CREATE TYPE s.pair AS (a s.word, b s.number);
           CREATE TYPE s.range AS RANGE (subtype = text);
           CREATE TABLE s.t (id s.number PRIMARY KEY, a s.word DEFAULT s.same('d'), m s.number CHECK (s.is_fine(m)), c s.pair, l s.words, r s.range, w s.word[],
               f text, g text GENERATED ALWAYS AS (s.same(f)) STORED, at timestamptz);
           CREATE INDEX ON s.t (s.same(f)) WHERE s.is_fine(f); CREATE STATISTICS s.st ON s.same(f), id FROM s.t;
           CREATE TRIGGER fire BEFORE INSERT OR UPDATE ON s.t FOR EACH ROW EXECUTE FUNCTION s.fire();
           CREATE CONSTRAINT TRIGGER later AFTER INSERT OR UPDATE ON s.t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION s.fire();
           RESET ROLE;
           CREATE FUNCTION public.ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
               IF current_user <> session_user THEN PERFORM nextval('s.caught'); END IF; END $$;
           CREATE EVENT TRIGGER ddl ON ddl_command_end EXECUTE FUNCTION public.ddl()"#
    );
    let (caught, ran) =
        ("SELECT is_called FROM s.caught", "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM s.run");
    let rules = r#"{"m": "max", "c": "max", "r": "min", "l": "append", "w": "union", "a": {"rule": "function", "name": "s.merged(text,text)"}}"#;
    let owner = connect(&db.dsn_as("plants")).await;
    let care = [
        format!("SELECT cache_sync.attach('s.t', true, '{rules}')"),
        "SELECT cache_sync.set_rule('s.t', 'm', '\"min\"')".into(),
        "SELECT cache_sync.repair('s.t')".into(),
        "SELECT cache_sync.describe('s.t')".into(),
        "SELECT cache_sync.key_hash('s.t', '{\"id\": 1}')".into(),
        "SELECT * FROM cache_sync.check_tables()".into(),
        "SELECT * FROM cache_sync.run_maintenance()".into(),
        "SELECT cache_sync.open_session('s.t', '66666666-6666-4666-8666-666666666666')".into(),
    ];
    for sql in &care {
        owner.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    db.psql("SET SESSION AUTHORIZATION plants; SELECT cache_sync.detach('s.t', true)");
    // Nor as the superuser who does the same.
    for sql in &care {
        db.psql(sql);
        assert_eq!(db.psql(ran), "0", "{sql}");
    }
    db.psql("GRANT SELECT, INSERT, UPDATE, DELETE ON s.t TO steps_in");
    let writer = db.dsn_as("steps_in");
    let client = connect(&writer).await;
    let mut batches = Batches::open_as(&writer, "s.t").await;
    let row = json!({"#": 0, "@": i64::MAX, "id": 1, "a": "x", "m": 1, "c": {"a": "x", "b": 1}, "l": ["x"], "r": "[a,b)", "w": ["x"], "f": "x"});
    let fields = json!(["a", "m", "c", "l", "r", "w", "f"]);
    assert_eq!(batches.verdicts(json!([{"op": "put", "fields": fields}]), &[json!([row])]).await, ["applied"]);
    let mut change: Value = row.clone();
    change["w"] = json!({"add": ["y"]});
    assert_eq!(batches.verdicts(json!([{"op": "edit", "fields": fields}]), &[json!([change])]).await, ["applied"]);
    for call in [
        "edit('s.t', '{\"id\": 1}', '{\"a\": \"y\", \"m\": 0}')",
        "upsert('s.t', '{\"id\": 2, \"a\": \"y\"}')",
        "delete('s.t', '{\"id\": 2}')",
        "describe('s.t')",
        "merge('{\"rule\": \"function\", \"name\": \"s.merged(text,text)\"}', '\"a\"', '\"b\"')",
    ] {
        client
            .batch_execute(&format!("SELECT cache_sync.{call}"))
            .await
            .unwrap_or_else(|error| panic!("{call}: {error:?}"));
    }
    assert_ne!(db.psql(ran), "0", "the traps are not where anything runs");
    assert_eq!(db.psql(caught), "f", "something ran as another role");
}

/// A rule may name a function of somebody else's: it runs as the writer, who must be allowed to.
#[tokio::test]
async fn a_function_of_somebody_elses_runs_as_the_writer() {
    let db = Database::with_extension();
    make(&db, "names_it");
    db.psql(
        "CREATE ROLE made_it LOGIN; CREATE SCHEMA f AUTHORIZATION made_it; GRANT USAGE ON SCHEMA f TO PUBLIC; SET ROLE made_it;
         CREATE FUNCTION f.closed(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $2'; REVOKE ALL ON FUNCTION f.closed FROM PUBLIC;
         CREATE FUNCTION f.whose(text, text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN current_user; END'",
    );
    let as_owner = |sql: &str| db.try_psql(&format!("SET SESSION AUTHORIZATION names_it; {sql}"));
    let set = |name: &str| {
        as_owner(&format!(
            "SELECT cache_sync.set_rule('v.t', 'a', '{{\"rule\": \"function\", \"name\": \"f.{name}(text,text)\"}}')"
        ))
    };
    db.psql("INSERT INTO v.t (id, a) VALUES (1, 'x')");
    set("closed").unwrap();
    let refused = as_owner("SELECT cache_sync.edit('v.t', '{\"id\": 1}', '{\"a\": \"y\"}')").unwrap_err();
    assert!(refused.contains("42501"), "{refused}");
    let refused =
        as_owner("SELECT cache_sync.merge('{\"rule\": \"function\", \"name\": \"f.closed(text,text)\"}', '1', '2')")
            .unwrap_err();
    assert!(refused.contains("42501"), "{refused}");
    set("whose").unwrap();
    as_owner("SELECT cache_sync.edit('v.t', '{\"id\": 1}', '{\"a\": \"y\"}')").unwrap();
    assert_eq!(db.psql("SELECT a FROM v.t"), "names_it");
}
