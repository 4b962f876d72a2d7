//! Sessions that expire, on two nodes: read on every request, counted without a load, prolonged by who uses them, and ended everywhere at once.
//!
//! **When** a request has to know at once who it comes from. For axum there is a store of tower-sessions in fit/tower-sessions.
//!
//! **When two nodes race** each request counts (rule `add`), and the session is good for as long as the last of them says (`max`). A logout is heard of as it
//! commits, and no request that is under way brings the session back. A request right after a login, on another node, brings a token along, for which that node
//! waits.

use cache_sync::{Cache, Patch, Token};
use cache_sync_examples::{Result, close, database_url, in_step, make_anew, two_nodes};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Session {
    user_id: i64,
    requests: i64,
    expires_at: Timestamp,
}

type Sessions = Cache<String, Session>;

const LIFETIME: Duration = Duration::from_secs(2);

fn expiry() -> Timestamp {
    Timestamp::now() + LIFETIME
}

/// What a middleware does with each request: who it is, if the session is good.
async fn enter(sessions: &Sessions, id: &str) -> Result<Option<i64>> {
    let Some(session) = sessions.get(id).await? else { return Ok(None) };
    // Neither waits for Postgres; both go with the next batch.
    let _ = sessions.patch(id, Patch::new().add("requests", 1).max("expires_at", expiry())).await?;
    Ok(Some(session.user_id))
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    make_anew(
        &dsn,
        r#"DROP TABLE IF EXISTS session;
           CREATE TABLE session (id text PRIMARY KEY, user_id bigint NOT NULL, requests bigint NOT NULL DEFAULT 0,
                                 expires_at timestamptz NOT NULL);
           SELECT cache_sync.attach('session', versioned => true, rules => '{"requests": "add", "expires_at": "max"}');
           SELECT cache_sync.set_expiry('session', 'expires_at')"#,
    )
    .await?;
    let nodes = two_nodes(&dsn).await?;
    let [here, there] = &nodes;
    let (one, other): (Sessions, Sessions) =
        (here.cache("session").open().await?, there.cache("session").open().await?);

    let session = Session { user_id: 42, requests: 0, expires_at: expiry() };
    one.put("s1".to_owned(), session).await?.written().await?;
    // In a header or a cookie it says to the next node what it must have seen.
    let header = here.token().await?.to_string();
    there.wait_for(&header.parse::<Token>()?).await?;
    println!("on the other node: {:?}", enter(&other, "s1").await?);

    for _ in 0..10 {
        enter(&one, "s1").await?;
    }
    in_step(&nodes).await?;
    println!("requests: {}", other.get("s1").await?.map_or(0, |session| session.requests));

    // Whoever only looks does not prolong it.
    while one.get("s1").await?.is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("expired: {:?} and {:?}", enter(&one, "s1").await?, enter(&other, "s1").await?);

    // A new one, and a logout: the other node hears of it.
    let session = Session { user_id: 42, requests: 0, expires_at: expiry() };
    one.put("s2".to_owned(), session).await?.written().await?;
    one.delete("s2").await?.written().await?;
    // A request that is under way there, and has not heard of it.
    let _ = other.patch("s2", Patch::new().add("requests", 1)).await?;
    in_step(&nodes).await?;
    println!("logged out: {:?}", enter(&other, "s2").await?);

    close(nodes).await
}
