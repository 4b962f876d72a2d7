//! Batches: what is sent with a call, and which of a session's it is.

use super::{Case, Expected, Expected::*, apply, batch};

const EDIT: &str = r#"[{"op": "edit", "fields": ["a"]}]"#;

/// Patches of the first shape, in a batch of that one.
const PATCHES: &[(&str, Expected)] = &[
    (r##"{"@": 1, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": -1, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 1, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 4294967296, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 99999999999999999999, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 0.0, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": "0", "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": null, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 0, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 0, "@": -1, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 0, "@": null, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 0, "@": "1", "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 0, "@": 1.5, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 0, "@": 9223372036854775808, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 0, "@": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 0, "@": 1, "id": 1}"##, Error("22023")),
    (r##"{"#": 0, "@": 1, "id": 1, "a": "x", "n4": 1}"##, Error("22023")),
    (r##"{"#": 0, "@": 1, "id": 1, "a": "x", "a": "y"}"##, Error("22023")),
    (r##"{"#": 0, "@": 1, "id": 1, "a": "x", "\u0061": "y"}"##, Error("22023")),
    (r##"{"#": 0, "#": 0, "@": 1, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 0, "@": 1, "@3": 1, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 0, "@": 1, "=": 1, "id": 1, "a": "x"}"##, Error("22023")),
    (r##"{"#": 0, "@": 1, "id": 1, "a": "x"}, {"#": 0, "@": 1, "id": 2, "a": "x"}"##, Error("22023")),
    (r##"{"#": 0, "@": 9223372036854775807, "id": 7, "a": "x"}, {"#": 1, "@": 1, "id": 7, "a": "y"}"##, Error("21000")),
    (r##"{"#": 0, "@": 1, "id": "x", "a": "x"}"##, Buried("22P02")),
    (r##"{"#": 0, "@": 1, "id": 1.5, "a": "x"}"##, Buried("22P02")),
    (r##"{"#": 0, "@": 1, "id": 2147483648, "a": "x"}"##, Buried("22003")),
    (r##"{"#": 0, "@": 1, "id": 1e400, "a": "x"}"##, Buried("22P02")),
    (r##"{"#": 0, "@": 1, "id": [1], "a": "x"}"##, Buried("22P02")),
    (r##"{"#": 0, "@": 1, "id": 1, "a": "\u0000"}"##, Buried("22P05")),
    (r##"{"#": 0, "@": 1, "id": 1, "a": "\ud800"}"##, Buried("22P02")),
];

pub(super) fn cases() -> Vec<Case> {
    [shapes(), patches(), places()].concat()
}

fn shapes() -> Vec<Case> {
    vec![
        apply("'[]'", "ARRAY['[]']::text[]", Error("22023")),
        apply("'[{\"op\": \"delete\"}]'", "'{}'::text[]", Error("22023")),
        apply("'[]'", "ARRAY[['[]', '[]']]::text[]", Error("2202E")),
        apply("'[{\"op\": \"delete\"}]'", "'[0:0]={[]}'::text[]", Error("2202E")),
        apply("'[{\"op\": \"delete\"}]'", "'[2:2]={[]}'::text[]", Error("2202E")),
        apply("'{}'", "'{}'::text[]", Error("22023")),
        apply("'1'", "'{}'::text[]", Error("22023")),
        apply("'\"edit\"'", "'{}'::text[]", Error("22023")),
        apply("'1e400'", "'{}'::text[]", Error("22023")),
        apply("'[1e400]'", "'{}'::text[]", Error("22023")),
        apply(&format!("'{}{}'", "[".repeat(1000), "]".repeat(1000)), "'{}'::text[]", Error("22023")),
        batch(r#"[{}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "merge"}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": "a"}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": [1]}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": []}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": ["a", "a"]}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": ["a"], "more": 1}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": ["a"], "stamps": "many"}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "put", "seen": 1, "fields": ["a"]}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "delete", "fields": ["a"]}]"#, &["[]"], Error("22023")),
        batch(r#"[{"op": "edit", "fields": ["nope"]}]"#, &["[]"], Error("42703")),
        batch(r#"[{"op": "edit", "fields": ["id"]}]"#, &["[]"], Error("42703")),
        batch(r#"[{"op": "edit", "fields": ["cs_version"]}]"#, &["[]"], Error("42703")),
        batch(r#"[{"op": "edit", "fields": ["cs_clock"]}]"#, &["[]"], Error("42703")),
        batch(r#"[{"op": "edit", "fields": ["made"]}]"#, &["[]"], Error("428C9")),
        batch(r#"[{"op": "edit", "fields": ["a\" = 1; DROP TABLE t; --"]}]"#, &["[]"], Error("42703")),
        batch(EDIT, &["{}"], Error("22023")),
        batch(EDIT, &["1"], Error("22023")),
        batch(EDIT, &["\"[]\""], Error("22023")),
        batch(EDIT, &["[1]"], Error("22023")),
        batch(EDIT, &["[[]]"], Error("22023")),
        batch(EDIT, &["[{}]"], Error("22023")),
        batch(EDIT, &["[]", "[]"], Error("22023")),
    ]
}

fn patches() -> Vec<Case> {
    let mut cases: Vec<_> =
        PATCHES.iter().map(|(patch, expected)| batch(EDIT, &[&format!("[{patch}]")], *expected)).collect();
    let each = r#"[{"op": "edit", "fields": ["a", "doc"], "stamps": "each"}]"#;
    for document in
        ["{}", "[[1]]", "[[-1, {}]]", "[[1.5, {}]]", "[[\"1\", {}]]", "[[1, {}, {}]]", "[1]", "1", "null", "\"x\""]
    {
        let row = format!("[{{\"#\": 0, \"@1\": 1, \"id\": 1, \"a\": \"x\", \"doc\": {document}}}]");
        cases.push(batch(each, &[&row], Error("22023")));
    }
    let many: Vec<_> =
        (0..100_001).map(|place| format!("{{\"#\":{place},\"@\":1,\"id\":{place},\"a\":\"x\"}}")).collect();
    cases.push(batch(EDIT, &[&format!("[{}]", many.join(","))], Error("54000")));
    // What is no JSON is so also where nothing else would look at it.
    for rows in
        ["", "[", "[}", "[{\"#\":0,}]", "[{\"#\":0}] []", "[{\"#\":00}]", "[{\"#\":0,\"a\":\"\t\"}]", "[{'#':0}]"]
    {
        let rows = format!("ARRAY['{}']", rows.replace('\'', "''"));
        cases.push(apply("'[{\"op\": \"delete\"}]'", &rows, Error("22P02")));
    }
    cases.push(apply("'[{\"op\": \"delete\"}]'", "ARRAY[repeat('[', 10000) || repeat(']', 10000)]", Error("22023")));
    cases.push(apply("'[{\"op\": \"delete\"}]'", "ARRAY[repeat('[', 10000)]", Error("22P02")));
    cases.push(apply("'[]'", "array_fill('[]'::text, ARRAY[1000000])", Error("22023")));
    cases
}

/// Of another table, another session, or out of turn.
fn places() -> Vec<Case> {
    let swap = |of: &str, with: &str, expected| {
        let sql = "SELECT outcomes FROM cache_sync.apply('t', '{session}', {fence}, {next}, '[]', '{}')";
        (sql.replace(of, with), expected)
    };
    vec![
        swap("{next}", "0", Error("CS003")),
        swap("{next}", "-1", Error("CS003")),
        swap("{next}", "{next} + 1", Error("CS003")),
        swap("{next}", "9223372036854775807", Error("CS003")),
        swap("{next}", "'-9223372036854775808'", Error("CS003")),
        swap("{next}", "{last}", Error("CS004")),
        swap("{fence}", "{fence} - 1", Error("CS002")),
        swap("{fence}", "9223372036854775807", Error("CS002")),
        swap("{fence}", "-1", Error("CS002")),
        swap("{session}", "00000000-0000-0000-0000-000000000000", Error("CS001")),
        swap("{session}", "no uuid", Error("22P02")),
        swap("'t'", "'k'", Error("CS001")),
        swap("'t'", "'bare'", Error("CS005")),
        swap("'t'", "4294967295::regclass", Error("CS005")),
        swap("'t'", "'view'", Error("CS005")),
    ]
}
