//! The two roles get what they need, and nobody gets more.

use cache_sync::Client;
use cache_sync_tests::batches::sqlstate;
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, open, stored};
use cache_sync_tests::{Database, connect};

/// What `cache_sync_user` may call: the SDK's path, what people type, and what compiled statements and these functions call as
/// the caller.
const USERS: &[&str] = &[
    "all_win(bigint[],bigint)",
    "apply(regclass,uuid,bigint,bigint,jsonb,text[])",
    "apply_suspicious(regclass,uuid,bigint,bigint,jsonb,text[])",
    "backlog_problems(regclass)",
    "base_type(oid)",
    "called(text)",
    "changes(bigint,bigint,integer,interval)",
    "check_function(text,oid,name)",
    "check_rule(jsonb,oid,boolean,name)",
    "check_tables()",
    "clock_after(bigint[],bytea,bigint,smallint[],smallint[])",
    "clock_first(bytea,boolean,smallint,bigint)",
    "clock_new(bigint[],smallint[],smallint[])",
    "clock_newest(bytea,bigint)",
    "compare(bigint,bytea,bigint,smallint)",
    "compare_and_set(regclass,jsonb,bigint)",
    "delete(regclass,jsonb)",
    "dependencies(text,regtype[])",
    "describe(regclass)",
    "differs(anyelement,anyelement)",
    "discard_dead_letter(bigint)",
    "document_changes(text,boolean,boolean,jsonb,jsonb,bigint,bytea,bigint,smallint)",
    "document_clock(bytea,text,boolean,boolean,jsonb,jsonb,bigint,bytea,bigint,smallint)",
    "document_clock_fresh(bytea,text,jsonb,bigint,smallint)",
    "document_fresh(text,jsonb,boolean)",
    "document_loses(text,boolean,boolean,jsonb,jsonb,bigint,bytea,bigint,smallint)",
    "document_lost(smallint)",
    "document_value(text,boolean,boolean,jsonb,jsonb,bigint,bytea,bigint,smallint)",
    "edit(regclass,jsonb,jsonb)",
    "element_type(oid)",
    "epoch()",
    "feed_head()",
    "feed_stats_now()",
    "finite(numeric)",
    "is_larger(anyelement,anyelement)",
    "feed_kind()",
    "is_preloaded()",
    "listen_state(integer[])",
    "joined(jsonb,jsonb)",
    "kept_for(text)",
    "key_columns(regclass)",
    "key_hash(regclass,jsonb)",
    "key_kind(oid)",
    "last_of(anyarray,integer)",
    "last_of(jsonb,integer)",
    "library()",
    "listeners_now()",
    "load_state(uuid,integer)",
    "loses(bigint[],bytea,bigint,smallint[])",
    "merge(jsonb,jsonb,jsonb)",
    "merge_values(jsonb,jsonb,jsonb)",
    "merged_type(text)",
    "not_null(anyelement,text)",
    "open_session(regclass,uuid)",
    "patches(json)",
    "own_triggers(boolean)",
    "qualified_type(oid,integer)",
    "refuse_columns(regclass,boolean)",
    "refuse_table(regclass,boolean,name[])",
    "refuse_tags(regclass,name[])",
    "table_problems(attached)",
    "stuck_batches_now()",
    "table_stats_now()",
    "tag_hash(regclass,name,text)",
    "tag_kind(oid,oid)",
    "relation_problems(attached,regclass)",
    "relations(regclass)",
    "replaced_tie()",
    "replaced_version()",
    "requeue_dead_letter(bigint,boolean)",
    "resolved(jsonb)",
    "signature(oid)",
    "server_state()",
    "spelled(jsonb)",
    "status()",
    "stream(integer[],bigint,bigint)",
    "united(anyarray,jsonb)",
    "united(jsonb,jsonb)",
    "upsert(regclass,jsonb)",
    "versions()",
    "wins(bigint[],bytea,bigint,smallint[])",
    "has_own_columns(regclass)",
    "own_columns(regclass)",
    "has_version_default(regclass)",
    "key_now(regclass)",
    "refuse_key(attached)",
    "unites(anyarray,jsonb)",
    "unites(jsonb,jsonb)",
    "leftovers()",
    "published_by(regclass)",
    "replication_problems(attached)",
    "two_phase_into(regclass)",
    "version_defaults(regclass)",
];

/// What `cache_sync_admin` may call besides: what looks after tables, and what these functions call as the caller.
const ADMINS: &[&str] = &[
    "add_own_columns(regclass)",
    "attach(regclass,boolean,jsonb,name[],boolean)",
    "attach_table(regclass,boolean,jsonb,name[],boolean,interval)",
    "attached_row(regclass,text)",
    "bound_lock_wait()",
    "create_table(text,interval)",
    "create_triggers(regclass,integer,boolean)",
    "truncate_triggers(regclass)",
    "as_of_now(text,integer)",
    "attached_of(oid[])",
    "attached_versioned(regclass)",
    "create_trigger(regclass,name,regproc,text,text,integer)",
    "detach_one_by_one(boolean)",
    "detach_or_warn(regclass,boolean)",
    "detachable()",
    "is_attached(regclass,boolean,boolean)",
    "lacking_triggers(regclass)",
    "strip(regclass,boolean)",
    "to_strip(regclass)",
    "triggers_to_drop(regclass)",
    "warn_of_replication(regclass,boolean)",
    "detach(regclass,boolean)",
    "detach_all(boolean)",
    "drop_triggers(regclass)",
    "forget_dropped()",
    "invalidate_table(regclass)",
    "prune_dead_letters(integer)",
    "prune_expired(regclass,integer)",
    "prune_sessions(integer)",
    "record(regclass,text,jsonb)",
    "repair(regclass)",
    "reset_stats(regclass)",
    "resolved_all(jsonb)",
    "run_maintenance(integer)",
    "set_expiry(regclass,name)",
    "set_rule(regclass,name,jsonb)",
    "set_tags(regclass,name[])",
    "wait_for_writers(regclass)",
];

/// What only the extension's owner runs.
const NOBODYS: &[&str] = &[
    "declared(pg_attribute)",
    "description(regclass)",
    "field_columns(regclass)",
    "field_drift(integer)",
    "forget_rest()",
    "layout(regclass)",
    "layout_fields(attached)",
    "note_setup()",
    "prune_statement(regclass)",
    "function_facts(text)",
    "sync_fields(integer)",
    "tags_now(attached)",
    "type_name(oid)",
    "unmatch()",
    "write(regclass,text,jsonb)",
    "write_attached(regclass,jsonb)",
    "write_expiry(attached,jsonb)",
    "write_rule(attached,jsonb)",
    "write_tags(attached,jsonb)",
    "note_altered()",
    "note_ddl()",
    "note_dropped()",
    "note_table(integer)",
    "note_known(integer)",
    "table_secret(integer)",
    "tables_made_of(oid[])",
    "ddl_concerns()",
    "disabled_triggers(oid[])",
    "dropped_of()",
    "enable_triggers(jsonb)",
    "has_drift(integer)",
    "is_own(xid)",
    "is_restore()",
    "lock_books(regclass,integer)",
    "match_key(regclass,integer)",
    "match_restored(oid)",
    "note_alter()",
    "note_altering(oid,boolean)",
    "note_altered_table(integer,boolean)",
    "note_views()",
    "read_by_views()",
];

/// What those without a role may execute, since a column's default runs as whoever inserts; without the schema they cannot name it.
const EVERYBODYS: &[&str] = &["hlc()", "note_change()", "note_truncate()", "set_version()"];

#[test]
fn every_function_is_granted_on_purpose_or_to_nobody() {
    let db = Database::with_extension();
    db.psql("CREATE ROLE no_member LOGIN");
    let may = |role: &str| {
        let sql = format!(
            "SELECT replace(replace(oid::regprocedure::text, 'cache_sync.', ''), 'cache_sync_internal.', '') COLLATE \"C\"
             FROM pg_proc WHERE pronamespace IN ('cache_sync'::regnamespace, 'cache_sync_internal'::regnamespace)
             AND has_function_privilege('{role}', oid, 'EXECUTE') ORDER BY 1"
        );
        db.psql(&sql).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let sorted = |lists: &[&[&str]]| {
        let mut all: Vec<_> = lists.concat().into_iter().map(str::to_owned).collect();
        all.sort();
        all
    };
    assert_eq!(may("no_member"), sorted(&[EVERYBODYS]));
    assert_eq!(may("cache_sync_user"), sorted(&[EVERYBODYS, USERS]));
    assert_eq!(may("cache_sync_admin"), sorted(&[EVERYBODYS, USERS, ADMINS]));
    // A function that is in no list is new: say for whom it is.
    assert_eq!(may("postgres"), sorted(&[EVERYBODYS, USERS, ADMINS, NOBODYS]));
    let with_grant = "SELECT count(*) FROM pg_proc, aclexplode(proacl) a
         WHERE pronamespace IN ('cache_sync'::regnamespace, 'cache_sync_internal'::regnamespace) AND a.is_grantable AND a.grantee <> proowner";
    assert_eq!(db.psql(with_grant), "0");
}

#[test]
fn of_the_tables_only_what_can_be_looked_at() {
    let db = Database::with_extension();
    db.psql("CREATE ROLE no_members_either LOGIN");
    let may = |role: &str| {
        db.psql(&format!(
            "SELECT string_agg(relname || ':' || right_of, ' ' ORDER BY relname, right_of)
             FROM pg_class, unnest('{{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}}'::text[]) right_of
             WHERE relnamespace = 'cache_sync'::regnamespace AND relkind IN ('r', 'v') AND has_table_privilege('{role}', oid, right_of)"
        ))
    };
    let looks = "attached:SELECT dead_letters:SELECT feed_stats:SELECT field:SELECT listeners:SELECT stuck_batches:SELECT table_stats:SELECT tables:SELECT";
    assert_eq!(
        (may("cache_sync_user"), may("cache_sync_admin"), may("no_members_either")),
        (looks.into(), looks.into(), String::new())
    );
    for role in ["cache_sync_user", "cache_sync_admin", "no_members_either"] {
        for schema in ["cache_sync", "cache_sync_internal"] {
            assert_eq!(db.psql(&format!("SELECT has_schema_privilege('{role}', '{schema}', 'CREATE')")), "f");
        }
        let sequences = format!(
            "SELECT count(*) FROM pg_sequence WHERE seqrelid::regclass::text ~ '^cache_sync'
             AND has_sequence_privilege('{role}', seqrelid, 'USAGE, SELECT, UPDATE')"
        );
        assert_eq!(db.psql(&sequences), "0");
    }
}

/// An application's role: member of `cache_sync_user`, with rights on the table and no others.
#[tokio::test]
async fn a_user_with_rights_on_the_table_can_do_all_that_the_sdk_does() {
    let db = Database::with_extension();
    make_accounts(&db, 2);
    db.psql("CREATE ROLE app LOGIN IN ROLE cache_sync_user; GRANT SELECT, INSERT, UPDATE, DELETE ON account TO app; ALTER TABLE account ADD CHECK (balance > -100)");
    by_the_sdk(&db, "app").await;

    let app = connect(&db.dsn_as("app")).await;
    let letter: i64 = db.psql("SELECT id FROM cache_sync.dead_letter").parse().unwrap();
    for (sql, answer) in [
        ("SELECT outcome FROM cache_sync.upsert('account', '{\"id\": 9, \"name\": \"x\"}')", "applied"),
        ("SELECT outcome FROM cache_sync.edit('account', '{\"id\": 9}', '{\"balance\": 1}')", "applied"),
        ("SELECT outcome FROM cache_sync.compare_and_set('account', '{\"id\": 9, \"name\": \"y\"}', 1)", "conflict"),
        ("SELECT outcome FROM cache_sync.delete('account', '{\"id\": 9}')", "applied"),
        ("SELECT cache_sync.merge('\"add\"', '1', '2')::text", "3"),
        ("SELECT cache_sync.merge('{\"rule\": \"function\", \"name\": \"int4larger(int,int)\"}', '1', '2')::text", "2"),
        ("SELECT string_agg(tbl::text, ' ') FROM cache_sync.tables", "account"),
        ("SELECT count(*)::text FROM cache_sync.check_tables()", "0"),
        ("SELECT count(*)::text FROM cache_sync.dead_letters", "1"),
        ("SELECT (cache_sync.key_hash('account', '{\"id\": 1}') IS NOT NULL)::text", "true"),
        ("SELECT (count(*) > 1)::text FROM cache_sync.changes()", "true"),
        ("SELECT cache_sync.status()->>'dead_letters'", "1"),
    ] {
        let row = app.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(row.get::<_, String>(0), answer, "{sql}");
    }
    db.psql("UPDATE account SET balance = 1000 WHERE id = 1");
    let requeued =
        app.query_one("SELECT outcome FROM cache_sync.requeue_dead_letter($1, true)", &[&letter]).await.unwrap();
    assert_eq!(requeued.get::<_, String>(0), "applied");
    assert!(!app.query_one("SELECT cache_sync.discard_dead_letter($1)", &[&letter]).await.unwrap().get::<_, bool>(0));
    // But nothing of an admin's.
    for call in [
        "cache_sync.attach('account')",
        "cache_sync.detach('account')",
        "cache_sync.detach_all()",
        "cache_sync.create_table('x')",
        "cache_sync.set_rule('account', 'name', '\"lww\"')",
        "cache_sync.set_expiry('account', NULL)",
        "cache_sync.repair('account')",
        "cache_sync.run_maintenance()",
        "cache_sync_internal.prune_sessions(1)",
        "cache_sync_internal.forget_dropped()",
    ] {
        assert_eq!(sqlstate(app.batch_execute(&format!("SELECT {call}")).await), "42501", "{call}");
    }
}

/// Reads and writes through a client, and leaves a dead letter behind.
async fn by_the_sdk(db: &Database<'_>, role: &str) {
    let client = open(Client::builder(&db.dsn_as(role))).await;
    let cache = accounts(&client).await;
    assert_eq!(cache.get(&1).await.unwrap().unwrap().name, "name 1");
    cache.update(&1, |account| account.balance += 5).await.unwrap().written().await.unwrap();
    let account = Account { id: 3, name: "new".into(), balance: 1, note: None };
    cache.put(3, account).await.unwrap().written().await.unwrap();
    cache.delete(&2).await.unwrap().written().await.unwrap();
    client.catch_up().await.unwrap();
    assert_eq!((stored(db, 1), stored(db, 2), stored(db, 3)), ("1|name 1|5|".into(), String::new(), "3|new|1|".into()));
    db.psql("UPDATE account SET name = 'foreign' WHERE id = 3");
    client.catch_up().await.unwrap();
    assert_eq!(cache.get(&3).await.unwrap().unwrap().name, "foreign");
    let outcome = cache.update(&1, |account| account.balance -= 500).await.unwrap().written().await.unwrap();
    assert_eq!(outcome.sqlstate.as_deref(), Some("23514"), "{outcome:?}");
    close(client).await;
}

#[tokio::test]
async fn an_admin_looks_after_the_tables_that_he_owns() {
    let db = Database::with_extension();
    db.psql(
        "CREATE ROLE caretaker LOGIN IN ROLE cache_sync_admin; CREATE SCHEMA own AUTHORIZATION caretaker; SET ROLE caretaker;
         CREATE TABLE own.t (id int PRIMARY KEY, a text, n int, at timestamptz);
         CREATE TABLE own.parts (id int PRIMARY KEY, v int) PARTITION BY HASH (id); CREATE TABLE own.part PARTITION OF own.parts FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
    );
    let admin = connect(&db.dsn_as("caretaker")).await;
    for sql in [
        "SELECT cache_sync.attach('own.t', true, '{\"n\": \"add\"}', '{a}')",
        "SELECT cache_sync.attach('own.parts', true)",
        "SELECT cache_sync.attach('own.parts', true, if_not_attached => true)",
        "SELECT cache_sync.set_rule('own.t', 'n', '\"max\"')",
        "SELECT cache_sync.set_expiry('own.t', 'at')",
        "INSERT INTO own.t VALUES (1, 'x', 1, now() - interval '1 day'), (2, 'y', 2, NULL)",
        "SELECT cache_sync.edit('own.t', '{\"id\": 2}', '{\"n\": 5}')",
        "SELECT cache_sync.open_session('own.parts', '77777777-7777-4777-8777-777777777777')",
        "DROP TRIGGER cache_sync_change ON own.t",
        "SELECT cache_sync.repair('own.t')",
        "SELECT cache_sync.create_table('own.docs', '1 hour')",
        "SELECT cache_sync.set_rule('own.docs', 'likes', '\"add\"')",
        "SELECT cache_sync.upsert('own.docs', '{\"key\": \"k\", \"value\": {\"likes\": 1}}')",
        "SELECT * FROM cache_sync.run_maintenance()",
        "SELECT cache_sync.set_expiry('own.t', NULL)",
        "DROP TABLE own.docs",
        "SELECT * FROM cache_sync.run_maintenance(1)",
    ] {
        admin.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    assert_eq!(db.psql("SELECT id, n FROM own.t; SELECT * FROM cache_sync.check_tables(); SELECT tbl FROM cache_sync.tables ORDER BY 1"), "2|5\nown.t\nown.parts");
    for sql in ["SELECT cache_sync.detach('own.t', true)", "SELECT cache_sync.detach_all()"] {
        admin.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.attached; SELECT count(*) FROM pg_trigger WHERE tgname ~ 'cache_sync' AND tgrelid IN ('own.t'::regclass, 'own.part'::regclass)"), "0\n0");
    assert_eq!(db.psql("SELECT (SELECT count(*) FROM cache_sync.field), (SELECT count(*) FROM cache_sync.session), (SELECT count(*) FROM cache_sync.dead_letter)"), "0|0|0", "something is left of a detached table");
}

#[test]
fn others_get_nothing() {
    let db = Database::with_extension();
    db.psql("CREATE ROLE outsider LOGIN; CREATE SCHEMA o AUTHORIZATION outsider; SET ROLE outsider; CREATE TABLE o.t (id int PRIMARY KEY, v int); RESET ROLE;
             SELECT cache_sync.attach('o.t', true)");
    let functions = db.psql(
        "SELECT CASE prokind WHEN 'p' THEN 'CALL ' ELSE 'SELECT ' END || oid::regproc || '(' ||
             array_to_string(ARRAY(SELECT 'NULL::' || CASE WHEN format_type(a, NULL) = 'anyelement' THEN 'int' WHEN format_type(a, NULL) = 'anyarray' THEN 'int[]' ELSE format_type(a, NULL) END
                                   FROM unnest(proargtypes) WITH ORDINALITY u(a, n) ORDER BY n), ', ') || ')'
         FROM pg_proc WHERE pronamespace IN ('cache_sync'::regnamespace, 'cache_sync_internal'::regnamespace)",
    );
    assert!(functions.lines().count() > 90);
    for call in functions.lines() {
        let refused = db.psql_error(&format!("SET SESSION AUTHORIZATION outsider; {call}"));
        assert!(refused.contains("42501"), "{call}: {refused}");
    }
    for view in [
        "tables",
        "dead_letters",
        "listeners",
        "feed_stats",
        "table_stats",
        "attached",
        "field",
        "session",
        "secret",
        "dead_letter",
    ] {
        let refused = db.psql_error(&format!("SET SESSION AUTHORIZATION outsider; SELECT * FROM cache_sync.{view}"));
        assert!(refused.contains("42501"), "{view}: {refused}");
    }
    // His own table works for him all the same.
    db.psql("SET SESSION AUTHORIZATION outsider; INSERT INTO o.t VALUES (1, 1); UPDATE o.t SET v = 2; DELETE FROM o.t; TRUNCATE o.t");
}
