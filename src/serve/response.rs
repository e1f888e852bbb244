//! Builds responses.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::Full;

use crate::serve::negotiate;

pub(super) type Response = http::Response<Full<Bytes>>;

pub(super) const TEXT_PLAIN: &str = "text/plain; charset=utf-8";
pub(super) const TEXT_HTML: &str = "text/html; charset=utf-8";

/// A smaller page fits into one packet as it is.
pub(super) const MIN_COMPRESS_SIZE: usize = 1024;

const METHODS: &str = "GET, HEAD, OPTIONS";

/// Returns whether a method reads a page.
pub(super) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// A page: with its body, or for HEAD with the headers only.
pub(super) fn page(is_head: bool, content_type: &'static str, body: Bytes) -> Response {
    let length = HeaderValue::from(body.len());
    let body = if is_head { Bytes::new() } else { body };
    let mut response = new(StatusCode::OK, content_type, body);
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

/// A page that is compressed if the client accepts gzip.
pub(super) fn compressible(
    method: &Method,
    headers: &HeaderMap,
    content_type: &'static str,
    body: &Bytes,
    gzip: impl FnOnce(&[u8]) -> Bytes,
) -> Response {
    let is_compressed = body.len() >= MIN_COMPRESS_SIZE && negotiate::accepts_gzip(headers);
    let body = if is_compressed { gzip(body) } else { body.clone() };
    let page = page(method == Method::HEAD, content_type, body);
    encoded(page, "Accept-Encoding", is_compressed)
}

/// Adds the headers of a page that depends on `vary`.
pub(super) fn encoded(response: Response, vary: &'static str, is_compressed: bool) -> Response {
    let response = with(response, [(VARY, vary)]);
    if is_compressed { with(response, [(CONTENT_ENCODING, "gzip")]) } else { response }
}

/// An error as one line of text: what happened, then what to do.
pub(super) fn error(status: StatusCode, text: impl Into<Bytes>) -> Response {
    new(status, TEXT_PLAIN, text.into())
}

pub(super) fn internal_error() -> Response {
    let text = "rendering the page failed: look for a panic on standard error\n";
    error(StatusCode::INTERNAL_SERVER_ERROR, text)
}

pub(super) fn unauthorized() -> Response {
    let text = "no valid token in the request: send Authorization: Bearer TOKEN, or Basic with the token as password\n";
    let challenges = ["Bearer realm=\"telemetry\"", "Basic realm=\"telemetry\", charset=\"UTF-8\""];
    with(error(StatusCode::UNAUTHORIZED, text), challenges.map(|challenge| (WWW_AUTHENTICATE, challenge)))
}

pub(super) fn misdirected(host: &str) -> Response {
    let host = truncate_for_display(host);
    let text = format!("host {host} is not served on loopback: add it to ServerBuilder::allowed_hosts\n");
    error(StatusCode::MISDIRECTED_REQUEST, text)
}

/// A 503 that asks the client to retry after a second, on another connection.
pub(super) fn unavailable(text: &'static str) -> Response {
    let response = error(StatusCode::SERVICE_UNAVAILABLE, text);
    with(response, [(RETRY_AFTER, "1"), (CONNECTION, "close")])
}

/// The response to a method that does not read a page. Load balancers send OPTIONS as a health check.
pub(super) fn other_method(method: &Method) -> Response {
    if method == Method::OPTIONS {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        return with(response, [(ALLOW, METHODS)]);
    }
    let method = truncate_for_display(method.as_str());
    let text = format!("method {method} is not supported: use GET or HEAD\n");
    let response = error(StatusCode::METHOD_NOT_ALLOWED, text);
    with(response, [(ALLOW, METHODS)])
}

fn new(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    with(
        response,
        [
            (CONTENT_TYPE, content_type),
            // A cached page would show old values as current ones.
            (CACHE_CONTROL, "no-store"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
    )
}

fn with<const N: usize>(mut response: Response, headers: [(HeaderName, &'static str); N]) -> Response {
    for (name, value) in headers {
        let value = HeaderValue::from_static(value);
        response.headers_mut().append(name, value);
    }
    response
}

/// The first 100 characters of a client's text, with control characters escaped.
pub(super) fn truncate_for_display(text: &str) -> String {
    const MAX_CHARS: usize = 100;
    let mut chars = text.chars();
    let mut shown: String = chars.by_ref().take(MAX_CHARS).flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displayed_text_is_escaped_and_truncated_after_100_characters() {
        assert_eq!(truncate_for_display("a\n\u{1b}"), "a\\n\\u{1b}");
        assert_eq!(truncate_for_display(&"é".repeat(100)), "é".repeat(100));
        assert_eq!(truncate_for_display(&"é".repeat(101)), "é".repeat(100) + "…");
    }
}
