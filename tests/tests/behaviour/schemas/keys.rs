//! Keys of every type that may be part of one, alone and together, quoted and long names.

use cache_sync_core::key::{HashKey, KeyHasher, KeyPart};
use cache_sync_core::number::TableId;
use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use cache_sync_tests::heard::Heard;
use serde_json::{Map, Value, json};

/// Types, and values of each as JSON has them and as Postgres shows them: extremes, and such as are easily mixed up.
const TYPES: &[(&str, &[&str])] = &[
    ("int2", &["-32768", "32767", "0"]),
    ("int4", &["-2147483648", "2147483647", "-1"]),
    ("int8", &["-9223372036854775808", "9223372036854775807", "9007199254740993"]),
    ("text", &[r#""""#, r#"" a ""#, r#""ä\"'\\\n\u0001€\ud83d\ude00""#, r#""a\u0308""#, r#""null""#, r#""NULL""#]),
    ("varchar(9)", &[r#""a""#, r#""A""#, r#""a ""#]),
    ("text COLLATE \"C\"", &[r#""b""#, r#""B""#]),
    ("uuid", &[r#""00000000-0000-0000-0000-000000000000""#, r#""ffffffff-ffff-ffff-ffff-ffffffffffff""#]),
    ("bytea", &[r#""\\x""#, r#""\\x00ff27""#, r#""\\x5c""#]),
    ("boolean", &["true", "false"]),
    ("date", &[r#""infinity""#, r#""-infinity""#, r#""0001-02-28 BC""#, r#""2024-02-29""#, r#""5874897-12-31""#]),
    ("timestamp", &[r#""infinity""#, r#""2024-02-29T12:34:56.000001""#, r#""1999-12-31T23:59:59.999999""#]),
    ("timestamptz", &[r#""-infinity""#, r#""2024-02-29T12:34:56.000001+00:00""#, r#""1999-12-31T23:59:59+00:00""#]),
    ("mood", &[r#""sad""#, r#""it's \"ok\"""#, r#""""#]),
    ("percent", &["0", "100"]),
    ("code", &[r#""AB""#, r#""""#]),
];

fn types(db: &Database<'_>) {
    db.psql(
        "CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"', ''); CREATE DOMAIN percent AS int2 CHECK (VALUE BETWEEN 0 AND 100);
         CREATE DOMAIN short AS varchar(5); CREATE DOMAIN code AS short CHECK (VALUE = upper(VALUE));
         CREATE DOMAIN feeling AS mood NOT NULL",
    );
}

/// One patch of each kind for each value; each is heard under its key, also when plain SQL or another session's time zone
/// and date style write it.
#[tokio::test]
async fn every_type_of_key_is_written_and_heard() {
    let db = Database::with_extension();
    types(&db);
    db.psql(&format!(
        "ALTER DATABASE {} SET timezone = 'Asia/Kathmandu'; ALTER DATABASE {0} SET datestyle = 'German, DMY';
         ALTER DATABASE {0} SET bytea_output = 'escape'; ALTER DATABASE {0} SET intervalstyle = 'sql_standard'",
        db.name()
    ));
    for (place, (sql_type, values)) in TYPES.iter().enumerate() {
        is_written_and_heard(&db, &format!("k{place}"), place % 2 == 0, sql_type, values).await;
    }
}

async fn is_written_and_heard(db: &Database<'_>, table: &str, is_versioned: bool, sql_type: &str, values: &[&str]) {
    db.psql(&format!(
        "CREATE TABLE {table} (k {sql_type} PRIMARY KEY, v int, n int NOT NULL DEFAULT 0);
         SELECT cache_sync.attach('{table}', {}, '{{\"n\": \"add\"}}')",
        is_versioned
    ));
    let mut batches = Batches::open(db, table).await;
    let stamp = batches.now().await;
    let keys: Vec<_> = values.iter().map(|value| format!("{{\"k\": {value}}}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let rows = |fields: &str, stamp: i64| {
        let row = |(number, value)| format!("{{\"#\": {number}, \"@\": {stamp}, \"k\": {value} {fields}}}");
        format!("[{}]", values.iter().enumerate().map(row).collect::<Vec<_>>().join(", "))
    };
    let applied = vec!["applied"; values.len()];
    let mut heard = Heard::from_now(db);
    for (shape, fields) in [
        (json!({"op": "put", "fields": ["n", "v"]}), ", \"n\": 1, \"v\": 1"),
        (json!({"op": "edit", "fields": ["n", "v"]}), ", \"n\": 1, \"v\": 2"),
        (json!({"op": "replace", "fields": ["v"]}), ", \"v\": 3"),
    ] {
        let stamp = batches.now().await.max(stamp);
        let verdicts = batches.verdicts_of_text(shape.clone(), &rows(fields, stamp)).await.unwrap();
        assert_eq!(verdicts, applied, "{sql_type} {shape}");
        assert_eq!(heard.of(table, &keys), keys.join(" "), "{sql_type} {shape}");
    }
    // They are as many keys as they seem to be, and read back as what they are.
    assert_eq!(
        db.psql(&format!("SELECT count(*), sum(n) FROM {table}")),
        format!("{}|{}", values.len(), 2 * values.len())
    );
    db.psql(&format!("UPDATE {table} SET v = v + 1"));
    assert_eq!(heard.of(table, &keys), keys.join(" "), "{sql_type}");
    for key in &keys {
        let edit = format!("SELECT outcome FROM cache_sync.edit('{table}', $k${key}$k$, '{{\"n\": 5}}')");
        assert_eq!(db.psql(&edit), "applied", "{sql_type} {key}");
        let upsert = format!("SELECT outcome FROM cache_sync.upsert('{table}', $k${key}$k$ || '{{\"v\": 9}}'::jsonb)");
        assert_eq!(db.psql(&upsert), "applied", "{sql_type} {key}");
    }
    assert_eq!(db.psql(&format!("SELECT DISTINCT v, n FROM {table}")), "9|7", "{sql_type}");
    heard.of(table, &[]);
    let delete = json!({"op": "delete"});
    let stamp = batches.now().await;
    assert_eq!(batches.verdicts_of_text(delete, &rows("", stamp)).await.unwrap(), applied, "{sql_type}");
    assert_eq!(heard.of(table, &keys), keys.join(" "), "{sql_type}");
}

/// Postgres itself has no `=` for a domain over an enum.
#[test]
fn a_domain_over_an_enum_is_no_key() {
    let db = Database::with_extension();
    types(&db);
    db.psql("CREATE TABLE t (k feeling PRIMARY KEY, v int)");
    let error = db.psql_error("SELECT cache_sync.attach('t')");
    for part in ["0A000", "feeling", "no operator = for domains over enums", "HINT"] {
        assert!(error.contains(part), "{error}");
    }
}

/// What is no value of its type, or more than fits, is the fault of its patch alone; so are checks of a key's domain.
#[tokio::test]
async fn a_key_that_is_none_is_refused_alone() {
    let db = Database::with_extension();
    types(&db);
    for (sql_type, good, bad, codes) in [
        ("int2", "1", "32768", ["rejected 22003"; 2]),
        ("int4", "1", "\"one\"", ["rejected 22P02"; 2]),
        ("int8", "1", "1.5", ["rejected 22P02"; 2]),
        ("uuid", "\"00000000-0000-0000-0000-000000000000\"", "\"x\"", ["rejected 22P02"; 2]),
        ("varchar(3)", "\"abc\"", "\"abcd\"", ["rejected 22001"; 2]),
        ("date", "\"2024-02-29\"", "\"2023-02-29\"", ["rejected 22008"; 2]),
        ("mood", "\"sad\"", "\"glad\"", ["rejected 22P02"; 2]),
        ("percent", "100", "101", ["rejected 23514"; 2]),
        ("code", "\"AB\"", "\"ab\"", ["rejected 23514"; 2]),
        ("text", "\"a\"", "null", ["rejected 23502", "missing"]),
    ] {
        db.psql(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (k {sql_type} PRIMARY KEY, v int); SELECT cache_sync.attach('t')"
        ));
        let mut batches = Batches::open(&db, "t").await;
        for (op, bad_verdict) in [("put", codes[0]), ("edit", codes[1])] {
            let rows =
                format!("[{{\"#\": 0, \"k\": {bad}, \"v\": 1}}, {{\"#\": 1, \"k\": {good}, \"v\": {}}}]", op.len());
            let shape = json!({"op": op, "fields": ["v"]});
            let verdicts = batches.verdicts_of_text(shape, &rows).await.unwrap();
            assert_eq!(verdicts, [bad_verdict, "applied"], "{op} {sql_type}");
        }
        assert_eq!(db.psql("SELECT count(*), max(v) FROM t"), "1|4", "{sql_type}");
    }
}

/// A key of all these types at once, in an order of its own, under names that have to be quoted and are as long as names
/// can be.
#[tokio::test]
async fn all_types_in_one_key_under_names_that_need_quoting() {
    let db = Database::with_extension();
    types(&db);
    let wide = Wide::make(&db);
    let name = &wide.name;
    let mut batches = Batches::open(&db, name).await;
    let mut heard = Heard::from_now(&db);
    let keys = wide.keys();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();

    let stamp = batches.now().await;
    for (op, stamp, add) in [("put", stamp, 1), ("edit", stamp + 1, 2)] {
        let shapes = json!([{"op": op, "fields": [&wide.count, &wide.value]}]);
        let rows: Vec<_> = (0..3).map(|number| wide.row(number, stamp, op, add)).collect();
        assert_eq!(batches.verdicts(shapes, &[json!(rows)]).await, ["applied"; 3], "{op}");
        assert_eq!(heard.of(name, &keys), keys.join(" "), "{op}");
    }
    let seen = format!("SELECT DISTINCT {}, {} FROM {name}", quoted(&wide.value), quoted(&wide.count));
    assert_eq!(db.psql(&seen), "edit|3");
    wide.is_edited_by_sql(&db);
    heard.of(name, &[]);
    db.psql(&format!("DELETE FROM {name} WHERE {} = 'edit'", quoted(&wide.value)));
    assert_eq!(heard.of(name, &keys), [keys[0], keys[2]].join(" "));
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.check_tables()"), "0");
    // Part of a key is none.
    let mut part = wide.key(1);
    part.remove(&wide.columns[3]);
    let error = db.psql_error(&format!("SELECT cache_sync.delete($t${name}$t$, $k${}$k$)", Value::from(part)));
    assert!(error.contains("22023"), "{error}");
    db.psql(&format!("SELECT cache_sync.repair($t${name}$t$); SELECT cache_sync.detach($t${name}$t$, true)"));
}

/// A table whose key has a column of each type.
struct Wide {
    /// Its name as SQL takes it; those of its columns are as they are.
    name: String,
    columns: Vec<String>,
    value: String,
    count: String,
}

impl Wide {
    fn make(db: &Database<'_>) -> Wide {
        let long = |start: &str| format!("{start}{}", "ü".repeat((63 - start.len()) / 2));
        let (schema, table) = (quoted(&long("Sch\"ema.'; ")), quoted(&long("Ta ble\"$1\\")));
        let columns: Vec<_> = (0..TYPES.len()).map(|place| long(&format!("{place} Co\"l'\\{{}}% "))).collect();
        let (value, count) = (long("va\"lue "), long("co'unt "));
        let defined: Vec<_> =
            columns.iter().zip(TYPES).map(|(name, of)| format!("{} {}", quoted(name), of.0)).collect();
        let in_key: Vec<_> = columns.iter().rev().map(|name| quoted(name)).collect();
        let name = format!("{schema}.{table}");
        db.psql(&format!(
            "CREATE SCHEMA {schema}; CREATE TABLE {name} ({}, {} text, {} int NOT NULL DEFAULT 0, PRIMARY KEY ({}))",
            defined.join(", "),
            quoted(&value),
            quoted(&count),
            in_key.join(", ")
        ));
        let rules = json!({&count: "add"});
        db.psql(&format!("SELECT cache_sync.attach($t${name}$t$, true, $r${rules}$r$)"));
        Wide { name, columns, value, count }
    }

    fn key(&self, which: usize) -> Map<String, Value> {
        let of = |(name, (_, values)): (&String, &(&str, &[&str]))| {
            (name.clone(), serde_json::from_str(values[which % values.len()]).unwrap())
        };
        self.columns.iter().zip(TYPES).map(of).collect()
    }

    fn keys(&self) -> [String; 3] {
        [0, 1, 2].map(|which| Value::from(self.key(which)).to_string())
    }

    fn row(&self, number: usize, stamp: i64, text: &str, add: i64) -> Value {
        let mut row = self.key(number);
        row.insert("#".into(), number.into());
        row.insert("@".into(), stamp.into());
        row.insert(self.value.clone(), text.into());
        row.insert(self.count.clone(), add.into());
        Value::from(row)
    }

    fn is_edited_by_sql(&self, db: &Database<'_>) {
        let (key, patch) = (Value::from(self.key(1)), json!({&self.value: "by SQL", &self.count: 10}));
        let edit = format!("cache_sync.edit($t${}$t$, $k${key}$k$, $p${patch}$p$)", self.name);
        db.psql(&format!("SELECT {edit}"));
        let after = format!("SELECT row_after ->> $v${}$v$ FROM {edit}", self.value);
        assert_eq!(db.psql(&after), "by SQL");
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The hash of a key is what core makes of its parts, which is what a client computes.
#[test]
fn keys_are_hashed_as_core_does() {
    let db = Database::with_extension();
    types(&db);
    db.psql(
        "CREATE TABLE t (i int2, s varchar, u uuid, b bytea, f boolean, d date, m mood,
                         PRIMARY KEY (m, d, f, b, u, s, i)); SELECT cache_sync.attach('t')",
    );
    let secret = db.psql("SELECT encode(hash_key, 'hex') FROM cache_sync.secret");
    let id = TableId(db.psql("SELECT table_id FROM cache_sync.attached").parse().unwrap());
    let bytes: Vec<_> = (0..16).map(|at| u8::from_str_radix(&secret[at * 2..at * 2 + 2], 16).unwrap()).collect();
    let database = db.psql("SELECT oid FROM pg_database WHERE datname = current_database()").parse().unwrap();
    let secret = HashKey(bytes.try_into().unwrap()).of_database(database);
    let mut hasher = KeyHasher::new(&secret.of_table(id));
    hasher.part(KeyPart::Text("sad"));
    hasher.part(KeyPart::Date(8825));
    hasher.part(KeyPart::Bool(true));
    hasher.part(KeyPart::Bytes(&[0, 255]));
    hasher.part(KeyPart::Uuid([0xab; 16]));
    hasher.part(KeyPart::Text("é"));
    hasher.part(KeyPart::Int(-7));
    let hash = db.psql(
        r#"SELECT cache_sync.key_hash('t', '{"i": -7, "s": "é", "u": "abababab-abab-abab-abab-abababababab", "b": "\\x00ff",
                                             "f": true, "d": "2024-02-29", "m": "sad"}')"#,
    );
    assert_eq!(hash, (hasher.finish().0 as i64).to_string());
}
