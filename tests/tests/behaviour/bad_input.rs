//! Bad input, in every place where SQL takes some: a clear error with an SQLSTATE, and nothing lost or half done.
//!
//! One table of cases, one connection, so that a case which leaves something behind in the backend spoils those after it.
//! After each of them everything that may not have changed is looked at.

use cache_sync_core::outcome;
use cache_sync_tests::Database;
use cache_sync_tests::batches::verdict;
use serde_json::{Value, json};
use tokio_postgres::{Client, SimpleQueryMessage};

/// What is to become of a case.
#[derive(Clone, Debug)]
enum Expected {
    /// An error with this SQLSTATE.
    Error(&'static str),
    /// It is no error, changes nothing, and this is its first column.
    Answer(&'static str),
    /// A batch's only patch is refused with this SQLSTATE and kept; the batch counts.
    Buried(&'static str),
}
use Expected::{Answer, Buried, Error};

/// A statement and what is to become of it. `{session}`, `{fence}`, `{next}` and `{last}` stand for the session's facts.
type Case = (String, Expected);

const SESSION: &str = "11111111-1111-4111-8111-111111111111";

/// Everything that a case may not change: the catalogs as far as they are of interest, all rows, sequences and books.
const STATE: &str = "SELECT jsonb_build_object(
    't', (SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM t),
    'k', (SELECT md5(string_agg(k::text, '|' ORDER BY a, b)) FROM k),
    'plain', (SELECT md5(string_agg(p::text, '|' ORDER BY id)) FROM plain p),
    'docs', (SELECT md5(string_agg(d::text, '|' ORDER BY key)) FROM docs d),
    'letter_ids', (SELECT (d.last_value, d.is_called)::text FROM cache_sync.dead_letter_id_seq d),
    'attached', (SELECT md5(string_agg(a::text, '|' ORDER BY table_id)) FROM cache_sync.attached a),
    'fields', (SELECT md5(string_agg(f::text, '|' ORDER BY table_id, field_id)) FROM cache_sync.field f),
    'session', (SELECT md5(string_agg((s.session, table_id, fence, last_seq, digest, outcomes)::text, '|' ORDER BY s.session, table_id))
                FROM cache_sync.session s),
    'letters', (SELECT count(*) FROM cache_sync.dead_letter),
    'relations', (SELECT md5(string_agg((oid, relname, relchecks, relhastriggers)::text, '|' ORDER BY oid))
                  FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'cache_sync'::regnamespace)),
    'columns', (SELECT md5(string_agg((attrelid, attname, atthasdef, attisdropped)::text, '|' ORDER BY attrelid, attnum))
                FROM pg_attribute WHERE attrelid IN ('t'::regclass, 'k'::regclass, 'plain'::regclass, 'docs'::regclass, 'bare'::regclass)),
    'triggers', (SELECT md5(string_agg((tgrelid, tgname, tgenabled)::text, '|' ORDER BY oid)) FROM pg_trigger),
    'settings', current_setting('lock_timeout') || current_setting('search_path') || current_setting('synchronous_commit'))";

fn make(db: &Database<'_>) {
    db.psql(
        r#"CREATE TABLE t (id int PRIMARY KEY, a text, n2 smallint, n4 int CHECK (n4 <> 13), n8 bigint, num numeric,
               li jsonb, ar int[], se int[], js jsonb, doc jsonb, f text, iv interval, fl float8,
               made int GENERATED ALWAYS AS (n4 + 1) STORED, must text NOT NULL DEFAULT 'x', at timestamptz);
           SELECT cache_sync.attach('t', true, '{"n2": "add", "n4": "add", "n8": "add", "num": "add", "iv": "add",
               "li": {"rule": "append", "cap": 3}, "ar": "append", "se": "union", "js": "union", "f": "max",
               "doc": {"rule": "json", "members": {"n": "add", "l": "append", "s": "union"}}}');
           INSERT INTO t (id, a, n2, n4, n8, num, li, ar, se, js, doc, f, iv, fl) VALUES
               (1, 'one', 32000, 2147483000, 9223372036854775000, 1.5, '[1]', '{1}', '{1}', '[1]', '{"n": 1, "l": [1], "x": {"y": 1}}', 'f', '1 day', 1),
               (2, 'two', 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
           CREATE TABLE k (a text, b int, v text, PRIMARY KEY (a, b)); INSERT INTO k VALUES ('x', 1, 'v');
           SELECT cache_sync.attach('k');
           CREATE TABLE plain (id bigint PRIMARY KEY, v int, n int, j json); INSERT INTO plain VALUES (1, 1, 1, '{}');
           SELECT cache_sync.attach('plain', rules => '{"n": "add"}');
           SELECT cache_sync.create_table('docs'); INSERT INTO docs VALUES ('d', '{"a": 1}');
           CREATE TABLE bare (id int PRIMARY KEY, v int, f float8, t text, j json, b jsonb, a int[], p point, ts timestamptz);
           CREATE VIEW view AS SELECT * FROM t; CREATE MATERIALIZED VIEW mat AS SELECT 1 AS id; CREATE SEQUENCE seq;
           CREATE TYPE composite AS (a int);
           CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
           CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9);
           CREATE FUNCTION good(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || $2';
           CREATE FUNCTION nulls(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT NULL::text';
           CREATE FUNCTION stable(text, text) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1';
           CREATE FUNCTION several(text, text) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
           CREATE FUNCTION other(text, text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
           CREATE FUNCTION one(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
           CREATE FUNCTION mixed(text, int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
           CREATE FUNCTION ints(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
           CREATE FUNCTION nothing() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT NULL::text';
           CREATE FUNCTION state(text, text, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
           CREATE AGGREGATE aggregated(text, text) (SFUNC = state, STYPE = text);
           CREATE PROCEDURE proc(text, text) LANGUAGE sql AS 'SELECT 1'"#,
    );
}

/// `SELECT cache_sync.<call>`
fn call(call: &str, expected: Expected) -> Case {
    (format!("SELECT cache_sync.{call}"), expected)
}

/// The next batch of the session with `t`: shapes and the rows, as they stand.
fn batch(shapes: &str, rows: &[&str], expected: Expected) -> Case {
    let rows: Vec<_> = rows.iter().map(|rows| format!("'{}'::json", rows.replace('\'', "''"))).collect();
    apply(&format!("'{}'", shapes.replace('\'', "''")), &format!("ARRAY[{}]::json[]", rows.join(", ")), expected)
}

fn apply(shapes: &str, rows: &str, expected: Expected) -> Case {
    let sql =
        format!("SELECT outcomes FROM cache_sync.apply('t', '{{session}}', {{fence}}, {{next}}, {shapes}, {rows})");
    (sql, expected)
}

/// A batch of one edit of row 1.
fn edit(field: &str, value: &str, expected: Expected) -> Case {
    let shapes = json!([{"op": "edit", "fields": [field]}]).to_string();
    let row = format!("[{{\"#\": 0, \"@\": {}, \"id\": 1, {}: {value}}}]", i64::MAX, Value::from(field));
    batch(&shapes, &[&row], expected)
}

fn nulls() -> Vec<Case> {
    let mut cases: Vec<_> = [
        ("compare_and_set(NULL, '{\"id\": 1}', 1)", Error("22004")),
        ("compare_and_set('t', NULL, 1)", Error("22004")),
        ("requeue_dead_letter(NULL)", Error("22004")),
        ("requeue_dead_letter(1, NULL)", Error("22004")),
        ("discard_dead_letter(NULL)", Error("22004")),
        ("create_table(NULL)", Error("42602")),
        ("detach_all(NULL)", Error("22004")),
        ("run_maintenance(NULL)", Error("22023")),
        ("repair(NULL)", Error("22004")),
        ("set_expiry(NULL, 'at')", Error("22004")),
        ("invalidate_table(NULL)", Error("22004")),
        ("record_attached(NULL, '{}')", Error("22004")),
        ("record_attached('bare', NULL)", Error("22004")),
        ("record_rule('t', NULL)", Error("22004")),
        ("merge(NULL, '1', '1')", Error("22023")),
        ("merge('\"add\"', NULL, NULL)", Answer("null")),
        ("key_hash(NULL, '{}')", Answer("")),
        ("key_hash('t', NULL)", Answer("")),
        ("key_hash('t', '{\"id\": null}')", Error("22023")),
        ("upsert('t', '{\"id\": null}')", Error("23502")),
        ("upsert('k', '{\"a\": \"x\", \"b\": null}')", Error("23502")),
        ("edit('k', '{\"a\": null, \"b\": 1}', '{\"v\": 1}')", Answer("(missing,,)")),
        ("delete('k', '{\"a\": null, \"b\": null}')", Answer("(missing,,)")),
        ("upsert('t', '{\"id\": 1, \"must\": null}')", Error("23502")),
        ("edit('t', '{\"id\": 1}', '{\"must\": null}')", Error("23502")),
        ("changes(NULL, NULL, NULL)", Error("22023")),
        ("clock_first(NULL, true, 1::int2, 1)", Error("22004")),
        ("document_value(NULL, true, false, '{}', '{}', 1, NULL, 1, 1::int2)", Error("22004")),
        ("document_clock(NULL, '\"json\"', true, false, '{}', '{}', 1, NULL, 1, 1::int2)", Error("22004")),
        ("document_fresh(NULL, '{}', false)", Error("22004")),
        ("document_fresh('\"json\"', NULL, NULL)", Answer("")),
        ("merge_values(NULL, '1', '1')", Error("22004")),
        ("joined(NULL, NULL)", Answer("")),
        ("united(NULL::jsonb, NULL)", Answer("")),
        ("united(NULL::int[], NULL)", Answer("")),
        ("last_of(NULL::jsonb, NULL)", Answer("")),
        ("not_null(NULL::int, NULL)", Error("22004")),
        ("differs(NULL::point, NULL)", Answer("f")),
        ("is_larger(NULL::int, NULL)", Answer("f")),
        ("finite(NULL)", Answer("")),
        ("load_state(NULL, NULL) = ARRAY[cache_sync.epoch(), -1]", Answer("t")),
        ("describe(NULL)", Error("22004")),
    ]
    .map(|(sql, expected)| call(sql, expected))
    .into();
    cases.push(("CALL cache_sync.stream(ARRAY[1, NULL])".into(), Error("22004")));
    cases.push(apply("'[]'", "ARRAY[NULL]::json[]", Error("22004")));
    cases.push(batch(r#"[{"op": "edit", "fields": [null]}]"#, &["[]"], Error("22023")));
    cases.push(batch(r#"[null]"#, &["[]"], Error("22023")));
    cases.push(batch(r#"[{"op": "edit", "fields": ["a"]}]"#, &["[null]"], Error("22023")));
    cases.push(batch(r#"[{"op": "edit", "fields": ["a"]}]"#, &["null"], Error("22023")));
    cases.push(edit("must", "null", Buried("23502")));
    cases
}

fn batches() -> Vec<Case> {
    const EDIT: &str = r#"[{"op": "edit", "fields": ["a"]}]"#;
    let mut cases = vec![
        apply("'[]'", "ARRAY['[]']::json[]", Error("22023")),
        apply("'[{\"op\": \"delete\"}]'", "'{}'::json[]", Error("22023")),
        apply("'[]'", "ARRAY[['[]', '[]']]::json[]", Error("2202E")),
        apply("'[{\"op\": \"delete\"}]'", "'[0:0]={[]}'::json[]", Error("2202E")),
        apply("'[{\"op\": \"delete\"}]'", "'[2:2]={[]}'::json[]", Error("2202E")),
        apply("'{}'", "'{}'::json[]", Error("22023")),
        apply("'1'", "'{}'::json[]", Error("22023")),
        apply("'\"edit\"'", "'{}'::json[]", Error("22023")),
        apply("'1e400'", "'{}'::json[]", Error("22023")),
        apply("'[1e400]'", "'{}'::json[]", Error("22023")),
        apply(&format!("'{}{}'", "[".repeat(1000), "]".repeat(1000)), "'{}'::json[]", Error("22023")),
        batch(r#"[{}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "merge"}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": "a"}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": [1]}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": []}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": ["a", "a"]}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": ["a"], "more": 1}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": ["a"], "stamps": "many"}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "put", "seen": 1, "fields": ["a"]}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "delete", "fields": ["a"]}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": ["nope"]}]"#, &["[]"], Error("42703")),
        batch(r#"[{"op": "edit", "fields": ["id"]}]"#, &["[]"], Error("42703")),
        batch(r#"[{"op": "edit", "fields": ["cs_version"]}]"#, &["[]"], Error("42703")),
        batch(r#"[{"op": "edit", "fields": ["cs_clock"]}]"#, &["[]"], Error("42703")),
        batch(r#"[{"op": "edit", "fields": ["made"]}]"#, &["[]"], Error("428C9")),
        batch(r#"[{"op": "edit", "fields": ["a\" = 1; DROP TABLE t; --"]}]"#, &["[]"], Error("42703")),
        batch(EDIT, &["{}"], Error("22023")),
        batch(EDIT, &["1"], Error("22023")),
        batch(EDIT, &["\"[]\""], Error("22023")),
        batch(EDIT, &["[1]"], Error("22023")),
        batch(EDIT, &["[[]]"], Error("22023")),
        batch(EDIT, &["[{}]"], Error("22023")),
        batch(EDIT, &["[]", "[]"], Error("22023")),
    ];
    for (row, expected) in [
        (r##"{"@": 1, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": -1, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 1, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 4294967296, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 99999999999999999999, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 0.0, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": "0", "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": null, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 0, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 0, "@": -1, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 0, "@": null, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 0, "@": "1", "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 0, "@": 1.5, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 0, "@": 9223372036854775808, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 0, "@": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 0, "@": 1, "id": 1}"##, Error("22023")),
        (r##"{"#": 0, "@": 1, "id": 1, "a": "x", "n4": 1}"##, Error("22023")),
        (r##"{"#": 0, "@": 1, "id": 1, "a": "x", "a": "y"}"##, Error("22023")),
        (r##"{"#": 0, "@": 1, "id": 1, "a": "x", "\u0061": "y"}"##, Error("22023")),
        (r##"{"#": 0, "#": 0, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 0, "@": 1, "@3": 1, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 0, "@": 1, "=": 1, "id": 1, "a": "x"}"##, Error("22023")),
        (r##"{"#": 0, "@": 1, "id": 1, "a": "x"}, {"#": 0, "@": 1, "id": 2, "a": "x"}"##, Error("22023")),
        (
            r##"{"#": 0, "@": 9223372036854775807, "id": 7, "a": "x"}, {"#": 1, "@": 1, "id": 7, "a": "y"}"##,
            Error("21000"),
        ),
        (r##"{"#": 0, "@": 1, "id": "x", "a": "x"}"##, Buried("22P02")),
        (r##"{"#": 0, "@": 1, "id": 1.5, "a": "x"}"##, Buried("22P02")),
        (r##"{"#": 0, "@": 1, "id": 2147483648, "a": "x"}"##, Buried("22003")),
        (r##"{"#": 0, "@": 1, "id": 1e400, "a": "x"}"##, Buried("22P02")),
        (r##"{"#": 0, "@": 1, "id": [1], "a": "x"}"##, Buried("22P02")),
        (r##"{"#": 0, "@": 1, "id": 1, "a": "\u0000"}"##, Buried("22P05")),
        (r##"{"#": 0, "@": 1, "id": 1, "a": "\ud800"}"##, Buried("22P02")),
    ] {
        cases.push(batch(EDIT, &[&format!("[{row}]")], expected));
    }
    let each = r#"[{"op": "edit", "fields": ["a", "doc"], "stamps": "each"}]"#;
    for document in
        ["{}", "[[1]]", "[[-1, {}]]", "[[1.5, {}]]", "[[\"1\", {}]]", "[[1, {}, {}]]", "[1]", "1", "null", "\"x\""]
    {
        let row = format!("[{{\"#\": 0, \"@1\": 1, \"id\": 1, \"a\": \"x\", \"doc\": {document}}}]");
        cases.push(batch(each, &[&row], Error("22023")));
    }
    let swap = |of: &str, with: &str, expected| {
        let sql = "SELECT outcomes FROM cache_sync.apply('t', '{session}', {fence}, {next}, '[]', '{}')";
        (sql.replace(of, with), expected)
    };
    cases.extend([
        swap("{next}", "0", Error("CS003")),
        swap("{next}", "-1", Error("CS003")),
        swap("{next}", "{next} + 1", Error("CS003")),
        swap("{next}", "9223372036854775807", Error("CS003")),
        swap("{next}", "'-9223372036854775808'", Error("CS003")),
        swap("{next}", "{last}", Error("CS004")),
        swap("{fence}", "{fence} - 1", Error("CS002")),
        swap("{fence}", "9223372036854775807", Error("CS002")),
        swap("{fence}", "-1", Error("CS002")),
        swap("{session}", "00000000-0000-0000-0000-000000000000", Error("CS001")),
        swap("{session}", "no uuid", Error("22P02")),
        swap("'t'", "'k'", Error("CS001")),
        swap("'t'", "'bare'", Error("CS005")),
        swap("'t'", "4294967295::regclass", Error("CS005")),
        swap("'t'", "'view'", Error("CS005")),
    ]);
    let many: Vec<_> =
        (0..100_001).map(|place| format!("{{\"#\":{place},\"@\":1,\"id\":{place},\"a\":\"x\"}}")).collect();
    cases.push(batch(EDIT, &[&format!("[{}]", many.join(","))], Error("54000")));
    cases.push(apply("'[]'", "array_fill('[]'::json, ARRAY[1000000])", Error("22023")));
    cases
}

fn keys() -> Vec<Case> {
    // Not to be made shorter by compression.
    let mut seed = 1u64;
    let mut letter = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + (seed >> 40) as u8 % 26)
    };
    let long: String = (0..5000).map(|_| letter()).collect();
    let huge = long.repeat(210);
    let mut cases: Vec<_> = [
        ("upsert('t', '{}')", Error("22023")),
        ("upsert('t', '[]')", Error("22023")),
        ("upsert('t', '1')", Error("22023")),
        ("upsert('t', '\"x\"')", Error("22023")),
        ("upsert('t', 'null')", Error("22023")),
        ("upsert('t', 'true')", Error("22023")),
        ("upsert('t', '[{\"id\": 1}]')", Error("22023")),
        ("upsert('t', '{\"id\": \"x\"}')", Error("22P02")),
        ("upsert('t', '{\"id\": 1.5}')", Error("22P02")),
        ("upsert('t', '{\"id\": 3000000000}')", Error("22003")),
        ("upsert('t', '{\"id\": 1e400}')", Error("22003")),
        ("upsert('t', '{\"id\": 1, \"nope\": 1}')", Error("42703")),
        ("upsert('t', '{\"id\": 1, \"#\": 1}')", Error("42703")),
        ("upsert('t', '{\"id\": 1, \"@\": 1}')", Error("42703")),
        ("upsert('t', '{\"id\": 1, \"=\": 1}')", Error("42703")),
        ("upsert('t', '{\"id\": 1, \"cs_version\": 1}')", Error("42703")),
        ("upsert('t', '{\"id\": 1, \"made\": 1}')", Error("428C9")),
        ("upsert('k', '{\"a\": \"x\"}')", Error("22023")),
        ("upsert('k', '{\"b\": 1}')", Error("22023")),
        ("edit('t', '{\"id\": 1, \"a\": 1}', '{\"a\": 1}')", Error("22023")),
        ("edit('t', '{\"id\": 1}', '{\"id\": 2}')", Error("22023")),
        ("edit('t', '{\"id\": 1}', '[]')", Error("22023")),
        ("edit('t', '{}', '{\"a\": 1}')", Error("22023")),
        ("edit('t', '[1]', '{\"a\": 1}')", Error("22023")),
        ("edit('t', '1', '{\"a\": 1}')", Error("22023")),
        ("edit('k', '{\"a\": \"x\"}', '{\"v\": 1}')", Error("22023")),
        ("edit('k', '{\"a\": \"x\", \"b\": 1, \"c\": 1}', '{\"v\": 1}')", Error("22023")),
        ("edit('k', '{\"a\": \"\", \"b\": 1}', '{\"v\": 1}')", Answer("(missing,,)")),
        ("delete('t', '{}')", Error("22023")),
        ("delete('t', '[]')", Error("22023")),
        ("delete('t', '{\"id\": 1, \"a\": 1}')", Error("22023")),
        ("delete('t', '{\"id\": \"1; DROP TABLE t\"}')", Error("22P02")),
        ("delete('k', '{\"a\": \"x\"}')", Error("22023")),
        ("compare_and_set('t', '{}', 1)", Error("22023")),
        ("compare_and_set('t', '{\"id\": 1, \"a\": 1}', -1)", Error("22023")),
        ("compare_and_set('t', '{\"id\": 99, \"a\": 1}', 9223372036854775807)", Answer("(missing,,)")),
        ("compare_and_set('plain', '{\"id\": 1, \"v\": 2}', 1)", Error("55000")),
        ("key_hash('t', '{}')", Error("22023")),
        ("key_hash('t', '[]')", Error("22023")),
        ("key_hash('t', '1')", Error("22023")),
        ("key_hash('t', '{\"id\": 1, \"b\": 1}')", Error("22023")),
        ("key_hash('t', '{\"b\": 1}')", Error("22023")),
        ("key_hash('t', '{\"id\": [1]}')", Error("22023")),
        ("key_hash('t', '{\"id\": {}}')", Error("22023")),
        ("key_hash('t', '{\"id\": 1e400}')", Error("22003")),
        ("key_hash('t', '{\"id\": 1.5}')", Error("22P02")),
        ("key_hash('t', '{\"id\": \"x\"}')", Error("22P02")),
        ("key_hash('t', '{\"id\": true}')", Error("22P02")),
        ("key_hash('k', '{\"a\": \"x\"}')", Error("22023")),
        ("upsert('k', '{\"a\": \"\\u0000\", \"b\": 1}')", Error("22P05")),
        ("upsert('k', '{\"a\": \"\\ud800\", \"b\": 1}')", Error("22P02")),
        ("upsert('k', E'{\"a\": \"\\xff\", \"b\": 1}')", Error("22021")),
    ]
    .map(|(sql, expected)| call(sql, expected))
    .into();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    cases.push(call(&format!("key_hash('t', '{{\"id\": {deep}}}')"), Error("22023")));
    for key in [&long, &huge] {
        cases.push(call(&format!("upsert('k', '{{\"a\": \"{key}\", \"b\": 1}}')"), Error("54000")));
        cases.push(call(&format!("upsert('docs', '{{\"key\": \"{key}\", \"value\": 1}}')"), Error("54000")));
        cases
            .push(call(&format!("edit('k', '{{\"a\": \"{key}\", \"b\": 1}}', '{{\"v\": 1}}')"), Answer("(missing,,)")));
    }
    cases
}

fn values() -> Vec<Case> {
    let mut cases = vec![
        edit("n2", "768", Buried("22003")),
        edit("n2", "1e3", Buried("22P02")),
        edit("n4", "1000000", Buried("22003")),
        edit("n4", "-2147482987", Buried("23514")),
        edit("n4", "0.5", Buried("22P02")),
        edit("n4", "\"NaN\"", Buried("22P02")),
        edit("n8", "9223372036854775807", Buried("22003")),
        edit("n8", "9223372036854775808", Buried("22003")),
        edit("n8", "\"x\"", Buried("22P02")),
        edit("num", "\"NaN\"", Buried("22023")),
        edit("num", "\"Infinity\"", Buried("22023")),
        edit("num", "\"-Infinity\"", Buried("22023")),
        edit("num", "1e131072", Buried("22003")),
        edit("num", "\"\"", Buried("22P02")),
        edit("iv", "\"200000000 years\"", Buried("22008")),
        edit("iv", "1.5e300", Buried("22007")),
        edit("fl", "1e400", Buried("22003")),
        edit("li", "1", Buried("22023")),
        edit("li", "{}", Buried("22023")),
        edit("li", "\"[]\"", Buried("22023")),
        edit("ar", "1", Buried("22P02")),
        edit("ar", "{\"a\": 1}", Buried("22P02")),
        edit("ar", "[[1], 2]", Buried("22P02")),
        edit("ar", "[\"x\"]", Buried("22P02")),
        edit("se", "[1]", Buried("22023")),
        edit("se", "1", Buried("22023")),
        edit("se", "{\"adds\": [1]}", Buried("22023")),
        edit("se", "{\"add\": 1}", Buried("22023")),
        edit("se", "{\"add\": [\"x\"]}", Buried("22P02")),
        edit("se", "{\"add\": [99999999999]}", Buried("22003")),
        edit("se", "{\"add\": [[1]]}", Buried("22023")),
        edit("se", "{\"add\": [{}]}", Buried("22023")),
        edit("js", "{\"add\": 1}", Buried("22023")),
        edit("js", "[]", Buried("22023")),
        edit("doc", "{\"n\": \"x\"}", Buried("22023")),
        edit("doc", "{\"n\": [1]}", Buried("22023")),
        edit("doc", "{\"l\": 1}", Buried("22023")),
        edit("doc", "{\"s\": [1]}", Buried("22023")),
        edit("doc", "{\"a\": \"\\u0000\"}", Buried("22P05")),
        edit("doc", "{\"\\u0000\": 1}", Buried("22P05")),
        edit("doc", "{\"a\": 1e200000}", Buried("22003")),
        edit("at", "\"2020-02-30\"", Buried("22008")),
        edit("at", "\"infinite\"", Buried("22007")),
        edit("at", "1e99", Buried("22007")),
        call("edit('t', '{\"id\": 1}', '{\"n2\": 30000}')", Error("22003")),
        call("edit('t', '{\"id\": 1}', '{\"num\": \"NaN\"}')", Error("22023")),
        call("edit('t', '{\"id\": 1}', '{\"num\": 1e131072}')", Error("22003")),
        call("edit('t', '{\"id\": 1}', '{\"n4\": -2147482987}')", Error("23514")),
        call("edit('docs', '{\"key\": \"d\"}', '{\"expires_at\": \"never\"}')", Error("22007")),
        call("upsert('plain', '{\"id\": 1, \"v\": 1e400}')", Error("22003")),
        call("upsert('plain', '{\"id\": 1, \"v\": {}}')", Error("22P02")),
    ];
    // Postgres' own parser gives up on this.
    let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    cases.push(edit("doc", &deep, Error("54001")));
    cases.push(edit("a", &deep, Error("54001")));
    cases.push(call(&format!("edit('docs', '{{\"key\": \"d\"}}', '{{\"value\": {deep}}}')"), Error("54001")));
    cases.push(call(&format!("key_hash('t', '{{\"id\": {deep}}}')"), Error("54001")));
    cases
}

fn rules() -> Vec<Case> {
    let mut cases: Vec<_> = [
        ("'v', '\"what\"'", "22023"),
        ("'v', '\"ADD\"'", "22023"),
        ("'v', '\"\"'", "22023"),
        ("'v', '1'", "22023"),
        ("'v', 'true'", "22023"),
        ("'v', 'null'", "22023"),
        ("'v', '[]'", "22023"),
        ("'v', '{}'", "22023"),
        ("'v', '1e400'", "22023"),
        ("'v', '{\"rule\": 1e400}'", "22023"),
        ("'v', '{\"rule\": null}'", "22023"),
        ("'v', '{\"rule\": \"add\", \"cap\": 1}'", "22023"),
        ("'v', '{\"rule\": \"add\", \"more\": 1}'", "22023"),
        ("'a', '{\"rule\": \"append\", \"cap\": 0}'", "22023"),
        ("'a', '{\"rule\": \"append\", \"cap\": -1}'", "22023"),
        ("'a', '{\"rule\": \"append\", \"cap\": 1000001}'", "22023"),
        ("'a', '{\"rule\": \"append\", \"cap\": 1e400}'", "22023"),
        ("'a', '{\"rule\": \"append\", \"cap\": \"1\"}'", "22023"),
        ("'a', '{\"rule\": \"append\", \"cap\": 1.5}'", "22023"),
        ("'b', '\"json\"'", "55000"),
        ("'v', '\"lww\"'", "55000"),
        ("'v', '\"first\"'", "55000"),
        ("'f', '\"add\"'", "42804"),
        ("'t', '\"add\"'", "42804"),
        ("'a', '\"add\"'", "42804"),
        ("'ts', '\"add\"'", "42804"),
        ("'p', '\"max\"'", "42804"),
        ("'j', '\"min\"'", "42804"),
        ("'j', '\"append\"'", "42804"),
        ("'t', '\"append\"'", "42804"),
        ("'v', '\"union\"'", "42804"),
        ("'j', '\"union\"'", "42804"),
        ("'nope', '\"add\"'", "42703"),
        ("'id', '\"add\"'", "42703"),
        ("'', '\"add\"'", "42703"),
        ("'v\"; DROP TABLE bare; --', '\"add\"'", "42703"),
        ("'t', '\"function\"'", "22023"),
        ("'t', '{\"rule\": \"function\"}'", "22023"),
        ("'t', '{\"rule\": \"function\", \"name\": \"\"}'", "22P02"),
        ("'t', '{\"rule\": \"function\", \"name\": 1}'", "22P02"),
        ("'t', '{\"rule\": \"function\", \"name\": \"absent(text,text)\"}'", "42883"),
        ("'t', '{\"rule\": \"function\", \"name\": \"stable(text,text)\"}'", "42P17"),
        ("'t', '{\"rule\": \"function\", \"name\": \"several(text,text)\"}'", "42804"),
        ("'t', '{\"rule\": \"function\", \"name\": \"other(text,text)\"}'", "42804"),
        ("'t', '{\"rule\": \"function\", \"name\": \"one(text)\"}'", "42804"),
        ("'t', '{\"rule\": \"function\", \"name\": \"mixed(text,int)\"}'", "42804"),
        ("'t', '{\"rule\": \"function\", \"name\": \"ints(int,int)\"}'", "42804"),
        ("'t', '{\"rule\": \"function\", \"name\": \"nothing()\"}'", "42804"),
        ("'t', '{\"rule\": \"function\", \"name\": \"aggregated(text,text)\"}'", "42804"),
        ("'t', '{\"rule\": \"function\", \"name\": \"proc(text,text)\"}'", "42804"),
        ("'t', '{\"rule\": \"function\", \"name\": \"good\"}'", "22P02"),
        ("'t', '{\"rule\": \"function\", \"name\": \"good(\"}'", "22P02"),
        ("'t', '{\"rule\": \"function\", \"name\": \"good(text,\"}'", "22P02"),
        ("'t', '{\"rule\": \"function\", \"name\": \"good(nope,nope)\"}'", "42704"),
        ("'t', '{\"rule\": \"function\", \"name\": \"a.b.c.d(text)\"}'", "42601"),
        ("'t', '{\"rule\": \"function\", \"name\": \"good(text,text); DROP TABLE bare\"}'", "22P02"),
    ]
    .into_iter()
    .flat_map(|(rule, code)| {
        let (field, rule) = rule.split_once(", ").unwrap();
        let rules = format!("jsonb_build_object({field}, {rule}::jsonb)");
        [
            (
                format!("BEGIN; SELECT cache_sync.attach('bare'); SELECT cache_sync.set_rule('bare', {field}, {rule})"),
                Error(code),
            ),
            call(&format!("attach('bare', rules => {rules})"), Error(code)),
        ]
    })
    .collect();
    let deep = format!("{}1{}", "{\"rule\":\"json\",\"members\":{\"a\":".repeat(300), "}}".repeat(300));
    cases.extend(
        [
            (format!("set_rule('t', 'doc', '{deep}')"), Error("22023")),
            (format!("spelled('{deep}')"), Error("22023")),
            (format!("merge('{deep}', '1', '1')"), Error("22023")),
            (format!("attach('bare', rules => '{{\"b\": {deep}}}')"), Error("22023")),
            ("attach('bare', rules => '[]')".into(), Error("22023")),
            ("attach('bare', rules => '1')".into(), Error("22023")),
            ("attach('bare', rules => 'null')".into(), Error("22023")),
            ("attach('bare', rules => '\"add\"')".into(), Error("22023")),
            ("attach('bare', tags => '{nope}')".into(), Error("42703")),
            ("attach('bare', tags => '{{v,nope},{v,t}}')".into(), Error("42703")),
            ("attach('bare', tags => '{NULL}')".into(), Error("42703")),
            ("attach('bare', tags => '{cs_version}')".into(), Error("42703")),
            ("set_rule('t', 'made', '\"add\"')".into(), Error("42809")),
            ("set_rule('t', 'cs_version', '\"add\"')".into(), Error("42703")),
            ("set_rule('t', 'doc', '{\"rule\": \"json\", \"members\": {\"x\": \"arrival\"}}')".into(), Error("22023")),
            ("set_rule('t', 'doc', '{\"rule\": \"json\", \"members\": []}')".into(), Error("22023")),
            ("set_rule('t', 'doc', '{\"rule\": \"json\", \"depth\": 0}')".into(), Error("22023")),
            (
                "set_rule('docs', 'member', '{\"rule\": \"function\", \"name\": \"good(text,text)\"}')".into(),
                Error("22023"),
            ),
            ("set_rule('docs', 'key', '\"what\"')".into(), Error("22023")),
            ("set_rule('bare', 'v', '\"add\"')".into(), Error("CS005")),
            ("set_expiry('t', 'a')".into(), Error("42703")),
            ("set_expiry('t', 'nope')".into(), Error("42703")),
            ("set_expiry('t', 'id')".into(), Error("42703")),
            ("set_expiry('bare', 'ts')".into(), Error("CS005")),
            ("set_expiry('view', 'at')".into(), Error("CS005")),
            ("record_attached('bare', '[]')".into(), Error("23502")),
            ("record_attached('bare', '{\"versioned\": \"perhaps\"}')".into(), Error("22P02")),
            ("record_attached('bare', '{\"versioned\": false, \"tags\": [], \"rules\": 1}')".into(), Error("22023")),
            (
                "record_attached('bare', '{\"versioned\": false, \"tags\": [], \"rules\": {\"v\": 1e400}}')".into(),
                Error("22023"),
            ),
            ("record_rule('t', '{}')".into(), Error("42703")),
            ("record_rule('t', '1e400')".into(), Error("42703")),
            ("record_rule('t', '{\"field\": \"a\"}')".into(), Error("22023")),
            ("record_expiry('t', '{\"field\": 1e400}')".into(), Error("42703")),
            ("merge('\"what\"', '1', '1')".into(), Error("22023")),
            ("merge('1e400', '1', '1')".into(), Error("22023")),
            ("merge('\"add\"', '\"x\"', '1')".into(), Error("22023")),
            ("merge('\"add\"', '1', '\"NaN\"')".into(), Error("22023")),
            ("merge('\"add\"', '\"x\"', '\"y\"')".into(), Error("22007")),
            ("merge('\"add\"', '[]', '{}')".into(), Error("22023")),
            ("merge('\"append\"', '1', '[]')".into(), Error("22023")),
            ("merge('\"append\"', '[]', '1')".into(), Error("22023")),
            ("merge('\"union\"', '[]', '[]')".into(), Error("22023")),
            ("merge('\"union\"', '1', '{}')".into(), Error("22023")),
            (
                "merge('{\"rule\": \"json\", \"members\": {\"n\": \"add\"}}', '{\"n\": 1}', '{\"n\": \"x\"}')".into(),
                Error("22023"),
            ),
            ("merge('{\"rule\": \"function\", \"name\": \"absent(text,text)\"}', '1', '1')".into(), Error("42883")),
            ("merge('{\"rule\": \"function\", \"name\": \"nothing()\"}', '1', '1')".into(), Error("42804")),
            ("merge('{\"rule\": \"function\", \"name\": \"several(text,text)\"}', '1', '1')".into(), Error("42804")),
            ("merge('{\"rule\": \"function\", \"name\": \"aggregated(text,text)\"}', '1', '1')".into(), Error("42804")),
            ("merge('{\"rule\": \"function\", \"name\": \"stable(text,text)\"}', '1', '1')".into(), Error("42P17")),
            ("merge('{\"rule\": \"function\", \"name\": \"ints(int,int)\"}', '\"x\"', '1')".into(), Error("22P02")),
            ("merge('{\"rule\": \"function\", \"name\": \"good(\"}', '1', '1')".into(), Error("22P02")),
        ]
        .map(|(sql, expected)| call(&sql, expected)),
    );
    cases.push((
        "BEGIN; CREATE FUNCTION pg_temp.mine(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1'; \
         SELECT cache_sync.set_rule('t', 'a', '{\"rule\": \"function\", \"name\": \"pg_temp.mine(text,text)\"}')"
            .into(),
        Error("42P17"),
    ));
    cases.push((
        "BEGIN; SELECT cache_sync.set_rule('t', 'a', '{\"rule\": \"function\", \"name\": \"nulls(text,text)\"}'); \
         SELECT cache_sync.edit('t', '{\"id\": 1}', '{\"a\": \"x\"}')"
            .into(),
        Error("22004"),
    ));
    cases.push((
        "BEGIN; ALTER TABLE bare ADD ov oidvector; SELECT cache_sync.attach('bare', rules => '{\"ov\": \"union\"}')"
            .into(),
        Error("42804"),
    ));
    cases
}

fn tables() -> Vec<Case> {
    let long = "n".repeat(63);
    let mut cases = Vec::new();
    for (name, code) in [
        ("'view'", "42809"),
        ("'mat'", "42809"),
        ("'seq'", "42809"),
        ("'t_pkey'", "42809"),
        ("'composite'", "42809"),
        ("'temporary'", "42809"),
        ("'part'", "42809"),
        ("'pg_class'", "42809"),
        ("'pg_catalog.pg_authid'", "42809"),
        ("'information_schema.sql_features'", "42809"),
        ("'cache_sync.session'", "42809"),
        ("'cache_sync.dead_letters'", "42809"),
        ("'nope'", "42P01"),
        ("'\"quoted\"\"; DROP TABLE t; --\"'", "42P01"),
        ("'public.t.x.y'", "42601"),
        ("''", "42602"),
        ("'t; DROP TABLE t'", "42602"),
        ("0", "42P01"),
        ("4294967295", "42P01"),
        ("'t'", "42710"),
    ] {
        let setup =
            if name == "'temporary'" { "BEGIN; CREATE TEMP TABLE temporary (id int PRIMARY KEY); " } else { "" };
        cases.push((format!("{setup}SELECT cache_sync.attach({name})"), Error(code)));
        cases.push((format!("{setup}SELECT cache_sync.attach({name}, true)"), Error(code)));
    }
    for function in [
        "upsert({}, '{\"id\": 1}')",
        "edit({}, '{\"id\": 1}', '{\"v\": 1}')",
        "delete({}, '{\"id\": 1}')",
        "compare_and_set({}, '{\"id\": 1}', 1)",
        "open_session({}, '22222222-2222-4222-8222-222222222222')",
        "set_rule({}, 'v', '\"add\"')",
        "set_expiry({}, 'ts')",
        "repair({})",
        "detach({})",
        "describe({})",
        "key_hash({}, '{\"id\": 1}')",
    ] {
        for table in ["'bare'", "'view'", "'seq'", "'part'", "'pg_class'"] {
            cases.push(call(&function.replace("{}", table), Error("CS005")));
        }
        // Those that ask for rights first find no table.
        let is_asking = ["set_rule", "set_expiry", "describe"].iter().any(|name| function.starts_with(name));
        cases.push(call(&function.replace("{}", "4294967295"), Error(if is_asking { "42P01" } else { "CS005" })));
    }
    cases.extend(
        [
            ("create_table('')", "22023"),
            ("create_table('a b')", "22023"),
            ("create_table('\"a')", "22023"),
            ("create_table('a.b.c')", "42602"),
            ("create_table('1')", "22023"),
            ("create_table('a; DROP TABLE t')", "22023"),
            ("create_table('nowhere.a')", "3F000"),
            ("create_table('pg_catalog.a')", "42501"),
            ("create_table('pg_toast.a')", "42501"),
            ("create_table('information_schema.a')", "42809"),
            ("create_table('cache_sync.a')", "42809"),
            ("create_table('pg_temp.a')", "42809"),
            ("create_table('t')", "42P07"),
            ("create_table('view')", "42P07"),
            ("create_table('a', '0')", "22023"),
            ("create_table('a', '-1 day')", "22023"),
            ("create_table('a', 'long')", "22007"),
            ("run_maintenance(0)", "22023"),
            ("run_maintenance(-1)", "22023"),
            ("run_maintenance(2147483648)", "42883"),
            ("prune_sessions(-1)", "2201W"),
            ("requeue_dead_letter(0)", "P0002"),
            ("requeue_dead_letter(-1)", "P0002"),
            ("requeue_dead_letter(9223372036854775807, true)", "P0002"),
            ("changes(max_rows => 0)", "22023"),
            ("changes(max_rows => -2147483648)", "22023"),
            ("open_session('t', 'x')", "22P02"),
        ]
        .map(|(sql, code)| call(sql, Error(code))),
    );
    cases.push(call("discard_dead_letter(-1)", Answer("f")));
    cases.push((
        "SELECT string_agg(kind, ' ') FROM cache_sync.changes(since_epoch => -1, since_position => -1)".into(),
        Answer("gap position"),
    ));
    cases.push(("SELECT kind FROM cache_sync.changes(NULL, 9223372036854775807) LIMIT 1".into(), Answer("gap")));
    cases.push((
        "SELECT cache_sync.create_table('nowhere'); SELECT cache_sync.create_table('nowhere')".into(),
        Error("42P07"),
    ));
    cases.push(("SET LOCAL search_path = ''; SELECT cache_sync.create_table('a')".into(), Error("3F000")));
    cases.push((
        format!("SELECT cache_sync.create_table('{long}'); SELECT cache_sync.create_table('{long}x')"),
        Error("42P07"),
    ));
    cases.extend(
        [
            ("stream('{-1}')", "CS005"),
            ("stream('{2147483647}')", "CS005"),
            ("stream('{{1,99},{1,1}}')", "CS005"),
            ("stream('x')", "22P02"),
            ("stream(ARRAY[1]); SELECT 1", "25001"),
        ]
        .map(|(sql, code)| (format!("CALL cache_sync.{sql}"), Error(code))),
    );
    cases.push(("BEGIN; CALL cache_sync.stream()".into(), Error("25001")));
    cases.push((
        "DO 'BEGIN CALL cache_sync.stream(); EXCEPTION WHEN division_by_zero THEN NULL; END'".into(),
        Error("25001"),
    ));
    cases
}

fn triggers() -> Vec<Case> {
    let mut cases: Vec<_> = ["note_change()", "note_truncate()", "note_setup()", "set_version()"]
        .map(|name| call(name, Error("39P01")))
        .into();
    cases.push(call("unmatch()", Error("0A000")));
    for (trigger, statement, expected) in [
        (
            "BEFORE INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('1')",
            "INSERT INTO bare VALUES (1)",
            Error("39P01"),
        ),
        (
            "BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('1')",
            "UPDATE t SET a = 'z'",
            Error("39P01"),
        ),
        (
            "BEFORE DELETE ON k FOR EACH ROW EXECUTE FUNCTION cache_sync.note_truncate('2')",
            "DELETE FROM k",
            Error("39P01"),
        ),
        (
            "BEFORE INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync.note_setup()",
            "INSERT INTO bare VALUES (1)",
            Error("39P01"),
        ),
        (
            "INSTEAD OF INSERT ON view FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('1')",
            "INSERT INTO view (id) VALUES (9)",
            Error("39P01"),
        ),
        ("BEFORE TRUNCATE ON bare EXECUTE FUNCTION cache_sync.note_truncate('1')", "TRUNCATE bare", Error("39P01")),
        (
            "AFTER INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change()",
            "INSERT INTO bare VALUES (1)",
            Error("39P01"),
        ),
        (
            "AFTER INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('x')",
            "INSERT INTO bare VALUES (1)",
            Error("39P01"),
        ),
        (
            "AFTER INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('99999999999')",
            "INSERT INTO bare VALUES (1)",
            Error("39P01"),
        ),
        (
            "AFTER INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('-5', 'more')",
            "INSERT INTO bare VALUES (1)",
            Answer(""),
        ),
        (
            "AFTER INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('1')",
            "INSERT INTO bare VALUES (1)",
            Answer(""),
        ),
        (
            "AFTER INSERT OR UPDATE OR DELETE ON bare EXECUTE FUNCTION cache_sync.note_change('1')",
            "INSERT INTO bare VALUES (1)",
            Answer(""),
        ),
        ("AFTER TRUNCATE ON bare EXECUTE FUNCTION cache_sync.note_truncate('1')", "TRUNCATE bare", Answer("")),
        (
            "AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION cache_sync.set_version('1')",
            "UPDATE t SET a = 'z'",
            Error("39P01"),
        ),
        (
            "BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION cache_sync.set_version('1')",
            "INSERT INTO t (id) VALUES (9)",
            Error("39P01"),
        ),
        ("BEFORE UPDATE ON t EXECUTE FUNCTION cache_sync.set_version('1')", "UPDATE t SET a = 'z'", Error("39P01")),
        (
            "BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION cache_sync.set_version()",
            "UPDATE t SET a = 'z'",
            Error("39P01"),
        ),
        (
            "BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION cache_sync.set_version('1')",
            "UPDATE plain SET v = 5",
            Answer(""),
        ),
        (
            "BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION cache_sync.set_version('77')",
            "UPDATE t SET a = 'z'",
            Answer(""),
        ),
        (
            "BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION cache_sync.set_version('2')",
            "UPDATE t SET a = 'z'",
            Answer(""),
        ),
    ] {
        cases.push((format!("BEGIN; CREATE TRIGGER aa {trigger}; {statement}; ROLLBACK"), expected));
    }
    cases.push((
        "BEGIN; CREATE CONSTRAINT TRIGGER aa AFTER INSERT OR UPDATE ON plain DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
         EXECUTE FUNCTION cache_sync.note_change('1'); UPDATE plain SET v = 5; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK"
            .into(),
        Answer(""),
    ));
    cases
}

fn inside() -> Vec<Case> {
    [
        ("last_of('[1, 2, 3]'::jsonb, -1)", Answer("[1, 2, 3]")),
        ("last_of('[1, 2, 3]'::jsonb, 0)", Answer("[]")),
        ("last_of('[1, 2, 3]'::jsonb, '-2147483648'::int)", Answer("[1, 2, 3]")),
        ("last_of('{}'::jsonb, 1)", Error("22023")),
        ("last_of('1'::jsonb, 1)", Error("22023")),
        ("last_of('{1,2,3}'::int[], -1)", Answer("{}")),
        ("last_of('[5:7]={1,2,3}'::int[], 2)", Answer("{2,3}")),
        ("last_of('{1,2,3}'::int[], '-2147483648'::int)", Error("22003")),
        ("joined('1', '[]')", Error("22023")),
        ("joined('[]', '{}')", Error("22023")),
        ("united('1'::jsonb, '{}')", Error("22023")),
        ("united('[]'::jsonb, '[]')", Error("22023")),
        ("united('[]'::jsonb, '{\"add\": 1}')", Error("22023")),
        ("united('{1}'::int[], '{\"add\": [\"x\"]}')", Error("22P02")),
        ("united('{{1,2},{3,4}}'::int[], '{\"add\": [1]}')", Error("22023")),
        ("united('{a}'::text[], '{\"add\": [{}]}')", Error("22023")),
        ("united('{1}'::int[], '[]')", Error("22023")),
        ("united('1 2'::oidvector, '{\"add\": [null]}')", Error("42804")),
        ("united(NULL, '{}')", Error("42725")),
        ("not_null(NULL::point, 'f')", Error("22004")),
        ("finite('NaN')", Error("22023")),
        ("finite('-Infinity')", Error("22023")),
        ("finite('1e131071') > 0", Answer("t")),
        ("differs(1, 'x')", Error("22P02")),
        ("differs('{}'::json, '{ }'::json)", Answer("t")),
        ("compare(1, '\\x', 1, 1::int2)", Answer("0")),
        ("compare(1, '\\xffffffffffffffffff', 1, '-32768')", Answer("0")),
        ("wins('{}', NULL, 1, '{1}')", Answer("-1")),
        ("wins('{{1,2},{3,4}}', NULL, 1, '{1}')", Answer("-1")),
        ("wins('{1,NULL}', NULL, 1, '{1}')", Answer("-1")),
        ("loses('{1}', '\\x00', 1, '{NULL}')", Answer("f")),
        ("all_win(NULL, NULL)", Answer("f")),
        ("clock_new('{}', '{}', '{}')", Answer("\\x010000000000000000")),
        // Of so many it would be an hour's work that nobody could interrupt.
        (
            "clock_new('{5}', n, n) FROM (SELECT array_agg((i % 30000)::int2) FROM generate_series(1, 1000000) i) a(n)",
            Answer("\\x010000000000000000"),
        ),
        ("clock_after(NULL, '\\xff', NULL, NULL, NULL)", Answer("\\x810000000000000000")),
        ("clock_first('\\x', true, '-32768', '-9223372036854775808') IS NOT NULL", Answer("t")),
        ("document_value('\"json\"', true, false, '1', '{\"a\": 1}', 5, '\\x', 1, 1::int2)", Answer("{\"a\": 1}")),
        ("document_value('\"add\"', true, false, '1', '{\"a\": 1}', 5, NULL, 1, 1::int2)", Error("22023")),
        ("document_value('no json', true, false, '1', '{\"a\": 1}', 5, NULL, 1, 1::int2)", Error("22023")),
        ("document_value('\"json\"', true, true, '1', '{\"a\": 1}', 5, NULL, 1, 1::int2)", Error("22023")),
        (
            "document_clock('\\x', '\"json\"', true, false, '{}', '{}', 5, '\\xff', 1, '-32768') IS NOT NULL",
            Answer("t"),
        ),
        ("document_fresh('1e400', '{}', false)", Error("22023")),
        ("document_lost('-32768')", Answer("f")),
        ("merge_values('\"what\"', '1', '1')", Error("22023")),
        ("merge_values('1e400', '1', '1')", Error("22023")),
        ("spelled('{\"rule\": \"append\", \"cap\": 99999999999999999999}')", Error("22023")),
        ("key_kind(0)", Answer("")),
        ("base_type(4294967295)", Answer("")),
        ("qualified_type(4294967295, -1)", Answer("")),
        ("qualified_type('varchar'::regtype, -5)", Answer("character varying")),
        ("layout('bare')", Error("CS005")),
        ("field_drift(-1)", Answer("")),
        ("sync_fields(-1)", Answer("")),
        ("resolved('1')", Answer("1")),
        ("resolved_all('1e3')", Answer("1000")),
        ("signature(0)", Answer("-")),
        ("called('nope(')", Error("22P02")),
        ("merged_type('nope(int)')", Error("42883")),
        ("create_triggers('bare', NULL, false)", Error("39P01")),
        ("drop_triggers('seq')", Answer("")),
        ("invalidate_table(4294967295)", Error("42P01")),
    ]
    .map(|(sql, expected)| {
        // A trigger without its number shows when it is fired.
        let sql =
            if sql.starts_with("create_triggers") { format!("{sql}; INSERT INTO bare VALUES (1)") } else { sql.into() };
        call(&sql, expected)
    })
    .into()
}

struct Session {
    client: Client,
    fence: i64,
}

impl Session {
    async fn text(&self, sql: &str) -> Result<Option<String>, tokio_postgres::Error> {
        let mut answer = None;
        for message in self.client.simple_query(sql).await? {
            if let SimpleQueryMessage::Row(row) = message {
                answer = Some(row.get(0).unwrap_or_default().to_owned());
            }
        }
        Ok(answer)
    }

    async fn state(&self) -> String {
        self.text(STATE).await.unwrap().unwrap()
    }

    async fn last_seq(&self) -> i64 {
        let sql = format!("SELECT last_seq FROM cache_sync.session WHERE session = '{SESSION}'");
        self.text(&sql).await.unwrap().unwrap().parse().unwrap()
    }

    /// Runs a case and says what is wrong with what became of it.
    async fn check(&self, (sql, expected): &Case) -> Result<(), String> {
        let before = self.state().await;
        let last = self.last_seq().await;
        let sql = sql.replace("{session}", SESSION).replace("{fence}", &self.fence.to_string());
        let sql = sql.replace("{next}", &(last + 1).to_string()).replace("{last}", &last.to_string());
        let result = self.text(&sql).await;
        if let Err(error) = &result
            && error.code().is_none()
        {
            return Err(format!("the connection broke: {error}"));
        }
        self.client.batch_execute("ROLLBACK").await.unwrap();
        if let Err(error) = &result {
            let said = format!("{:?}", error.as_db_error());
            if said.contains("XX000") || said.contains("panicked") || said.contains(".rs:") || said.contains("unwrap") {
                return Err(format!("an internal error shows: {said}"));
            }
        }
        match (expected, result) {
            (Error(code), Err(error)) if error.code().is_some_and(|found| found.code() == *code) => {}
            (Answer(text), Ok(answer)) if answer.as_deref().unwrap_or_default() == *text => {}
            (Buried(code), Ok(Some(outcomes))) => {
                let records = outcome::unpack(&unhex(&outcomes)).map_err(|error| format!("{error:?}"))?;
                let verdicts: Vec<_> = records.iter().map(verdict).collect();
                if verdicts != [format!("rejected {code}")] {
                    return Err(format!("{verdicts:?} instead of {expected:?}"));
                }
                // It is kept, and all but that is as before.
                let kept = self.text("WITH gone AS (DELETE FROM cache_sync.dead_letter RETURNING sqlstate) SELECT string_agg(sqlstate, ' ') FROM gone");
                if kept.await.unwrap().as_deref() != Some(code) || self.last_seq().await != last + 1 {
                    return Err("it is not among the dead letters, or its batch does not count".into());
                }
                let volatile = ["session", "letter_ids"];
                let rest = |state: &str| {
                    let mut state: Value = serde_json::from_str(state).unwrap();
                    volatile.iter().for_each(|name| state[name] = Value::Null);
                    state
                };
                let after = self.state().await;
                return if rest(&after) == rest(&before) { Ok(()) } else { Err(format!("{before}\nbecame\n{after}")) };
            }
            (_, result) => return Err(format!("{result:?} instead of {expected:?}")),
        }
        let after = self.state().await;
        if after == before { Ok(()) } else { Err(format!("{before}\nbecame\n{after}")) }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("\\x").unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

async fn open(db: &Database<'_>) -> Session {
    let client = db.connect().await;
    let opened =
        client.query_one(&format!("SELECT fence FROM cache_sync.open_session('t', '{SESSION}')"), &[]).await.unwrap();
    let session = Session { client, fence: opened.get(0) };
    // A batch that was applied, so that there is a number to be used again.
    let (sql, _) =
        batch(r#"[{"op": "edit", "fields": ["a"]}]"#, &["[{\"#\": 0, \"@\": 1, \"id\": 9, \"a\": \"x\"}]"], Answer(""));
    let sql = sql.replace("{session}", SESSION).replace("{fence}", &session.fence.to_string()).replace("{next}", "1");
    session.text(&sql).await.unwrap();
    session
}

const LIFE: &str = "SELECT pg_postmaster_start_time()::text || cache_sync.epoch()";

#[tokio::test]
async fn is_refused_clearly_and_leaves_nothing_behind() {
    let db = Database::with_extension();
    make(&db);
    let session = open(&db).await;
    let (life, state) = (session.text(LIFE).await.unwrap(), session.state().await);
    let cases: Vec<_> = [nulls(), batches(), keys(), values(), rules(), tables(), triggers(), inside()].concat();
    assert!(cases.len() > 400, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(why) = session.check(case).await {
            let shown = |text: &str| text.chars().take(700).collect::<String>();
            wrong.push(format!("{}\n    {}", shown(&case.0), shown(&why)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    // Neither the server nor this backend was started anew, and all still works.
    assert_eq!(session.text(LIFE).await.unwrap(), life);
    assert_eq!(
        session
            .text("SELECT outcome FROM cache_sync.edit('t', '{\"id\": 2}', '{\"num\": 5}')")
            .await
            .unwrap()
            .as_deref(),
        Some("applied")
    );
    assert_ne!(session.state().await, state, "a change does not show in the state");
}
