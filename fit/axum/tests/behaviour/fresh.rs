//! Who has written reads that, on whichever node.

use crate::{Answer, Pages, ask, database, node};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Method, Request, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::{Router, routing};
use cache_sync::{Client, Patch, Token};
use cache_sync_axum::{BEHIND, Cached, Failed, ReadYourWrites, TOKEN, read_your_writes};
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::{Database, SOON, wait_until};
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::time::timeout;

const HOME: &str = "/pages/home";

fn service(fresh: ReadYourWrites, pages: Pages) -> Router {
    async fn count(State(pages): State<Pages>, Path(path): Path<String>) -> Result<(), Failed> {
        // Not awaited: it is in Postgres later than the handler returns.
        drop(pages.patch(&path, Patch::new().add("views", 1)).await?);
        Ok(())
    }
    let shown = async |page: Cached<String, crate::Page>| page.views.to_string();
    Router::new()
        .route("/pages/{path}", routing::get(shown).post(count))
        .layer(from_fn_with_state(fresh, read_your_writes))
        .with_state(pages)
}

fn patient(client: Client) -> ReadYourWrites {
    ReadYourWrites::new(client).wait_max(Duration::from_secs(10))
}

async fn patient_node(db: &Database<'_>) -> Router {
    let (client, pages) = node(&db.dsn()).await;
    service(patient(client), pages)
}

/// A node that goes on with what it holds while its feed is cut.
async fn node_behind(db: &Database<'_>, fresh: impl FnOnce(Client) -> ReadYourWrites) -> (Proxy, Router) {
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = Client::builder(&proxy.dsn(db)).feed_timeout(Duration::from_secs(60)).connect().await.unwrap();
    let pages = client.cache("page").open().await.unwrap();
    (proxy, service(fresh(client), pages))
}

async fn views(service: &Router, header: Option<(&str, String)>) -> Answer {
    let mut request = Request::get(HOME);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    ask(service, request.body(Body::empty()).unwrap()).await
}

async fn count(service: &Router, path: &str) -> Answer {
    ask(service, Request::post(path).body(Body::empty()).unwrap()).await
}

fn token(answer: &Answer) -> String {
    answer.headers[TOKEN].to_str().unwrap().to_owned()
}

fn is_behind(answer: &Answer) -> bool {
    answer.headers.get(BEHIND).is_some_and(|header| header == "1")
}

#[tokio::test]
async fn the_other_node_shows_what_was_written_to_whoever_brings_the_token() {
    let db = database();
    let here = patient_node(&db).await;
    let (proxy, there) = node_behind(&db, patient).await;
    let mut before = views(&there, None).await.text;
    for by_cookie in [false, true] {
        proxy.cut_feed().await;
        let written = count(&here, HOME).await;
        let token = token(&written);
        token.parse::<Token>().unwrap();
        let set = written.headers[SET_COOKIE].to_str().unwrap();
        assert_eq!(set, format!("cache_sync_token={token}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"));
        // Who has not written need not wait.
        let other = views(&there, None).await;
        assert_eq!((&other.text, other.headers.get(TOKEN)), (&before, None));
        let cookie = ("cookie", format!("id=7; cache_sync_token={token}"));
        let header = if by_cookie { cookie } else { ("cache-sync-token", token) };
        let mut own = pin!(views(&there, Some(header)));
        // What is held would be there at once.
        assert!(timeout(Duration::ZERO, &mut own).await.is_err());
        proxy.let_feed_through();
        let own = own.await;
        assert!(own.text.parse::<i64>().unwrap() > before.parse().unwrap(), "{} after {before}", own.text);
        assert_eq!(own.headers.get(BEHIND), None);
        before = own.text;
    }
    assert_eq!(before, "3");
}

#[tokio::test]
async fn nobody_waits_longer_than_is_allowed_and_the_answer_says_so() {
    let db = database();
    let here = patient_node(&db).await;
    let hasty = |client| ReadYourWrites::new(client).wait_max(Duration::from_millis(100));
    let (proxy, there) = node_behind(&db, hasty).await;
    assert_eq!(views(&there, None).await.text, "1");
    proxy.cut_feed().await;
    let brought = token(&count(&here, HOME).await);
    let begun = Instant::now();
    let behind = views(&there, Some(("cache-sync-token", brought.clone()))).await;
    assert_eq!((behind.status, behind.text.as_str(), is_behind(&behind)), (StatusCode::OK, "1", true));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Nor for the token, where Postgres does not answer: there is a mark alone then, or beside the token that was brought.
    drop(proxy);
    let written = count(&there, HOME).await;
    assert_eq!((written.status, is_behind(&written)), (StatusCode::OK, true));
    assert!(token(&written).starts_with('.'), "{:?}", written.headers[TOKEN]);
    let again = Request::post(HOME).header(TOKEN, &brought).body(Body::empty()).unwrap();
    let again = ask(&there, again).await;
    assert!(token(&again).starts_with(&format!("{brought}.")), "{:?}", again.headers[TOKEN]);
}

#[tokio::test]
async fn who_asks_a_node_that_cannot_write_all_gets_a_token_with_a_mark_and_is_told_on_every_node() {
    let db = database();
    let with_terms = async |wait: u64, keep: u64| {
        let (client, pages) = node(&db.dsn()).await;
        let fresh = ReadYourWrites::new(client).wait_max(Duration::from_secs(wait));
        service(fresh.keep_for(Duration::from_secs(keep)), pages)
    };
    let (here, there) = (with_terms(2, 90).await, with_terms(60, 90).await);
    let lock = db.connect().await;
    lock.batch_execute("BEGIN; UPDATE page SET views = 10").await.unwrap();
    let begun = Instant::now();
    let written = count(&here, HOME).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(is_behind(&written));
    let marked = token(&written);
    let (whole, mark) = marked.split_once('.').unwrap();
    let set = written.headers[SET_COOKIE].to_str().unwrap();
    assert!(set.starts_with(&format!("cache_sync_token={marked}; Path=/; Max-Age=90;")), "{set}");
    let cookie = format!("cache_sync_token={marked}");
    for (name, value) in [(COOKIE.as_str(), cookie), (TOKEN.as_str(), marked.clone())] {
        let elsewhere = views(&there, Some((name, value))).await;
        assert_eq!((elsewhere.text.as_str(), is_behind(&elsewhere)), ("1", true), "{name}");
    }
    lock.batch_execute("COMMIT").await.unwrap();
    // A node that has written all of its own knows nothing of the others'.
    let again = Request::post(HOME).header(TOKEN, &marked).body(Body::empty()).unwrap();
    let again = ask(&there, again).await;
    assert!(is_behind(&again) && token(&again).ends_with(&format!(".{mark}")), "{:?}", again.headers);
    let all = async || views(&there, None).await.text == "12";
    wait_until(SOON, "everything is written", all).await;
    // A mark of a clock that is far ahead lasts no longer than those that are made here.
    let ahead = Request::post(HOME).header(TOKEN, format!("{whole}.ffffffffffffffff")).body(Body::empty()).unwrap();
    let ahead = ask(&there, ahead).await;
    let capped = token(&ahead);
    assert!(is_behind(&ahead) && capped.rsplit('.').next().unwrap().len() == mark.len(), "{capped}");
    // A mark that has ended is none, and whoever comes without one gets none.
    let later = views(&there, Some((TOKEN.as_str(), format!("{whole}.1")))).await;
    assert_eq!((later.status, is_behind(&later)), (StatusCode::OK, false));
    let other = count(&here, HOME).await;
    assert!(!is_behind(&other) && !token(&other).contains('.'), "{:?}", other.headers);
}

#[tokio::test]
async fn only_what_may_write_gets_a_token_and_only_a_header_must_be_one() {
    let db = database();
    let here = patient_node(&db).await;
    for (method, path, has_token) in [
        (Method::GET, HOME, false),
        (Method::HEAD, HOME, false),
        (Method::OPTIONS, HOME, false),
        (Method::POST, HOME, true),
        (Method::DELETE, HOME, true),
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
