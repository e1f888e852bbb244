//! Request to reply: the broker's own paths here, and all others from the telemetry server.

use std::time::Duration;

use http::{Method, Request, StatusCode, Uri};
use http_body_util::Either;
use hyper::body::Incoming;
use serde_json::json;

use crate::broker::Broker;
use crate::channel::Kind;
use crate::reply::{self, Refusal, Reply};
use crate::{grammar, limits, request};

const PATHS: &str = "nothing is here; these are:
  POST   /channels/NAME/publish?aspect=ASPECT
  GET    /channels/NAME/events?kind=user|agent
  POST   /tokens?ttl=SECONDS
  DELETE /tokens/ID
  GET    /
  GET    /healthz
  GET    /parsec/metrics
  GET    /parsec/telemetry/metrics";

pub(crate) async fn answer(broker: &Broker, request: Request<Incoming>) -> Reply {
    route(broker, request).await.unwrap_or_else(Reply::from)
}

async fn route(broker: &Broker, request: Request<Incoming>) -> Result<Reply, Refusal> {
    let segments = request::segments(request.uri())?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match *segments.as_slice() {
        ["channels", channel, "publish"] => {
            only(&request, &Method::POST, "POST")?;
            publish(broker, channel, request).await
        }
        ["channels", channel, "events"] => {
            only(&request, &Method::GET, "GET")?;
            subscribe(broker, channel, &request)
        }
        ["tokens"] => {
            only(&request, &Method::POST, "POST")?;
            issue(broker, request.uri())
        }
        ["tokens", id] => {
            only(&request, &Method::DELETE, "DELETE")?;
            revoke(broker, id, request.uri())
        }
        ["channels" | "tokens", ..] => Err(Refusal::not_found(PATHS)),
        _ => {
            let page = broker.pages.respond(&request).await;
            if page.status() == StatusCode::NOT_FOUND {
                // Its list knows only its own pages.
                return Err(Refusal::not_found(PATHS));
            }
            Ok(page.map(Either::Left))
        }
    }
}

fn only(
    request: &Request<Incoming>,
    method: &Method,
    allowed: &'static str,
) -> Result<(), Refusal> {
    if request.method() == method {
        Ok(())
    } else {
        Err(Refusal::method(request.method(), allowed))
    }
}

async fn publish(
    broker: &Broker,
    channel: &str,
    request: Request<Incoming>,
) -> Result<Reply, Refusal> {
    let (head, body) = request.into_parts();
    // The body first, whatever the rest is worth: a client that is still sending does not hear why
    // it is refused.
    let payload = request::text(body).await?;

    let Some(token) = request::bearer(&head.headers) else {
        return Err(Refusal::unauthorized(
            "publishing wants a token: POST /tokens issues one, send it as Authorization: Bearer ID",
        ));
    };
    if !broker.tokens.is_live(token) {
        return Err(Refusal::unauthorized(
            "this token was revoked, has expired, or never was: POST /tokens issues a new one",
        ));
    }
    let aspect = request::parameter(&head.uri, "aspect")?;
    let aspect = aspect.as_deref().unwrap_or("data");
    if !grammar::is_name(aspect) {
        return Err(Refusal::bad_request(format!(
            "not an aspect: use 1 to {} letters, digits, and . _ - :",
            limits::NAME
        )));
    }
    let id = broker.publish(channel, aspect, &payload)?;
    Ok(reply::json(
        StatusCode::OK,
        &json!({ "channel": channel, "aspect": aspect, "id": id }),
    ))
}

fn subscribe(
    broker: &Broker,
    channel: &str,
    request: &Request<Incoming>,
) -> Result<Reply, Refusal> {
    let kind = match request::parameter(request.uri(), "kind")?.as_deref() {
        None | Some("user") => Kind::User,
        Some("agent") => Kind::Agent,
        Some(other) => {
            return Err(Refusal::bad_request(format!(
                "kind={other:?} is not known: use kind=user or kind=agent"
            )));
        }
    };
    let last_seen = request::last_event_id(request.headers())?;
    Ok(reply::events(
        broker.channels.subscribe(channel, kind, last_seen)?,
    ))
}

fn issue(broker: &Broker, uri: &Uri) -> Result<Reply, Refusal> {
    let seconds = match request::parameter(uri, "ttl")? {
        None => limits::TTL_SECONDS_DEFAULT,
        Some(text) => match text.parse() {
            Ok(seconds) if limits::TTL_SECONDS.contains(&seconds) => seconds,
            _ => {
                let (least, most) = limits::TTL_SECONDS.into_inner();
                return Err(Refusal::bad_request(format!(
                    "ttl={text:?} is not a time to live: use whole seconds from {least} to {most}"
                )));
            }
        },
    };
    let id = broker.tokens.issue(Duration::from_secs(seconds))?;
    Ok(reply::json(
        StatusCode::CREATED,
        &json!({ "token": id, "expires_in": seconds }),
    ))
}

fn revoke(broker: &Broker, id: &str, uri: &Uri) -> Result<Reply, Refusal> {
    request::no_parameters(uri)?;
    if broker.tokens.revoke(id) {
        Ok(reply::no_content())
    } else {
        Err(Refusal::not_found(
            "no such token: it was revoked, has expired, or never was; there is nothing left to do",
        ))
    }
}
