//! Values that their column's type, its rule or a constraint does not take.

use super::{Case, Expected::*, call, edit};

pub(super) fn cases() -> Vec<Case> {
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
