//! What the page asks for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use cache_sync_kit::{Error, Result};
use futures_util::Stream;
use rustix::net::sockopt::set_socket_send_buffer_size;
use serde::Deserialize;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::actions::{self, Action};
use super::board::NODES;
use super::calculator::{Asked, costs};
use super::side::SHELF;
use super::stage::TEXT_LENGTH_MAX;
use super::{Shared, guard, live, nodes, sql};

/// What is posted is a few words.
const BODY_BYTES_MAX: usize = 4096;
/// How many pages may follow at a time.
const FOLLOWERS_MAX: usize = 64;
/// How long somebody may take nothing of what is sent, and how much waits for him meanwhile.
const TAKES_NOTHING_MAX: Duration = Duration::from_secs(10);
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// For how long Redis may be told to keep rows.
const TIME_TO_LIVE_MS: std::ops::RangeInclusive<u64> = 100..=600_000;

const PAGE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/page.js");
const ICON: &str = include_str!("page/icon.svg");

#[derive(Clone)]
struct Site {
    shared: Arc<Shared>,
    listen: SocketAddr,
    followers: Arc<Semaphore>,
}

/// Answers until it fails.
pub(crate) async fn serve(shared: &Arc<Shared>, listener: TcpListener) -> Result<()> {
    let followers = Arc::new(Semaphore::new(FOLLOWERS_MAX));
    let site = Site { shared: Arc::clone(shared), listen: listener.local_addr()?, followers };
    let pages = Router::new()
        .route("/", get(|| file("text/html; charset=utf-8", PAGE)))
        .route("/style.css", get(|| file("text/css; charset=utf-8", STYLE)))
        .route("/page.js", get(|| file("text/javascript; charset=utf-8", SCRIPT)))
        .route("/icon.svg", get(|| file("image/svg+xml", ICON)))
        .route("/points", get(points))
        .route("/live", get(follow))
        .route("/costs", get(work_out))
        .route("/break/{action}", post(break_something))
        .route("/sql", post(run_sql))
        .route("/edit", post(edit))
        .route("/time-to-live", post(keep_for))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(site.clone(), guarded))
        .with_state(site);
    // Whoever takes nothing is ended: the program cannot know it before what it sends has no room any more.
    let listener = listener.tap_io(|stream| {
        let limited =
            set_socket_send_buffer_size(&*stream, SEND_BUFFER_BYTES).and_then(|()| end_who_takes_nothing(stream));
        if let Err(error) = limited {
            eprintln!("a connection without a limit: {error}");
        }
    });
    Ok(axum::serve(listener, pages).await?)
}

#[cfg(target_os = "linux")]
fn end_who_takes_nothing(stream: &TcpStream) -> rustix::io::Result<()> {
    rustix::net::sockopt::set_tcp_user_timeout(stream, TAKES_NOTHING_MAX.as_millis() as u32)
}

#[cfg(not(target_os = "linux"))]
fn end_who_takes_nothing(_: &TcpStream) -> rustix::io::Result<()> {
    Ok(())
}

async fn guarded(State(site): State<Site>, request: Request, next: Next) -> Response {
    let mut response = match guard::refusal(site.listen, request.method(), request.headers()) {
        Some(reason) => (StatusCode::FORBIDDEN, reason).into_response(),
        None => next.run(request).await,
    };
    let headers = guard::HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
    response
}

async fn file(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}

async fn points(State(site): State<Site>) -> std::result::Result<Response, Refused> {
    Ok(([(CONTENT_TYPE, "application/json")], site.shared.live.points()?).into_response())
}

/// The state as it changes. Whoever is slow gets the last one next.
async fn follow(State(site): State<Site>) -> std::result::Result<Response, Refused> {
    let Ok(place) = Arc::clone(&site.followers).try_acquire_owned() else {
        return Err(Refused(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open".into()));
    };
    let states = states(site.shared.live.follow(), place);
    Ok(Sse::new(states).keep_alive(KeepAlive::new().interval(Duration::from_secs(5))).into_response())
}

fn states(
    states: watch::Receiver<Arc<str>>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = std::result::Result<Event, Infallible>> {
    futures_util::stream::unfold((states, place), async |(mut states, place)| {
        states.changed().await.ok()?;
        let event = Event::default().data(&**states.borrow_and_update());
        Some((Ok(event), (states, place)))
    })
}

async fn work_out(State(site): State<Site>, Query(asked): Query<Asked>) -> std::result::Result<Response, Refused> {
    Ok(Json(costs(asked, &live::measured(&site.shared))?).into_response())
}

async fn break_something(
    State(site): State<Site>,
    Path(name): Path<String>,
) -> std::result::Result<StatusCode, Refused> {
    let action = Action::named(&name).ok_or_else(|| Refused(StatusCode::NOT_FOUND, format!("{name} is not known")))?;
    match actions::begin(&site.shared, action) {
        true => Ok(StatusCode::ACCEPTED),
        false => Err(Refused(StatusCode::CONFLICT, "one thing at a time: something is under way".into())),
    }
}

#[derive(Deserialize)]
struct Statement {
    sql: String,
}

async fn run_sql(State(site): State<Site>, Json(statement): Json<Statement>) -> std::result::Result<Response, Refused> {
    let rows = sql::run(&site.shared, &statement.sql).await?;
    Ok(Json(json!({ "rows": rows })).into_response())
}

#[derive(Deserialize)]
struct Edit {
    node: usize,
    /// Its place in the shelf.
    row: usize,
    text: String,
}

async fn edit(State(site): State<Site>, Json(edit): Json<Edit>) -> std::result::Result<StatusCode, Refused> {
    let Edit { node, row, text } = edit;
    // The first row is not the visitor's.
    let id = SHELF.skip(1).nth(row.wrapping_sub(1)).ok_or_else(|| Error::from(format!("there is no row {row}")))?;
    if node >= NODES {
        return Err(Error::from(format!("there is no node {node}")).into());
    }
    if text.chars().count() > TEXT_LENGTH_MAX {
        return Err(Error::from(format!("the text is longer than {TEXT_LENGTH_MAX} characters")).into());
    }
    nodes::edit(&site.shared, node, id, text).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct TimeToLive {
    ms: u64,
}

async fn keep_for(State(site): State<Site>, Json(asked): Json<TimeToLive>) -> std::result::Result<StatusCode, Refused> {
    if !TIME_TO_LIVE_MS.contains(&asked.ms) {
        let (least, most) = (TIME_TO_LIVE_MS.start(), TIME_TO_LIVE_MS.end());
        return Err(Error::from(format!("the time to live must be from {least} to {most} ms")).into());
    }
    nodes::keep_for(&site.shared, Duration::from_millis(asked.ms)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why something was not done.
struct Refused(StatusCode, String);

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}
