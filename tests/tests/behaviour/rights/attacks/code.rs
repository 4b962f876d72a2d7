//! Code that a table's owner plants in it.

use super::make;
use cache_sync_tests::batches::Batches;
use cache_sync_tests::{Database, connect};
use serde_json::{Value, json};

/// The table `s.t` of `plants`, with code in all its corners that tells when it is run, and when as another role than the one
/// that is connected.
const TRAPS: &str = r#"CREATE ROLE plants LOGIN IN ROLE cache_sync_admin; CREATE ROLE steps_in LOGIN IN ROLE cache_sync_user;
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
           CREATE EVENT TRIGGER ddl ON ddl_command_end EXECUTE FUNCTION public.ddl()"#;

/// A table's owner can put code of his own in many places. Whatever of it runs, runs as the one who writes the table, and
/// nothing of it when the table is only looked after.
#[tokio::test]
async fn code_of_a_tables_owner_never_runs_as_somebody_else() {
    let db = Database::with_extension();
    db.psql(TRAPS);
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
