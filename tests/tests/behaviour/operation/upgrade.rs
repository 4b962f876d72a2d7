//! The extension is upgraded from the version before, with tables attached: afterwards it is what a fresh install is.

use cache_sync_tests::{Database, cluster};

/// Everything that belongs to the extension, a line each, in an order of its own.
const CATALOG: &str = r"
    WITH member AS (
        SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'cache_sync'),
    acl AS (
        SELECT a.id, string_agg(format('%s=%s', coalesce(nullif(x.grantee, 0)::regrole::text, 'PUBLIC'), x.privilege_type), ','
                                ORDER BY x.grantee, x.privilege_type) AS text
        FROM (SELECT oid AS id, proacl AS acl FROM pg_proc UNION ALL SELECT oid, relacl FROM pg_class
              UNION ALL SELECT oid, nspacl FROM pg_namespace) a, aclexplode(a.acl) x GROUP BY a.id),
    line AS (
        SELECT format('function %s returns %s %s %s %s %s %s %s: %s', p.oid::regprocedure, pg_get_function_result(p.oid),
                      p.prokind, p.provolatile, p.proparallel, p.proisstrict, p.prosecdef, p.proconfig,
                      coalesce(pg_get_function_arguments(p.oid), '') || p.prosrc || coalesce(p.probin, '') || p.prorows) AS text,
               p.oid AS id
        FROM pg_proc p JOIN member m ON m.objid = p.oid AND m.classid = 'pg_proc'::regclass
        UNION ALL
        SELECT format('relation %s %s %s %s', c.oid::regclass, c.relkind, c.reloptions,
                      CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END), c.oid
        FROM pg_class c JOIN member m ON m.objid = c.oid AND m.classid = 'pg_class'::regclass
        UNION ALL
        SELECT format('column %s.%s %s %s %s %s %s %s %s', a.attrelid::regclass, a.attname, a.attnum,
                      format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attstorage,
                      pg_get_expr(d.adbin, d.adrelid), a.attcompression), 0
        FROM pg_attribute a JOIN member m ON m.objid = a.attrelid AND m.classid = 'pg_class'::regclass
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attnum > 0
        UNION ALL
        SELECT format('constraint %s %s', c.conrelid::regclass, pg_get_constraintdef(c.oid)), 0
        FROM pg_constraint c JOIN member m ON m.objid = c.conrelid
        UNION ALL
        SELECT format('index %s', pg_get_indexdef(i.indexrelid)), 0 FROM pg_index i JOIN member m ON m.objid = i.indrelid
        UNION ALL
        SELECT format('trigger %s %s', pg_get_triggerdef(t.oid), t.tgenabled), 0
        FROM pg_trigger t JOIN member m ON m.objid = t.tgrelid WHERE NOT t.tgisinternal
        UNION ALL
        SELECT format('dumped %s %s', o.table_oid::regclass, o.condition), 0
        FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS o (table_oid, condition) WHERE e.extname = 'cache_sync'
        UNION ALL
        SELECT format('schema %s', n.nspname), n.oid FROM pg_namespace n WHERE n.nspname LIKE 'cache_sync%'
        UNION ALL
        SELECT format('comment %s: %s', pg_describe_object(m.classid, m.objid, 0), d.description), 0
        FROM pg_description d JOIN member m ON m.classid = d.classoid AND m.objid = d.objoid
        UNION ALL
        SELECT format('other %s %s', m.classid::regclass, pg_describe_object(m.classid, m.objid, 0)), 0 FROM member m)
    SELECT string_agg(line.text || ' ' || coalesce(acl.text, ''), E'\n' ORDER BY line.text || ' ' || coalesce(acl.text, ''))
    FROM line LEFT JOIN acl USING (id)";

#[test]
fn an_upgraded_extension_is_a_fresh_one_and_its_tables_go_on() {
    let fresh = Database::with_extension();
    let old = Database::empty_in(cluster());
    old.psql(
        r#"CREATE EXTENSION cache_sync VERSION '0.1.0';
           CREATE TABLE page (id int PRIMARY KEY, title text, views bigint NOT NULL DEFAULT 0, tags text[] NOT NULL DEFAULT '{}');
           SELECT cache_sync.attach('page', versioned => true, rules => '{"views": "add"}', tags => '{title}');
           SELECT cache_sync.create_table('sessions', default_ttl => '1 hour');
           INSERT INTO page VALUES (1, 'Home', 5);
           INSERT INTO sessions VALUES ('s', '{"user": "ann"}', now() - interval '1 hour')"#,
    );
    let rules = "SELECT field_id, attnum, name, rule FROM cache_sync.field ORDER BY table_id, field_id";
    let before = old.psql(rules);
    // The library is newer than the script: that is said, and nothing is written.
    for call in [r#"upsert('page', '{"id": 1, "title": "x"}')"#, "describe('page')"] {
        let refused = old.psql_error(&format!("SELECT cache_sync.{call}"));
        assert!(
            refused.contains("CS007") && refused.contains("ALTER EXTENSION cache_sync UPDATE"),
            "{call}: {refused}"
        );
    }
    nobody_runs_as_the_owner(&old);
    let refused = old.psql_error("ALTER EXTENSION cache_sync UPDATE");
    assert!(refused.contains("42P06"), "what stands in a schema of somebody's is not taken over: {refused}");
    old.psql("DROP SCHEMA cache_sync_internal CASCADE");
    old.psql("ALTER EXTENSION cache_sync UPDATE");
    let (upgraded, installed) = (old.psql(CATALOG), fresh.psql(CATALOG));
    let differing: Vec<_> = upgraded.lines().filter(|line| !installed.lines().any(|other| other == *line)).collect();
    assert!(differing.is_empty(), "only after the upgrade:\n{}", differing.join("\n"));
    let missing: Vec<_> = installed.lines().filter(|line| !upgraded.lines().any(|other| other == *line)).collect();
    assert!(missing.is_empty(), "only in a fresh install:\n{}", missing.join("\n"));

    assert_eq!(old.psql(rules), before);
    // Before anybody has opened the table.
    old.psql("ALTER TABLE page RENAME title TO heading");
    assert_eq!(old.psql("SELECT tags FROM cache_sync.tables WHERE tbl = 'page'::regclass"), "{heading}");
    old.psql("ALTER TABLE page RENAME heading TO title");
    old.psql(r#"SELECT cache_sync.set_rule('page', 'tags', '"union"')"#);
    old.psql(r#"SELECT cache_sync.edit('page', '{"id": 1}', '{"views": 2, "tags": {"add": ["new"]}}')"#);
    assert_eq!(old.psql("SELECT title, views, tags FROM page"), "Home|7|{new}");
    assert_eq!(old.psql("SELECT pruned FROM cache_sync.run_maintenance() WHERE tbl = 'sessions'::regclass"), "1");
    assert_eq!(old.psql("SELECT count(*) FROM cache_sync.check_tables()"), "0");
}

/// Before the upgrade the library finds the schema of its functions only if somebody made one: what is in there must not run with
/// the rights of the extension's owner.
fn nobody_runs_as_the_owner(old: &Database<'_>) {
    old.psql(
        r#"CREATE TABLE ran (by_whom text); GRANT ALL ON ran TO PUBLIC;
           CREATE SCHEMA cache_sync_internal;
           CREATE FUNCTION cache_sync_internal.layout(tbl regclass) RETURNS jsonb LANGUAGE sql AS
               'INSERT INTO public.ran VALUES (current_user) RETURNING ''{}''::jsonb';
           CREATE FUNCTION cache_sync_internal.description(tbl regclass) RETURNS jsonb LANGUAGE sql AS
               'INSERT INTO public.ran VALUES (current_user) RETURNING ''{}''::jsonb';
           GRANT USAGE ON SCHEMA cache_sync_internal TO PUBLIC"#,
    );
    for call in [r#"upsert('page', '{"id": 1, "title": "x"}')"#, "describe('page')"] {
        let refused = old.psql_error(&format!("SELECT cache_sync.{call}"));
        assert!(refused.contains("CS007"), "{call}: {refused}");
    }
    assert_eq!(old.psql("SELECT count(*) FROM ran"), "0");
    old.psql("DROP TABLE ran");
}
