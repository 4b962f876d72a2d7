//! Scores live in the browser: whoever changes a row, everybody who looks at it sees it, by server-sent events or a websocket. Run it on as many
//! nodes as you like.
//!
//! **When** a page shows one row, or the result of one query, as it becomes.
//!
//! **When two nodes race** each point counts once (rule `add`), and whoever looks at either node is shown the last state.
//!
//! ```text
//! GET  /players/{name}/events    server-sent events     GET  /players/{name}/socket    the same over a websocket
//! POST /players/{name}/{points}  adds points            GET  /best/events              the ten best, by server-sent events
//! ```

use axum::Router;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Path, State, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cache_sync::{Cache, Client, Patch};
use cache_sync_axum::{Failed, sse};
use cache_sync_examples::{Result, database_url, make_once, plain_sql, serve};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Serialize, Deserialize)]
struct Score {
    points: i64,
}

type Scores = Cache<String, Score>;

/// `null` while there is no such player.
async fn events(State(scores): State<Scores>, Path(name): Path<String>) -> impl IntoResponse {
    sse(scores.watch(&name))
}

/// A query whose rows are shown as they change, at most once in a tenth of a second.
async fn best(State(client): State<Client>) -> impl IntoResponse {
    let query = client.query::<(String, i64)>("SELECT name, points FROM score ORDER BY points DESC, name LIMIT 10");
    sse(query.min_refresh(Duration::from_millis(100)).watch())
}

async fn socket(upgrade: WebSocketUpgrade, State(scores): State<Scores>, Path(name): Path<String>) -> Response {
    upgrade.on_upgrade(async move |socket| drop(send(socket, scores, name).await))
}

async fn send(mut socket: WebSocket, scores: Scores, name: String) -> Result<()> {
    let mut watch = scores.watch(&name);
    while let Some(read) = watch.next().await {
        socket.send(Message::text(serde_json::to_string(&read?.value.as_deref())?)).await?;
    }
    Ok(())
}

async fn add(
    State(scores): State<Scores>,
    Path((name, points)): Path<(String, i64)>,
) -> std::result::Result<StatusCode, Failed> {
    let added = scores.patch_or_put(&name, Patch::new().add("points", points), || Score { points }).await?;
    Ok(if added.is_written() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY })
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    make_once(
        &plain_sql(&dsn).await?,
        "score",
        r#"CREATE TABLE score (name text PRIMARY KEY, points bigint NOT NULL);
           SELECT cache_sync.attach('score', versioned => true, rules => '{"points": "add"}')"#,
    )
    .await?;

    let client = Client::connect(&dsn).await?;
    let scores: Scores = client.cache("score").open().await?;
    let router = Router::new()
        .route("/players/{name}/events", get(events))
        .route("/players/{name}/socket", get(socket))
        .route("/players/{name}/{points}", post(add))
        .with_state(scores)
        .merge(Router::new().route("/best/events", get(best)).with_state(client.clone()));
    serve(router, &client).await
}
