//! docs/types.md says which Rust types hold which columns: each pair is read as SQL has written it, and written as SQL would, and the
//! page lists them all.

use cache_sync::Cache;
use cache_sync_tests::Database;
use cache_sync_tests::document::read;
use cache_sync_tests::rows::{client, close};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mood {
    VeryGood,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Point {
    x: i32,
    label: Option<String>,
}

time::serde::format_description!(day, Date, "[year]-[month]-[day]");
time::serde::format_description!(clock, Time, "[hour]:[minute]:[second][optional [.[subsecond]]]");
time::serde::format_description!(
    date_time,
    PrimitiveDateTime,
    "[year]-[month]-[day]T[hour]:[minute]:[second][optional [.[subsecond]]]"
);

/// A type of column, what holds it in Rust, and one value both ways.
struct Pair {
    name: &'static str,
    rust: &'static str,
    attribute: &'static str,
    column: &'static str,
    sql: &'static str,
}

/// Members of one struct, columns of one table, lines of the page.
macro_rules! pairs {
    ($($(#[$attribute:meta])* $name:ident: $rust:ty, $column:literal, $value:expr, $sql:literal;)*) => {
        #[derive(Clone, Debug, Serialize, Deserialize)]
        struct All {
            $($(#[$attribute])* $name: $rust,)*
        }

        fn all() -> All {
            All { $($name: $value,)* }
        }

        const PAIRS: &[Pair] = &[$(Pair {
            name: stringify!($name),
            rust: stringify!($rust),
            attribute: concat!($(stringify!($attribute)),*),
            column: $column,
            sql: $sql,
        },)*];
    };
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pairs! {
    a1: bool, "boolean", true, "true";
    b1: i16, "smallint", i16::MIN, "-32768";
    b2: u8, "smallint", 255, "255";
    c1: i32, "integer", i32::MIN, "-2147483648";
    c2: u16, "integer", 65_535, "65535";
    d1: i64, "bigint", i64::MIN, "-9223372036854775808";
    d2: u32, "bigint", u32::MAX, "4294967295";
    d3: u64, "bigint", 7, "7";
    e1: u32, "oid", u32::MAX, "4294967295";
    f1: f32, "real", 0.1, "0.1";
    g1: f64, "double precision", f64::NEG_INFINITY, "'-Infinity'";
    h1: String, "numeric", "0.10".into(), "0.10";
    h2: f64, "numeric", 0.5, "0.5";
    h3: i128, "numeric", 1 << 100, "1267650600228229401496703205376";
    i1: String, "text", "a\"ü\n🦀".into(), "E'a\"ü\\n🦀'";
    i2: Box<str>, "text", "b".into(), "'b'";
    i3: std::sync::Arc<str>, "text", "b".into(), "'b'";
    i4: char, "text", 'ü', "'ü'";
    j1: String, "varchar(9)", "c".into(), "'c'";
    k1: Mood, "an enum", Mood::VeryGood, "'very-good'";
    k2: String, "an enum", "very-good".into(), "'very-good'";
    l1: Vec<u8>, "bytea", vec![0, 255], "'\\x00ff'";
    l2: [u8; 2], "bytea", [1, 254], "'\\x01fe'";
    l3: cache_sync::Packed<Vec<u16>>, "bytea", cache_sync::Packed(vec![1, 2]), "'\\x10920102'";
    m1: uuid::Uuid, "uuid", uuid::Uuid::max(), "'ffffffff-ffff-ffff-ffff-ffffffffffff'";
    m2: String, "uuid", uuid::Uuid::nil().to_string(), "'00000000-0000-0000-0000-000000000000'";
    n1: chrono::NaiveDate, "date", parsed("2024-02-29"), "'2024-02-29'";
    n2: jiff::civil::Date, "date", parsed("2024-02-29"), "'2024-02-29'";
    #[serde(with = "day")]
    n3: time::Date, "date", time::macros::date!(2024-02-29), "'2024-02-29'";
    n4: String, "date", "4713-01-01 BC".into(), "'4713-01-01 BC'";
    o1: chrono::NaiveDateTime, "timestamp", parsed("2024-02-29T12:00:00.000001"), "'2024-02-29 12:00:00.000001'";
    o2: jiff::civil::DateTime, "timestamp", parsed("2024-02-29T12:00:00.5"), "'2024-02-29 12:00:00.5'";
    #[serde(with = "date_time")]
    o3: time::PrimitiveDateTime, "timestamp", time::macros::datetime!(2024-02-29 12:00:00.5), "'2024-02-29 12:00:00.5'";
    o4: String, "timestamp", "infinity".into(), "'infinity'";
    p1: chrono::DateTime<chrono::Utc>, "timestamptz", parsed("2024-02-29T12:00:00Z"), "'2024-02-29 12:00:00+00'";
    p2: jiff::Timestamp, "timestamptz", parsed("2024-02-29T12:00:00.5Z"), "'2024-02-29 12:00:00.5+00'";
    #[serde(with = "time::serde::rfc3339")]
    p3: time::OffsetDateTime, "timestamptz", time::macros::datetime!(2024-02-29 12:00 UTC), "'2024-02-29 12:00:00+00'";
    #[serde(with = "time::serde::rfc3339::option")]
    p4: Option<time::OffsetDateTime>, "timestamptz", None, "NULL";
    p5: String, "timestamptz", "2024-02-29T12:00:00+00:00".into(), "'2024-02-29 13:00:00+01'";
    q1: chrono::NaiveTime, "time", parsed("12:00:00.5"), "'12:00:00.5'";
    q2: jiff::civil::Time, "time", parsed("12:00:00"), "'12:00:00'";
    #[serde(with = "clock")]
    q3: time::Time, "time", time::macros::time!(12:00:00), "'12:00:00'";
    q4: String, "time", "24:00:00".into(), "'24:00:00'";
    r1: String, "timetz", "12:00:00+02:00".into(), "'12:00:00+02'";
    #[serde(with = "cache_sync::interval")]
    s1: std::time::Duration, "interval", std::time::Duration::from_micros(5_400_000_001), "'1:30:00.000001'";
    #[serde(with = "cache_sync::interval")]
    s2: chrono::TimeDelta, "interval", chrono::TimeDelta::minutes(-90), "'-1:30:00'";
    #[serde(with = "cache_sync::interval")]
    s3: time::Duration, "interval", time::Duration::seconds(-1), "'-1 s'";
    #[serde(with = "cache_sync::interval")]
    s4: Option<jiff::SignedDuration>, "interval", Some(jiff::SignedDuration::from_hours(36)), "'36:00:00'";
    s5: jiff::Span, "interval", parsed("-P1Y2M3DT4H"), "'-1 year -2 mons -3 days -04:00:00'";
    s6: String, "interval", "P1DT-1H".into(), "'1 day -1:00:00'";
    t1: std::net::IpAddr, "inet", parsed("10.0.0.1"), "'10.0.0.1'";
    t2: String, "inet", "10.1.0.0/16".into(), "'10.1.0.0/16'";
    u1: String, "cidr", "10.1.0.0/16".into(), "'10.1.0.0/16'";
    v1: serde_json::Value, "jsonb", serde_json::json!({"a": [1, null]}), "'{\"a\": [1, null]}'";
    v2: Point, "jsonb", Point { x: 1, label: None }, "'{\"x\": 1, \"label\": null}'";
    v3: BTreeMap<String, i64>, "jsonb", BTreeMap::from([("a".into(), 1)]), "'{\"a\": 1}'";
    w1: Box<serde_json::value::RawValue>, "json", serde_json::value::to_raw_value(&[1.5]).unwrap(), "'[1.5]'";
    x1: Point, "a composite type", Point { x: 1, label: Some("a".into()) }, "ROW(1, 'a')";
    x2: (i32, Option<String>), "a composite type", (2, None), "ROW(2, NULL)";
    y1: Vec<i64>, "bigint[]", vec![1, 2], "'{1,2}'";
    y2: Vec<Option<String>>, "text[]", vec![Some("a,b".into()), None], "ARRAY['a,b', NULL]";
    y3: Vec<Vec<i32>>, "integer[]", vec![vec![1, 2], vec![3, 4]], "'{{1,2},{3,4}}'";
    y4: Vec<uuid::Uuid>, "uuid[]", vec![uuid::Uuid::nil()], "'{00000000-0000-0000-0000-000000000000}'";
    z1: i32, "a domain over integer", 1, "1";
    z2: String, "int4range", "[1,5)".into(), "'[1,5)'";
    z3: String, "macaddr", "08:00:2b:01:02:03".into(), "'08:00:2b:01:02:03'";
}

/// What the page calls it, as SQL does.
fn sql_type(column: &str) -> &str {
    match column {
        "an enum" => "mood",
        "a composite type" => "point_of",
        "a domain over integer" => "positive",
        column => column,
    }
}

#[tokio::test]
async fn each_pair_is_read_and_written() {
    let db = Database::with_extension();
    let list = |of: fn(&Pair) -> String| PAIRS.iter().map(of).collect::<Vec<_>>().join(", ");
    let columns = list(|pair| format!("{} {}", pair.name, sql_type(pair.column)));
    let values = list(|pair| pair.sql.to_owned());
    db.psql(&format!(
        "CREATE TYPE mood AS ENUM ('very-good'); CREATE TYPE point_of AS (x int, label text);
         CREATE DOMAIN positive AS int CHECK (VALUE > 0);
         CREATE TABLE pair (id int PRIMARY KEY, {columns}); INSERT INTO pair VALUES (1, {values}); SELECT cache_sync.attach('pair')"
    ));
    let client = client(&db).await;
    let cache: Cache<i32, All> = client.cache("pair").open().await.unwrap();
    let shown = |all: &All| format!("{all:#?}");
    assert_eq!(shown(&cache.get(&1).await.unwrap().unwrap()), shown(&all()), "as SQL has written it");

    let outcome = cache.put(2, all()).await.unwrap().written().await.unwrap();
    assert!(outcome.is_written(), "{outcome:?}");
    let differs = list(|pair| {
        let name = pair.name;
        format!(
            "CASE WHEN a.{name}::text IS DISTINCT FROM b.{name}::text THEN '{name}: ' || b.{name}::text || '; ' END"
        )
    });
    assert_eq!(db.psql(&format!("SELECT concat({differs}) FROM pair a, pair b WHERE a.id = 1 AND b.id = 2")), "");
    cache.invalidate(&2);
    assert_eq!(shown(&cache.get(&2).await.unwrap().unwrap()), shown(&all()), "as it has written it itself");
    close(client).await;
}

/// The error's own text says where to look, and has nothing of the value.
#[tokio::test]
async fn a_value_that_does_not_fit_is_told_by_its_column() {
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Note {
        title: String,
        stars: u8,
        tags: Vec<String>,
        at: Place,
    }
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Place {
        street: String,
        number: i32,
    }
    let db = Database::with_extension();
    db.psql(
        "CREATE TYPE place AS (street text, number int);
         CREATE TABLE note (id int PRIMARY KEY, title text, stars smallint, tags text[], at place);
         SELECT cache_sync.attach('note');
         INSERT INTO note VALUES (1, NULL, 1, '{}', '(a,1)'), (2, 'a', 300, '{}', '(a,1)'), (3, 'b', 3, '{a}', '(a,1)'),
             (4, 'c', 1, '{a,NULL}', '(a,1)'), (5, 'd', 1, '{}', '(a,)'), (6, 'e', 1, NULL, '(a,1)')",
    );
    let client = client(&db).await;
    let notes: Cache<i32, Note> = client.cache("note").open().await.unwrap();
    let is_null = "is null, and its member is no Option";
    let does_not_fit = "has a value that its member cannot be";
    for (id, column, what) in [
        (1, "title", is_null),
        (2, "stars", does_not_fit),
        (4, "tags", does_not_fit),
        (5, "at", does_not_fit),
        (6, "tags", is_null),
    ] {
        let error = notes.get(&id).await.unwrap_err().to_string();
        assert_eq!(error, format!("a row of table note does not fit the type: column \"{column}\" {what}"), "{id}");
    }
    assert_eq!(notes.get(&3).await.unwrap().map(|note| (note.title.clone(), note.stars)), Some(("b".to_owned(), 3)));
    close(client).await;
}

/// The lines of the page: a column's type, and what holds it.
fn lines() -> String {
    let mut lines: Vec<(&str, Vec<String>)> = Vec::new();
    for pair in PAIRS {
        let rust = match pair.rust {
            "Mood" => "an enum, whose variants bear the labels".to_owned(),
            "Point" => "a struct".to_owned(),
            "(i32, Option<String>)" => "a tuple".to_owned(),
            rust => format!("`{rust}`"),
        };
        let member = if pair.attribute.is_empty() { rust } else { format!("{rust} with `#[{}]`", pair.attribute) };
        match lines.last_mut() {
            Some((column, members)) if *column == pair.column => members.push(member),
            _ => lines.push((pair.column, vec![member])),
        }
    }
    let column = |column: &str| {
        if column.starts_with('a') && column.contains(' ') { column.to_owned() } else { format!("`{column}`") }
    };
    lines.into_iter().map(|(of, members)| format!("| {} | {} |\n", column(of), members.join(", "))).collect()
}

#[test]
fn the_page_lists_them() {
    let page = read("docs/types.md");
    let table = page.split("| --- | --- |\n").nth(1).unwrap();
    let table: String =
        table.lines().take_while(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect();
    assert!(table == lines(), "the first table of docs/types.md should be\n{}", lines());
}
