//! Who has written reads that, on whichever node.

use crate::{Answer, Pages, ask, database, node};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Method, Request, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::{Router, routing};
use cache_sync::{Client, Patch, Token};
use cache_sync_axum::{BEHIND, Cached, Failed, ReadYourWrites, TOKEN, read_your_writes};
use cache_sync_tests::Database;
use cache_sync_tests::proxy::Proxy;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn service(client: Client, pages: Pages, wait_max: Duration) -> Router {
    async fn count(State(pages): State<Pages>) -> Result<(), Failed> {
        // Not awaited: it is in Postgres later than the handler returns.
        drop(pages.patch("home", Patch::new().add("views", 1)).await?);
        Ok(())
    }
    let shown = async |page: Cached<String, crate::Page>| page.views.to_string();
    let fresh = ReadYourWrites::new(client).wait_max(wait_max);
    Router::new()
        .route("/pages/{path}", routing::get(shown))
        .route("/count", routing::post(count))
        .layer(from_fn_with_state(fresh, read_your_writes))
        .with_state(pages)
}

/// A node whose feed is half a second late, so that it is behind unless it waits.
async fn late_node(db: &Database<'_>, wait_max: Duration) -> (Proxy, Client, Router) {
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = Client::builder(&proxy.dsn(db)).feed_timeout(Duration::from_secs(20)).connect().await.unwrap();
    let pages = client.cache("page").open().await.unwrap();
    proxy.faults.feed_late_millis.store(500, Ordering::Release);
    let service = service(client.clone(), pages, wait_max);
    (proxy, client, service)
}

async fn views(service: &Router, header: Option<(&str, String)>) -> Answer {
    let mut request = Request::get("/pages/home");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    ask(service, request.body(Body::empty()).unwrap()).await
}

async fn count(service: &Router) -> Answer {
    ask(service, Request::post("/count").body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_other_node_shows_what_was_written_to_whoever_brings_the_token() {
    let db = database();
    let (client, pages) = node(&db.dsn()).await;
    let here = service(client, pages, Duration::from_secs(10));
    let (_proxy, _late, there) = late_node(&db, Duration::from_secs(10)).await;
    let mut before = views(&there, None).await.text;
    for by_cookie in [false, true] {
        let written = count(&here).await;
        let token = written.headers[TOKEN].to_str().unwrap().to_owned();
        token.parse::<Token>().unwrap();
        let set = written.headers[SET_COOKIE].to_str().unwrap();
        assert_eq!(set, format!("cache_sync_token={token}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"));
        // Who has not written need not wait.
        let other = views(&there, None).await;
        assert_eq!((&other.text, other.headers.get(TOKEN)), (&before, None));
        let cookie = ("cookie", format!("id=7; cache_sync_token={token}"));
        let header = if by_cookie { cookie } else { ("cache-sync-token", token) };
        let own = views(&there, Some(header)).await;
        assert!(own.text.parse::<i64>().unwrap() > before.parse().unwrap(), "{} after {before}", own.text);
        assert_eq!(own.headers.get(BEHIND), None);
        before = own.text;
    }
    assert_eq!(before, "3");
}

#[tokio::test]
async fn nobody_waits_longer_than_is_allowed_and_the_answer_says_so() {
    let db = database();
    let (client, pages) = node(&db.dsn()).await;
    let here = service(client, pages, Duration::from_secs(10));
    let (proxy, _late, there) = late_node(&db, Duration::from_millis(100)).await;
    assert_eq!(views(&there, None).await.text, "1");
    let token = count(&here).await.headers[TOKEN].to_str().unwrap().to_owned();
    proxy.cut_feed().await;
    let begun = Instant::now();
    let behind = views(&there, Some(("cache-sync-token", token))).await;
    assert_eq!((behind.status, behind.text.as_str()), (StatusCode::OK, "1"));
    assert_eq!(behind.headers[BEHIND], "1");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Nor for the token, where Postgres does not answer.
    drop(proxy);
    let written = count(&there).await;
    assert_eq!(
        (written.status, &written.headers[BEHIND], written.headers.get(TOKEN)),
        (StatusCode::OK, &"1".parse().unwrap(), None)
    );
}

#[tokio::test]
async fn only_what_may_write_gets_a_token_and_only_a_header_must_be_one() {
    let db = database();
    let (client, pages) = node(&db.dsn()).await;
    let here = service(client, pages, Duration::from_secs(10));
    for (method, path, has_token) in [
        (Method::GET, "/pages/home", false),
        (Method::HEAD, "/pages/home", false),
        (Method::OPTIONS, "/pages/home", false),
        (Method::POST, "/count", true),
        (Method::DELETE, "/pages/home", true),
    ] {
        let request = Request::builder().method(&method).uri(path).body(Body::empty()).unwrap();
        let answer = ask(&here, request).await;
        assert_eq!(answer.headers.contains_key(TOKEN), has_token, "{method}");
    }
    let refused = views(&here, Some(("cache-sync-token", "no token".to_owned()))).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    for cookie in ["cache_sync_token=no token", "cache_sync_token", "x=y", "ä"] {
        let shown = views(&here, Some((COOKIE.as_str(), cookie.to_owned()))).await;
        assert_eq!((shown.status, shown.headers.get(BEHIND)), (StatusCode::OK, None), "{cookie}");
    }
}
