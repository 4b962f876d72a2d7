//! The store below the layer of tower-sessions: what a browser sees. The cases are those that tower-sessions tries its own stores with.

use crate::{database, node};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, StatusCode};
use axum::routing::get;
use cache_sync::Client;
use cache_sync_tests::Database;
use time::{Duration, OffsetDateTime};
use tower::ServiceExt;
use tower_sessions::{Expiry, Session, SessionManagerLayer};

/// A service, and who goes there.
struct Browser {
    service: Router,
    /// The whole header that set the last cookie.
    set: Option<String>,
    cookie: Option<String>,
    _client: Client,
}

fn service(store: cache_sync_tower_sessions::CacheSyncStore, expiry: Expiry) -> Router {
    let in_a_day = || Expiry::AtDateTime(OffsetDateTime::now_utc() + Duration::days(1));
    Router::new()
        .route("/", get(async |_: Session| "nothing"))
        .route("/insert", get(async |session: Session| session.insert("count", 42).await.unwrap()))
        .route("/get", get(async |session: Session| format!("{:?}", session.get::<i64>("count").await.unwrap())))
        .route(
            "/remove",
            get(async |session: Session| {
                session.remove::<i64>("count").await.unwrap();
            }),
        )
        .route("/cycle", get(async |session: Session| session.cycle_id().await.unwrap()))
        .route("/flush", get(async |session: Session| session.flush().await.unwrap()))
        .route("/day", get(async move |session: Session| session.set_expiry(Some(in_a_day()))))
        .route("/closing", get(async |session: Session| session.set_expiry(Some(Expiry::OnSessionEnd))))
        .layer(SessionManagerLayer::new(store).with_secure(true).with_expiry(expiry).with_domain("localhost"))
}

impl Browser {
    async fn new(db: &Database<'_>, expiry: Expiry) -> Browser {
        let (client, store) = node(db).await;
        Browser { service: service(store, expiry), set: None, cookie: None, _client: client }
    }

    async fn within_the_hour(db: &Database<'_>) -> Browser {
        Browser::new(db, Expiry::OnInactivity(Duration::hours(1))).await
    }

    /// Asks, and keeps the cookie that comes.
    async fn get(&mut self, path: &str) -> String {
        let mut request = Request::builder().uri(path);
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, format!("id={cookie}"));
        }
        let answer = self.service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        self.set = answer.headers().get(SET_COOKIE).map(|header| header.to_str().unwrap().to_owned());
        if let Some(set) = &self.set {
            let value = set.split(';').next().and_then(|pair| pair.strip_prefix("id=")).unwrap();
            self.cookie = Some(value.to_owned()).filter(|value| !value.is_empty());
        }
        let body = to_bytes(answer.into_body(), 1000).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// The words of the header that set the cookie.
    fn words(&self) -> Vec<&str> {
        self.set.as_ref().expect("a cookie was set").split("; ").skip(1).collect()
    }

    /// For how many seconds the cookie is good; `None`: until the browser is closed.
    fn max_age(&self) -> Option<i64> {
        self.words().iter().find_map(|word| word.strip_prefix("Max-Age=")?.parse().ok())
    }

    fn is_good_for(&self, duration: Duration) -> bool {
        self.max_age().is_some_and(|age| (age - duration.whole_seconds()).abs() <= 1)
    }
}

#[tokio::test]
async fn who_keeps_nothing_gets_no_cookie() {
    let db = database();
    let mut browser = Browser::within_the_hour(&db).await;
    browser.get("/").await;
    assert_eq!(browser.get("/get").await, "None");
    assert_eq!(browser.set, None);
    assert_eq!(db.psql("SELECT count(*) FROM tower_session"), "0");
}

#[tokio::test]
async fn an_id_that_a_browser_made_up_is_not_taken() {
    let db = database();
    let mut browser = Browser::within_the_hour(&db).await;
    for made_up in ["AAAAAAAAAAAAAAAAAAAAAA", "malformed"] {
        browser.cookie = Some(made_up.to_owned());
        browser.get("/insert").await;
        assert!(browser.cookie.as_ref().is_some_and(|id| id != made_up), "{:?}", browser.cookie);
        assert_eq!(browser.get("/get").await, "Some(42)");
    }
}

#[tokio::test]
async fn what_is_kept_is_there_with_the_next_request_on_the_same_node_and_on_another() {
    let db = database();
    let (mut browser, mut other) = (Browser::within_the_hour(&db).await, Browser::within_the_hour(&db).await);
    browser.get("/insert").await;
    let words = browser.words();
    for word in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Domain=localhost"] {
        assert!(words.contains(&word), "{word} in {words:?}");
    }
    assert!(browser.is_good_for(Duration::hours(1)));
    assert_eq!(browser.get("/get").await, "Some(42)");
    other.cookie.clone_from(&browser.cookie);
    assert_eq!(other.get("/get").await, "Some(42)");
}

#[tokio::test]
async fn what_was_removed_is_gone() {
    let db = database();
    let mut browser = Browser::within_the_hour(&db).await;
    browser.get("/insert").await;
    browser.get("/remove").await;
    assert_eq!(browser.get("/get").await, "None");
    assert_eq!(db.psql("SELECT data FROM tower_session"), "{}");
}

#[tokio::test]
async fn under_a_new_id_it_is_the_same_session_and_the_old_id_is_nothing() {
    let db = database();
    let mut browser = Browser::within_the_hour(&db).await;
    browser.get("/insert").await;
    let before = browser.cookie.clone();
    browser.get("/cycle").await;
    assert!(browser.cookie.is_some() && browser.cookie != before);
    assert_eq!(browser.get("/get").await, "Some(42)");
    browser.cookie = before;
    assert_eq!(browser.get("/get").await, "None");
}

#[tokio::test]
async fn a_logout_takes_session_and_cookie_away() {
    let db = database();
    let mut browser = Browser::within_the_hour(&db).await;
    browser.get("/insert").await;
    let before = browser.cookie.clone();
    browser.get("/flush").await;
    assert_eq!((browser.cookie.as_ref(), browser.max_age()), (None, Some(0)));
    assert!(browser.words().contains(&"Domain=localhost") && browser.words().contains(&"Path=/"));
    browser.cookie = before;
    assert_eq!(browser.get("/get").await, "None");
}

#[tokio::test]
async fn how_long_a_session_is_good_may_change() {
    let db = database();
    let mut browser = Browser::new(&db, Expiry::OnSessionEnd).await;
    browser.get("/insert").await;
    assert_eq!(browser.max_age(), None);
    browser.get("/day").await;
    assert!(browser.is_good_for(Duration::days(1)), "{:?}", browser.set);
    let good_for =
        "SELECT expires BETWEEN now() + interval '23 hours' AND now() + interval '25 hours' FROM tower_session";
    assert_eq!(db.psql(good_for), "t");
    let mut browser = Browser::within_the_hour(&db).await;
    browser.get("/insert").await;
    browser.get("/closing").await;
    assert_eq!(browser.max_age(), None);
}
