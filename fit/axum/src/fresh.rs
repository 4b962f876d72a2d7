//! Who has written reads that, on whichever node.

use crate::seen::{NotSeen, Seen};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cache_sync::{Client, Error};
use std::time::Duration;
use tokio::time::timeout;

/// The header that says what a request must see, and what comes after the request that is answered.
pub const TOKEN: HeaderName = HeaderName::from_static("cache-sync-token");
/// The cookie that says the same.
pub const COOKIE: &str = "cache_sync_token";
/// The header of answers that may show what was before: what the request must see did not come in time, or something that was written before it was
/// not in Postgres yet when its token was made.
pub const BEHIND: HeaderName = HeaderName::from_static("cache-sync-behind");

/// What [`read_your_writes`] needs.
#[derive(Clone, Debug)]
pub struct ReadYourWrites {
    client: Client,
    wait_max: Duration,
    keep_for: Duration,
}

impl ReadYourWrites {
    /// For the handlers that use this client.
    pub fn new(client: Client) -> ReadYourWrites {
        ReadYourWrites { client, wait_max: Duration::from_secs(1), keep_for: Duration::from_secs(60) }
    }

    /// How long a request may wait for what it must see, and an answer for its token. Default 1 s. What has not come by then is not waited for, and
    /// the answer says so ([`BEHIND`]).
    ///
    /// Up to half of that an answer waits for the writes that its node has accepted, all of them: a single locked row keeps each answer to a request
    /// that may write waiting so long, whoever asked. The token is made then anyhow, and marked.
    #[must_use]
    pub fn wait_max(mut self, wait: Duration) -> ReadYourWrites {
        self.wait_max = wait;
        self
    }

    /// For how long a browser keeps the cookie, in whole seconds, and for how long a mark counts. Default 60 s.
    ///
    /// Who comes back later carries no token, and reads what everybody reads. So choose it longer than every node's
    /// [`feed_timeout`](cache_sync::ClientBuilder::feed_timeout), and where caches have it longer than
    /// [`stale_while_unavailable`](cache_sync::CacheBuilder::stale_while_unavailable): by then no node serves what it held before the write any more,
    /// unless Postgres has not taken the write itself. And longer than the clocks of the nodes are apart, for a mark that has ended by the clock of
    /// who reads it is none.
    #[must_use]
    pub fn keep_for(mut self, time: Duration) -> ReadYourWrites {
        self.keep_for = time;
        self
    }

    /// After all that this node has accepted; with a mark if it is not known whether some of that comes later.
    async fn seen(&self) -> Seen {
        let half = self.wait_max / 2;
        let is_written = in_time(half, self.client.flush()).await.is_some();
        match in_time(half, self.client.token()).await {
            Some(token) if is_written => Seen::all_before(token),
            Some(token) => Seen::all_before(token).behind_for(self.keep_for),
            None => Seen::default().behind_for(self.keep_for),
        }
    }

    fn hand_out(&self, seen: Seen, headers: &mut HeaderMap) {
        let seconds = self.keep_for.as_secs_f64().ceil();
        let cookie = format!("{COOKIE}={seen}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax");
        // Letters, digits and signs that headers take.
        let values = (HeaderValue::from_str(&seen.to_string()), HeaderValue::from_str(&cookie));
        if let (Ok(seen), Ok(cookie)) = values {
            headers.insert(TOKEN, seen);
            headers.append(header::SET_COOKIE, cookie);
        }
    }
}

/// What came in time.
async fn in_time<T>(wait: Duration, what: impl Future<Output = Result<T, Error>>) -> Option<T> {
    timeout(wait, what).await.ok()?.ok()
}

/// A middleware for `from_fn_with_state`. The answer to a request that may write (any but GET, HEAD, OPTIONS and TRACE) carries a token, in the header
/// [`TOKEN`] and in the cookie [`COOKIE`]; a request that carries one, in either, sees at least what was committed by then, whichever node it
/// comes to.
///
/// Before the token is made all is written that this node has accepted, so buffered writes count, too. What could not be written in time may come
/// later than the token, so the token is marked, and the answers to all who carry it say [`BEHIND`]. The mark is handed on with the tokens of later
/// answers, since each node knows of its own writes alone, and ends after [`keep_for`](ReadYourWrites::keep_for).
///
/// So every answer to a request that may write waits for its node's commits, for half of [`wait_max`](ReadYourWrites::wait_max) at most, in
/// outages too. Lay the middleware over the routes that need it, not over those whose writes nobody reads back at once.
///
/// A header that is no token is answered with 400; such a cookie counts for nothing.
pub async fn read_your_writes(State(fresh): State<ReadYourWrites>, request: Request, next: Next) -> Response {
    let Ok(before) = seen_of(request.headers()).map(|seen| seen.at_most(fresh.keep_for)) else {
        return (StatusCode::BAD_REQUEST, "cache-sync-token: that is no token of cache_sync").into_response();
    };
    let mut is_behind = before.is_behind();
    if let Some(token) = before.token {
        is_behind |= in_time(fresh.wait_max, fresh.client.wait_for(&token)).await.is_none();
    }
    let may_write = !request.method().is_safe();
    let mut answer = next.run(request).await;
    if may_write {
        let seen = fresh.seen().await.after(before);
        is_behind |= seen.is_behind();
        fresh.hand_out(seen, answer.headers_mut());
    }
    if is_behind {
        answer.headers_mut().insert(BEHIND, HeaderValue::from_static("1"));
    }
    answer
}

/// # Errors
/// The header has something else.
fn seen_of(headers: &HeaderMap) -> Result<Seen, NotSeen> {
    if let Some(header) = headers.get(TOKEN) {
        return header.to_str().map_err(|_| NotSeen)?.parse();
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|header| header.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    Ok(pairs.find_map(|(name, value)| (name == COOKIE).then(|| value.parse().ok()).flatten()).unwrap_or_default())
}
