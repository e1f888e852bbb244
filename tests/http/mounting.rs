//! Handlers and the whole server, mounted in axum, in bare hyper and as a tower service.

use std::convert::Infallible;
use std::fmt::Debug;
use std::io;
use std::net::Ipv4Addr;

use axum::Router;
use axum::routing::{any_service, get};
use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parsec_telemetry::{Aggregator, ResponseFuture, Server};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use crate::support::page::{
    HEALTH, INDEX, JSON, METRICS, PATHS, Page, READY, TEXT, answer, body, call, collect, get_with, parse_snapshot,
    snapshot, text,
};
use crate::support::server::RunningServer;
use crate::support::sources::CountsCalls;

#[test]
fn axum_mounts_a_handler_at_any_path() {
    let aggregator = Aggregator::new().source(CountsCalls::default());
    let (json, prometheus) = (aggregator.handler(), aggregator.prometheus_handler());
    let operators =
        Router::new().route("/numbers", any_service(json.clone())).route_service("/scrape", prometheus.clone());
    let app = Router::new()
        .route("/", any_service(json.clone()))
        .nest("/operators/only", operators)
        .nest_service("/below", prometheus)
        .route("/any/{thing}", any_service(json));
    for (path, content_type) in [
        ("/", "application/json"),
        ("/operators/only/numbers", "application/json"),
        ("/any/thing", "application/json"),
        ("/operators/only/scrape", "text/plain; version=0.0.4; charset=utf-8"),
        ("/below/it", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let response = call_axum(&app, Method::GET, path);
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[CONTENT_TYPE], content_type, "{path}");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store", "{path}");
        let length = response.headers()[CONTENT_LENGTH].clone();
        assert_eq!(length, collect(response.into_body()).len().to_string());

        let response = call_axum(&app, Method::POST, path);
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(response.headers()[ALLOW], "GET, HEAD, OPTIONS", "{path}");
    }
    assert_eq!(call_axum(&app, Method::GET, "/operators/numbers").status(), StatusCode::NOT_FOUND);
}

#[test]
fn head_in_axum_has_the_headers_of_get_and_no_body() {
    let aggregator = Aggregator::new().source(CountsCalls::default());
    let app = Router::new()
        .route(JSON, any_service(aggregator.handler()))
        .route(TEXT, any_service(aggregator.prometheus_handler()));
    for path in [JSON, TEXT] {
        // Two snapshots can differ in length.
        let without_length = |method| {
            let mut response = call_axum(&app, method, path);
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            let length = response.headers_mut().remove(CONTENT_LENGTH);
            assert_ne!(length.expect("a length"), "0", "{path}");
            response
        };
        let (head, get) = (without_length(Method::HEAD), without_length(Method::GET));
        assert_eq!(head.headers(), get.headers(), "{path}");
        assert!(collect(head.into_body()).is_empty(), "{path}");
    }
}

#[test]
fn bare_hyper_serves_a_handler() {
    let aggregator = Aggregator::new().source(CountsCalls::default());
    let server = RunningServer::start(Ipv4Addr::LOCALHOST, |listener, shutdown| {
        serve_with_hyper(listener, aggregator.handler(), shutdown)
    });
    let mut client = server.connect();
    for path in ["/", "/anything"] {
        let reply = client.get(path);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers["content-type"], "application/json");
        parse_snapshot(&reply.body);
        // The next reply on this connection starts right after these headers: there is no body.
        client.send(&format!("HEAD {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        let reply = client.read_head();
        assert_eq!(reply.status, 200);
        assert_ne!(reply.headers.get("content-length").map(String::as_str), Some("0"));
    }
}

#[test]
fn handler_is_a_tower_service_for_any_body() {
    fn assert_service<S: Clone + Send + Sync + Debug + 'static>(_: &S) {}

    let source = CountsCalls::default();
    let handler = Aggregator::new().source(source.clone()).handler();
    assert_service(&handler);
    let response: Result<_, Infallible> = answer(handler.clone().oneshot(Request::new(())));
    let Ok(page) = response;
    assert_eq!(snapshot(&page).history.total_envelopes_buffered, 1);

    // Handlers share a snapshot for 100 ms.
    let request = Request::new(Full::new(Bytes::from_static(b"ignored")));
    let Ok(page) = answer(handler.clone().oneshot(request));
    assert_eq!(snapshot(&page).history.total_envelopes_buffered, source.calls());

    let length = |page: Page| page.headers()[CONTENT_LENGTH].clone();
    let lengths = tower::ServiceExt::<Request<()>>::map_response(handler, length);
    let Ok(length) = answer(lengths.oneshot(Request::new(())));
    assert_eq!(length.len(), 3, "{length:?}");
    assert!((1..=3).contains(&source.calls()));
}

#[test]
fn axum_mounts_the_server_under_a_prefix() {
    let server = Server::builder(Aggregator::new()).build();
    let app = Router::new().nest_service("/ops", server.clone());
    for path in PATHS {
        let own = call(&server, Method::GET, path);
        for method in [Method::GET, Method::HEAD] {
            let response = call_axum(&app, method.clone(), &format!("/ops{path}"));
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(response.headers()[CONTENT_TYPE], own.headers()[CONTENT_TYPE], "{path}");
            assert_eq!(collect(response.into_body()).is_empty(), method == Method::HEAD, "{path}");
        }
        assert_eq!(call_axum(&app, Method::POST, &format!("/ops{path}")).status(), StatusCode::METHOD_NOT_ALLOWED);
        if path != INDEX {
            assert_eq!(call_axum(&app, Method::GET, path).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
    let index = body(&call(&server, Method::GET, INDEX));
    for path in ["/ops", "/ops/", "/ops?x=1"] {
        let response = call_axum(&app, Method::GET, path);
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(collect(response.into_body()), index, "{path}");
    }
    let missing = call_axum(&app, Method::GET, "/ops/no");
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    let missing = String::from_utf8(collect(missing.into_body()).into()).expect("UTF-8");
    assert!(missing.starts_with("no page at /no: use one of these, below the prefix"), "{missing}");
}

#[test]
fn own_route_of_the_application_takes_precedence_over_the_mounted_server() {
    let server = Server::builder(Aggregator::new()).build();
    let own = || get(|| async { "own" });
    let at_root = Router::new().route(METRICS, own()).fallback_service(server.clone());
    let nested = Router::new().route(METRICS, own()).route("/ops/metrics", own()).nest_service("/ops", server);
    for (app, own, other) in [
        (&at_root, METRICS, TEXT),
        (&nested, METRICS, "/ops/parsec/metrics"),
        (&nested, "/ops/metrics", "/ops/healthz"),
    ] {
        assert_eq!(collect(call_axum(app, Method::GET, own).into_body()), "own", "{own}");
        let response = call_axum(app, Method::GET, other);
        assert_eq!(response.status(), StatusCode::OK, "{other}");
        assert_ne!(collect(response.into_body()), "own", "{other}");
    }
}

#[test]
fn mounted_server_requires_its_token_except_on_the_probes() {
    let server = Server::builder(Aggregator::new()).bearer_token("s3cret").expect("a valid token").build();
    for (path, expected) in [(INDEX, 401), (JSON, 401), ("/no", 401), (HEALTH, 200), (READY, 200)] {
        let Ok(page) = answer(server.clone().oneshot(get_with(path, &[])));
        assert_eq!(page.status(), expected, "{path}");
    }
    let Ok(page) = answer(server.clone().oneshot(get_with(JSON, &[(AUTHORIZATION, "Bearer s3cret")])));
    snapshot(&page);
}

#[test]
fn mounted_server_answers_readyz_with_503_once_it_drains() {
    let server = Server::builder(Aggregator::new()).build();
    let app = Router::new().nest_service("/ops", server.clone());
    assert_eq!(call_axum(&app, Method::GET, "/ops/readyz").status(), StatusCode::OK);
    server.begin_draining();
    for (path, expected) in [("/ops/readyz", 503), ("/ops/healthz", 200), ("/ops/metrics", 200)] {
        assert_eq!(call_axum(&app, Method::GET, path).status(), expected, "{path}");
    }
}

#[test]
fn bare_hyper_serves_the_server() {
    let server = Server::builder(Aggregator::new()).build();
    let running =
        RunningServer::start(Ipv4Addr::LOCALHOST, |listener, shutdown| serve_with_hyper(listener, server, shutdown));
    let mut client = running.connect();
    for path in PATHS {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
    assert_eq!(client.get("/no").status, 404);
    let page = String::from_utf8(client.get(METRICS).body).expect("UTF-8");
    assert!(page.contains("\nparsec_telemetry_build_info{"), "{page}");
    // The server has accepted no connection itself.
    assert!(!page.contains("connections_open"), "{page}");
}

#[test]
fn server_is_a_tower_service_for_any_body() {
    fn assert_service<S: Clone + Send + Sync + Debug + 'static>(_: &S) {}

    let server = Server::builder(Aggregator::new()).build();
    assert_service(&server);
    let response: Result<_, Infallible> = answer(server.clone().oneshot(get_with(HEALTH, &[])));
    let Ok(page) = response;
    assert_eq!(text(&page), "ok\n");
    let request = Request::get(JSON).body(Full::new(Bytes::from_static(b"ignored"))).expect("a valid request");
    let Ok(page) = answer(server.oneshot(request));
    snapshot(&page);
}

fn call_axum(app: &Router, method: Method, uri: &str) -> axum::response::Response {
    let request = Request::builder().method(method).uri(uri).body(axum::body::Body::empty());
    let Ok(response) = answer(app.clone().oneshot(request.expect("a valid request")));
    response
}

/// The smallest server that hyper allows: no timer, no limits.
async fn serve_with_hyper<S>(listener: TcpListener, service: S, shutdown: oneshot::Receiver<()>) -> io::Result<()>
where
    S: hyper::service::Service<Request<Incoming>, Response = Page, Error = Infallible, Future = ResponseFuture>
        + Clone
        + Send
        + 'static,
{
    let accept = async {
        loop {
            let (stream, _) = listener.accept().await?;
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
            tokio::spawn(connection);
        }
    };
    tokio::select! {
        result = accept => result,
        _ = shutdown => Ok(()),
    }
}
