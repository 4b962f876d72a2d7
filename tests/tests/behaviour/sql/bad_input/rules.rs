//! Rules: how they are written, which columns they are for, and what they are given to merge.

use super::{Case, Expected::*, call, call_inside};

/// A field of the table `bare`, a rule for it, and what is said to that.
const FIELDS: &[(&str, &str)] = &[
    ("'v', '\"what\"'", "22023"),
    ("'v', '\"ADD\"'", "22023"),
    ("'v', '\"\"'", "22023"),
    ("'v', '1'", "22023"),
    ("'v', 'true'", "22023"),
    ("'v', 'null'", "22023"),
    ("'v', '[]'", "22023"),
    ("'v', '{}'", "22023"),
    ("'v', '1e400'", "22023"),
    ("'v', '{\"rule\": 1e400}'", "22023"),
    ("'v', '{\"rule\": null}'", "22023"),
    ("'v', '{\"rule\": \"add\", \"cap\": 1}'", "22023"),
    ("'v', '{\"rule\": \"add\", \"more\": 1}'", "22023"),
    ("'a', '{\"rule\": \"append\", \"cap\": 0}'", "22023"),
    ("'a', '{\"rule\": \"append\", \"cap\": -1}'", "22023"),
    ("'a', '{\"rule\": \"append\", \"cap\": 1000001}'", "22023"),
    ("'a', '{\"rule\": \"append\", \"cap\": 1e400}'", "22023"),
    ("'a', '{\"rule\": \"append\", \"cap\": \"1\"}'", "22023"),
    ("'a', '{\"rule\": \"append\", \"cap\": 1.5}'", "22023"),
    ("'b', '\"json\"'", "55000"),
    ("'v', '\"lww\"'", "55000"),
    ("'v', '\"first\"'", "55000"),
    ("'f', '\"add\"'", "42804"),
    ("'t', '\"add\"'", "42804"),
    ("'a', '\"add\"'", "42804"),
    ("'ts', '\"add\"'", "42804"),
    ("'p', '\"max\"'", "42804"),
    ("'j', '\"min\"'", "42804"),
    ("'j', '\"append\"'", "42804"),
    ("'t', '\"append\"'", "42804"),
    ("'v', '\"union\"'", "42804"),
    ("'j', '\"union\"'", "42804"),
    ("'nope', '\"add\"'", "42703"),
    ("'id', '\"add\"'", "42703"),
    ("'', '\"add\"'", "42703"),
    ("'v\"; DROP TABLE bare; --', '\"add\"'", "42703"),
    ("'t', '\"function\"'", "22023"),
    ("'t', '{\"rule\": \"function\"}'", "22023"),
    ("'t', '{\"rule\": \"function\", \"name\": \"\"}'", "22P02"),
    ("'t', '{\"rule\": \"function\", \"name\": 1}'", "22P02"),
    ("'t', '{\"rule\": \"function\", \"name\": \"absent(text,text)\"}'", "42883"),
    ("'t', '{\"rule\": \"function\", \"name\": \"stable(text,text)\"}'", "42P17"),
    ("'t', '{\"rule\": \"function\", \"name\": \"several(text,text)\"}'", "42804"),
    ("'t', '{\"rule\": \"function\", \"name\": \"other(text,text)\"}'", "42804"),
    ("'t', '{\"rule\": \"function\", \"name\": \"one(text)\"}'", "42804"),
    ("'t', '{\"rule\": \"function\", \"name\": \"mixed(text,int)\"}'", "42804"),
    ("'t', '{\"rule\": \"function\", \"name\": \"ints(int,int)\"}'", "42804"),
    ("'t', '{\"rule\": \"function\", \"name\": \"nothing()\"}'", "42804"),
    ("'t', '{\"rule\": \"function\", \"name\": \"aggregated(text,text)\"}'", "42804"),
    ("'t', '{\"rule\": \"function\", \"name\": \"proc(text,text)\"}'", "42804"),
    ("'t', '{\"rule\": \"function\", \"name\": \"good\"}'", "22P02"),
    ("'t', '{\"rule\": \"function\", \"name\": \"good(\"}'", "22P02"),
    ("'t', '{\"rule\": \"function\", \"name\": \"good(text,\"}'", "22P02"),
    ("'t', '{\"rule\": \"function\", \"name\": \"good(nope,nope)\"}'", "42704 or 42883"),
    ("'t', '{\"rule\": \"function\", \"name\": \"a.b.c.d(text)\"}'", "42601"),
    ("'t', '{\"rule\": \"function\", \"name\": \"good(text,text); DROP TABLE bare\"}'", "22P02"),
];

const CALLS: &[(&str, &str)] = &[
    ("attach('bare', rules => '[]')", "22023"),
    ("attach('bare', rules => '1')", "22023"),
    ("attach('bare', rules => 'null')", "22023"),
    ("attach('bare', rules => '\"add\"')", "22023"),
    ("attach('bare', tags => '{nope}')", "42703"),
    ("attach('bare', tags => '{{v,nope},{v,t}}')", "2202E"),
    ("attach('bare', tags => '{NULL}')", "42703"),
    ("attach('bare', tags => '{cs_version}')", "42703"),
    ("set_rule('t', 'made', '\"add\"')", "42809"),
    ("set_rule('t', 'cs_version', '\"add\"')", "42703"),
    ("set_rule('t', 'doc', '{\"rule\": \"json\", \"members\": {\"x\": \"arrival\"}}')", "22023"),
    ("set_rule('t', 'doc', '{\"rule\": \"json\", \"members\": []}')", "22023"),
    ("set_rule('t', 'doc', '{\"rule\": \"json\", \"depth\": 0}')", "22023"),
    ("set_rule('docs', 'member', '{\"rule\": \"function\", \"name\": \"good(text,text)\"}')", "22023"),
    ("set_rule('docs', 'key', '\"what\"')", "22023"),
    ("set_rule('bare', 'v', '\"add\"')", "CS005"),
    ("set_expiry('t', 'a')", "42703"),
    ("set_expiry('t', 'nope')", "42703"),
    ("set_expiry('t', 'id')", "42703"),
    ("set_expiry('bare', 'ts')", "CS005"),
    ("set_expiry('view', 'at')", "CS005"),
    ("merge('\"what\"', '1', '1')", "22023"),
    ("merge('1e400', '1', '1')", "22023"),
    ("merge('\"add\"', '\"x\"', '1')", "22023"),
    ("merge('\"add\"', '1', '\"NaN\"')", "22023"),
    ("merge('\"add\"', '\"x\"', '\"y\"')", "22007"),
    ("merge('\"add\"', '[]', '{}')", "22023"),
    ("merge('\"append\"', '1', '[]')", "22023"),
    ("merge('\"append\"', '[]', '1')", "22023"),
    ("merge('\"union\"', '[]', '[]')", "22023"),
    ("merge('\"union\"', '1', '{}')", "22023"),
    ("merge('{\"rule\": \"json\", \"members\": {\"n\": \"add\"}}', '{\"n\": 1}', '{\"n\": \"x\"}')", "22023"),
    ("merge('{\"rule\": \"function\", \"name\": \"absent(text,text)\"}', '1', '1')", "42883"),
    ("merge('{\"rule\": \"function\", \"name\": \"nothing()\"}', '1', '1')", "42804"),
    ("merge('{\"rule\": \"function\", \"name\": \"several(text,text)\"}', '1', '1')", "42804"),
    ("merge('{\"rule\": \"function\", \"name\": \"aggregated(text,text)\"}', '1', '1')", "42804"),
    ("merge('{\"rule\": \"function\", \"name\": \"stable(text,text)\"}', '1', '1')", "42P17"),
    ("merge('{\"rule\": \"function\", \"name\": \"ints(int,int)\"}', '\"x\"', '1')", "22P02"),
    ("merge('{\"rule\": \"function\", \"name\": \"good(\"}', '1', '1')", "22P02"),
];

const INSIDE: &[(&str, &str)] = &[
    ("record('bare', 'attached', '[]')", "23502"),
    ("record('bare', 'attached', '{\"versioned\": \"perhaps\"}')", "22P02"),
    ("record('bare', 'attached', '{\"versioned\": false, \"tags\": [], \"rules\": 1}')", "22023"),
    ("record('bare', 'attached', '{\"versioned\": false, \"tags\": [], \"rules\": {\"v\": 1e400}}')", "22023"),
    ("record('t', 'rule', '{}')", "42703"),
    ("record('t', 'rule', '1e400')", "42703"),
    ("record('t', 'rule', '{\"field\": \"a\"}')", "22023"),
    ("record('t', 'expiry', '{\"field\": 1e400}')", "42703"),
    ("record('t', 'nothing', '{}')", "22023"),
];

/// A function or a column that is not there for long.
const STATEMENTS: &[(&str, &str)] = &[
    (
        "BEGIN; CREATE FUNCTION pg_temp.mine(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1'; \
         SELECT cache_sync.set_rule('t', 'a', '{\"rule\": \"function\", \"name\": \"pg_temp.mine(text,text)\"}')",
        "42P17",
    ),
    (
        "BEGIN; SELECT cache_sync.set_rule('t', 'a', '{\"rule\": \"function\", \"name\": \"nulls(text,text)\"}'); \
         SELECT cache_sync.edit('t', '{\"id\": 1}', '{\"a\": \"x\"}')",
        "22004",
    ),
    (
        "BEGIN; ALTER TABLE bare ADD ov oidvector; SELECT cache_sync.attach('bare', rules => '{\"ov\": \"union\"}')",
        "42804",
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let fields = FIELDS.iter().flat_map(|(rule, code)| {
        let (field, rule) = rule.split_once(", ").unwrap();
        let rules = format!("jsonb_build_object({field}, {rule}::jsonb)");
        [
            (
                format!("BEGIN; SELECT cache_sync.attach('bare'); SELECT cache_sync.set_rule('bare', {field}, {rule})"),
                Error(code),
            ),
            call(&format!("attach('bare', rules => {rules})"), Error(code)),
        ]
    });
    let calls = CALLS.iter().map(|(sql, code)| call(sql, Error(code)));
    let inside = INSIDE.iter().map(|(sql, code)| call_inside(sql, Error(code)));
    let statements = STATEMENTS.iter().map(|(sql, code)| (String::from(*sql), Error(code)));
    let deep = format!("{}1{}", "{\"rule\":\"json\",\"members\":{\"a\":".repeat(300), "}}".repeat(300));
    let deeply = [
        format!("set_rule('t', 'doc', '{deep}')"),
        format!("merge('{deep}', '1', '1')"),
        format!("attach('bare', rules => '{{\"b\": {deep}}}')"),
    ]
    .map(|sql| call(&sql, Error("22023")));
    let spelled = call_inside(&format!("spelled('{deep}')"), Error("22023"));
    fields.chain(calls).chain(inside).chain(statements).chain(deeply).chain([spelled]).collect()
}
