//! User names: whoever claims one first has it, whichever node he came to. Run it several times at once.

use cache_sync::{Cache, Client, Verdict};
use cache_sync_examples::{Result, close, database_url, make_once, plain_sql};
use serde::{Deserialize, Serialize};
use std::process;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct UserName {
    owner: i64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    make_once(
        &plain_sql(&dsn).await?,
        "user_name",
        "CREATE TABLE user_name (name text PRIMARY KEY, owner bigint NOT NULL); SELECT cache_sync.attach('user_name')",
    )
    .await?;

    let client = Client::connect(&dsn).await?;
    let names: Cache<String, UserName> = client.cache("user_name").open().await?;
    let owner = i64::from(process::id());
    for name in ["ann", "ben", "cem", "dora", "emil"] {
        // Most that are taken are known to be, and cost nothing.
        let is_taken = names.get(name).await?.is_some();
        let outcome = if is_taken { None } else { Some(names.insert(name.to_owned(), UserName { owner }).await?) };
        match outcome.and_then(|outcome| outcome.verdict) {
            Some(Verdict::Applied) => println!("{owner} is {name}"),
            _ => println!("{name} is taken"),
        }
    }
    close([client]).await
}
