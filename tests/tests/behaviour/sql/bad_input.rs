//! Bad input, in every place where SQL takes some: a clear error with an SQLSTATE, and nothing lost or half done.
//!
//! One table of cases, one connection, so that a case which leaves something behind in the backend spoils those after it.
//! After each of them everything that may not have changed is looked at.

mod batches;
mod inside;
mod keys;
mod nulls;
mod rules;
mod tables;
mod triggers;
mod values;

use cache_sync_core::outcome;
use cache_sync_tests::Database;
use cache_sync_tests::batches::verdict;
use serde_json::{Value, json};
use tokio_postgres::{Client, SimpleQueryMessage};

/// What is to become of a case.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// An error with this SQLSTATE, or one of these, between which is ` or `.
    Error(&'static str),
    /// The same, or null: versions of Postgres differ in what they say of a name that is none.
    ErrorOrNull(&'static str),
    /// It is no error, changes nothing, and this is its first column.
    Answer(&'static str),
    /// A batch's only patch is refused with this SQLSTATE and kept; the batch counts.
    Buried(&'static str),
}
use Expected::{Answer, Buried, Error, ErrorOrNull};

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

/// `SELECT cache_sync_internal.<call>`
fn call_inside(call: &str, expected: Expected) -> Case {
    (format!("SELECT cache_sync_internal.{call}"), expected)
}

/// The next batch of the session with `t`: shapes and the rows, as they stand.
fn batch(shapes: &str, rows: &[&str], expected: Expected) -> Case {
    let rows: Vec<_> = rows.iter().map(|rows| format!("'{}'", rows.replace('\'', "''"))).collect();
    apply(&format!("'{}'", shapes.replace('\'', "''")), &format!("ARRAY[{}]::text[]", rows.join(", ")), expected)
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
            (Error(codes) | ErrorOrNull(codes), Err(error))
                if error.code().is_some_and(|found| codes.split(" or ").any(|code| code == found.code())) => {}
            (ErrorOrNull(_), Ok(answer)) if answer.as_deref().unwrap_or_default().is_empty() => {}
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
    let cases: Vec<_> = [
        nulls::cases(),
        batches::cases(),
        keys::cases(),
        values::cases(),
        rules::cases(),
        tables::cases(),
        triggers::cases(),
        inside::cases(),
    ]
    .concat();
    assert!(cases.len() > 640, "{}", cases.len());
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
