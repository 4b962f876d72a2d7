//! Functions that only the extension itself should call, but anybody can.

use super::{Case, Expected, Expected::*, call_inside};

const CALLS: &[(&str, Expected)] = &[
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
    ("clock_new('{}', '{}', '{}')", Answer("\\x810000000000000000")),
    // Of so many it would be an hour's work that nobody could interrupt.
    (
        "clock_new('{5}', n, n) FROM (SELECT array_agg((i % 30000)::int2) FROM generate_series(1, 1000000) i) a(n)",
        Answer("\\x810000000000000000"),
    ),
    ("clock_after(NULL, '\\xff', NULL, NULL, NULL)", Answer("\\x810000000000000000")),
    ("clock_first('\\x', true, '-32768', '-9223372036854775808') IS NOT NULL", Answer("t")),
    ("document_value('\"json\"', true, false, '1', '{\"a\": 1}', 5, '\\x', 1, 1::int2)", Answer("{\"a\": 1}")),
    ("document_value('\"add\"', true, false, '1', '{\"a\": 1}', 5, NULL, 1, 1::int2)", Error("22023")),
    ("document_value('no json', true, false, '1', '{\"a\": 1}', 5, NULL, 1, 1::int2)", Error("22023")),
    ("document_value('\"json\"', true, true, '1', '{\"a\": 1}', 5, NULL, 1, 1::int2)", Error("22023")),
    ("document_clock('\\x', '\"json\"', true, false, '{}', '{}', 5, '\\xff', 1, '-32768') IS NOT NULL", Answer("t")),
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
    ("called('nope(')", ErrorOrNull("22P02")),
    ("merged_type('nope(int)')", Error("42883")),
    ("create_triggers('bare', NULL, false)", Answer("")),
    ("create_trigger('bare', 'x', 'cache_sync.note_change', 'never', 'ROW', 1)", Error("22023")),
    ("create_trigger('bare', 'x', 'pg_catalog.now', 'AFTER INSERT', 'ROW', 1)", Error("42P17")),
    ("as_of_now('SELECT 1', 0)", Error("42804")),
    ("as_of_now('SELECT to_jsonb($1)', 7)", Answer("7")),
    ("as_of_now('COMMIT', 0)", Error("0A000")),
    ("lock_books('bare', -1)", Answer("")),
    ("note_alter()", Error("39P03")),
    ("drop_triggers('seq')", Answer("")),
    ("invalidate_table(4294967295)", Error("42P01")),
];

pub(super) fn cases() -> Vec<Case> {
    // A trigger without its number would show when it is fired.
    let shown = |(sql, expected): &(&str, Expected)| {
        let fired = if sql.starts_with("create_triggers") { "; INSERT INTO bare VALUES (1)" } else { "" };
        call_inside(&format!("{sql}{fired}"), *expected)
    };
    CALLS.iter().map(shown).collect()
}
