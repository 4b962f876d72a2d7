//! Feature flags: asked about with every request, switched by whoever has psql, and heard of by every node at once.
//!
//! **When** code asks all the time about rows that change seldom: flags, limits, prices, translations, blocked addresses.
//!
//! **When two nodes race**, or two people with psql, the row lock puts their changes in order, and a roll-out that only goes up goes to the larger share: its rule is `max`.
//! A switch is heard of by every node as it commits. While Postgres is away, nodes go on with what they know, for an hour here.

use cache_sync::{Cache, Client, Patch};
use cache_sync_examples::{Result, close, database_url, in_step, make_anew, two_nodes};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Flag {
    is_on: bool,
    percent: i32,
}

type Flags = Cache<String, Flag>;

/// Which of 100 shares a user is of, for this flag: FNV-1a, the same on every node and in every release. What std hashes with may change.
fn share(name: &str, user: i64) -> i32 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    (name.bytes().chain(user.to_le_bytes()).fold(OFFSET, mix) % 100) as i32
}

/// From memory, without a copy. A flag that nobody has made is off, which is remembered, too.
async fn is_on(flags: &Flags, name: &str, user: i64) -> bool {
    let share = share(name, user);
    // Off, too, where nothing is known.
    flags.with(name, |flag| flag.is_some_and(|flag| flag.is_on && share < flag.percent)).await.unwrap_or(false)
}

async fn users(flags: &Flags, name: &str) -> usize {
    let mut users = 0;
    for user in 0..1000 {
        users += usize::from(is_on(flags, name, user).await);
    }
    users
}

async fn open(client: &Client) -> Result<Flags> {
    Ok(client.cache("flag").stale_while_unavailable(Duration::from_secs(3600)).open().await?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    let sql = make_anew(
        &dsn,
        r#"DROP TABLE IF EXISTS flag;
           CREATE TABLE flag (name text PRIMARY KEY, is_on boolean NOT NULL, percent int NOT NULL DEFAULT 100);
           SELECT cache_sync.attach('flag', rules => '{"percent": "max"}');
           INSERT INTO flag VALUES ('search', true, 100), ('checkout', true, 10)"#,
    )
    .await?;
    let nodes = two_nodes(&dsn).await?;
    let [here, there] = &nodes;
    let (one, other) = (open(here).await?, open(there).await?);
    println!("search: {} users, none yet: {}", users(&one, "search").await, users(&one, "new").await);

    // Two nodes roll out further at a time.
    let to = |percent| Patch::new().max("percent", percent);
    let receipts = tokio::try_join!(one.patch("checkout", to(50)), other.patch("checkout", to(30)))?;
    tokio::try_join!(receipts.0.written(), receipts.1.written())?;
    in_step(&nodes).await?;
    let (ours, theirs) = (users(&one, "checkout").await, users(&other, "checkout").await);
    assert_eq!(ours, theirs, "a user sees the same on every node");
    println!("checkout: {}", if (400..600).contains(&ours) { "about half of them" } else { "another share" });

    // Something is wrong with the search.
    sql.execute("UPDATE flag SET is_on = false WHERE name = 'search'", &[]).await?;
    in_step(&nodes).await?;
    println!("switched off: {} and {}", users(&one, "search").await, users(&other, "search").await);
    let loads = one.status().loaded_keys;
    assert!(loads <= 5, "thousands of questions took {loads} loads");
    close(nodes).await
}
