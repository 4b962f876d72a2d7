//! Keys and rows that the calls for one row take.

use super::{Case, Expected, Expected::*, call};
use cache_sync_kit::Dice;

const CALLS: &[(&str, Expected)] = &[
    ("upsert('t', '{}')", Error("22023")),
    ("upsert('t', '[]')", Error("22023")),
    ("upsert('t', '1')", Error("22023")),
    ("upsert('t', '\"x\"')", Error("22023")),
    ("upsert('t', 'null')", Error("22023")),
    ("upsert('t', 'true')", Error("22023")),
    ("upsert('t', '[{\"id\": 1}]')", Error("22023")),
    ("upsert('t', '{\"id\": \"x\"}')", Error("22P02")),
    ("upsert('t', '{\"id\": 1.5}')", Error("22P02")),
    ("upsert('t', '{\"id\": 3000000000}')", Error("22003")),
    ("upsert('t', '{\"id\": 1e400}')", Error("22003")),
    ("upsert('t', '{\"id\": 1, \"nope\": 1}')", Error("42703")),
    ("upsert('t', '{\"id\": 1, \"#\": 1}')", Error("42703")),
    ("upsert('t', '{\"id\": 1, \"@\": 1}')", Error("42703")),
    ("upsert('t', '{\"id\": 1, \"=\": 1}')", Error("42703")),
    ("upsert('t', '{\"id\": 1, \"cs_version\": 1}')", Error("42703")),
    ("upsert('t', '{\"id\": 1, \"made\": 1}')", Error("428C9")),
    ("upsert('k', '{\"a\": \"x\"}')", Error("22023")),
    ("upsert('k', '{\"b\": 1}')", Error("22023")),
    ("edit('t', '{\"id\": 1, \"a\": 1}', '{\"a\": 1}')", Error("22023")),
    ("edit('t', '{\"id\": 1}', '{\"id\": 2}')", Error("22023")),
    ("edit('t', '{\"id\": 1}', '[]')", Error("22023")),
    ("edit('t', '{}', '{\"a\": 1}')", Error("22023")),
    ("edit('t', '[1]', '{\"a\": 1}')", Error("22023")),
    ("edit('t', '1', '{\"a\": 1}')", Error("22023")),
    ("edit('k', '{\"a\": \"x\"}', '{\"v\": 1}')", Error("22023")),
    ("edit('k', '{\"a\": \"x\", \"b\": 1, \"c\": 1}', '{\"v\": 1}')", Error("22023")),
    ("edit('k', '{\"a\": \"\", \"b\": 1}', '{\"v\": 1}')", Answer("(missing,,)")),
    ("delete('t', '{}')", Error("22023")),
    ("delete('t', '[]')", Error("22023")),
    ("delete('t', '{\"id\": 1, \"a\": 1}')", Error("22023")),
    ("delete('t', '{\"id\": \"1; DROP TABLE t\"}')", Error("22P02")),
    ("delete('k', '{\"a\": \"x\"}')", Error("22023")),
    ("compare_and_set('t', '{}', 1)", Error("22023")),
    ("compare_and_set('t', '{\"id\": 1, \"a\": 1}', -1)", Error("22023")),
    ("compare_and_set('t', '{\"id\": 99, \"a\": 1}', 9223372036854775807)", Answer("(missing,,)")),
    ("compare_and_set('plain', '{\"id\": 1, \"v\": 2}', 1)", Error("55000")),
    ("compare_and_set('plain', '{\"id\": 1, \"v\": 2}', NULL)", Error("55000")),
    ("key_hash('t', '{}')", Error("22023")),
    ("key_hash('t', '[]')", Error("22023")),
    ("key_hash('t', '1')", Error("22023")),
    ("key_hash('t', '{\"id\": 1, \"b\": 1}')", Error("22023")),
    ("key_hash('t', '{\"b\": 1}')", Error("22023")),
    ("key_hash('t', '{\"id\": [1]}')", Error("22023")),
    ("key_hash('t', '{\"id\": {}}')", Error("22023")),
    ("key_hash('t', '{\"id\": 1e400}')", Error("22003")),
    ("key_hash('t', '{\"id\": 1.5}')", Error("22P02")),
    ("key_hash('t', '{\"id\": \"x\"}')", Error("22P02")),
    ("key_hash('t', '{\"id\": true}')", Error("22P02")),
    ("key_hash('k', '{\"a\": \"x\"}')", Error("22023")),
    ("upsert('k', '{\"a\": \"\\u0000\", \"b\": 1}')", Error("22P05")),
    ("upsert('k', '{\"a\": \"\\ud800\", \"b\": 1}')", Error("22P02")),
    ("upsert('k', E'{\"a\": \"\\xff\", \"b\": 1}')", Error("22021")),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = CALLS.iter().map(|(sql, expected)| call(sql, *expected)).collect();
    // Not to be made shorter by compression.
    let mut dice = Dice::new(1);
    let long: String = (0..5000).map(|_| char::from(b'a' + dice.below(26) as u8)).collect();
    let huge = long.repeat(210);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    cases.push(call(&format!("key_hash('t', '{{\"id\": {deep}}}')"), Error("22023")));
    for key in [&long, &huge] {
        cases.push(call(&format!("upsert('k', '{{\"a\": \"{key}\", \"b\": 1}}')"), Error("54000")));
        cases.push(call(&format!("upsert('docs', '{{\"key\": \"{key}\", \"value\": 1}}')"), Error("54000")));
        cases
            .push(call(&format!("edit('k', '{{\"a\": \"{key}\", \"b\": 1}}', '{{\"v\": 1}}')"), Answer("(missing,,)")));
    }
    cases
}
