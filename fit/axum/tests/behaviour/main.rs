//! Handlers with rows of cache_sync, asked as a browser would.

#![allow(clippy::unwrap_used)]

mod cached;
mod failed;
mod fresh;
mod live;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use cache_sync::{Cache, Client};
use cache_sync_tests::Database;
use serde::{Deserialize, Serialize};
use tower::ServiceExt;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    title: String,
    views: i64,
}

type Pages = Cache<String, Page>;

/// A database with one page.
fn database() -> Database<'static> {
    let db = Database::with_extension();
    db.psql(
        r#"CREATE TABLE page (path text PRIMARY KEY, title text NOT NULL, views bigint NOT NULL DEFAULT 0 CHECK (views < 1000));
           SELECT cache_sync.attach('page', versioned => true, rules => '{"views": "add"}');
           INSERT INTO page VALUES ('home', 'Home', 1)"#,
    );
    db
}

async fn node(dsn: &str) -> (Client, Pages) {
    let client = Client::connect(dsn).await.unwrap();
    let pages = client.cache("page").open().await.unwrap();
    (client, pages)
}

/// What a service answers.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

async fn ask(service: &Router, request: Request<Body>) -> Answer {
    let answer = service.clone().oneshot(request).await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = to_bytes(answer.into_body(), 10_000).await.unwrap();
    Answer { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
}

async fn get(service: &Router, path: &str) -> Answer {
    ask(service, Request::get(path).body(Body::empty()).unwrap()).await
}
