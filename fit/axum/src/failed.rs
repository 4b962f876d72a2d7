//! Errors as answers.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use cache_sync::{Error, ErrorKind};

/// When to come again, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// An error as an answer: `Result<_, Failed>` is what a handler returns that uses `?`.
///
/// | the error is | the answer is |
/// | --- | --- |
/// | `Missing` | 404 |
/// | `Conflict` | 409 |
/// | `TooLarge` | 413 |
/// | `RuleViolation`, `Rejected` | 422 |
/// | `Unavailable`, `Full`, `Overloaded` | 503, and when to come again |
/// | `Closed` | 503 |
/// | `Unwritten` | 202: the write was accepted and is tried again, so nobody should repeat it |
/// | anything else | 500 |
///
/// The text is the status's own: an error's message may quote rows. The error itself is among the response's extensions, for a layer that
/// logs; of what ends as 500 the log has kind and SQLSTATE anyhow.
#[derive(Clone, Debug)]
pub struct Failed(pub Error);

/// What an error of this kind is answered with.
pub fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Missing => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::RuleViolation | ErrorKind::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Unavailable | ErrorKind::Full | ErrorKind::Overloaded | ErrorKind::Closed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::Unwritten => StatusCode::ACCEPTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let Failed(error) = self;
        let status = status_of(error.kind());
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(kind = ?error.kind(), sqlstate = error.sqlstate(), "a request failed");
        }
        let mut answer = answer(status);
        if status == StatusCode::SERVICE_UNAVAILABLE && error.is_retryable() {
            answer.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        answer.extensions_mut().insert(error);
        answer
    }
}

/// A status, in words.
pub(crate) fn answer(status: StatusCode) -> Response {
    (status, status.canonical_reason().unwrap_or_default()).into_response()
}
