//! Every rule through the SDK: what a caller does becomes the operation of its field's rule, is shown at once, and merges
//! with what others did.

use cache_sync::{Cache, Client, Patch};
use cache_sync_tests::{Database, rows};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Thread {
    id: i64,
    opened_by: Option<String>,
    visits: i64,
    log: Vec<i32>,
    tags: Vec<String>,
    settings: BTreeMap<String, Value>,
    flags: i32,
}

fn make(db: &Database<'_>) {
    db.psql(
        r#"CREATE FUNCTION either(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $1 | $2';
           CREATE TABLE thread (id bigint PRIMARY KEY, opened_by text, visits bigint NOT NULL DEFAULT 0,
               log int[] NOT NULL DEFAULT '{}', tags text[] NOT NULL DEFAULT '{}', settings jsonb NOT NULL DEFAULT '{}',
               flags int NOT NULL DEFAULT 0);
           INSERT INTO thread (id) VALUES (1);
           SELECT cache_sync.attach('thread', versioned => true, rules => '{"opened_by": "first", "visits": "add",
               "log": {"rule": "append", "cap": 4}, "tags": "union", "settings": "json",
               "flags": {"rule": "function", "name": "either(integer,integer)"}}')"#,
    );
}

/// A client that sends nothing before it is told to.
async fn patient(db: &Database<'_>) -> Client {
    rows::open(Client::builder(&db.dsn()).flush_interval(Duration::from_secs(60))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_change_one_row() {
    let db = Database::with_extension();
    make(&db);
    let (a, b) = (patient(&db).await, patient(&db).await);
    let (in_a, in_b) = (
        a.cache::<i64, Thread>("thread").open().await.unwrap(),
        b.cache::<i64, Thread>("thread").open().await.unwrap(),
    );
    in_a.get(&1).await.unwrap().unwrap();
    in_b.get(&1).await.unwrap().unwrap();
    a_changes(&in_a).await;
    // The other one writes later by every clock: it has seen a version that was made after this write.
    db.psql("UPDATE thread SET visits = 0");
    b.catch_up().await.unwrap();
    in_b.get(&1).await.unwrap().unwrap();
    b_changes(&in_b).await;
    // Shown at once, to whoever did it.
    let shown = in_b.get(&1).await.unwrap().unwrap();
    assert_eq!((shown.visits, &shown.log, &shown.tags), (2, &vec![3, 4, 5], &vec!["y".to_owned()]));
    // The later one arrives first.
    b.flush().await.unwrap();
    a.flush().await.unwrap();
    b.catch_up().await.unwrap();
    a.catch_up().await.unwrap();
    let expected = Thread {
        id: 1,
        opened_by: Some("a".into()),
        visits: 3,
        log: vec![4, 5, 1, 2],
        tags: vec!["y".into(), "x".into()],
        settings: [("theme".into(), json!({"name": "dark", "size": 1})), ("lang".into(), json!("de"))].into(),
        flags: 5,
    };
    assert_eq!(*in_a.get(&1).await.unwrap().unwrap(), expected);
    assert_eq!(*in_b.get(&1).await.unwrap().unwrap(), expected);
}

async fn a_changes(in_a: &Cache<i64, Thread>) {
    let _ = in_a
        .update(&1, |thread| {
            thread.opened_by = Some("a".into());
            thread.visits += 1;
            thread.log.extend([1, 2]);
            thread.tags.push("x".into());
            thread.settings.insert("theme".into(), json!({"name": "dark", "size": 1}));
            thread.flags = 1;
        })
        .await
        .unwrap();
}

async fn b_changes(in_b: &Cache<i64, Thread>) {
    let _ = in_b
        .update(&1, |thread| {
            thread.opened_by = Some("b".into());
            thread.visits += 2;
            thread.log.extend([3, 4, 5]);
            thread.tags.push("y".into());
            thread.settings.insert("lang".into(), json!("de"));
            thread.flags = 4;
        })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_name_their_operations() {
    let db = Database::with_extension();
    make(&db);
    let client = patient(&db).await;
    let threads = client.cache::<i64, Thread>("thread").open().await.unwrap();
    let patch = Patch::new()
        .set("opened_by", "me")
        .append("log", [1, 2, 3, 4, 5])
        .insert("tags", ["x", "y"])
        .remove("tags", ["x"])
        .merge("settings", json!({"a": {"b": 1}, "c": null}))
        .set("flags", 3);
    let _ = threads.patch(&1, patch).await.unwrap();
    let _ =
        threads.patch(&1, Patch::new().merge("settings", json!({"a": {"d": 2}})).insert("tags", ["z"])).await.unwrap();
    client.flush().await.unwrap();
    let thread = threads.get(&1).await.unwrap().unwrap();
    assert_eq!((thread.opened_by.as_deref(), thread.flags), (Some("me"), 3));
    assert_eq!(thread.log, [2, 3, 4, 5]);
    assert_eq!(thread.tags, ["y", "z"]);
    assert_eq!(thread.settings["a"], json!({"b": 1, "d": 2}));
    for wrong in [
        Patch::new().set("log", [1]),
        Patch::new().append("tags", ["x"]),
        Patch::new().append("log", 1),
        Patch::new().insert("tags", "x"),
        Patch::new().merge("tags", json!({})),
    ] {
        assert!(threads.patch(&1, wrong).await.unwrap_err().is_rule_violation());
    }
    let refused = threads.update(&1, |thread| thread.log.clear()).await.unwrap_err();
    assert!(refused.is_rule_violation(), "{refused}");
    let refused = threads.update(&1, |thread| thread.opened_by = Some("you".into())).await.unwrap_err();
    assert!(refused.is_rule_violation(), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_document_keep_the_time_of_their_writing() {
    let db = Database::with_extension();
    make(&db);
    let (slow, quick) = (patient(&db).await, patient(&db).await);
    let (in_slow, in_quick) = (
        slow.cache::<i64, Thread>("thread").open().await.unwrap(),
        quick.cache::<i64, Thread>("thread").open().await.unwrap(),
    );
    let _ = in_slow.patch(&1, Patch::new().merge("settings", json!({"a": "slow", "b": "slow"}))).await.unwrap();
    // The quick node writes later, by every clock: it has seen a version that was made after the slow one's write.
    db.psql("UPDATE thread SET visits = 1");
    quick.catch_up().await.unwrap();
    in_quick.get(&1).await.unwrap().unwrap();
    let _ = in_quick.patch(&1, Patch::new().merge("settings", json!({"a": "quick"}))).await.unwrap();
    quick.flush().await.unwrap();
    // One patch carries both writes of the slow node; the first of them is older than the quick one's.
    let _ = in_slow.patch(&1, Patch::new().merge("settings", json!({"c": "slow"}))).await.unwrap();
    slow.flush().await.unwrap();
    let settings = db.psql("SELECT settings FROM thread");
    assert_eq!(settings, r#"{"a": "quick", "b": "slow", "c": "slow"}"#);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Post {
    key: String,
    title: String,
    likes: i64,
    #[serde(default)]
    tags: Vec<String>,
    draft: Option<bool>,
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_documents_are_fields() {
    let db = Database::with_extension();
    db.psql(
        "SELECT cache_sync.create_table('posts');
         SELECT cache_sync.set_rule('posts', 'likes', '\"add\"');
         SELECT cache_sync.set_rule('posts', 'tags', '\"union\"');
         SELECT cache_sync.upsert('posts', '{\"key\": \"old\", \"value\": {\"title\": \"Old\", \"likes\": 7, \"extra\": 1}}')",
    );
    let (a, b) = (patient(&db).await, patient(&db).await);
    let (in_a, in_b) = (
        a.cache::<String, Post>("posts").open().await.unwrap(),
        b.cache::<String, Post>("posts").open().await.unwrap(),
    );
    let new = Post { key: "new".into(), title: "New".into(), likes: 1, tags: vec!["t".into()], draft: Some(true) };
    let _ = in_a.put("new".into(), new.clone()).await.unwrap();
    assert_eq!(in_a.get("new").await.unwrap().as_deref(), Some(&new));
    a.flush().await.unwrap();
    assert_eq!(in_b.get("new").await.unwrap().as_deref(), Some(&new));

    let old = "old".to_owned();
    both_change(&old, &in_a, &in_b).await;
    b.flush().await.unwrap();
    a.flush().await.unwrap();
    assert_eq!(
        db.psql("SELECT value FROM posts WHERE key = 'old'"),
        r#"{"tags": ["b", "a"], "draft": false, "extra": 1, "likes": 10, "title": "Better"}"#
    );
    a.catch_up().await.unwrap();
    let expected = Post {
        key: "old".into(),
        title: "Better".into(),
        likes: 10,
        tags: vec!["b".into(), "a".into()],
        draft: Some(false),
    };
    assert_eq!(*in_a.get("old").await.unwrap().unwrap(), expected);
    // A put leaves counters and sets alone, removes what its type leaves out, and does not know the rest.
    let _ = in_a
        .put("old".into(), Post { likes: 0, tags: vec![], draft: None, title: "Put".into(), ..expected })
        .await
        .unwrap();
    a.flush().await.unwrap();
    assert_eq!(
        db.psql("SELECT value FROM posts WHERE key = 'old'"),
        r#"{"tags": ["b", "a"], "extra": 1, "likes": 10, "title": "Put"}"#
    );
    let _ = in_a.delete(&old).await.unwrap();
    a.flush().await.unwrap();
    assert_eq!(db.psql("SELECT count(*) FROM posts"), "1");
}

/// Each node changes other members of one post, and both add to its likes.
async fn both_change(old: &String, in_a: &Cache<String, Post>, in_b: &Cache<String, Post>) {
    let _ = in_a
        .update(old, |post| {
            post.likes += 1;
            post.tags.push("a".into());
        })
        .await
        .unwrap();
    let _ = in_b
        .update(old, |post| {
            post.likes += 2;
            post.title = "Better".into();
            post.tags.push("b".into());
        })
        .await
        .unwrap();
    // Two writes in one patch, each with its time.
    let _ = in_b.patch(old, Patch::new().set("draft", false)).await.unwrap();
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Session {
    key: String,
    user: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_row_is_not_there() {
    let db = Database::with_extension();
    db.psql("SELECT cache_sync.create_table('sessions', default_ttl => '1 hour')");
    let client = rows::client(&db).await;
    let sessions = client.cache::<String, Session>("sessions").open().await.unwrap();
    let _ = sessions.put("s".into(), Session { key: "s".into(), user: "ann".into() }).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(db.psql("SELECT expires_at > now() + '59 min' FROM sessions"), "t");
    assert!(sessions.get("s").await.unwrap().is_some());
    // It is held in memory when its time comes, and nobody says so.
    db.psql("UPDATE sessions SET expires_at = clock_timestamp() + '3 s'");
    client.catch_up().await.unwrap();
    assert!(sessions.get("s").await.unwrap().is_some());
    let loads = || client.status().caches[0].load_statements;
    let before = loads();
    cache_sync_tests::wait_until(cache_sync_tests::SOON, "the session has expired", async || {
        sessions.get("s").await.unwrap().is_none()
    })
    .await;
    // Its time counts from when the load was sent, so it comes here a moment earlier than there; then it is asked again.
    assert!((before + 1..=before + 3).contains(&loads()), "{} after {before}", loads());
    assert_eq!(db.psql("SELECT count(*) FROM sessions"), "1");
    // What comes after starts anew.
    let _ = sessions.put("s".into(), Session { key: "s".into(), user: "bob".into() }).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(db.psql("SELECT value, expires_at > now() FROM sessions"), r#"{"user": "bob"}|t"#);
    assert_eq!(sessions.get("s").await.unwrap().unwrap().user, "bob");
}
