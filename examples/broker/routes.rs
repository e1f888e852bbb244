//! Routing: the broker's own paths. All other paths go to the telemetry server.

use std::time::Duration;

use http::{Method, Request, StatusCode, Uri};
use http_body_util::Either;
use hyper::body::Incoming;
use serde_json::json;

use crate::broker::Broker;
use crate::channel::SubscriberKind;
use crate::error::ApiError;
use crate::response::{self, Response};
use crate::{limits, patterns, request};

const NOT_FOUND: &str = "path not found: use one of
  POST   /channels/NAME/publish?aspect=ASPECT
  GET    /channels/NAME/events?kind=user|agent
  POST   /tokens?ttl=SECONDS
  DELETE /tokens/TOKEN
  GET    /
  GET    /healthz
  GET    /parsec/metrics
  GET    /parsec/series
  GET    /parsec/telemetry/metrics";

pub(crate) async fn respond(broker: &Broker, request: Request<Incoming>) -> Response {
    route(broker, request).await.unwrap_or_else(Response::from)
}

async fn route(broker: &Broker, request: Request<Incoming>) -> Result<Response, ApiError> {
    let segments = request::segments(request.uri())?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match *segments.as_slice() {
        ["channels", channel, "publish"] => {
            require(&request, &Method::POST, "POST")?;
            publish(broker, channel, request).await
        }
        ["channels", channel, "events"] => {
            require(&request, &Method::GET, "GET")?;
            subscribe(broker, channel, &request)
        }
        ["tokens"] => {
            require(&request, &Method::POST, "POST")?;
            issue_token(broker, request.uri())
        }
        ["tokens", token] => {
            require(&request, &Method::DELETE, "DELETE")?;
            revoke_token(broker, token, request.uri())
        }
        ["channels" | "tokens", ..] => Err(ApiError::not_found(NOT_FOUND)),
        _ => {
            let response = broker.telemetry.respond(&request).await;
            if response.status() == StatusCode::NOT_FOUND {
                // The telemetry server's own list lacks the broker's paths.
                return Err(ApiError::not_found(NOT_FOUND));
            }
            Ok(response.map(Either::Left))
        }
    }
}

fn require(request: &Request<Incoming>, method: &Method, allowed: &'static str) -> Result<(), ApiError> {
    if request.method() == method { Ok(()) } else { Err(ApiError::method_not_allowed(request.method(), allowed)) }
}

async fn publish(broker: &Broker, channel: &str, request: Request<Incoming>) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    // Read the body before any check: a client that is still sending would not read the error.
    let payload = request::text(body).await?;

    let Some(token) = request::bearer_token(&head.headers) else {
        return Err(ApiError::unauthorized(
            "missing token: issue one with POST /tokens and send it as Authorization: Bearer TOKEN",
        ));
    };
    if !broker.tokens.is_live(token) {
        return Err(ApiError::unauthorized("token is unknown, expired or revoked: issue a new one with POST /tokens"));
    }
    let aspect = request::parameter(&head.uri, "aspect")?;
    let aspect = aspect.as_deref().unwrap_or("data");
    if !patterns::is_name(aspect) {
        return Err(ApiError::bad_request(format!(
            "invalid aspect: use 1 to {} letters, digits, and . _ - :",
            limits::MAX_NAME_BYTES
        )));
    }
    let id = broker.publish(channel, aspect, &payload)?;
    Ok(response::json(StatusCode::OK, &json!({ "channel": channel, "aspect": aspect, "id": id })))
}

fn subscribe(broker: &Broker, channel: &str, request: &Request<Incoming>) -> Result<Response, ApiError> {
    let kind = match request::parameter(request.uri(), "kind")?.as_deref() {
        None | Some("user") => SubscriberKind::User,
        Some("agent") => SubscriberKind::Agent,
        Some(other) => {
            return Err(ApiError::bad_request(format!("unknown kind {other:?}: use kind=user or kind=agent")));
        }
    };
    let last_event_id = request::last_event_id(request.headers())?;
    let stream = broker.channels.subscribe(channel, kind, last_event_id)?;
    Ok(response::events(stream))
}

fn issue_token(broker: &Broker, uri: &Uri) -> Result<Response, ApiError> {
    let seconds = match request::parameter(uri, "ttl")? {
        None => limits::DEFAULT_TOKEN_TTL_SECONDS,
        Some(text) => match text.parse() {
            Ok(seconds) if limits::TOKEN_TTL_SECONDS.contains(&seconds) => seconds,
            _ => {
                let (min, max) = limits::TOKEN_TTL_SECONDS.into_inner();
                return Err(ApiError::bad_request(format!(
                    "invalid ttl {text:?}: use whole seconds from {min} to {max}"
                )));
            }
        },
    };
    let token = broker.tokens.issue(Duration::from_secs(seconds))?;
    Ok(response::json(StatusCode::CREATED, &json!({ "token": token, "expires_in": seconds })))
}

fn revoke_token(broker: &Broker, token: &str, uri: &Uri) -> Result<Response, ApiError> {
    request::no_parameters(uri)?;
    if broker.tokens.revoke(token) {
        Ok(response::no_content())
    } else {
        Err(ApiError::not_found("no such token: it is unknown, expired or already revoked; nothing is left to do"))
    }
}
