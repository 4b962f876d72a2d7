//! Calls for tables of other roles.

use super::make;
use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use serde_json::json;

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

/// What is refused to the one who has nothing, and whether the one who reads may do it.
const REFUSED: &[(&str, &str, bool)] = &[
    ("cache_sync.attach('v.t')", "42710", false),
    ("cache_sync_internal.attach_table('v.t', true, '{}', '{}', false, NULL)", "42710", false),
    ("cache_sync.detach('v.t')", "42501", false),
    ("cache_sync.detach('v.t', true)", "42501", false),
    ("cache_sync_internal.strip('v.t', true)", "42501", false),
    (
        "cache_sync_internal.create_trigger('v.t', 'mine', 'cache_sync.note_change', 'AFTER INSERT', 'ROW', 1)",
        "42501",
        false,
    ),
    ("cache_sync_internal.as_of_now('DELETE FROM cache_sync.attached WHERE table_id = $1', 1)", "42501", false),
    ("cache_sync.set_rule('v.t', 'a', '\"arrival\"')", "42501", false),
    ("cache_sync.set_expiry('v.t', NULL)", "42501", false),
    ("cache_sync.repair('v.t')", "42501", false),
    ("cache_sync_internal.record('v.t', 'attached', '{}')", "42501", false),
    ("cache_sync_internal.record('v.t', 'detached', '{}')", "42501", false),
    ("cache_sync_internal.record('v.t', 'rule', '{\"field\": \"a\", \"rule\": \"arrival\"}')", "42501", false),
    ("cache_sync_internal.record('v.t', 'expiry', '{\"field\": null}')", "42501", false),
    ("cache_sync_internal.create_triggers('v.t', 1, true)", "42501", false),
    ("cache_sync_internal.drop_triggers('v.t')", "42501", false),
    ("cache_sync_internal.invalidate_table('v.t')", "42501", false),
    ("cache_sync.upsert('v.t', '{\"id\": 1, \"a\": \"x\"}')", "42501", false),
    ("cache_sync.upsert('v.t', '{\"id\": 2}')", "42501", false),
    ("cache_sync.edit('v.t', '{\"id\": 1}', '{\"a\": \"x\"}')", "42501", false),
    ("cache_sync.edit('v.t', '{\"id\": 2}', '{\"a\": \"x\"}')", "42501", false),
    ("cache_sync.delete('v.t', '{\"id\": 1}')", "42501", false),
    ("cache_sync.compare_and_set('v.t', '{\"id\": 1, \"a\": \"x\"}', 1)", "42501", false),
    (
        "cache_sync.apply('v.t', '{session}', 1, 2, '[{\"op\": \"edit\", \"fields\": [\"a\"]}]', ARRAY['[{\"#\": 0, \"@\": 1, \"id\": 1, \"a\": \"x\"}]']::text[])",
        "42501",
        false,
    ),
    ("cache_sync.apply('v.t', '44444444-4444-4444-8444-444444444444', 1, 1, '[]', '{}')", "CS001", false),
    ("cache_sync.requeue_dead_letter({letter})", "P0002", false),
    ("cache_sync.requeue_dead_letter({letter}, true)", "P0002", false),
    ("cache_sync.describe('v.t')", "42501", true),
    ("cache_sync.open_session('v.t', '55555555-5555-4555-8555-555555555555')", "42501", true),
    ("cache_sync.open_session('v.t', '{session}')", "42501", true),
    ("cache_sync.key_hash('v.t', '{\"id\": 1}')", "42501", true),
    ("cache_sync_internal.layout('v.t')", "42501", false),
    ("cache_sync_internal.description('v.t')", "42501", false),
    ("cache_sync_internal.write('v.t', 'rule', '{}')", "42501", false),
    ("cache_sync_internal.sync_fields(1)", "42501", false),
];

#[tokio::test]
async fn another_roles_tables_are_not_to_be_had() {
    let db = Database::with_extension();
    let letter = with_letter(&db, "owns_it").await;
    db.psql("CREATE ROLE has_nothing LOGIN IN ROLE cache_sync_admin; GRANT USAGE ON SCHEMA v TO has_nothing;
             CREATE ROLE reads_it LOGIN IN ROLE cache_sync_admin; GRANT USAGE ON SCHEMA v TO reads_it; GRANT SELECT ON v.t TO reads_it");
    let before = db.psql(STATE);
    let session = db.psql("SELECT session FROM cache_sync.session");
    for (call, code, is_for_readers) in REFUSED {
        let sql = format!("SELECT {}", call.replace("{letter}", &letter).replace("{session}", &session));
        let refused = db.psql_error(&format!("SET SESSION AUTHORIZATION has_nothing; {sql}"));
        assert!(refused.contains(&format!(" {code}: ")), "{call}: {refused}");
        if *is_for_readers {
            db.psql(&format!("BEGIN; SET LOCAL ROLE reads_it; {sql}; ROLLBACK"));
        } else {
            let refused = db.psql_error(&format!("SET SESSION AUTHORIZATION reads_it; {sql}"));
            let code = if call.contains("requeue") { "42501" } else { *code };
            assert!(refused.contains(&format!(" {code}: ")), "{call}: {refused}");
        }
        assert_eq!(db.psql(STATE), before, "{call}");
    }
    db.psql("SET SESSION AUTHORIZATION reads_it; SELECT cache_sync.detach_all(true)");
    assert_eq!(db.psql(STATE), before, "what is not the caller's is left");
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

/// A view shows no row that it hides to a condition that is evaluated first and tells what it saw: by an error, or by a function.
#[tokio::test]
async fn a_view_shows_nothing_to_a_condition_that_it_hides_from_its_reader() {
    let db = Database::with_extension();
    with_letter(&db, "owner_of_views").await;
    db.psql("CREATE ROLE nosy LOGIN IN ROLE cache_sync_user");
    let nosy = cache_sync_tests::connect(&db.dsn_as("nosy")).await;
    nosy.batch_execute(
        "CREATE FUNCTION pg_temp.leak(t text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS
           $$ BEGIN RAISE EXCEPTION 'leaked: %', t; END $$",
    )
    .await
    .unwrap();
    // Whoever may read the table's name may know it: only what lies in rows is a secret.
    for sql in [
        "SELECT FROM cache_sync.dead_letters d WHERE pg_temp.leak(d::text)",
        "SELECT FROM cache_sync.dead_letters WHERE (patch ->> 'i4')::boolean",
        "SELECT FROM cache_sync.dead_letters WHERE message::int > 0",
        "SELECT FROM cache_sync.table_stats t WHERE pg_temp.leak(t::text)",
        "SELECT FROM cache_sync.tables t WHERE (sessions + dead_letters)::text::boolean",
        "SELECT FROM cache_sync.tables t WHERE oldest_session::text::boolean OR oldest_dead_letter::text::boolean",
        "SELECT FROM cache_sync.tables t, cache_sync.dead_letters d WHERE pg_temp.leak(d.session::text) OR t.table_id / 0 = d.id",
        "SELECT FROM cache_sync.listeners l WHERE pg_temp.leak(l::text)",
    ] {
        let shown = nosy.query(sql, &[]).await;
        assert_eq!(shown.map(|rows| rows.len()).map_err(|error| format!("{:?}", error.as_db_error())), Ok(0), "{sql}");
    }
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.dead_letters"), "1", "there is something to be hidden");
    let views = "SELECT string_agg(relname, ' ') FROM pg_class WHERE relkind = 'v' AND relnamespace = 'cache_sync'::regnamespace
                 AND NOT 'security_barrier=true' = ANY (coalesce(reloptions, '{}'))";
    assert_eq!(db.psql(views), "", "each view is a barrier");
}

/// The secret of a table's keys is for those who may read them: with it one could tell from a feed by NOTIFY which keys others change.
#[tokio::test]
async fn a_right_on_one_column_tells_nothing_of_the_keys() {
    let db = Database::with_extension();
    with_letter(&db, "owner_of_columns").await;
    db.psql(
        "CREATE ROLE of_column LOGIN IN ROLE cache_sync_user; GRANT USAGE ON SCHEMA v TO of_column;
         GRANT SELECT (a) ON v.t TO of_column; GRANT UPDATE (a) ON v.t TO of_column",
    );
    let client = cache_sync_tests::connect(&db.dsn_as("of_column")).await;
    for call in ["describe('v.t')", "key_hash('v.t', '{\"id\": 1}')"] {
        let error = client.query(&format!("SELECT cache_sync.{call}"), &[]).await.expect_err(call);
        assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{call}");
    }
}

/// Who may make triggers on a table may not make them fire always: so they would run in replication, with the rights of whoever applies
/// it. And what is made so are the extension's own.
#[test]
fn a_trigger_that_fires_always_is_for_the_owner_and_of_ours() {
    let db = Database::with_extension();
    make(&db, "owns_triggers");
    db.psql(
        "CREATE ROLE makes_triggers LOGIN IN ROLE cache_sync_admin; GRANT USAGE ON SCHEMA v TO makes_triggers;
         GRANT SELECT, TRIGGER ON v.t TO makes_triggers; CREATE SCHEMA planted AUTHORIZATION makes_triggers; GRANT USAGE ON SCHEMA planted TO PUBLIC;
         CREATE FUNCTION planted.code() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    );
    let made = |role: &str, function: &str| {
        db.try_psql(&format!(
            "SET SESSION AUTHORIZATION {role};
             SELECT cache_sync_internal.create_trigger('v.t', 'mine', '{function}', 'AFTER INSERT', 'ROW', 1)"
        ))
    };
    for (role, function, code) in [
        ("makes_triggers", "planted.code", "42501"),
        ("makes_triggers", "cache_sync.note_change", "42501"),
        ("owns_triggers", "planted.code", "42P17"),
        ("owns_triggers", "cache_sync_internal.note_setup", "42P17"),
    ] {
        let refused = made(role, function).expect_err("a trigger that fires always");
        assert!(refused.contains(code), "{role} {function}: {refused}");
    }
    made("owns_triggers", "cache_sync.note_change").unwrap();
}

/// Whoever has no part in a table locked its dead letters all the same, before he was told that there are none for him.
#[tokio::test]
async fn a_letter_that_is_not_for_the_caller_is_not_locked() {
    let db = Database::with_extension();
    let letter = with_letter(&db, "keeps_letters").await;
    db.psql("CREATE ROLE locks_letters LOGIN IN ROLE cache_sync_user");
    let client = cache_sync_tests::connect(&db.dsn_as("locks_letters")).await;
    client.batch_execute(&format!("BEGIN; SELECT cache_sync.discard_dead_letter({letter})")).await.unwrap();
    let taken = "SELECT count(*) FROM (SELECT FROM cache_sync.dead_letter FOR UPDATE SKIP LOCKED) free";
    assert_eq!(db.psql(taken), "1");
}
