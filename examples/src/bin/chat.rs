//! A chat, live in the browser by server-sent events. Run it on as many nodes as you like.
//!
//! **When** things are added to a list that others look at: chats, comments, activity, logs. Each thing is a row of its own, and the
//! list is a query.
//!
//! **When two nodes race** each message becomes a row, so there is nothing to merge; every node shows them in the same order, that in which
//! Postgres took them. The browser makes the message's id, so a request that it repeats, to whichever node, adds nothing.
//!
//! ```text
//! POST /rooms/{room}/messages/{id}   {"author": ..., "body": ...}: 201, or 200 if it is there already
//! GET  /rooms/{room}/events          the newest 50, by server-sent events, and again whenever one comes
//! ```

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use cache_sync::{Cache, Client, Verdict};
use cache_sync_axum::{Failed, sse};
use cache_sync_examples::{Result, database_url, make_once, plain_sql, serve};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Clone, Serialize, Deserialize)]
struct Message {
    #[serde(default)]
    room: String,
    author: String,
    body: String,
}

type Chat = (Client, Cache<Uuid, Message>);

async fn say(
    State((_, messages)): State<Chat>,
    Path((room, id)): Path<(String, Uuid)>,
    Json(message): Json<Message>,
) -> std::result::Result<StatusCode, Failed> {
    let outcome = messages.insert(id, Message { room, ..message }).await?;
    Ok(match outcome.verdict {
        Some(Verdict::Applied) => StatusCode::CREATED,
        Some(Verdict::Conflict) => StatusCode::OK,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    })
}

/// Dropped when a message of this room comes, changes or goes, and by nothing else. All who look at a room share its loads.
async fn events(State((client, _)): State<Chat>, Path(room): Path<String>) -> impl IntoResponse {
    let newest = "SELECT author, body FROM message WHERE room = $1 ORDER BY at DESC, id LIMIT 50";
    sse(client.query::<(String, String)>(newest).bind(room).watch())
}

#[tokio::main]
async fn main() -> Result<()> {
    let dsn = database_url()?;
    // `at` is no member of `Message`, so it is what the database says.
    make_once(
        &plain_sql(&dsn).await?,
        "message",
        "CREATE TABLE message (id uuid PRIMARY KEY, room text NOT NULL, author text NOT NULL, body text NOT NULL,
                               at timestamptz NOT NULL DEFAULT clock_timestamp());
         CREATE INDEX ON message (room, at);
         SELECT cache_sync.attach('message', tags => '{room}')",
    )
    .await?;
    let client = Client::connect(&dsn).await?;
    let messages = client.cache("message").open().await?;
    let router = Router::new()
        .route("/rooms/{room}/messages/{id}", post(say))
        .route("/rooms/{room}/events", get(events))
        .with_state((client.clone(), messages));
    serve(router, &client).await
}
