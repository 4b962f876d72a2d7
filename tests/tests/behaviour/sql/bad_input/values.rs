//! Values that their column's type, its rule or a constraint does not take.

use super::{Case, Expected::*, call, edit};

/// Field, value, and the SQLSTATE that its patch is refused with.
const EDITS: &[(&str, &str, &str)] = &[
    ("n2", "768", "22003"),
    ("n2", "1e3", "22P02"),
    ("n4", "1000000", "22003"),
    ("n4", "-2147482987", "23514"),
    ("n4", "0.5", "22P02"),
    ("n4", "\"NaN\"", "22P02"),
    ("n8", "9223372036854775807", "22003"),
    ("n8", "9223372036854775808", "22003"),
    ("n8", "\"x\"", "22P02"),
    ("num", "\"NaN\"", "22023"),
    ("num", "\"Infinity\"", "22023"),
    ("num", "\"-Infinity\"", "22023"),
    ("num", "1e131072", "22003"),
    ("num", "\"\"", "22P02"),
    ("iv", "\"200000000 years\"", "22008"),
    ("iv", "1.5e300", "22007"),
    ("fl", "1e400", "22003"),
    ("li", "1", "22023"),
    ("li", "{}", "22023"),
    ("li", "\"[]\"", "22023"),
    ("ar", "1", "22P02"),
    ("ar", "{\"a\": 1}", "22P02"),
    ("ar", "[[1], 2]", "22P02"),
    ("ar", "[\"x\"]", "22P02"),
    ("se", "[1]", "22023"),
    ("se", "1", "22023"),
    ("se", "{\"adds\": [1]}", "22023"),
    ("se", "{\"add\": 1}", "22023"),
    ("se", "{\"add\": [\"x\"]}", "22P02"),
    ("se", "{\"add\": [99999999999]}", "22003"),
    ("se", "{\"add\": [[1]]}", "22023"),
    ("se", "{\"add\": [{}]}", "22023"),
    ("js", "{\"add\": 1}", "22023"),
    ("js", "[]", "22023"),
    ("doc", "{\"n\": \"x\"}", "22023"),
    ("doc", "{\"n\": [1]}", "22023"),
    ("doc", "{\"l\": 1}", "22023"),
    ("doc", "{\"s\": [1]}", "22023"),
    ("doc", "{\"a\": \"\\u0000\"}", "22P05"),
    ("doc", "{\"\\u0000\": 1}", "22P05"),
    ("doc", "{\"a\": 1e200000}", "22003"),
    ("at", "\"2020-02-30\"", "22008"),
    ("at", "\"infinite\"", "22007"),
    ("at", "1e99", "22007"),
];

const CALLS: &[(&str, &str)] = &[
    ("edit('t', '{\"id\": 1}', '{\"n2\": 30000}')", "22003"),
    ("edit('t', '{\"id\": 1}', '{\"num\": \"NaN\"}')", "22023"),
    ("edit('t', '{\"id\": 1}', '{\"num\": 1e131072}')", "22003"),
    ("edit('t', '{\"id\": 1}', '{\"n4\": -2147482987}')", "23514"),
    ("edit('docs', '{\"key\": \"d\"}', '{\"expires_at\": \"never\"}')", "22007"),
    ("upsert('plain', '{\"id\": 1, \"v\": 1e400}')", "22003"),
    ("upsert('plain', '{\"id\": 1, \"v\": {}}')", "22P02"),
];

pub(super) fn cases() -> Vec<Case> {
    let edits = EDITS.iter().map(|(field, value, code)| edit(field, value, Buried(code)));
    let calls = CALLS.iter().map(|(sql, code)| call(sql, Error(code)));
    let mut cases: Vec<_> = edits.chain(calls).collect();
    // Postgres' own parser gives up on this.
    let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    cases.push(edit("doc", &deep, Error("54001")));
    cases.push(edit("a", &deep, Error("54001")));
    cases.push(call(&format!("edit('docs', '{{\"key\": \"d\"}}', '{{\"value\": {deep}}}')"), Error("54001")));
    cases.push(call(&format!("key_hash('t', '{{\"id\": {deep}}}')"), Error("54001")));
    cases
}
