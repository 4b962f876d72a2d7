//! Nulls where something is asked for.

use super::{Case, Expected, Expected::*, apply, batch, call, call_inside, edit};

const CALLS: &[(&str, Expected)] = &[
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
    ("load_state(NULL, NULL) @> ARRAY[cache_sync.epoch(), -1]", Answer("t")),
    ("describe(NULL)", Error("22004")),
];

const INSIDE: &[(&str, Expected)] = &[
    ("invalidate_table(NULL)", Error("22004")),
    ("record(NULL, 'attached', '{}')", Error("22004")),
    ("record('bare', 'attached', NULL)", Error("22004")),
    ("record('t', 'rule', NULL)", Error("22004")),
    ("clock_first(NULL, true, 1::int2, 1)", Error("22004")),
    ("document_value(NULL, true, false, '{}', '{}', 1, NULL, 1, 1::int2)", Error("22004")),
    ("document_clock(NULL, NULL, true, false, '{}', '{}', 1, NULL, 1, 1::int2)", Error("22004")),
    ("document_clock(NULL, '\"json\"', true, false, '{}', '{}', 1, NULL, 1, 1::int2) IS NOT NULL", Answer("t")),
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
    ("record('t', NULL, '{}')", Error("22004")),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = CALLS.iter().map(|(sql, expected)| call(sql, *expected)).collect();
    cases.extend(INSIDE.iter().map(|(sql, expected)| call_inside(sql, *expected)));
    cases.push(("CALL cache_sync.stream(ARRAY[1, NULL])".into(), Error("22004")));
    cases.push(apply("'[]'", "ARRAY[NULL]::text[]", Error("22004")));
    cases.push(batch(r#"[{"op": "edit", "fields": [null]}]"#, &["[]"], Error("22023")));
    cases.push(batch(r#"[null]"#, &["[]"], Error("22023")));
    cases.push(batch(r#"[{"op": "edit", "fields": ["a"]}]"#, &["[null]"], Error("22023")));
    cases.push(batch(r#"[{"op": "edit", "fields": ["a"]}]"#, &["null"], Error("22023")));
    cases.push(edit("must", "null", Buried("23502")));
    cases
}
