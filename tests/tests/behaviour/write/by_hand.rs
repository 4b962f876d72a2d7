//! What a client hands out when it closes can be applied by hand, and makes the rows that the client would have made.

use cache_sync::{Cache, Client, Operation, Patch, Unwritten};
use cache_sync_tests::Database;
use cache_sync_tests::rows::open;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Clone, Serialize, Deserialize)]
struct Page {
    title: Option<String>,
    views: i64,
    tags: Value,
    doc: Value,
}

#[derive(Clone, Serialize, Deserialize)]
struct Profile {
    name: String,
    visits: i64,
}

const TABLES: &str = r#"
    CREATE TABLE "Page" (site text, id int, title text, views bigint NOT NULL DEFAULT 0, tags jsonb, doc jsonb,
                         PRIMARY KEY (site, id));
    SELECT cache_sync.attach('"Page"', versioned => true,
        rules => '{"views": "add", "tags": "union", "doc": {"rule": "json", "members": {"n": "add"}}}');
    INSERT INTO "Page" SELECT 'it''s', n, 'old', 10, '["x"]', '{"a": 0, "b": 0, "n": 1}' FROM generate_series(1, 5) n;
    SELECT cache_sync.create_table('profile');
    SELECT cache_sync.set_rule('profile', 'visits', '"add"');
    SELECT cache_sync.upsert('profile', '{"key": "ann", "value": {"name": "Ann", "visits": 1, "left": true}}');"#;

/// Writes of each kind by a role that may not write: none of them gets there.
async fn unwritten(db: &Database<'_>) -> Vec<Unwritten> {
    let role = format!("reader_of_{}", db.name());
    db.psql(&format!("CREATE ROLE {role} LOGIN IN ROLE cache_sync_user; GRANT SELECT ON \"Page\", profile TO {role}"));
    let client = open(Client::builder(&db.dsn_as(&role))).await;
    let pages: Cache<(String, i32), Page> = client.cache("\"Page\"").open().await.unwrap();
    let profiles: Cache<String, Profile> = client.cache("profile").open().await.unwrap();
    let key = |id: i32| ("it's".to_owned(), id);
    let page = |title: &str| Page { title: Some(title.to_owned()), views: 3, tags: json!(["y"]), doc: json!({"a": 5}) };
    let edit = Patch::new().set("title", "back\\slash and 'quote'").add("views", 5).insert("tags", ["y"]);
    let _ = pages.patch(&key(1), edit).await.unwrap();
    // Parts of a document that were written one after the other.
    for part in [json!({"a": 1, "b": 1, "n": 1}), json!({"a": 2, "n": 1}), json!({"c": {"d": null}, "b": null})] {
        let _ = pages.patch(&key(2), Patch::new().merge("doc", part)).await.unwrap();
    }
    let _ = pages.delete(&key(3)).await.unwrap();
    let _ = pages.delete(&key(4)).await.unwrap();
    let _ = pages.put(key(4), page("anew")).await.unwrap();
    pages.get(&key(5)).await.unwrap();
    let _ = pages.put(key(5), page("seen")).await.unwrap();
    let _ = pages.put(key(9), page("new")).await.unwrap();
    let _ = profiles.patch(&"ann".to_owned(), Patch::new().add("visits", 2).set("name", "Anne")).await.unwrap();
    let _ = profiles.put("bob".to_owned(), Profile { name: "Bob".to_owned(), visits: 7 }).await.unwrap();
    client.close(Duration::from_millis(100)).await.unwrap()
}

#[tokio::test]
async fn each_operation_makes_the_row_that_it_meant() {
    let db = Database::with_extension();
    db.psql(TABLES);
    let unwritten = unwritten(&db).await;
    let mut operations = Vec::new();
    for Unwritten { table, key, operation, patch, stamp, .. } in &unwritten {
        let (key, patch): (Value, Value) = (serde_json::from_str(key).unwrap(), serde_json::from_str(patch).unwrap());
        assert!(key.is_object() && patch.is_object() && *stamp > 0);
        operations.push(format!("{table} {operation:?} {key}"));
    }
    operations.sort();
    operations.dedup();
    assert_eq!(operations.len(), 8, "{operations:#?}");
    assert!(unwritten.iter().any(|write| write.operation == Operation::Replace), "{operations:#?}");
    assert!(operations.iter().any(|line| line.starts_with("public.\"Page\" Put { creates: false }")));

    for write in &unwritten {
        db.psql(&write.to_sql());
    }
    assert_eq!(
        db.psql("SELECT id, title, views, tags, doc FROM \"Page\" ORDER BY id"),
        "1|back\\slash and 'quote'|15|[\"x\", \"y\"]|{\"a\": 0, \"b\": 0, \"n\": 1}\n\
         2|old|10|[\"x\"]|{\"a\": 2, \"c\": {}, \"n\": 3}\n\
         4|anew|3|[\"y\"]|{\"a\": 5}\n\
         5|seen|10|[\"x\"]|{\"a\": 5, \"b\": 0, \"n\": 1}\n\
         9|new|3|[\"y\"]|{\"a\": 5}"
    );
    assert_eq!(
        db.psql("SELECT key, value FROM profile ORDER BY key"),
        "ann|{\"left\": true, \"name\": \"Anne\", \"visits\": 3}\nbob|{\"name\": \"Bob\", \"visits\": 7}"
    );
    // A row that was seen and is gone is not made again.
    db.psql("DELETE FROM \"Page\"");
    let seen = unwritten.iter().find(|write| write.operation == Operation::Put { creates: false }).unwrap();
    db.psql(&seen.to_sql());
    assert_eq!(db.psql("SELECT count(*) FROM \"Page\""), "0");
}
