//! A column is renamed while the service goes on: its type knows both names, the new one and the old as `#[serde(alias)]`, and whichever is a
//! column is the member's. Serde lists both, and the one that is no column kept the table from being opened.

use cache_sync::{Cache, Patch};
use cache_sync_tests::Database;
use cache_sync_tests::rows::{client, close};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Person {
    #[serde(alias = "fullname", alias = "a name")]
    name: String,
    #[serde(default, alias = "visits")]
    seen: Option<i64>,
}

#[tokio::test]
async fn a_member_is_the_column_of_any_of_its_names() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE person (id int PRIMARY KEY, fullname text NOT NULL, seen bigint, other text NOT NULL DEFAULT 'kept');
         INSERT INTO person VALUES (1, 'Ann', 5); SELECT cache_sync.attach('person', true, '{\"seen\": \"add\"}')",
    );
    for (renamed, count) in
        [("", 5), ("ALTER TABLE person RENAME fullname TO name", 6), ("ALTER TABLE person RENAME seen TO visits", 7)]
    {
        db.psql(renamed);
        let client = client(&db).await;
        let cache: Cache<i32, Person> = client.cache("person").open().await.unwrap();
        let (name, read) = (format!("Ann {count}"), cache.get(&1).await.unwrap().unwrap());
        assert_eq!(read.seen, Some(count), "{renamed}");
        assert!(
            cache
                .put(1, Person { name: name.clone(), ..(*read).clone() })
                .await
                .unwrap()
                .written()
                .await
                .unwrap()
                .is_written()
        );
        let patch = Patch::new().add("visits", 1).set("fullname", format!("{name}."));
        assert!(cache.patch(&1, patch).await.unwrap().written().await.unwrap().is_written());
        cache.invalidate(&1);
        let after = Person { name: format!("{name}."), seen: Some(count + 1) };
        assert_eq!(*cache.get(&1).await.unwrap().unwrap(), after, "{renamed}");
        assert!(cache.put(count as i32, after.clone()).await.unwrap().written().await.unwrap().is_written());
        cache.invalidate(&(count as i32));
        assert_eq!(*cache.get(&(count as i32)).await.unwrap().unwrap(), after);
        close(client).await;
    }
    assert_eq!(db.psql("SELECT name, visits, other FROM person WHERE id = 1"), "Ann 7.|8|kept");

    // Where both are columns, it must be said which it is.
    db.psql("ALTER TABLE person ADD fullname text");
    let client = client(&db).await;
    let refused = client.cache::<i32, Person>("person").open().await.expect_err("two columns for one member");
    assert!(refused.to_string().contains("a name, fullname, name"), "{refused}");
    let cache: Cache<i32, Person> = client.cache("person").columns(["name", "visits"]).open().await.unwrap();
    assert_eq!(cache.get(&1).await.unwrap().unwrap().name, "Ann 7.");
    close(client).await;
}
