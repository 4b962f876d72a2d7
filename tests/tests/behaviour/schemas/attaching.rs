//! What can be attached, and how an attached table may change.

use cache_sync_tests::Database;
use serde_json::Value;

#[test]
fn what_cannot_be_attached_is_refused_with_a_hint() {
    let db = Database::with_extension();
    for (make, call, sqlstate) in [
        ("CREATE TABLE t (a int)", "'t'", "55000"),
        ("CREATE TABLE t (a int PRIMARY KEY DEFERRABLE)", "'t'", "55000"),
        ("CREATE TABLE t (a numeric PRIMARY KEY)", "'t'", "0A000"),
        ("CREATE TABLE t (a char(5) PRIMARY KEY)", "'t'", "0A000"),
        ("CREATE TABLE t (a float8 PRIMARY KEY)", "'t'", "0A000"),
        ("CREATE DOMAIN t_key AS numeric; CREATE TABLE t (a t_key PRIMARY KEY)", "'t'", "0A000"),
        (
            "CREATE COLLATION c (provider = icu, locale = 'und', deterministic = false);
             CREATE TABLE t (a text COLLATE c PRIMARY KEY)",
            "'t'",
            "0A000",
        ),
        ("CREATE VIEW t AS SELECT 1 AS a", "'t'", "42809"),
        ("CREATE TEMP TABLE t (a int PRIMARY KEY)", "'t'", "42809"),
        ("CREATE TABLE t (a int PRIMARY KEY); CREATE TABLE child () INHERITS (t)", "'t'", "42809"),
        ("CREATE TABLE parent (); CREATE TABLE t (a int PRIMARY KEY) INHERITS (parent)", "'t'", "42809"),
        (
            "CREATE TABLE p (a int PRIMARY KEY) PARTITION BY LIST (a); CREATE TABLE t PARTITION OF p DEFAULT",
            "'t'",
            "42809",
        ),
        ("CREATE TABLE t (a int PRIMARY KEY); CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING", "'t'", "0A000"),
        ("CREATE TABLE t (a int PRIMARY KEY, \"#\" int)", "'t'", "42602"),
        ("CREATE TABLE t (a int PRIMARY KEY, \"@b\" int)", "'t'", "42602"),
        ("CREATE TABLE t (a int PRIMARY KEY, cs_version int)", "'t', versioned => true", "42804"),
        ("CREATE TABLE t (a int PRIMARY KEY, cs_clock text)", "'t', versioned => true", "42804"),
        ("", "'pg_class'", "42809"),
        ("", "'cache_sync.attached'", "42809"),
        ("CREATE TABLE t (a int PRIMARY KEY, b int)", "'t', rules => '{\"b\": \"lww\"}'", "55000"),
        ("CREATE TABLE t (a int PRIMARY KEY, b float8)", "'t', rules => '{\"b\": \"add\"}'", "42804"),
        ("CREATE TABLE t (a int PRIMARY KEY, b point)", "'t', rules => '{\"b\": \"max\"}'", "42804"),
        ("CREATE TABLE t (a int PRIMARY KEY, b text)", "'t', rules => '{\"b\": \"what\"}'", "22023"),
        (
            "CREATE TABLE t (a int PRIMARY KEY, b text)",
            "'t', rules => '{\"b\": {\"rule\": \"max\", \"x\": 1}}'",
            "22023",
        ),
    ] {
        let error = db.psql_error(&format!("BEGIN; {make}; SELECT cache_sync.attach({call})"));
        assert!(error.contains(sqlstate), "{make}: {error}");
        assert!(error.contains("HINT"), "{make}: {error}");
    }
    for (call, sqlstate) in [
        ("NULL", "22004"),
        ("'t', rules => '[]'", "22023"),
        ("'t', rules => '{\"nope\": \"max\"}'", "42703"),
        ("'t', rules => '{\"a\": \"max\"}'", "42703"),
        ("'t', tags => '{nope}'", "42703"),
    ] {
        let error =
            db.psql_error(&format!("BEGIN; CREATE TABLE t (a int PRIMARY KEY); SELECT cache_sync.attach({call})"));
        assert!(error.contains(sqlstate), "{call}: {error}");
    }
}

#[test]
fn attaching_twice_is_an_error_unless_said_otherwise() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (a int PRIMARY KEY, b int); SELECT cache_sync.attach('t', rules => '{\"b\": \"add\"}')");
    assert!(db.psql_error("SELECT cache_sync.attach('t')").contains("42710"));
    db.psql("SELECT cache_sync.attach('t', if_not_attached => true)");
    assert!(db.psql_error("SELECT cache_sync.attach('t', true, if_not_attached => true)").contains("42710"));
    assert_eq!(db.psql("SELECT tbl, versioned, rules->>'b' FROM cache_sync.tables"), "t|f|add");
    db.psql("SELECT cache_sync.detach('t')");
    assert!(db.psql_error("SELECT cache_sync.detach('t')").contains("CS005"));
}

#[tokio::test]
async fn attaching_does_not_wait_for_ever() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (a int PRIMARY KEY)");
    let reader = db.connect().await;
    reader.batch_execute("BEGIN; SELECT * FROM t").await.unwrap();
    // Plain, it lets readers be.
    db.psql("BEGIN; SELECT cache_sync.attach('t'); ROLLBACK");
    let impatient = "SET lock_timeout = '200ms'; SELECT cache_sync.attach('t', versioned => true)";
    assert!(db.psql_error(impatient).contains("55P03"));
    // Without a timeout of the caller's there is one of attach's own, and only while it runs.
    assert!(db.psql_error("SELECT cache_sync.attach('t', versioned => true)").contains("55P03"));
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(db.psql("SELECT cache_sync.attach('t', true); SHOW lock_timeout").lines().last(), Some("0"));
}

#[test]
fn only_who_owns_a_table_attaches_it() {
    let db = Database::with_extension();
    db.psql(
        "CREATE ROLE attacher LOGIN IN ROLE cache_sync_admin; CREATE SCHEMA own AUTHORIZATION attacher;
         CREATE TABLE foreign_to_it (a int PRIMARY KEY, b int)",
    );
    let as_attacher = |sql: &str| db.try_psql(&format!("SET ROLE attacher; {sql}"));
    as_attacher("CREATE TABLE own.t (a int PRIMARY KEY, b int)").unwrap();
    as_attacher("SELECT cache_sync.attach('own.t', true, '{\"b\": \"add\"}')").unwrap();
    as_attacher("SELECT cache_sync.set_rule('own.t', 'b', '\"max\"')").unwrap();
    as_attacher("SELECT cache_sync.create_table('own.docs')").unwrap();
    db.psql("SELECT cache_sync.attach('foreign_to_it')");
    for sql in [
        "SELECT cache_sync.set_rule('foreign_to_it', 'b', '\"max\"')",
        "SELECT cache_sync.detach('foreign_to_it')",
        "SELECT cache_sync_internal.record('foreign_to_it', 'detached', '{}')",
        "SELECT cache_sync_internal.invalidate_table('foreign_to_it')",
        "SELECT cache_sync.describe('foreign_to_it')",
        "SELECT cache_sync_internal.write('own.t', 'detached', '{}')",
        "DELETE FROM cache_sync.attached",
        "UPDATE cache_sync.field SET rule = '\"add\"'",
    ] {
        let error = as_attacher(sql).unwrap_err();
        assert!(error.contains("42501"), "{sql}: {error}");
    }
    as_attacher("SELECT cache_sync.detach('own.t', true)").unwrap();
}

#[test]
fn fields_keep_their_numbers_through_renames_and_drops() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t VALUES (1, 1, 1);
         SELECT cache_sync.attach('t', true, '{\"a\": \"add\"}')",
    );
    let edit = |patch: &str| db.psql(&format!("SELECT outcome FROM cache_sync.edit('t', '{{\"id\": 1}}', '{patch}')"));
    let fields = || {
        let described: Value = serde_json::from_str(&db.psql("SELECT cache_sync.describe('t')")).unwrap();
        let all = described["fields"].as_array().unwrap().iter();
        all.map(|field| format!("{} {} {}", field["id"], field["name"], field["rule"])).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(edit("{\"a\": 1}"), "applied");
    db.psql("ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME b TO a; ALTER TABLE t ADD c text");
    assert_eq!(edit("{\"x\": 1, \"a\": 7, \"c\": \"new\"}"), "applied");
    assert_eq!(db.psql("SELECT x, a, c FROM t"), "3|7|new");
    assert_eq!(fields(), "1 \"x\" \"add\", 2 \"a\" \"lww\", 3 \"c\" \"lww\"");
    db.psql("ALTER TABLE t DROP c; ALTER TABLE t ADD c int");
    assert_eq!(edit("{\"c\": 5}"), "applied");
    assert_eq!(fields(), "1 \"x\" \"add\", 2 \"a\" \"lww\", 4 \"c\" \"lww\"");
    db.psql("ALTER TABLE t ALTER x TYPE text");
    let error = db.psql_error("SELECT cache_sync.edit('t', '{\"id\": 1}', '{\"a\": 1}')");
    assert!(error.contains("42804"), "{error}");
}

#[test]
fn generated_columns_are_described_but_not_written() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b int,
                         twice int GENERATED ALWAYS AS (b * 2) STORED, serial int GENERATED ALWAYS AS IDENTITY);
         SELECT cache_sync.attach('t', true)",
    );
    let generated = "SELECT string_agg(f->>'name', ',') FROM jsonb_array_elements(cache_sync.describe('t')->'fields') f
                     WHERE (f->>'generated')::boolean";
    assert_eq!(db.psql(generated), "twice,serial");
    db.psql("SELECT cache_sync.upsert('t', '{\"id\": 7, \"b\": 5}')");
    db.psql("SELECT cache_sync.edit('t', '{\"id\": 7}', '{\"b\": 6}')");
    assert_eq!(db.psql("SELECT id, b, twice FROM t"), "7|6|12");
    for field in ["twice", "serial"] {
        let error = db.psql_error(&format!("SELECT cache_sync.edit('t', '{{\"id\": 7}}', '{{\"{field}\": 6}}')"));
        assert!(error.contains("428C9"), "{error}");
    }
}

#[test]
fn names_are_quoted() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE TABLE \"We\"\"ird; t\" (\"k\"\"1\" text COLLATE \"C\", m mood, d date, \"v'al\" int, t text, p text,
                                         PRIMARY KEY (\"k\"\"1\", m, d));
         SELECT cache_sync.attach('\"We\"\"ird; t\"', true, '{\"v''al\": \"add\"}')",
    );
    let key = r#""k\"1": "x", "m": "ok", "d": "2020-01-01""#;
    db.psql(&format!("SELECT cache_sync.upsert('\"We\"\"ird; t\"', '{{{key}, \"v''al\": 5, \"t\": \"t\"}}')"));
    db.psql(&format!("SELECT cache_sync.edit('\"We\"\"ird; t\"', '{{{key}}}', '{{\"v''al\": 1, \"p\": \"p\"}}')"));
    assert_eq!(db.psql("SELECT \"v'al\", t, p FROM \"We\"\"ird; t\""), "6|t|p");
    let after = format!("SELECT row_after->>'t' FROM cache_sync.delete('\"We\"\"ird; t\"', '{{{key}}}')");
    assert_eq!(db.psql(&after), "");
}

/// Functions and operators of the caller's that shadow those of pg_catalog must never be asked.
#[test]
fn the_callers_search_path_plays_no_part() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v text, n int); SELECT cache_sync.attach('t', true, '{\"n\": \"add\"}');
         CREATE SCHEMA evil;
         CREATE FUNCTION evil.no(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed'; END $$;
         CREATE FUNCTION evil.to_jsonb(anyelement) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed'; END $$;
         CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.no);
         CREATE OPERATOR evil.> (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.no);
         CREATE OPERATOR evil.+ (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.no)",
    );
    db.psql(
        "SET search_path = evil, pg_catalog, public;
         SELECT cache_sync.upsert('t', '{\"id\": 1, \"v\": \"a\", \"n\": 1}');
         SELECT cache_sync.edit('t', '{\"id\": 1}', '{\"v\": \"b\", \"n\": 1}');
         SELECT cache_sync.describe('t'), cache_sync.status();
         SELECT cache_sync.delete('t', '{\"id\": 1}');
         SELECT cache_sync.detach('t'), cache_sync.attach('t', true)",
    );
}
