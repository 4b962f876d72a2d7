//! docs/sql.md says what is so: its examples are run, and it leaves nothing out.

use cache_sync_cluster::{Cluster, workspace_root};
use cache_sync_core::outcome::{RECORD_LEN, unpack};
use cache_sync_core::rule::Rule;
use cache_sync_tests::document::{blocks, read};
use cache_sync_tests::{Database, output, start, unsynced};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

/// Triggers of users' tables call these: they are in the schema because dumps name them.
const OF_TRIGGERS: &[&str] = &["note_change", "note_truncate", "set_version"];

/// `(signature, whether cache_sync_user may execute it)` of each function that cache_sync_admin may execute.
const SIGNATURES: &str = r"
SELECT p.proname || '(' || coalesce((
           SELECT string_agg(concat_ws(' ', a.name, format_type(a.type, NULL), 'DEFAULT ' ||
               regexp_replace(pg_get_function_arg_default(p.oid, a.place::int), '::[a-z ]+(\[\])?$', '')), ', ' ORDER BY a.place)
           FROM unnest(p.proargtypes::oid[], p.proargnames[1:p.pronargs]) WITH ORDINALITY AS a(type, name, place)), '') || ')' ||
       CASE WHEN p.prokind = 'p' THEN '' ELSE ' -> ' || CASE WHEN p.proretset THEN 'TABLE ' ELSE '' END || coalesce((
           SELECT '(' || string_agg(concat_ws(' ', a.name, format_type(a.type, NULL)), ', ' ORDER BY a.place) || ')'
           FROM unnest(p.proallargtypes, p.proargmodes, p.proargnames) WITH ORDINALITY AS a(type, mode, name, place)
           WHERE a.mode IN ('o', 't')), format_type(p.prorettype, NULL)) END,
       has_function_privilege('cache_sync_user', p.oid, 'EXECUTE')
FROM pg_proc p
WHERE p.pronamespace = 'cache_sync'::regnamespace AND has_function_privilege('cache_sync_admin', p.oid, 'EXECUTE')";

fn document() -> String {
    read("docs/sql.md")
}

/// What the code spans in the cells of a table's rows say, of each row that begins with such a span, from a heading or
/// bold word on to the next.
fn cells(document: &str, from: &str) -> Vec<Vec<String>> {
    let part = document.split(from).nth(1).unwrap_or_else(|| panic!("the document lacks {from:?}"));
    let part = part.split("\n## ").next().unwrap().split("\n### ").next().unwrap().split("\n**").next().unwrap();
    let rows = part.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    rows.skip(1)
        .map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

fn set(items: impl IntoIterator<Item = impl Into<String>>) -> BTreeSet<String> {
    items.into_iter().map(Into::into).collect()
}

/// The cluster is the test's own: no other test's changes are in the feed, and roles belong to the whole server.
fn cluster_of_its_own() -> Cluster {
    start(unsynced())
}

/// Runs a script through one psql and returns what it prints, errors among it, without where in Postgres they arose and
/// without empty lines, which are what functions that return nothing print.
fn psql(db: &Database<'_>, script: &str) -> String {
    let (mut printed, writer) = std::io::pipe().unwrap();
    let mut command = db.client("psql");
    command.args(["-X", "-q", "-A", "-t", "-v", "VERBOSITY=verbose", "-v", "SHOW_CONTEXT=never"]);
    command.stdin(Stdio::piped()).stderr(writer.try_clone().unwrap()).stdout(writer);
    let mut psql = command.spawn().unwrap();
    // It keeps this side's ends of the pipe, which must be closed for the reading to end.
    drop(command);
    let mut input = psql.stdin.take().unwrap();
    let script = script.to_owned();
    let writing = std::thread::spawn(move || input.write_all(script.as_bytes()).unwrap());
    let mut text = String::new();
    printed.read_to_string(&mut text).unwrap();
    writing.join().unwrap();
    assert!(psql.wait().unwrap().success());
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("LOCATION:"))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Whether a line is as expected, where `...` stands for anything.
fn is_as(expected: &str, line: &str) -> bool {
    let mut parts = expected.split("...");
    let first = parts.next().unwrap();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(found) = rest.find(part) else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn dots_stand_for_anything_within_a_line() {
    assert!(is_as("a|...|b", "a|12|b") && is_as("...", "") && is_as("a ... b ...", "a 1 b 2") && is_as("x", "x"));
    assert!(!is_as("a|...|b", "a|12|c") && !is_as("a", "ab") && !is_as("ab...bc", "abc") && !is_as("", "x"));
}

#[test]
fn every_example_does_what_it_says() {
    let cluster = cluster_of_its_own();
    let db = Database::empty_in(&cluster);
    let blocks = blocks(&document());
    let mut script = String::new();
    let mut examples = Vec::new();
    for (place, block) in blocks.iter().enumerate().filter(|(_, block)| block.language == "sql") {
        script += &format!("{}\\echo ==== {place}\n", block.text);
        let expected = blocks.get(place + 1).filter(|next| next.language == "text");
        examples.push((place, block, expected.map(|expected| expected.text.as_str())));
    }
    assert!(examples.len() > 15, "the document's blocks are not found");
    let texts = blocks.iter().filter(|block| block.language == "text").count();
    assert_eq!(texts, examples.iter().filter(|(.., expected)| expected.is_some()).count(), "a text stands alone");

    let printed = psql(&db, &script);
    let mut rest = printed.as_str();
    let mut wrong = Vec::new();
    for (place, block, expected) in examples {
        let (said, after) = rest.split_once(&format!("==== {place}\n")).unwrap_or_else(|| panic!("{printed}"));
        rest = after;
        let is_right = match expected {
            // Without a text nothing is promised but that it works.
            None => !said.contains("ERROR:"),
            Some(expected) => {
                expected.lines().count() == said.lines().count()
                    && expected.lines().zip(said.lines()).all(|(expected, line)| is_as(expected, line))
            }
        };
        if !is_right {
            wrong.push(format!("{}should say\n{}but says\n{said}", block.text, expected.unwrap_or("nothing\n")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_function_is_there_with_its_signature() {
    let db = Database::with_extension();
    let document = document();
    let name = |signature: &str| signature.split('(').next().unwrap().to_owned();
    let signatures = db.psql(SIGNATURES);
    let granted: Vec<_> = signatures.lines().map(|line| line.rsplit_once('|').unwrap()).collect();
    let granted_names = set(granted.iter().map(|(signature, _)| name(signature)));
    for function in OF_TRIGGERS {
        assert!(granted_names.contains(*function), "nobody may execute {function}, so it need not be listed here");
    }
    let expected = granted.iter().filter(|(signature, _)| !OF_TRIGGERS.contains(&name(signature).as_str()));
    let expected: Vec<_> = expected.collect();

    let plain: String =
        blocks(&document).into_iter().filter(|block| block.language.is_empty()).map(|b| b.text).collect();
    let mut documented = Vec::<String>::new();
    for line in plain.lines().filter(|line| !line.starts_with("psql ")) {
        match documented.last_mut() {
            Some(last) if line.starts_with(' ') => *last = format!("{last} {}", line.trim()),
            _ => documented.push(line.to_owned()),
        }
    }
    assert_eq!(set(documented), set(expected.iter().map(|(signature, _)| *signature)));

    let roles = document.split("\n## Roles").nth(1).unwrap();
    let admins =
        roles.split("`cache_sync_admin` may do that, too, and").nth(1).unwrap().split(", on tables").next().unwrap();
    let admins = admins.split('`').skip(1).step_by(2);
    let only_admins = expected.iter().filter(|(_, user_may)| *user_may == "f").map(|(signature, _)| name(signature));
    assert_eq!(set(admins), set(only_admins), "what only cache_sync_admin may execute");
}

#[test]
fn every_setting_is_there_with_default_and_bounds() {
    let db = Database::with_extension();
    let settings = db.psql(
        "LOAD 'cache_sync';
         SELECT name, boot_val, coalesce(unit, CASE name WHEN 'cache_sync.ring_size' THEN 'changes' WHEN 'cache_sync.max_transaction_keys' THEN 'keys and tags' ELSE 'feeds' END),
                min_val || ' to ' || max_val, CASE context WHEN 'postmaster' THEN 'restart' WHEN 'sighup' THEN 'reload' WHEN 'user' THEN 'anybody' END
         FROM pg_settings WHERE name LIKE 'cache_sync.%'",
    );
    let documented = cells(&document(), "\n## Settings").into_iter().map(|row| row[..5].join("|"));
    assert_eq!(set(documented), set(settings.lines()));
}

#[test]
fn every_view_is_there_with_its_columns() {
    let db = Database::with_extension();
    let document = document();
    let columns = db.psql(
        "SELECT c.relname, a.attname, format_type(a.atttypid, NULL)
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
         WHERE c.relnamespace = 'cache_sync'::regnamespace AND c.relkind = 'v'",
    );
    let rows = cells(&document, "\n## Views");
    assert_eq!(set(rows.iter().map(|row| row[..3].join("|"))), set(columns.lines()));
}

/// psql's `\df+` and `\dv+` say what each is for.
#[test]
fn everything_that_people_may_use_has_a_comment() {
    let db = Database::with_extension();
    let used = db.psql(
        "SELECT oid::regprocedure::text, coalesce(obj_description(oid, 'pg_proc'), '') FROM pg_proc
         WHERE pronamespace = 'cache_sync'::regnamespace AND has_function_privilege('cache_sync_admin', oid, 'EXECUTE')
         UNION ALL
         SELECT oid::regclass::text, coalesce(obj_description(oid, 'pg_class'), '') FROM pg_class
         WHERE relnamespace = 'cache_sync'::regnamespace AND relkind IN ('r', 'v') AND has_table_privilege('cache_sync_user', oid, 'SELECT')
         UNION ALL
         SELECT nspname, coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname LIKE 'cache_sync%'",
    );
    assert!(used.lines().count() > 40, "{used}");
    for line in used.lines() {
        let (name, comment) = line.rsplit_once('|').unwrap();
        assert!(comment.len() > 15 && comment.ends_with('.'), "{name}: {comment:?}");
    }
}

#[test]
fn every_outcome_is_there_with_its_number() {
    let verdicts = (0..=u8::MAX).map_while(|number| {
        let mut record = [0; RECORD_LEN];
        record[0] = number;
        Some(format!("{}|{number}", unpack(&record).ok()?[0].verdict.as_str()))
    });
    let documented = cells(&document(), "\n### Outcomes").into_iter().map(|row| row[..2].join("|"));
    assert_eq!(set(documented), set(verdicts));
}

#[test]
fn every_rule_is_there() {
    let all = "none".parse::<Rule>().unwrap_err().to_string();
    let all = all.split("the rules are ").nth(1).unwrap().replace(" and ", ", ");
    let documented: Vec<_> = cells(&document(), "\n## Rules").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(set(documented.join(", ").split(", ")), set(all.split(", ")));
}

#[test]
fn every_sqlstate_of_ours_is_there() {
    fn codes(text: &str) -> BTreeSet<String> {
        let places = text.match_indices("CS0").map(|(place, _)| text[place..].chars().take(5).collect::<String>());
        places.filter(|code| code.len() == 5 && code[2..].bytes().all(|byte| byte.is_ascii_digit())).collect()
    }
    let mut used = BTreeSet::new();
    let sources = output(std::process::Command::new("find").current_dir(workspace_root()).args([
        "pg_ext/src",
        "pg_ext/sql",
        "core/src",
        "sdk/src",
        "-type",
        "f",
    ]));
    for source in sources.lines() {
        used.extend(codes(&std::fs::read_to_string(workspace_root().join(Path::new(source))).unwrap()));
    }
    let documented = set(cells(&document(), "\n## Errors").into_iter().map(|row| row[0].clone()));
    assert!(documented.contains("CS001"));
    assert_eq!(documented, used);
}
