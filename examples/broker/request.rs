//! Reading requests: path, query, token, body.

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use http::{StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::limits;
use crate::reply::Refusal;

/// The path's segments. They are decoded one by one, so an encoded slash stays part of its segment.
pub(crate) fn segments(uri: &Uri) -> Result<Vec<String>, Refusal> {
    uri.path().split('/').skip(1).map(decode).collect()
}

/// The value of the one parameter that a path takes. Any other is refused: a misspelt one would be
/// ignored in silence.
pub(crate) fn parameter(uri: &Uri, name: &str) -> Result<Option<String>, Refusal> {
    let mut found = None;
    let pairs = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty());
    for pair in pairs {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key != name {
            return Err(Refusal::bad_request(format!(
                "unknown parameter {key}: this path takes {name}="
            )));
        }
        if found.replace(decode(value)?).is_some() {
            return Err(Refusal::bad_request(format!(
                "{name}= is there twice: give it once"
            )));
        }
    }
    Ok(found)
}

pub(crate) fn no_parameters(uri: &Uri) -> Result<(), Refusal> {
    match uri.query() {
        None | Some("") => Ok(()),
        Some(query) => Err(Refusal::bad_request(format!(
            "this path takes no parameters: leave ?{query} out"
        ))),
    }
}

fn decode(text: &str) -> Result<String, Refusal> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece
            .get(..2)
            .filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|two| u8::from_str_radix(two, 16).ok()) else {
            return Err(Refusal::bad_request(format!(
                "{text} has a % without two hexadecimal digits: write %25 for a %"
            )));
        };
        bytes.push(byte);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes)
        .map_err(|_| Refusal::bad_request(format!("{text} does not decode to UTF-8")))
}

pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, id) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| id.trim())
}

pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get(HeaderName::from_static("last-event-id")) else {
        return Ok(None);
    };
    let id = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok());
    match id {
        Some(id) => Ok(Some(id)),
        None => Err(Refusal::bad_request(
            "Last-Event-ID is not an id: use the number of the last event that you have seen, or 0 for all",
        )),
    }
}

/// The whole body as text: server-sent events carry nothing else.
pub(crate) async fn text(body: Incoming) -> Result<String, Refusal> {
    let bytes = timeout(limits::READ, read(body)).await.map_err(|_| {
        let message = format!(
            "the body did not come within {} s: send it faster",
            limits::READ.as_secs()
        );
        Refusal::new(StatusCode::REQUEST_TIMEOUT, message)
    })??;
    String::from_utf8(bytes).map_err(|_| {
        Refusal::bad_request("the payload is not UTF-8: encode it, as base64 for example")
    })
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, Refusal> {
    let mut kept = Vec::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let data = frame
            .map_err(|error| Refusal::bad_request(format!("the body broke off: {error}")))?
            .into_data()
            .unwrap_or_else(|_trailers| Bytes::new());
        seen += data.len();
        if seen <= limits::BODY {
            kept.extend_from_slice(&data);
        } else if seen > limits::DISCARDED {
            break;
        }
    }
    if seen > limits::BODY {
        let message = format!(
            "the payload is larger than {} bytes: send it in parts",
            limits::BODY
        );
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(kept)
}
