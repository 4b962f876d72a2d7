//! Names of tables, and of what else a call is about.

use super::{Case, Expected::*, call, call_inside};

/// What cannot be attached.
const NAMES: &[(&str, &str)] = &[
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
];

/// What an attached table is asked for.
const OF_ATTACHED: &[&str] = &[
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
];

const CALLS: &[(&str, &str)] = &[
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
    ("requeue_dead_letter(0)", "P0002"),
    ("requeue_dead_letter(-1)", "P0002"),
    ("requeue_dead_letter(9223372036854775807, true)", "P0002"),
    ("changes(max_rows => 0)", "22023"),
    ("changes(max_rows => -2147483648)", "22023"),
    ("open_session('t', 'x')", "22P02"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = CALLS.iter().map(|(sql, code)| call(sql, Error(code))).collect();
    for (name, code) in NAMES {
        let setup =
            if *name == "'temporary'" { "BEGIN; CREATE TEMP TABLE temporary (id int PRIMARY KEY); " } else { "" };
        cases.push((format!("{setup}SELECT cache_sync.attach({name})"), Error(code)));
        cases.push((format!("{setup}SELECT cache_sync.attach({name}, true)"), Error(code)));
    }
    for function in OF_ATTACHED {
        for table in ["'bare'", "'view'", "'seq'", "'part'", "'pg_class'"] {
            cases.push(call(&function.replace("{}", table), Error("CS005")));
        }
        // Those that ask for rights first find no table.
        let is_asking = ["set_rule", "set_expiry", "describe"].iter().any(|name| function.starts_with(name));
        cases.push(call(&function.replace("{}", "4294967295"), Error(if is_asking { "42P01" } else { "CS005" })));
    }
    let long = "n".repeat(63);
    cases.push(call_inside("prune_sessions(-1)", Error("2201W")));
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
