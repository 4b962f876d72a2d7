//! `patches` reads what `json_to_recordset` reads, to the byte, and refuses what that refuses of what it looks at.

use cache_sync_kit::Dice;
use cache_sync_tests::Database;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

const DOCUMENTS: usize = 3_000;

/// The text of a JSON value, with the spaces, numbers, escapes and double keys that texts have.
fn text(dice: &mut Dice, depth: u64) -> String {
    let space = |dice: &mut Dice| [" ", "", "", "\n\t"][dice.below(4) as usize];
    match dice.below(if depth == 0 { 5 } else { 7 }) {
        0 => ["null", "true", "false"][dice.below(3) as usize].to_owned(),
        1 | 2 => number(dice),
        3 | 4 => string(dice),
        5 => {
            let elements: Vec<_> = (0..dice.below(5)).map(|_| text(dice, depth - 1)).collect();
            format!("[{}{}]", elements.join(&format!("{},", space(dice))), space(dice))
        }
        _ => {
            // Offsets are stored for every 32nd entry, so some have more.
            let count = if dice.below(12) == 0 { 30 + dice.below(40) } else { dice.below(6) };
            let member =
                |dice: &mut Dice| format!("{}{}:{}{}", string(dice), space(dice), space(dice), text(dice, depth - 1));
            let members: Vec<_> = (0..count).map(|_| member(dice)).collect();
            format!("{{{}{}}}", space(dice), members.join(","))
        }
    }
}

fn number(dice: &mut Dice) -> String {
    let digits =
        |dice: &mut Dice, count: u64| (0..count).map(|_| char::from(b'0' + dice.below(10) as u8)).collect::<String>();
    let length = dice.below(12);
    let whole = match dice.below(4) {
        0 => "0".to_owned(),
        1 => format!("{}{}", 1 + dice.below(9), "0".repeat(length as usize)),
        _ => format!("{}{}", 1 + dice.below(9), digits(dice, length)),
    };
    let length = 1 + dice.below(12);
    let fraction = match dice.below(5) {
        0 => format!(".{}", digits(dice, length)),
        1 => format!(".{}", "0".repeat(length as usize)),
        2 => format!(".000{}00", digits(dice, 40)),
        _ => String::new(),
    };
    let exponent = ["", "", "", "e3", "E-2"][dice.below(5) as usize];
    format!("{}{whole}{fraction}{exponent}", ["", "-"][dice.below(2) as usize])
}

fn string(dice: &mut Dice) -> String {
    const PIECES: [&str; 14] = [
        "a",
        "b",
        "key",
        "ä",
        "😀",
        " ",
        "\\n",
        "\\\"",
        "\\\\",
        "\\/",
        "\\u0041",
        "\\ud83d\\ude00",
        "\\t\\b\\f\\r",
        "{[:,",
    ];
    let pieces: String = (0..dice.below(5)).map(|_| PIECES[dice.below(PIECES.len() as u64) as usize]).collect();
    format!("\"{pieces}\"")
}

/// A table that `patches` fills, and one that `json_to_recordset` fills, page by page the same.
#[tokio::test]
async fn documents_are_stored_as_postgres_stores_them() {
    let db = Database::with_extension();
    let columns = "id int, j json, b jsonb, t text, v varchar";
    db.psql(&format!(
        "CREATE EXTENSION pageinspect; CREATE TABLE ours ({columns}); CREATE TABLE theirs ({columns});
         ALTER TABLE ours ALTER b SET STORAGE PLAIN, ALTER j SET STORAGE PLAIN;
         ALTER TABLE theirs ALTER b SET STORAGE PLAIN, ALTER j SET STORAGE PLAIN;
         CREATE TABLE source (patches json)"
    ));
    let mut dice = Dice::new(7);
    let rows: Vec<_> = (0..DOCUMENTS)
        .map(|id| {
            let (value, word) = (text(&mut dice, 3), string(&mut dice));
            let value = if value.len() > 2_500 { "{}".to_owned() } else { value };
            // A json keeps its text, of which json_to_recordset reads the escapes of a string.
            let json = if value.starts_with('"') { "[]" } else { &value };
            format!("{{\"id\":{id},\"j\":{json}, \"b\" : {value} ,\"t\":{word},\"v\":{word}}}")
        })
        .collect();
    let source = format!("[{}]", rows.join(","));
    db.connect().await.execute("INSERT INTO source VALUES ($1::text::json)", &[&source]).await.unwrap();
    db.psql(&format!(
        "INSERT INTO ours SELECT r.* FROM source, cache_sync_internal.patches(patches) AS r({columns});
         INSERT INTO theirs SELECT r.* FROM source, json_to_recordset(patches) AS r({columns})"
    ));
    let pages = |table: &str| {
        format!(
            "SELECT array_agg(t_attrs ORDER BY page, lp) FROM generate_series(0, pg_relation_size('{table}') / 8192 - 1) page,
             heap_page_item_attrs(get_raw_page('{table}', page::int), '{table}')"
        )
    };
    assert_eq!(db.psql("SELECT count(*) FROM ours"), DOCUMENTS.to_string());
    let differing = db.psql("SELECT x.id, x, y FROM ours x JOIN theirs y USING (id) WHERE x::text <> y::text LIMIT 3");
    assert_eq!(differing, "");
    assert_eq!(db.psql(&format!("SELECT ({}) = ({})", pages("ours"), pages("theirs"))), "t");
}

/// What a column reads of an object's member `v`, and how long it is, or how it is refused.
async fn outcome(client: &Client, function: &str, object: &str, ty: &str) -> Result<Vec<String>, (String, String)> {
    let query = format!("SELECT v::text, pg_column_size(v)::text FROM {function}($json$[{object}]$json$) AS r(v {ty})");
    let messages = client.simple_query(&query).await.map_err(|error| {
        let error = error.as_db_error().unwrap();
        (error.code().code().to_owned(), error.message().to_owned())
    })?;
    let columns = |row: &SimpleQueryRow| (0..2).map(|place| row.get(place).unwrap_or("null").to_owned()).collect();
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(columns(row)),
        _ => None,
    });
    Ok(row.unwrap())
}

/// Types of columns, one after the other.
const TYPES: &str = r#"
    int2 | int4 | int8 | bool | text | varchar | varchar(3) | char(3) | name | "char" | json | jsonb |
    numeric | numeric(5,2) | float4 | float8 | date | timestamp | timestamptz(0) | interval | uuid | bytea |
    mood | small | present | short | doc | int4range | inet | point | xid | oid | regclass | bit(3)
"#;

/// What a patch may say of a column.
const VALUES: &str = r#"
    null | true | false | 0 | -1 | 1 | 12 | 32768 | 2147483648 | 9223372036854775808 | 1.5 | 1e2 | -0 | 1e400 |
    "" | "a" | "abcd" | "ok" | "5" | " 5 " | "\\x00ff" | "a\u0000b" | "\ud800" | "\u00e9\n" | "2026-01-01" |
    "2026-01-01T10:00:00.7+02:00" | "1 day" | "infinity" | "NaN" | "[1,3)" | "(1,2)" | "10.0.0.1" | "101" |
    {} | [] | {"a": 1} | [1,2] | "0f4f0b3a-0000-4000-8000-000000000001"
"#;

/// A value of every type, as its column would read it, and as it would not.
#[tokio::test]
async fn every_type_reads_what_it_reads() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN small AS int CHECK (value < 10);
         CREATE DOMAIN present AS text NOT NULL; CREATE DOMAIN short AS varchar(3); CREATE DOMAIN doc AS jsonb
         CHECK (value <> '{}')",
    );
    let client = db.connect().await;
    let mut read = 0;
    let listed = |list: &'static str| list.split('|').map(str::trim);
    for ty in listed(TYPES) {
        for value in listed(VALUES) {
            if ty == "json" && value.contains('\\') {
                continue;
            }
            let object = format!("{{\"other\":[1],\"v\":{value}}}");
            let ours = outcome(&client, "cache_sync_internal.patches", &object, ty).await;
            assert_eq!(ours, outcome(&client, "json_to_recordset", &object, ty).await, "{value} as {ty}");
            read += usize::from(ours.is_ok());
        }
        let ours = outcome(&client, "cache_sync_internal.patches", "{}", ty).await;
        assert_eq!(ours, outcome(&client, "json_to_recordset", "{}", ty).await, "nothing as {ty}");
    }
    assert!(read > 300, "{read}");
}

#[test]
fn other_columns_and_texts_are_refused() {
    let db = Database::with_extension();
    db.psql("CREATE TYPE pair AS (a int, b int); CREATE DOMAIN list AS int[]");
    let error = |json: &str, columns: &str| {
        db.psql_error(&format!("SELECT * FROM cache_sync_internal.patches('{json}') AS r({columns})"))
    };
    for ty in ["int[]", "pair", "list"] {
        assert!(error("[]", &format!("v {ty}")).contains("the column \"v\" is an array or a composite"), "{ty}");
    }
    assert!(error("{}", "v int").contains("patches is no array of objects"));
    assert!(error("[1]", "v int").contains("a patch is no JSON object"));
    // What nobody could read afterwards.
    for bad in [r#""\u0000""#, r#"{"a":"\ud800"}"#, r#"["\ud800\u0041"]"#, r#""\udc00""#] {
        assert!(error(&format!("[{{\"v\":{bad}}}]"), "v json").contains("22P"), "{bad}");
    }
    let escaped = r#"SELECT * FROM cache_sync_internal.patches('[{"v":{"a\\u0000":"\ud83d\ude00"}}]') AS r(v json)"#;
    assert_eq!(db.psql(escaped), r#"{"a\\u0000":"\ud83d\ude00"}"#);
    // Of a key that comes twice both values must be readable, and the last one counts.
    assert!(error(r#"[{"v":{"a":1e200000,"a":1}}]"#, "v jsonb").contains("22003"));
    let twice = r#"SELECT * FROM cache_sync_internal.patches('[{"v":{"b":1,"a":2,"b":3}}]') AS r(v jsonb)"#;
    assert_eq!(db.psql(twice), r#"{"a": 2, "b": 3}"#);
    // A backend that was refused something goes on.
    let all =
        "SELECT * FROM cache_sync_internal.patches('[{\"v\":1},{\"w\":2},{\"v\":null,\"w\":3}]') AS r(v int, w int)";
    assert_eq!(db.psql(all), "1|\n|2\n|3");
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync_internal.patches(NULL) AS r(v int)"), "0");
    let keys = r#"SELECT * FROM cache_sync_internal.patches('[{"\u0076":1,"a\"b":2}]') AS r(v int, "a""b" int)"#;
    assert_eq!(db.psql(keys), "1|2");
}
