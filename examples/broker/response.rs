//! Response constructors.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body_util::{Either, Full};

use crate::event_stream::EventStream;

pub(crate) type Response = http::Response<Either<Full<Bytes>, EventStream>>;

pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    full(status, "application/json", format!("{value}\n"))
}

pub(crate) fn no_content() -> Response {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(crate) fn events(stream: EventStream) -> Response {
    let mut response = Response::new(Either::Right(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(crate) fn full(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Either::Left(Full::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
