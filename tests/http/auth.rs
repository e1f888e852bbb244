//! The bearer token: required on every path except the probes.

use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use parsec_telemetry::{Aggregator, Server};

use crate::support::page::{HEALTH, INDEX, JSON, Page, READY, TEXT, answer, call, get, text};

const TOKEN: &str = "s3cret-Token.~+/==";
const UNKNOWN: &str = "/no/such";
const PROTECTED: [&str; 4] = [INDEX, JSON, TEXT, UNKNOWN];
const PROBES: [&str; 2] = [HEALTH, READY];

/// The body of a 401 response.
const UNAUTHORIZED: &str = "no valid token in the request: send Authorization: Bearer TOKEN\n";

/// The errors for an empty token and for one with an invalid byte.
const EMPTY_TOKEN: &str = "the bearer token is empty: use letters, digits and - . _ ~ + / =";
fn invalid_byte(index: usize) -> String {
    format!(
        "byte {index} of the bearer token cannot be sent in a header: \
         use letters, digits and - . _ ~ + / ="
    )
}

#[test]
fn valid_token_is_accepted_on_every_path() {
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer  "] {
        let value = format!("{scheme} {TOKEN}");
        for path in PROTECTED {
            let status = get_with_authorization(path, &[value.as_bytes()]).status();
            let expected = if path == UNKNOWN { StatusCode::NOT_FOUND } else { StatusCode::OK };
            assert_eq!(status, expected, "{path}");
        }
    }
}

#[test]
fn missing_or_invalid_token_is_rejected_with_401() {
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
        // Two headers are invalid, even if one of them is right.
        &[right, right],
        &[b"Bearer wrong", right],
    ];
    for values in cases {
        for path in PROTECTED {
            let page = get_with_authorization(path, values);
            let shown: Vec<_> = values.iter().map(|value| String::from_utf8_lossy(value)).collect();
            assert_eq!(page.status(), StatusCode::UNAUTHORIZED, "{path} {shown:?}");
            let headers = page.headers();
            assert_eq!(headers[WWW_AUTHENTICATE], "Bearer realm=\"telemetry\"");
            assert_eq!(headers[CONTENT_TYPE], "text/plain; charset=utf-8");
            assert_eq!(headers[CACHE_CONTROL], "no-store");
            assert!(!headers.contains_key(ALLOW));
            assert_eq!(text(&page), UNAUTHORIZED);
        }
    }
}

#[test]
fn probes_need_no_token() {
    for path in PROBES {
        for values in [&[][..], &[b"Bearer wrong".as_slice()]] {
            let page = get_with_authorization(path, values);
            assert_eq!(page.status(), StatusCode::OK, "{path}");
        }
    }
}

#[test]
fn other_methods_need_the_token_too() {
    for method in [Method::HEAD, Method::POST] {
        let page = call(&server(), method, JSON);
        assert_eq!(page.status(), StatusCode::UNAUTHORIZED);
    }
}

#[test]
fn token_that_does_not_fit_a_header_is_rejected_by_the_builder() {
    for (token, expected) in [
        ("", EMPTY_TOKEN.to_owned()),
        ("two words", invalid_byte(4)),
        ("line\n", invalid_byte(5)),
        ("größe", invalid_byte(3)),
    ] {
        let error = Server::builder(Aggregator::new()).bearer_token(token).expect_err("an invalid token");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn debug_output_does_not_contain_the_token() {
    let builder = Server::builder(Aggregator::new()).bearer_token(TOKEN).expect("a valid token");
    let printed = format!("{builder:?} {:?}", builder.clone().build());
    assert!(!printed.contains(TOKEN), "{printed}");
}

fn server() -> Server {
    let builder = Server::builder(Aggregator::new()).bearer_token(TOKEN);
    builder.expect("a valid token").build()
}

fn get_with_authorization(path: &str, values: &[&[u8]]) -> Page {
    let mut request = get(path);
    for value in values {
        let value = HeaderValue::from_bytes(value).expect("valid header bytes");
        request.headers_mut().append(AUTHORIZATION, value);
    }
    answer(server().respond(&request))
}
