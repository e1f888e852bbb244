//! Parsing requests: path, query, bearer token, body.

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use http::{StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::error::ApiError;
use crate::limits;

/// Returns the segments of the path. Each is decoded by itself, so an encoded slash does not separate segments.
pub(crate) fn segments(uri: &Uri) -> Result<Vec<String>, ApiError> {
    uri.path().split('/').skip(1).map(percent_decode).collect()
}

/// Returns the value of the only parameter that the path accepts. Any other parameter is an error, since a misspelled
/// one would be ignored silently.
pub(crate) fn parameter(uri: &Uri, name: &str) -> Result<Option<String>, ApiError> {
    let mut value = None;
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    for pair in pairs {
        let (key, encoded) = pair.split_once('=').unwrap_or((pair, ""));
        if key != name {
            return Err(ApiError::bad_request(format!("unknown parameter {key}: this path accepts {name}=")));
        }
        if value.replace(percent_decode(encoded)?).is_some() {
            return Err(ApiError::bad_request(format!("duplicate parameter {name}: give it once")));
        }
    }
    Ok(value)
}

pub(crate) fn no_parameters(uri: &Uri) -> Result<(), ApiError> {
    match uri.query() {
        None | Some("") => Ok(()),
        Some(query) => Err(ApiError::bad_request(format!("this path accepts no parameters: remove ?{query}"))),
    }
}

/// The `percent-encoding` crate keeps an invalid escape as it is; here it is an error.
fn percent_decode(text: &str) -> Result<String, ApiError> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return Err(ApiError::bad_request(format!(
                "{text} has a % without two hexadecimal digits: write %25 for a literal %"
            )));
        };
        bytes.push(byte);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes)
        .map_err(|_| ApiError::bad_request(format!("{text} does not decode to UTF-8: encode UTF-8")))
}

pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(HeaderName::from_static("last-event-id")) else {
        return Ok(None);
    };
    let id = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    match id {
        Some(id) => Ok(Some(id)),
        None => Err(ApiError::bad_request(
            "invalid Last-Event-ID: use the id of the last event received, or 0 for the whole history",
        )),
    }
}

/// Reads the whole body as text, since server-sent events carry only text.
pub(crate) async fn text(body: Incoming) -> Result<String, ApiError> {
    let bytes = timeout(limits::READ_TIMEOUT, read(body)).await.map_err(|_| {
        let message = format!("request body not received within {} s: send it faster", limits::READ_TIMEOUT.as_secs());
        ApiError::new(StatusCode::REQUEST_TIMEOUT, message)
    })??;
    String::from_utf8(bytes)
        .map_err(|_| ApiError::bad_request("payload is not UTF-8: encode it, for example as base64"))
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, ApiError> {
    let mut payload = Vec::new();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let data = frame
            .map_err(|error| ApiError::bad_request(format!("request body is incomplete: {error}; send it again")))?
            .into_data()
            .unwrap_or_else(|_trailers| Bytes::new());
        received += data.len();
        if received <= limits::MAX_PAYLOAD_BYTES {
            payload.extend_from_slice(&data);
        } else if received > limits::MAX_DISCARDED_BYTES {
            break;
        }
    }
    if received > limits::MAX_PAYLOAD_BYTES {
        let message = format!("payload larger than {} bytes: send it in parts", limits::MAX_PAYLOAD_BYTES);
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(payload)
}
