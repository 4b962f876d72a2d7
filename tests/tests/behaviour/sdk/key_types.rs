//! Every type of key finds its rows, hears of their changes and writes them.

use cache_sync::{Cache, Client, Freshness, Key};
use cache_sync_tests::Database;
use cache_sync_tests::rows::{client, close};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    v: i32,
}

/// A table whose key has these columns, with a row of this key in SQL: it is found, a change of it is heard, and the row that `fresh` puts
/// is the other one in SQL.
async fn works<K: Key>(db: &Database<'_>, client: &Client, columns: &str, keys: [(K, &str); 2]) {
    let [(known, known_sql), (fresh, fresh_sql)] = keys;
    let count = columns.split(',').count();
    let names: Vec<_> = (0..count).map(|place| format!("k{place}")).collect();
    let named: Vec<_> = names.iter().zip(columns.split(',')).map(|(name, ty)| format!("{name} {ty}")).collect();
    let (names, named) = (names.join(", "), named.join(", "));
    db.psql(&format!(
        "DROP TABLE IF EXISTS keyed; CREATE TABLE keyed ({named}, v int NOT NULL, PRIMARY KEY ({names}));
         SELECT cache_sync.attach('keyed', true); INSERT INTO keyed VALUES ({known_sql}, 1)"
    ));
    let cache: Cache<K, Row> = client.cache("keyed").open().await.unwrap_or_else(|error| panic!("{columns}: {error}"));
    assert_eq!(cache.get(&known).await.unwrap().map(|row| row.v), Some(1), "{columns} {known:?}");
    assert_eq!(cache.get(&fresh).await.unwrap(), None, "{columns} {fresh:?}");
    db.psql("UPDATE keyed SET v = 2");
    client.catch_up().await.unwrap();
    assert_eq!(cache.get(&known).await.unwrap().map(|row| row.v), Some(2), "{columns} {known:?}");
    let put = cache.put(fresh.clone(), Row { v: 3 }).await.unwrap().written().await.unwrap();
    assert!(put.is_written(), "{columns} {fresh:?}: {put:?}");
    assert_eq!(db.psql(&format!("SELECT v FROM keyed WHERE ({names}) = ({fresh_sql})")), "3", "{columns} {fresh:?}");
    cache.invalidate(&fresh);
    assert_eq!(cache.get(&fresh).await.unwrap().map(|row| row.v), Some(3), "{columns} {fresh:?}");
}

/// Of another type each, one after the other.
#[tokio::test]
async fn plain_ones() {
    let db = Database::with_extension();
    let client = client(&db).await;
    let (db, client_) = (&db, &client);
    works(db, client_, "bigint", [(7u64, "7"), (i64::MAX as u64, "9223372036854775807")]).await;
    works(db, client_, "bigint", [(7u32, "7"), (u32::MAX, "4294967295")]).await;
    works(db, client_, "smallint", [(7u64, "7"), (255, "255")]).await;
    works(db, client_, "bytea", [([0u8, 255], "'\\x00ff'"), ([1, 2], "'\\x0102'")]).await;
    works(db, client_, "text", [(Arc::<str>::from("a"), "'a'"), (Arc::from("ü"), "'ü'")]).await;
    let eight = (1i32, 2i64, "c".to_owned(), true, uuid::Uuid::nil(), [6u8], 7i16, 8u8);
    let fresh = (-1, 2, "c".to_owned(), false, uuid::Uuid::max(), [0], 7, 9);
    let sql = "1, 2, 'c', true, '00000000-0000-0000-0000-000000000000', '\\x06', 7, 8";
    let fresh_sql = "-1, 2, 'c', false, 'ffffffff-ffff-ffff-ffff-ffffffffffff', '\\x00', 7, 9";
    works(db, client_, "int,bigint,text,bool,uuid,bytea,smallint,int", [(eight, sql), (fresh, fresh_sql)]).await;
    close(client).await;
}

/// A tuple of a date and a time, which are parsed.
async fn times<D, T>(db: &Database<'_>, client: &Client, date: impl Fn(&str) -> D, time: impl Fn(&str) -> T)
where
    D: Key,
    T: Key,
{
    let keys = [("2024-02-29", "'2024-02-29'"), ("1969-07-20", "'1969-07-20'")];
    works(db, client, "date", keys.map(|(key, sql)| (date(key), sql))).await;
    let keys = [
        ("2024-02-29T12:00:00.000001Z", "'2024-02-29 13:00:00.000001+01'"),
        ("1969-07-20T20:17:40Z", "'1969-07-20 20:17:40+00'"),
    ];
    works(db, client, "timestamptz", keys.map(|(key, sql)| (time(key), sql))).await;
    works(
        db,
        client,
        "date,timestamptz",
        keys.map(|(key, sql)| ((date("2000-01-01"), time(key)), sql))
            .map(|(key, sql)| (key, Box::leak(format!("'2000-01-01', {sql}").into_boxed_str()) as &str)),
    )
    .await;
    // One without a zone is of UTC.
    let keys = [("2024-02-29T12:00:00Z", "'2024-02-29 12:00:00'"), ("1969-07-20T20:17:40Z", "'1969-07-20 20:17:40'")];
    works(db, client, "timestamp", keys.map(|(key, sql)| (time(key), sql))).await;
}

#[tokio::test]
async fn dates_and_times() {
    let db = Database::with_extension();
    let client = client(&db).await;
    times(
        &db,
        &client,
        |date| date.parse::<chrono::NaiveDate>().unwrap(),
        |time| time.parse::<chrono::DateTime<chrono::Utc>>().unwrap(),
    )
    .await;
    times(
        &db,
        &client,
        |date| date.parse::<jiff::civil::Date>().unwrap(),
        |time| time.parse::<jiff::Timestamp>().unwrap(),
    )
    .await;
    let iso = time::macros::format_description!("[year]-[month]-[day]");
    let rfc3339 = &time::format_description::well_known::Rfc3339;
    times(
        &db,
        &client,
        |date| time::Date::parse(date, iso).unwrap(),
        |time| time::OffsetDateTime::parse(time, rfc3339).unwrap(),
    )
    .await;
    close(client).await;
}

/// What no row can have is absent, and cannot be written.
#[tokio::test]
async fn beyond_what_a_column_holds() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE n (id bigint PRIMARY KEY, v int); SELECT cache_sync.attach('n');
         CREATE TABLE z (id timestamptz PRIMARY KEY, v int); SELECT cache_sync.attach('z');
         INSERT INTO n VALUES (-1, 1); INSERT INTO z VALUES ('2000-01-01 00:00:00+00', 1)",
    );
    let client = client(&db).await;
    let numbers: Cache<u64, Row> = client.cache("n").open().await.unwrap();
    assert_eq!(numbers.get(&u64::MAX).await.unwrap(), None);
    assert!(numbers.put(u64::MAX, Row { v: 2 }).await.unwrap_err().is_rule_violation());
    let times: Cache<jiff::Timestamp, Row> = client.cache("z").open().await.unwrap();
    let nanosecond: jiff::Timestamp = "2000-01-01T00:00:00.000000001Z".parse().unwrap();
    assert_eq!(times.get(&nanosecond).await.unwrap(), None);
    assert!(times.put(nanosecond, Row { v: 2 }).await.unwrap_err().is_rule_violation());
    assert_eq!(times.get(&"2000-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap()).await.unwrap().unwrap().v, 1);
    assert_eq!(db.psql("SELECT (SELECT sum(v) FROM n) + (SELECT sum(v) FROM z)"), "2");
    close(client).await;
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Key)]
struct UserId(i64);

#[derive(Clone, PartialEq, Eq, Hash, Debug, Key)]
struct Seat<T> {
    row: T,
    r#in: (String, bool),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Key)]
struct Ten(u8, u8, u8, u8, u8, u8, u8, u8, u8, UserId);

#[tokio::test]
async fn derived() {
    let db = Database::with_extension();
    let client = client(&db).await;
    works(&db, &client, "bigint", [(UserId(1), "1"), (UserId(-2), "-2")]).await;
    let seat = |row, name: &str| Seat { row: UserId(row), r#in: (name.to_owned(), true) };
    works(&db, &client, "bigint,text,bool", [(seat(1, "a"), "1, 'a', true"), (seat(2, ""), "2, '', true")]).await;
    let ten = |last| Ten(1, 2, 3, 4, 5, 6, 7, 8, 9, UserId(last));
    let columns = "int,int,int,int,int,int,int,int,int,bigint";
    works(&db, &client, columns, [(ten(1), "1, 2, 3, 4, 5, 6, 7, 8, 9, 1"), (ten(2), "1, 2, 3, 4, 5, 6, 7, 8, 9, 2")])
        .await;
    let misfit = client.cache::<Seat<String>, Row>("keyed").open().await.expect_err("ten columns").to_string();
    assert!(misfit.contains("the key type has 3 columns"), "{misfit}");
    db.psql("CREATE TABLE t (id text PRIMARY KEY, v int); SELECT cache_sync.attach('t')");
    let misfit = client.cache::<UserId, Row>("t").open().await.expect_err("a text").to_string();
    assert!(misfit.contains("cannot be a i64"), "{misfit}");
    close(client).await;
}

/// A text is looked up by what is at hand, without a `String` for it.
#[tokio::test]
async fn by_what_they_borrow_as() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id text PRIMARY KEY, v int NOT NULL); SELECT cache_sync.attach('t', true, '{\"v\": \"add\"}');
         INSERT INTO t VALUES ('a', 1);
         CREATE TABLE b (id bytea PRIMARY KEY, v int NOT NULL); SELECT cache_sync.attach('b'); INSERT INTO b VALUES ('\\x01', 1)",
    );
    let client = client(&db).await;
    let texts: Cache<String, Row> = client.cache("t").open().await.unwrap();
    assert_eq!(texts.cached("a"), None);
    assert_eq!(texts.get("a").await.unwrap().unwrap().v, 1);
    assert_eq!(texts.get(&"a".to_owned()).await.unwrap(), texts.cached("a").unwrap());
    assert_eq!(texts.with("a", |row| row.map(|row| row.v)).await.unwrap(), Some(1));
    assert!(texts.lookup("a", Freshness::Cached).await.unwrap().stale_for.is_none() && texts.held("a").is_some());
    let _ = texts.update("a", |row| row.v += 1).await.unwrap();
    let _ = texts.patch("a", cache_sync::Patch::new().add("v", 1)).await.unwrap();
    assert_eq!(texts.get("a").await.unwrap().unwrap().v, 3);
    assert!(texts.delete("a").await.unwrap().written().await.unwrap().is_written());
    texts.invalidate("a");
    assert_eq!(texts.get("a").await.unwrap(), None);
    let bytes: Cache<Box<[u8]>, Row> = client.cache("b").open().await.unwrap();
    assert_eq!(bytes.get(&[1u8][..]).await.unwrap().unwrap().v, 1);
    close(client).await;
}

/// Postgres would round the time, or leave the spaces out, and write another row.
#[tokio::test]
async fn what_postgres_would_make_another_key_of_is_no_row() {
    let db = Database::with_extension();
    let client = client(&db).await;
    db.psql(
        "CREATE DOMAIN tenths AS timestamptz(1);
         CREATE TABLE whole (id timestamptz(0) PRIMARY KEY, v int NOT NULL); SELECT cache_sync.attach('whole', true);
         CREATE TABLE tenth (id tenths PRIMARY KEY, v int NOT NULL); SELECT cache_sync.attach('tenth', true);
         CREATE TABLE short (id varchar(2) PRIMARY KEY, v int NOT NULL); SELECT cache_sync.attach('short', true);
         INSERT INTO whole VALUES ('2024-02-29 12:00:00Z', 1); INSERT INTO tenth VALUES ('2024-02-29 12:00:00.4Z', 1);
         INSERT INTO short VALUES ('ab', 1)",
    );
    async fn check<K: Key>(client: &Client, table: &str, row: K, none: K) {
        let cache: Cache<K, Row> = client.cache(table).open().await.unwrap();
        assert_eq!(cache.get(&row).await.unwrap().map(|row| row.v), Some(1), "{table}");
        assert_eq!(cache.get(&none).await.unwrap(), None, "{table}");
        assert!(cache.put(none.clone(), Row { v: 2 }).await.is_err(), "{table}");
        assert!(cache.delete(&none).await.is_err(), "{table}");
    }
    let time = |time: &str| time.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    check(&client, "whole", time("2024-02-29T12:00:00Z"), time("2024-02-29T12:00:00.4Z")).await;
    check(&client, "tenth", time("2024-02-29T12:00:00.4Z"), time("2024-02-29T12:00:00.44Z")).await;
    check(&client, "short", "ab".to_owned(), "ab ".to_owned()).await;
    assert_eq!(db.psql("SELECT (SELECT v FROM whole), (SELECT v FROM tenth), (SELECT v FROM short)"), "1|1|1");
    close(client).await;
}
