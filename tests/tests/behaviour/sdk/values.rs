//! Every type of column is read exactly and written back as it was.

use cache_sync::{Cache, Client, Key};
use cache_sync_tests::Database;
use cache_sync_tests::rows::{client, close};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Mood {
    #[serde(rename = "fine, thanks")]
    Fine,
    #[serde(rename = "so-so")]
    SoSo,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    small: i16,
    int: i32,
    big: i64,
    exact: String,
    float: f64,
    words: String,
    fixed: String,
    bytes: Vec<u8>,
    flag: bool,
    uuid: String,
    day: String,
    at: String,
    at_tz: String,
    clock: String,
    span: String,
    ints: Vec<Option<i32>>,
    grid: Vec<Vec<i64>>,
    texts: Vec<String>,
    mood: Mood,
    positive: i32,
    doc: Value,
    docb: Value,
    nothing: Option<String>,
}

const SCHEMA: &str = r#"
    CREATE TYPE mood AS ENUM ('fine, thanks', 'so-so');
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE TABLE everything (
        id text PRIMARY KEY, small smallint, int int, big bigint, exact numeric, float double precision, words text,
        fixed varchar(21), bytes bytea, flag bool, uuid uuid, day date, at timestamp, at_tz timestamptz, clock time,
        span interval, ints int[], grid bigint[], texts text[], mood mood, positive positive, doc json, docb jsonb,
        nothing text);
    INSERT INTO everything VALUES
        ('least', -32768, -2147483648, -9223372036854775808, -0.0000000000000000000000000000000000000000000000000001,
         -1.7976931348623157e308, '', '', '', false, '00000000-0000-0000-0000-000000000000', '4713-01-01 BC',
         '4713-01-01 00:00:00 BC', '-infinity', '00:00:00', '-178000000 years -3 days -00:00:00.000001', '{}', '{}', '{}',
         'so-so', 1, '{}', 'false', NULL),
        ('most', 32767, 2147483647, 9223372036854775807,
         12345678901234567890123456789012345678901234567890.12345678901234567890123456789012345678901234567890,
         5e-324, E'tab\t"quoted" \\ näïve 🦀 \u00a0', 'twenty characters :-)', '\x00ff10', true,
         'ffffffff-ffff-ffff-ffff-ffffffffffff', '5874897-12-31', '294276-12-31 23:59:59.999999', 'infinity',
         '23:59:59.999999', '1 year 2 mons 3 days 04:05:06.789', '{1,NULL,-3}', '{{1,2},{3,4}}', '{"a,b",NULL_,"\"\\"}',
         'fine, thanks', 2147483647, '{"a":[1,2.5,null],"b":"x"}', '{"deep":{"er":["\u00fc",true,9007199254740993]}}', NULL)
"#;

#[tokio::test]
async fn what_is_read_is_what_is_written() {
    let db = Database::with_extension();
    db.psql(SCHEMA);
    let row = |id: &str| db.psql(&format!("SELECT e::text FROM everything e WHERE id = '{id}'"));
    let before = (row("least"), row("most"));
    db.psql("SELECT cache_sync.attach('everything')");
    let client = client(&db).await;
    let cache: Cache<String, Everything> = client.cache("everything").open().await.unwrap();

    let most = cache.get(&"most".to_owned()).await.unwrap().unwrap();
    assert_eq!((most.small, most.int, most.big), (i16::MAX, i32::MAX, i64::MAX));
    assert_eq!(
        most.exact,
        "12345678901234567890123456789012345678901234567890.12345678901234567890123456789012345678901234567890"
    );
    assert_eq!(most.bytes, [0, 255, 16]);
    assert_eq!(most.ints, [Some(1), None, Some(-3)]);
    assert_eq!(most.grid, [[1, 2], [3, 4]]);
    assert_eq!(most.mood, Mood::Fine);
    assert_eq!(most.docb["deep"]["er"][2], 9_007_199_254_740_993_i64);
    assert_eq!(most.at_tz, "infinity");

    for id in ["least", "most"] {
        let key = id.to_owned();
        let value = cache.get(&key).await.unwrap().unwrap();
        // Empty the row first, so that what stands there afterwards was written.
        db.psql(&format!(
            "UPDATE everything SET small = 0, int = 0, big = 0, exact = 0, float = 0, words = 'x', fixed = 'x', bytes = 'x',
             flag = NULL, uuid = NULL, day = NULL, at = NULL, at_tz = NULL, clock = NULL, span = NULL, ints = NULL, grid = NULL,
             texts = NULL, mood = NULL, positive = NULL, doc = NULL, docb = NULL, nothing = 'x' WHERE id = '{id}'"
        ));
        let outcome = cache.put(key.clone(), Everything::clone(&value)).await.unwrap().written().await.unwrap();
        assert!(outcome.is_written(), "{id}: {outcome:?}");
        assert_eq!(*cache.get(&key).await.unwrap().unwrap(), *value, "{id}");
    }
    assert_eq!(row("least"), before.0);
    assert_eq!(row("most"), before.1);
    close(client).await;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Verbatim {
    doc: Box<RawValue>,
}

/// A `json` column keeps white space, key order and every digit of what is written; so does a member that does.
#[tokio::test]
async fn a_json_column_keeps_the_text() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE note (id int PRIMARY KEY, doc json); SELECT cache_sync.attach('note')");
    let client = client(&db).await;
    let cache: Cache<i32, Verbatim> = client.cache("note").open().await.unwrap();
    let text = "{\"z\": [1.0,  1e400],\t\"a\": \"\\u00e9\"}";
    let doc = RawValue::from_string(text.to_owned()).unwrap();
    cache.put(1, Verbatim { doc }).await.unwrap().written().await.unwrap();
    assert_eq!(db.psql("SELECT doc FROM note"), text);
    cache.invalidate(&1);
    assert_eq!(cache.get(&1).await.unwrap().unwrap().doc.get(), text);
    close(client).await;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Numbers {
    int: f64,
    float: f64,
    floats: Vec<f32>,
}

#[tokio::test]
async fn whole_floats_are_integers_and_a_negative_zero_stays_one() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE n (id int PRIMARY KEY, int int8, float float8, floats float4[]); SELECT cache_sync.attach('n')",
    );
    let client = client(&db).await;
    let cache: Cache<i32, Numbers> = client.cache("n").open().await.unwrap();
    let numbers = Numbers { int: 1e16, float: -0.0, floats: vec![-0.0, 1.5] };
    let outcome = cache.put(1, numbers).await.unwrap().written().await.unwrap();
    assert!(outcome.is_written(), "{outcome:?}");
    assert_eq!(db.psql("SELECT * FROM n"), "1|10000000000000000|-0|{-0,1.5}");
    close(client).await;
}

/// A member that cannot hold what is in its column would write what it can never read: the cache is not even opened.
#[tokio::test]
async fn of_types_that_no_member_can_hold_are_refused_when_the_cache_is_opened() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Of<T> {
        x: T,
    }
    async fn error<T>(client: &Client, table: &str) -> Option<String>
    where
        T: Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        client.cache::<i32, Of<T>>(table).open().await.err().map(|error| error.to_string())
    }
    let db = Database::with_extension();
    for (table, ty) in [("t", "text"), ("b", "bigint"), ("z", "timestamptz"), ("j", "jsonb"), ("i", "interval")] {
        db.psql(&format!("CREATE TABLE {table} (id int PRIMARY KEY, x {ty}); SELECT cache_sync.attach('{table}')"));
    }
    let client = client(&db).await;
    for (error, said) in [
        (
            error::<i32>(&client, "t").await,
            "public.t: the member \"x\" (i32) cannot hold the column \"x\" (text): invalid",
        ),
        (error::<Vec<u8>>(&client, "b").await, "the member \"x\" (Vec<u8>) cannot hold the column \"x\" (int8)"),
        (error::<String>(&client, "b").await, "(String) cannot hold the column \"x\" (int8): it takes texts"),
        (error::<i64>(&client, "z").await, "the member \"x\" (i64) cannot hold the column \"x\" (timestamptz)"),
        (error::<time::OffsetDateTime>(&client, "z").await, "give it `#[serde(with = \"time::serde::rfc3339\")]`"),
        (error::<Duration>(&client, "i").await, "give it `#[serde(with = \"cache_sync::interval\")]`"),
    ] {
        let error = error.expect(said);
        assert!(error.contains("does not fit the table public.") && error.contains(said), "{error}");
    }
    for none in [
        error::<String>(&client, "t").await,
        error::<i32>(&client, "b").await,
        error::<Option<String>>(&client, "z").await,
        error::<jiff::Span>(&client, "i").await,
        error::<i32>(&client, "j").await,
    ] {
        assert_eq!(none, None);
    }
    close(client).await;
}

/// A key of another type finds nothing, ever.
#[tokio::test]
async fn so_are_keys_that_no_row_can_have() {
    async fn error<K: Key>(client: &Client, table: &str) -> Option<String> {
        let opened = client.cache::<K, BTreeMap<String, Value>>(table).columns(["v"]).open().await;
        opened.err().map(|error| error.to_string())
    }
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE n (id bigint PRIMARY KEY, v int); SELECT cache_sync.attach('n');
         CREATE TABLE t (id text PRIMARY KEY, v int); SELECT cache_sync.attach('t');
         CREATE TABLE two (a int, b uuid, v int, PRIMARY KEY (a, b)); SELECT cache_sync.attach('two')",
    );
    let client = client(&db).await;
    for (error, said) in [
        (error::<String>(&client, "n").await, "public.n: the key's column \"id\" (pg_catalog.int8) cannot be a String"),
        (error::<i32>(&client, "t").await, "column \"id\" (pg_catalog.text) cannot be a i32: make it a `String`"),
        (error::<(i64, String)>(&client, "two").await, "column \"b\" (pg_catalog.uuid) cannot be a String"),
        (error::<i64>(&client, "two").await, "the key type has 1 columns"),
    ] {
        let error = error.expect(said);
        assert!(error.contains(said), "{error}");
    }
    for none in [
        error::<i16>(&client, "n").await,
        error::<Box<str>>(&client, "t").await,
        error::<(i8, Uuid)>(&client, "two").await,
    ] {
        assert_eq!(none, None);
    }
    close(client).await;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Lengths {
    #[serde(with = "cache_sync::interval")]
    plain: Duration,
    #[serde(with = "cache_sync::interval")]
    absent: Option<Duration>,
    #[serde(with = "cache_sync::interval")]
    signed: jiff::SignedDuration,
    span: Option<jiff::Span>,
    text: String,
}

/// Lengths of time are intervals, a day is 24 hours, and a month is no length of time.
#[tokio::test]
async fn lengths_of_time_are_intervals() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE length (id int PRIMARY KEY, plain interval, absent interval, signed interval, span interval, text interval);
         INSERT INTO length VALUES (1, '1 day 1.5 s', NULL, '-1 h', '1 mon -2 days', '1 year'), (2, '1 mon', NULL, '0', NULL, '0'),
                                   (3, '-1 s', NULL, '0', NULL, '0');
         SELECT cache_sync.attach('length')",
    );
    let client = client(&db).await;
    let cache: Cache<i32, Lengths> = client.cache("length").open().await.unwrap();
    for (id, said) in [(1, "span"), (2, "months and years have no length"), (3, "is not negative")] {
        let error = cache.get(&id).await.unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains(said), "{error}: {cause}");
    }
    db.psql("UPDATE length SET span = '1 mon 2 days 03:00' WHERE id = 1");
    client.catch_up().await.unwrap();
    let one = Lengths {
        plain: Duration::from_millis(86_401_500),
        absent: None,
        signed: jiff::SignedDuration::from_hours(-1),
        span: Some("P1M2DT3H".parse().unwrap()),
        text: "P1Y".to_owned(),
    };
    let read = cache.get(&1).await.unwrap().unwrap();
    assert_eq!(format!("{read:?}"), format!("{one:?}"));
    let written = Lengths { absent: Some(Duration::from_nanos(1_500)), span: Some("-P1DT1H".parse().unwrap()), ..one };
    assert!(cache.put(4, written.clone()).await.unwrap().written().await.unwrap().is_written());
    assert_eq!(
        db.psql("SELECT plain, absent, signed, span, text FROM length WHERE id = 4"),
        "24:00:01.5|00:00:00.000002|-01:00:00|-1 days -01:00:00|1 year"
    );
    cache.invalidate(&4);
    let again = cache.get(&4).await.unwrap().unwrap();
    assert_eq!(format!("{:?}", again.span), format!("{:?}", written.span));
    close(client).await;
}

/// An address is itself, not a network of one.
#[tokio::test]
async fn addresses_are_read_as_they_are_written() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Host {
        at: std::net::IpAddr,
        net: Option<String>,
        all: Vec<std::net::IpAddr>,
    }
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE host (id int PRIMARY KEY, at inet NOT NULL, net inet, all_ inet[] NOT NULL);
         ALTER TABLE host RENAME all_ TO \"all\";
         INSERT INTO host VALUES (1, '10.0.0.1', '10.1.0.0/16', '{10.0.0.1,::1}'); SELECT cache_sync.attach('host')",
    );
    let client = client(&db).await;
    let cache: Cache<i32, Host> = client.cache("host").open().await.unwrap();
    let [one, two] = ["10.0.0.1", "::1"].map(|address| address.parse().unwrap());
    let host = Host { at: one, net: Some("10.1.0.0/16".into()), all: vec![one, two] };
    assert_eq!(*cache.get(&1).await.unwrap().unwrap(), host);
    let other = Host { at: two, net: None, ..host };
    assert!(cache.put(2, other.clone()).await.unwrap().written().await.unwrap().is_written());
    cache.invalidate(&2);
    assert_eq!(*cache.get(&2).await.unwrap().unwrap(), other);
    close(client).await;
}
