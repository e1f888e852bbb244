//! Who may read: everybody the probes, and the rest who has the token.

// Without `serve` there is nothing to read.
#![cfg(feature = "serve")]

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use parsec_telemetry::{Aggregator, Server};

const TOKEN: &str = "s3cret-Token.~+/==";
const PATHS: [&str; 4] = [
    "/",
    "/parsec/metrics",
    "/parsec/telemetry/metrics",
    "/no/such",
];
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

#[test]
fn the_token_opens_every_page() {
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer  "] {
        let value = format!("{scheme} {TOKEN}");
        for path in PATHS {
            let status = ask(path, &[value.as_bytes()]).status();
            let expected = if path == "/no/such" {
                StatusCode::NOT_FOUND
            } else {
                StatusCode::OK
            };
            assert_eq!(status, expected, "{path}");
        }
    }
}

#[test]
fn whoever_has_it_not_is_told_what_would_do_and_no_more() {
    let right = format!("Bearer {TOKEN}");
    let right = right.as_bytes();
    let long = format!("Bearer {}", "x".repeat(60_000));
    let cases: [&[&[u8]]; 15] = [
        &[],
        &[b""],
        &[b"Bearer"],
        &[b"Bearer "],
        &[b"Bearer wrong"],
        &[b"Bearer s3cret-Token.~+/="],
        &[b"Bearer s3cret-Token.~+/==="],
        &[b"Bearer S3CRET-TOKEN.~+/=="],
        &[b"Basic s3cret-Token.~+/=="],
        &[TOKEN.as_bytes()],
        &[b"Bearer \xff\xfe"],
        &[b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8"],
        &[long.as_bytes()],
        // Twice is not once, whichever is right.
        &[right, right],
        &[b"Bearer wrong", right],
    ];
    for values in cases {
        for path in PATHS {
            let reply = ask(path, values);
            let shown: Vec<_> = values
                .iter()
                .map(|value| String::from_utf8_lossy(value))
                .collect();
            assert_eq!(reply.status(), StatusCode::UNAUTHORIZED, "{path} {shown:?}");
            assert_eq!(
                reply.headers()[WWW_AUTHENTICATE],
                "Bearer realm=\"telemetry\""
            );
            assert_eq!(reply.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
            assert_eq!(reply.headers()[CACHE_CONTROL], "no-store");
            assert!(!reply.headers().contains_key(ALLOW));
            let text = text(reply);
            assert_eq!(
                text,
                "this page wants a token: send it as Authorization: Bearer TOKEN\n"
            );
        }
    }
}

#[test]
fn probes_want_no_token() {
    for path in PROBES {
        for values in [&[][..], &[b"Bearer wrong".as_slice()]] {
            assert_eq!(ask(path, values).status(), StatusCode::OK, "{path}");
        }
    }
}

#[test]
fn another_method_is_not_a_way_around() {
    for method in [Method::HEAD, Method::POST, Method::OPTIONS] {
        let request = Request::builder()
            .method(method)
            .uri("/parsec/metrics")
            .body(());
        let reply = server().handle(&request.expect("a request"));
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
    }
}

#[test]
fn a_token_that_no_header_holds_is_refused_where_it_is_set() {
    for (token, said) in [
        (
            "",
            "the bearer token is empty: use letters, digits and - . _ ~ + / =",
        ),
        (
            "two words",
            "byte 4 of the bearer token cannot be sent in a header: use letters, digits and - . _ ~ + / =",
        ),
        (
            "line\n",
            "byte 5 of the bearer token cannot be sent in a header: use letters, digits and - . _ ~ + / =",
        ),
        (
            "größe",
            "byte 3 of the bearer token cannot be sent in a header: use letters, digits and - . _ ~ + / =",
        ),
    ] {
        let error = Server::builder(Aggregator::new())
            .bearer_token(token)
            .expect_err("refused");
        assert_eq!(error.to_string(), said);
    }
}

#[test]
fn a_token_is_not_in_what_is_printed() {
    let builder = Server::builder(Aggregator::new())
        .bearer_token(TOKEN)
        .expect("a token");
    let printed = format!("{builder:?} {:?}", builder.clone().build());
    assert!(!printed.contains(TOKEN), "{printed}");
}

fn server() -> Server {
    let builder = Server::builder(Aggregator::new()).bearer_token(TOKEN);
    builder.expect("a token").build()
}

fn ask(path: &str, authorization: &[&[u8]]) -> Response<Full<Bytes>> {
    let mut request = Request::get(path).body(()).expect("a request");
    for value in authorization {
        let value = HeaderValue::from_bytes(value).expect("bytes that a header may have");
        request.headers_mut().append(AUTHORIZATION, value);
    }
    server().handle(&request)
}

fn text(reply: Response<Full<Bytes>>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let body = runtime
        .expect("a runtime")
        .block_on(reply.into_body().collect());
    String::from_utf8(body.expect("a body").to_bytes().into()).expect("UTF-8")
}
