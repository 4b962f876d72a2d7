//! The store by itself.

use crate::{database, hasty_node, node};
use cache_sync::{Client, Freshness};
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::{Database, SOON, wait_until};
use cache_sync_tower_sessions::CacheSyncStore;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use time::{Duration, OffsetDateTime};
use tower_sessions::session::{Id, Record};
use tower_sessions::{SessionStore, session_store};

fn record(count: i64) -> Record {
    let data = HashMap::from([("count".to_owned(), json!(count)), ("name".to_owned(), json!("Ann"))]);
    Record { id: Id::default(), data, expiry_date: OffsetDateTime::now_utc() + Duration::hours(1) }
}

fn rows(db: &Database<'_>) -> String {
    db.psql("SELECT count(*) FROM tower_session")
}

async fn count(store: &impl SessionStore, id: Id) -> Option<i64> {
    store.load(&id).await.unwrap().and_then(|record| record.data["count"].as_i64())
}

#[tokio::test]
async fn a_session_is_what_was_created_saved_and_deleted() {
    let db = database();
    let (_client, store) = node(&db).await;
    let mut ann = record(1);
    assert_eq!(store.load(&ann.id).await.unwrap(), None);
    store.create(&mut ann).await.unwrap();
    let loaded = store.load(&ann.id).await.unwrap().unwrap();
    assert_eq!((loaded.id, &loaded.data), (ann.id, &ann.data));
    assert!((loaded.expiry_date - ann.expiry_date).abs() < Duration::milliseconds(1));
    // All of it is replaced: what the application has removed is gone.
    ann.data.remove("name");
    ann.data.insert("count".to_owned(), json!(2.5));
    ann.expiry_date += Duration::hours(1);
    store.save(&ann).await.unwrap();
    let loaded = store.load(&ann.id).await.unwrap().unwrap();
    assert_eq!(loaded.data, ann.data);
    assert!((loaded.expiry_date - ann.expiry_date).abs() < Duration::milliseconds(1));
    assert_eq!(db.psql("SELECT data FROM tower_session"), r#"{"count": 2.5}"#);
    store.delete(&ann.id).await.unwrap();
    store.delete(&ann.id).await.unwrap();
    assert_eq!(store.load(&ann.id).await.unwrap(), None);
    assert_eq!(rows(&db), "0");
}

#[tokio::test]
async fn an_id_that_is_taken_is_given_to_nobody_else() {
    let db = database();
    let ((_one, here), (_other, there)) = (node(&db).await, node(&db).await);
    let first = record(0);
    let (mut racing, mut ids) = (Vec::new(), HashSet::new());
    for number in 0..40 {
        // All under one id, half of them on each node.
        let (store, mut record) = (if number % 2 == 0 { here.clone() } else { there.clone() }, first.clone());
        record.data.insert("count".to_owned(), json!(number));
        racing.push(tokio::spawn(async move {
            store.create(&mut record).await.unwrap();
            (number, record.id)
        }));
    }
    for created in racing {
        let (number, id) = created.await.unwrap();
        assert!(ids.insert(id));
        assert_eq!(count(&here, id).await, Some(number));
    }
    assert!(ids.contains(&first.id));
    assert_eq!(rows(&db), "40");
}

#[tokio::test]
async fn an_id_says_nothing_of_the_next() {
    let bits: Vec<u128> = (0..1000).map(|_| Id::default().0 as u128).collect();
    assert_eq!(bits.iter().collect::<HashSet<_>>().len(), bits.len());
    // Each bit is set in about half of them: 500, and 110 more or less is seven times the standard deviation.
    for bit in 0..128 {
        let set = bits.iter().filter(|bits| *bits >> bit & 1 == 1).count();
        assert!((390..=610).contains(&set), "bit {bit} is set {set} times");
    }
}

#[tokio::test]
async fn the_other_node_hears_of_what_is_saved_and_deleted() {
    let db = database();
    let ((_one, here), (other, there)) = (node(&db).await, node(&db).await);
    let mut ann = record(1);
    here.create(&mut ann).await.unwrap();
    assert_eq!(count(&there, ann.id).await, Some(1));
    ann.data.insert("count".to_owned(), json!(2));
    here.save(&ann).await.unwrap();
    other.catch_up().await.unwrap();
    assert_eq!(count(&there, ann.id).await, Some(2));
    here.delete(&ann.id).await.unwrap();
    other.catch_up().await.unwrap();
    assert_eq!(count(&there, ann.id).await, None);
}

#[tokio::test]
async fn what_has_been_deleted_is_not_saved_again() {
    let db = database();
    let ((_one, here), (other, there)) = (node(&db).await, node(&db).await);
    let (hasty_client, hasty) = hasty_node(&db).await;
    let mut ann = record(1);
    here.create(&mut ann).await.unwrap();
    for store in [&there, &hasty] {
        assert_eq!(count(store, ann.id).await, Some(1));
    }
    here.delete(&ann.id).await.unwrap();
    // Requests that began before that, and one by somebody who has never seen the session.
    for store in [&here, &there, &hasty] {
        store.save(&ann).await.unwrap();
    }
    hasty_client.flush().await.unwrap();
    assert_eq!(rows(&db), "0");
    other.catch_up().await.unwrap();
    assert_eq!(count(&there, ann.id).await, None);
}

#[tokio::test]
async fn a_logout_wins_over_all_that_is_saved_around_it() {
    let db = database();
    let ((_one, here), (hasty_client, hasty)) = (node(&db).await, hasty_node(&db).await);
    for _ in 0..10 {
        let mut ann = record(0);
        here.create(&mut ann).await.unwrap();
        let (saved, saving) = (ann.clone(), hasty.clone());
        let saves = tokio::spawn(async move {
            for _ in 0..300 {
                saving.save(&saved).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        here.delete(&ann.id).await.unwrap();
        saves.await.unwrap();
        hasty_client.flush().await.unwrap();
        assert_eq!(rows(&db), "0");
    }
}

#[tokio::test]
async fn a_session_ends_when_it_expires_on_every_node() {
    let db = database();
    let ((_one, here), (_other, there)) = (node(&db).await, node(&db).await);
    let mut ann = record(1);
    ann.expiry_date = OffsetDateTime::now_utc() + Duration::seconds(2);
    here.create(&mut ann).await.unwrap();
    assert_eq!((count(&here, ann.id).await, count(&there, ann.id).await), (Some(1), Some(1)));
    for store in [&here, &there] {
        wait_until(SOON, "it has expired", async || count(store, ann.id).await.is_none()).await;
        // To the precision of clocks that are compared.
        assert!(OffsetDateTime::now_utc() >= ann.expiry_date - Duration::milliseconds(5));
    }
    // Nobody brings it back, and its id may be had again.
    ann.expiry_date += Duration::hours(1);
    here.save(&ann).await.unwrap();
    assert_eq!(count(&here, ann.id).await, None);
    let id = ann.id;
    here.create(&mut ann).await.unwrap();
    assert_eq!((ann.id, count(&here, id).await), (id, Some(1)));
}

#[tokio::test]
async fn what_fails_is_said_without_what_postgres_says_since_that_may_quote_the_session() {
    let db = database();
    let (client, store) = node(&db).await;
    let mut ann = record(1);
    store.create(&mut ann).await.unwrap();
    db.psql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE EXCEPTION 'not %', NEW.data USING ERRCODE = 'check_violation', CONSTRAINT = 'small'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON tower_session FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let said = |error: session_store::Error| match error {
        session_store::Error::Backend(said) => said,
        other => panic!("{other}"),
    };
    let mut ben = record(2);
    ann.data.insert("count".to_owned(), json!(2));
    for (refused, letter) in [(store.save(&ann).await, 1), (store.create(&mut ben).await, 2)] {
        let expected =
            format!("the session is not written: Rejected, SQLSTATE 23514, constraint small, dead letter {letter}");
        assert_eq!(said(refused.unwrap_err()), expected);
    }
    assert_eq!(db.psql("SELECT id FROM cache_sync.dead_letters WHERE message ~ 'Ann' ORDER BY id"), "1\n2");
    db.psql("DROP TRIGGER refuse ON tower_session; UPDATE tower_session SET data = '\"Ann\"'");
    client.catch_up().await.unwrap();
    assert_eq!(said(store.load(&ann.id).await.unwrap_err()), "cache_sync failed: Value");
}

#[tokio::test]
async fn a_logout_is_one_on_a_node_that_does_not_hear_of_it_where_the_latest_is_asked_for() {
    let db = database();
    let (_client, here) = node(&db).await;
    let proxy = Proxy::start(db.cluster().port()).await;
    let deaf = Client::builder(&proxy.dsn(&db)).feed_timeout(SOON * 3).connect().await.unwrap();
    let there = CacheSyncStore::open(&deaf).await.unwrap();
    let strict = there.clone().freshness(Freshness::Latest);
    let mut ann = record(1);
    here.create(&mut ann).await.unwrap();
    // Else the news of the login would drop what is loaded now.
    deaf.catch_up().await.unwrap();
    assert_eq!(count(&there, ann.id).await, Some(1));
    proxy.cut_feed().await;
    here.delete(&ann.id).await.unwrap();
    assert_eq!((count(&there, ann.id).await, count(&strict, ann.id).await), (Some(1), None));
    // Without Postgres there is none, be it held.
    drop(proxy);
    let refused = strict.load(&ann.id).await.unwrap_err().to_string();
    assert!(refused.ends_with("cache_sync failed: Unavailable"), "{refused}");
}

#[tokio::test]
async fn a_key_is_the_id_that_the_cookie_shows() {
    let db = database();
    let (_client, store) = node(&db).await;
    // The smallest, the largest, and one of each sign.
    for id in ["AAAAAAAAAAAAAAAAAAAAgA", "_____________________w", "AAAAAAAAAAAAAAAAAAAAAA", "AQIDBAUGBwgJCgsMDQ4PEA"] {
        let mut record = Record { id: Id::from_str(id).unwrap(), ..record(7) };
        store.create(&mut record).await.unwrap();
        assert_eq!((record.id.to_string().as_str(), count(&store, record.id).await), (id, Some(7)));
    }
    assert_eq!(rows(&db), "4");
}
