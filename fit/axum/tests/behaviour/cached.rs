//! The row that a path names.

use crate::{Pages, ask, database, get, node};
use axum::body::Body;
use axum::http::header::RETRY_AFTER;
use axum::http::{Request, StatusCode};
use axum::{Router, routing};
use cache_sync::{Cache, Client};
use cache_sync_axum::Cached;
use cache_sync_tests::Database;
use cache_sync_tests::proxy::Proxy;
use serde::{Deserialize, Serialize};
use std::time::Duration;

fn service(pages: Pages) -> Router {
    let shown = async |page: Cached<String, crate::Page>| format!("{}: {}", page.key, page.title);
    let maybe = async |page: Option<Cached<String, crate::Page>>| page.is_some().to_string();
    Router::new()
        .route("/pages/{path}", routing::get(shown))
        .route("/maybe/{path}", routing::get(maybe))
        .with_state(pages)
}

#[tokio::test]
async fn a_row_is_found_by_its_path_or_it_is_404() {
    let db = database();
    let (_client, pages) = node(&db.dsn()).await;
    let service = service(pages);
    let home = get(&service, "/pages/home").await;
    assert_eq!((home.status, home.text.as_str()), (StatusCode::OK, "home: Home"));
    let none = get(&service, "/pages/nowhere").await;
    assert_eq!((none.status, none.text.as_str()), (StatusCode::NOT_FOUND, "Not Found"));
    assert_eq!(get(&service, "/maybe/home").await.text, "true");
    let none = get(&service, "/maybe/nowhere").await;
    assert_eq!((none.status, none.text.as_str()), (StatusCode::OK, "false"));
}

#[tokio::test]
async fn without_postgres_what_is_held_is_shown_and_the_rest_is_503() {
    let db = database();
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = Client::builder(&proxy.dsn(&db)).feed_timeout(Duration::from_secs(60)).connect().await.unwrap();
    let service = service(client.cache("page").open().await.unwrap());
    assert_eq!(get(&service, "/pages/home").await.status, StatusCode::OK);
    drop(proxy);
    for path in ["/pages/other", "/maybe/other"] {
        let away = get(&service, path).await;
        assert_eq!((away.status, away.text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"));
        assert_eq!(away.headers[RETRY_AFTER], "1");
    }
    client.close(Duration::ZERO).await.unwrap();
    let closed = get(&service, "/pages/another").await;
    // Nobody need come again: this process ends.
    assert_eq!((closed.status, closed.headers.get(RETRY_AFTER)), (StatusCode::SERVICE_UNAVAILABLE, None));
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Player {
    best: i32,
}

#[tokio::test]
async fn several_parameters_are_a_key_of_several_columns_and_what_is_no_key_is_400() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE player (game int, name text, best int, PRIMARY KEY (game, name));
         SELECT cache_sync.attach('player'); INSERT INTO player VALUES (7, 'Ann', 42)",
    );
    let client = Client::connect(&db.dsn()).await.unwrap();
    let players: Cache<(i32, String), Player> = client.cache("player").open().await.unwrap();
    let shown = async |player: Cached<(i32, String), Player>| player.value.best.to_string();
    let service = Router::new()
        .route("/games/{game}/players/{name}", routing::get(shown))
        .route("/players/{name}", routing::get(shown))
        .with_state(players);
    assert_eq!(get(&service, "/games/7/players/Ann").await.text, "42");
    assert_eq!(get(&service, "/games/8/players/Ann").await.status, StatusCode::NOT_FOUND);
    let request = Request::get("/games/seven/players/Ann").body(Body::empty()).unwrap();
    assert_eq!(ask(&service, request).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(get(&service, "/players/Ann").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}
