//! The responses that there are.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

pub(super) type Reply = Response<Full<Bytes>>;

pub(super) const PLAIN: &str = "text/plain; charset=utf-8";
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// The answer to GET or HEAD on a page, or the refusal of any other method.
///
/// HEAD makes no body: it says what the page is, and does not do the work of the page.
pub(super) fn page(
    method: &Method,
    content_type: &'static str,
    body: impl FnOnce() -> Bytes,
) -> Reply {
    match *method {
        Method::GET => {
            let body = body();
            let length = body.len();
            let mut reply = reply(StatusCode::OK, content_type, body);
            reply
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from(length));
            reply
        }
        Method::HEAD => reply(StatusCode::OK, content_type, Bytes::new()),
        _ => method_not_allowed(method),
    }
}

/// An error, as a page of one line that says what would do.
pub(super) fn error(status: StatusCode, text: String) -> Reply {
    reply(status, PLAIN, Bytes::from(text))
}

pub(super) fn failed() -> Reply {
    let text = "the page could not be made: look for a panic on standard error\n";
    error(StatusCode::INTERNAL_SERVER_ERROR, text.to_owned())
}

pub(super) fn unauthorized() -> Reply {
    let text = "this page wants a token: send it as Authorization: Bearer TOKEN\n";
    let mut reply = error(StatusCode::UNAUTHORIZED, text.to_owned());
    reply.headers_mut().insert(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer realm=\"telemetry\""),
    );
    reply
}

fn method_not_allowed(method: &Method) -> Reply {
    let text = format!(
        "{} is not served here: use GET or HEAD\n",
        shortened(method.as_str())
    );
    let mut reply = error(StatusCode::METHOD_NOT_ALLOWED, text);
    reply
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    reply
}

fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // A snapshot is of its moment: a stored one would pass for a fresh one.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// What a client sent, fit to be shown to it: printable, and not for ever.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 100;
    let shown: String = text
        .chars()
        .take(MOST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(MOST).is_some() {
        shown + "…"
    } else {
        shown
    }
}
