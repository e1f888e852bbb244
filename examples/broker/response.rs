//! Answers: JSON where it worked, and one line of text that says what is wrong and what would do
//! where it did not.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
use http_body_util::{Either, Full};

use crate::event_stream::EventStream;

/// A body that is there as a whole, or one that comes as it happens.
pub(crate) type Reply = Response<Either<Full<Bytes>, EventStream>>;

pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    whole(status, "application/json", format!("{value}\n"))
}

pub(crate) fn no_content() -> Reply {
    let mut reply = Response::new(Either::Left(Full::default()));
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

pub(crate) fn events(stream: EventStream) -> Reply {
    let mut reply = Response::new(Either::Right(stream));
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    reply
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn whole(status: StatusCode, content_type: &'static str, text: String) -> Reply {
    let mut reply = Response::new(Either::Left(Full::from(text)));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// Why a request is not granted.
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            header: None,
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        let header = Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        Self {
            header,
            ..Self::new(StatusCode::UNAUTHORIZED, message)
        }
    }

    pub(crate) fn method(used: &Method, allowed: &'static str) -> Self {
        let header = Some((ALLOW, HeaderValue::from_static(allowed)));
        let message = format!("{used} does nothing at this path: use {allowed}");
        Self {
            header,
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, message)
        }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let text = format!("{}\n", refusal.message);
        let mut reply = whole(refusal.status, "text/plain; charset=utf-8", text);
        reply.headers_mut().extend(refusal.header);
        reply
    }
}
