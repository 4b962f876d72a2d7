//! Examples that are run by eight processes at a time.

use cache_sync_tests::Database;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

const PROCESSES: usize = 8;

/// What all of them have printed, line by line.
fn race(db: &Database<'_>, program: &str) -> Vec<String> {
    let racing: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let mut command = Command::new(program);
            command.env("DATABASE_URL", db.dsn()).stdout(Stdio::piped()).spawn().expect("it starts")
        })
        .collect();
    let ended = racing.into_iter().map(|process| process.wait_with_output().expect("it ends"));
    let shown = ended.map(|output| {
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    });
    shown.collect::<String>().lines().map(str::to_owned).collect()
}

fn numbers(lines: &[String], before: &str) -> Vec<i64> {
    lines.iter().filter_map(|line| line.split_once(before)?.1.parse().ok()).collect()
}

#[test]
fn each_place_of_a_room_is_taken_once() {
    let db = Database::with_extension();
    let lines = race(&db, env!("CARGO_BIN_EXE_room"));
    let mut places = numbers(&lines, " has place ");
    places.sort_unstable();
    assert_eq!(places, (1..=20).collect::<Vec<_>>(), "{lines:#?}");
    assert_eq!(lines.len(), PROCESSES * 4);
    assert_eq!(db.psql("SELECT cardinality(members) FROM room"), "20");
}

#[test]
fn a_name_is_one_users() {
    let db = Database::with_extension();
    let lines = race(&db, env!("CARGO_BIN_EXE_user_name"));
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (owner, name) in lines.iter().filter_map(|line| line.split_once(" is ")).filter(|(_, name)| *name != "taken") {
        owners.entry(name).or_default().push(owner);
    }
    assert_eq!(owners.keys().copied().collect::<Vec<_>>(), ["ann", "ben", "cem", "dora", "emil"], "{lines:#?}");
    for (name, owners) in owners {
        let [owner] = *owners else { panic!("{name} belongs to {owners:?}") };
        assert_eq!(db.psql(&format!("SELECT owner FROM user_name WHERE name = '{name}'")), owner);
    }
}

#[test]
fn nobody_spends_what_is_not_there() {
    let db = Database::with_extension();
    let lines = race(&db, env!("CARGO_BIN_EXE_wallet"));
    let (paid, spent) = (numbers(&lines, "paid in: "), numbers(&lines, "spent: "));
    assert_eq!((paid.len(), spent.len()), (PROCESSES, PROCESSES), "{lines:#?}");
    let left = paid.iter().sum::<i64>() - spent.iter().sum::<i64>();
    assert!(left >= 0);
    assert_eq!(db.psql("SELECT gold FROM wallet"), left.to_string());
}
