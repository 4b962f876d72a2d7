//! A cached result ends when a row expires that may matter to it, though nothing is written then. And a query only reads.

use cache_sync::{Client, TagValue};
use cache_sync_tests::rows::{client, close};
use cache_sync_tests::{Database, SOON, wait_until};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Login {
    id: i32,
}

/// Logins of two users: the first of each lasts for so long, the others do not end.
fn logins(db: &Database<'_>, columns: &str, users: [&str; 2], lasts: [&str; 2]) {
    db.psql(&format!(
        "{columns};
         CREATE TABLE login (id int PRIMARY KEY, account account_type, ends timestamptz);
         SELECT cache_sync.attach('login', tags => '{{account}}');
         SELECT cache_sync.set_expiry('login', 'ends');
         INSERT INTO login VALUES (1, '{}', now() + interval '{}'), (2, '{}', NULL), (3, '{}', 'infinity'), (4, '{}', now() + interval '{}')",
        users[0], lasts[0], users[0], users[1], users[1], lasts[1]
    ));
}

async fn of(client: &Client, account: &TagValue) -> Arc<Vec<Login>> {
    client
        .query::<Login>("SELECT id FROM login WHERE account::text = $1 AND (ends IS NULL OR ends > now()) ORDER BY id")
        .bind(match account {
            TagValue::Text(text) => text.clone(),
            TagValue::Int(int) => int.to_string(),
            TagValue::Uuid(bytes) => uuid::Uuid::from_bytes(*bytes).to_string(),
            other => panic!("{other:?}"),
        })
        .depends_on("login", "account", account.clone())
        .assume_complete()
        .fetch()
        .await
        .unwrap()
}

#[tokio::test]
async fn with_the_first_row_that_expires() {
    let uuid = |n: u8| uuid::Uuid::from_bytes([n; 16]);
    let cases: [(&str, [TagValue; 2], [String; 2]); 4] = [
        ("CREATE DOMAIN account_type AS int", [7.into(), 8.into()], ["7".into(), "8".into()]),
        ("CREATE DOMAIN account_type AS smallint CHECK (value > 0)", [7.into(), 8.into()], ["7".into(), "8".into()]),
        ("CREATE TYPE account_type AS ENUM ('ann', 'bob')", ["ann".into(), "bob".into()], ["ann".into(), "bob".into()]),
        (
            "CREATE DOMAIN account_type AS uuid",
            [uuid(1).into(), uuid(2).into()],
            [uuid(1).to_string(), uuid(2).to_string()],
        ),
    ];
    for (columns, [ann, bob], [name, other]) in cases {
        let db = Database::with_extension();
        logins(&db, columns, [&name, &other], ["900 milliseconds", "1 hour"]);
        let client = client(&db).await;
        let (first, others) = (of(&client, &ann).await, of(&client, &bob).await);
        assert_eq!(first.iter().map(|login| login.id).collect::<Vec<_>>(), [1, 2], "{columns}");
        assert!(Arc::ptr_eq(&first, &of(&client, &ann).await), "{columns}: it is held");
        wait_until(SOON, "a login has ended", async || of(&client, &ann).await.len() == 1).await;
        assert_eq!(db.psql("SELECT count(*) FROM login WHERE ends <= now()"), "1", "{columns}: it ended too early");
        assert!(Arc::ptr_eq(&others, &of(&client, &bob).await), "{columns}: of others nothing has ended");
        let last = of(&client, &ann).await;
        assert!(Arc::ptr_eq(&last, &of(&client, &ann).await), "{columns}: what is left does not end");
        close(client).await;
    }
}

/// What is held of rows ends in lists, too.
#[tokio::test]
async fn so_do_entries() {
    let db = Database::with_extension();
    logins(&db, "CREATE DOMAIN account_type AS int", ["7", "8"], ["500 milliseconds", "1 hour"]);
    let client = client(&db).await;
    let cache = client.cache::<i32, Login>("login").open().await.unwrap();
    cache.get_many(&[1, 2, 3, 4]).await.unwrap();
    assert_eq!(cache.entries().len(), 4);
    let rest = async || cache.entries().len() == 3;
    wait_until(Duration::from_secs(2), "the one that has expired is not among the entries", rest).await;
    close(client).await;
}

/// A write through the cache that changes when the row expires: what is held then ends with the row.
#[tokio::test]
async fn so_does_a_row_whose_end_was_written_here() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Ends {
        id: i32,
        ends: Option<String>,
    }
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE login (id int PRIMARY KEY, ends timestamptz); INSERT INTO login VALUES (1, now() + interval '1 hour');
         SELECT cache_sync.attach('login', versioned => true); SELECT cache_sync.set_expiry('login', 'ends')",
    );
    let client = client(&db).await;
    let cache = client.cache::<i32, Ends>("login").open().await.unwrap();
    let soon = db.psql("SELECT to_char(now() + interval '700 milliseconds', 'YYYY-MM-DD\"T\"HH24:MI:SS.USOF')");
    let receipt = cache.update(&1, |row| row.ends = Some(soon.clone())).await.unwrap();
    receipt.written().await.unwrap();
    assert!(cache.get(&1).await.unwrap().is_some());
    let is_gone = async || cache.get(&1).await.unwrap().is_none();
    wait_until(Duration::from_secs(3), "it has expired", is_gone).await;
    close(client).await;
}

/// Whatever is given for a query is not written: it would be done once, or any number of times, as it happens.
#[tokio::test]
async fn writes_nothing() {
    let db = Database::with_extension();
    logins(&db, "CREATE DOMAIN account_type AS int", ["7", "8"], ["1 hour", "1 hour"]);
    db.psql(
        "CREATE FUNCTION sly() RETURNS int LANGUAGE plpgsql AS
           $$ BEGIN DELETE FROM public.login; RETURN 1; END $$; CREATE SEQUENCE numbers",
    );
    let client = client(&db).await;
    for sql in [
        "DELETE FROM login RETURNING id",
        "INSERT INTO login VALUES (9) RETURNING id",
        "UPDATE login SET account = 9 RETURNING id",
        "WITH gone AS (DELETE FROM login RETURNING id) SELECT id FROM gone",
        "SELECT sly() AS id",
        "SELECT nextval('numbers')::int AS id",
    ] {
        let error =
            client.query::<Login>(sql).depends_on_table("login").assume_complete().fetch().await.expect_err(sql);
        assert_eq!(error.sqlstate(), Some("25006"), "{sql}: {error}");
        assert!(!error.is_unavailable(), "{sql}: it would be tried again");
    }
    assert_eq!(db.psql("SELECT count(*) FROM login"), "4");
    close(client).await;
}
