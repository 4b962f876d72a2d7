//! Who has written reads that, on whichever node.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cache_sync::{Client, Error, Token};
use std::time::Duration;

/// The header that says what a request must see, and what comes after the request that is answered.
pub const TOKEN: HeaderName = HeaderName::from_static("cache-sync-token");
/// The cookie that says the same.
pub const COOKIE: &str = "cache_sync_token";
/// The header of answers for which what the request must see did not come in time, or that lack a token: they may show what was before.
pub const BEHIND: HeaderName = HeaderName::from_static("cache-sync-behind");

/// For how many seconds a browser keeps the token. By then every node has heard, or serves nothing any more that it has not confirmed.
const COOKIE_SECONDS: u32 = 60;

/// What [`read_your_writes`] needs.
#[derive(Clone, Debug)]
pub struct ReadYourWrites {
    client: Client,
    wait_max: Duration,
}

impl ReadYourWrites {
    /// For the handlers that use this client.
    pub fn new(client: Client) -> ReadYourWrites {
        ReadYourWrites { client, wait_max: Duration::from_secs(1) }
    }

    /// How long a request may wait for what it must see, and an answer for its token. Default 1 s. What has not come by then is not waited for, and the
    /// answer says so ([`BEHIND`]).
    #[must_use]
    pub fn wait_max(mut self, wait: Duration) -> ReadYourWrites {
        self.wait_max = wait;
        self
    }

    /// Whether it came in time.
    async fn in_time<T>(&self, what: impl Future<Output = Result<T, Error>>) -> Option<T> {
        tokio::time::timeout(self.wait_max, what).await.ok()?.ok()
    }

    /// A point in the database's history after all that this node has accepted.
    async fn token(&self) -> Result<Token, Error> {
        self.client.flush().await?;
        self.client.token().await
    }
}

/// A middleware for `from_fn_with_state`. The answer to a request that may write (any but GET, HEAD, OPTIONS and TRACE) carries a token, in the header
/// [`TOKEN`] and in the cookie [`COOKIE`]; a request that carries one, in either, sees at least what was committed by then, whichever node it
/// comes to.
///
/// Before the token is made all is written that this node has accepted, so buffered writes count, too. A header that is no token is answered with
/// 400; such a cookie counts for nothing.
pub async fn read_your_writes(State(fresh): State<ReadYourWrites>, request: Request, next: Next) -> Response {
    let Ok(token) = token_of(request.headers()) else {
        return (StatusCode::BAD_REQUEST, "cache-sync-token: that is no token of cache_sync").into_response();
    };
    let mut is_behind = false;
    if let Some(token) = token {
        is_behind = fresh.in_time(fresh.client.wait_for(&token)).await.is_none();
    }
    let may_write = !request.method().is_safe();
    let mut answer = next.run(request).await;
    if may_write {
        match fresh.in_time(fresh.token()).await {
            Some(token) => hand_out(token, answer.headers_mut()),
            None => is_behind = true,
        }
    }
    if is_behind {
        answer.headers_mut().insert(BEHIND, HeaderValue::from_static("1"));
    }
    answer
}

/// # Errors
/// The header has something else.
fn token_of(headers: &HeaderMap) -> Result<Option<Token>, ()> {
    if let Some(header) = headers.get(TOKEN) {
        return header.to_str().map_err(drop)?.parse().map(Some).map_err(drop);
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|header| header.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    Ok(pairs.find_map(|(name, value)| (name == COOKIE).then(|| value.parse().ok()).flatten()))
}

fn hand_out(token: Token, headers: &mut HeaderMap) {
    let token = token.to_string();
    let cookie = format!("{COOKIE}={token}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax");
    // Letters, digits and signs that headers take.
    let values = (HeaderValue::from_str(&token), HeaderValue::from_str(&cookie));
    if let (Ok(token), Ok(cookie)) = values {
        headers.insert(TOKEN, token);
        headers.append(header::SET_COOKIE, cookie);
    }
}
