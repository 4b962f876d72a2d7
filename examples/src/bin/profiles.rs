//! User profiles: reads from memory, writes in the background, and a change made elsewhere is seen at once.

use cache_sync::{Cache, Client};
use cache_sync_examples::{Result, close, database_url, make_anew};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Profile {
    id: i64,
    name: String,
    city: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    let sql = make_anew(
        &dsn,
        "DROP TABLE IF EXISTS profile;
         CREATE TABLE profile (id bigint PRIMARY KEY, name text NOT NULL, city text);
         INSERT INTO profile VALUES (42, 'Ann', 'Ulm');
         SELECT cache_sync.attach('profile', versioned => true)",
    )
    .await?;

    let client = Client::connect(&dsn).await?;
    let profiles: Cache<i64, Profile> = client.cache("profile").max_capacity(100_000).open().await?;

    let ann = profiles.get(&42).await?.ok_or("Ann is missing")?;
    println!("loaded:     {} of {:?}", ann.name, ann.city);

    // Two writers change different fields; last write wins per field, so neither is lost.
    let receipt = profiles.update(&42, |profile| profile.name = "Anna".into()).await?;
    sql.execute("UPDATE profile SET city = 'Bern' WHERE id = 42", &[]).await?;
    let outcome = receipt.written().await?;
    println!("our write:  {:?}", outcome.verdict);

    // Everything committed before this call has been seen after it.
    client.catch_up().await?;
    let anna = profiles.get(&42).await?.ok_or("Anna is missing")?;
    println!("now:        {} of {:?}", anna.name, anna.city);
    assert_eq!((anna.name.as_str(), anna.city.as_deref()), ("Anna", Some("Bern")));

    // A put creates the row; what is absent is remembered, too.
    assert!(profiles.get(&7).await?.is_none());
    let ben = Profile { id: 7, name: "Ben".into(), city: None };
    profiles.put(7, ben).await?.written().await?;
    println!("created:    {}", profiles.get(&7).await?.ok_or("Ben is missing")?.name);

    close([client]).await
}
