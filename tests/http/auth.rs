//! The token: required on every path except the probes, as a `Bearer` token or as the password of `Basic`.

use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use parsec_telemetry::{Aggregator, Server};

use crate::support::page::{HEALTH, INDEX, JSON, Page, READY, SERIES, TEXT, answer, call, get, parse_snapshot, text};
use crate::support::program::find_program;
use crate::support::server::RunningServer;

const TOKEN: &str = "s3cret-Token.~+/==";
const UNKNOWN: &str = "/no/such";
const PROTECTED: [&str; 5] = [INDEX, JSON, TEXT, SERIES, UNKNOWN];
const PROBES: [&str; 2] = [HEALTH, READY];

/// The body of a 401 response.
const UNAUTHORIZED: &str =
    "no valid token in the request: send Authorization: Bearer TOKEN, or Basic with the token as password\n";

const CHALLENGES: [&str; 2] = ["Bearer realm=\"telemetry\"", "Basic realm=\"telemetry\", charset=\"UTF-8\""];

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
        assert_accepted(&format!("{scheme} {TOKEN}"));
    }
}

#[test]
fn token_as_basic_password_is_accepted_with_any_user_name() {
    let long = "x".repeat(5000);
    let users: [&[u8]; 7] = [b"", b"operator", b"two words", "größe".as_bytes(), b"\xff\xfe", b"\0", long.as_bytes()];
    for user in users {
        let credentials = [user, b":", TOKEN.as_bytes()].concat();
        assert_accepted(&basic(&credentials));
    }
    let credentials = BASE64_STANDARD.encode(format!("operator:{TOKEN}"));
    for scheme in ["basic", "BASIC", "bAsIc", "Basic   "] {
        assert_accepted(&format!("{scheme} {credentials}"));
    }
}

#[test]
fn invalid_basic_credentials_are_rejected_with_401() {
    // Their base64 ends with one `=`, and with two.
    for padded in [basic(format!("a:{TOKEN}").as_bytes()), basic(format!("abc:{TOKEN}").as_bytes())] {
        assert_accepted(&padded);
        assert!(padded.ends_with('='), "{padded}");
        assert_unauthorized(&[padded.trim_end_matches('=').as_bytes()]);
        assert_unauthorized(&[format!("{padded}=").as_bytes()]);
    }
    let right = format!("operator:{TOKEN}");
    let encoded = BASE64_STANDARD.encode(&right);
    for value in [
        "Basic".to_owned(),
        "Basic ".to_owned(),
        format!("Basic{encoded}"),
        format!("Basic\t{encoded}"),
        format!("Basic {right}"),
        format!("Basic !{encoded}"),
        format!("Basic {encoded}!"),
        format!("Basic {encoded} {encoded}"),
        format!("Basic {}", &encoded[1..]),
        format!("Basic {}", encoded.replace('+', "-").replace('/', "_") + "\u{e9}"),
        format!("Bearer {encoded}"),
        format!("Digest {encoded}"),
        basic(b""),
        basic(b":"),
        basic(b"operator"),
        basic(b"operator:"),
        basic(TOKEN.as_bytes()),
        basic(format!("{TOKEN}:").as_bytes()),
        basic(format!("{TOKEN}:wrong").as_bytes()),
        basic(format!("operator:{TOKEN}=").as_bytes()),
        basic(format!("operator:{TOKEN}:").as_bytes()),
        basic(format!("operator: {TOKEN}").as_bytes()),
        basic(format!("operator:{TOKEN}\n").as_bytes()),
        // The password begins after the first colon.
        basic(format!("operator::{TOKEN}").as_bytes()),
        basic(format!("operator:wrong:{TOKEN}").as_bytes()),
        basic("x".repeat(60_000).as_bytes()),
    ] {
        assert_unauthorized(&[value.as_bytes()]);
    }
    let right = basic(right.as_bytes());
    assert_unauthorized(&[right.as_bytes(), right.as_bytes()]);
    assert_unauthorized(&[right.as_bytes(), format!("Bearer {TOKEN}").as_bytes()]);
}

#[test]
fn curl_signs_in_with_a_user_name_and_the_token() {
    let Some(program) = find_program("curl") else {
        return;
    };
    let server = RunningServer::of(server());
    let url = format!("http://{}{JSON}", server.address);
    for user in ["", "operator"] {
        let output = Command::new(&program)
            .args(["--silent", "--show-error", "--fail", "--max-time", "30", "--noproxy", "*"])
            .args(["--user", &format!("{user}:{TOKEN}"), &url])
            .output()
            .expect("curl runs");
        assert!(output.status.success(), "{output:?}");
        parse_snapshot(&output.stdout);
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
        assert_unauthorized(values);
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

/// The header of a user name, a colon and a password.
fn basic(credentials: &[u8]) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(credentials))
}

fn assert_accepted(value: &str) {
    for path in PROTECTED {
        let status = get_with_authorization(path, &[value.as_bytes()]).status();
        let expected = if path == UNKNOWN { StatusCode::NOT_FOUND } else { StatusCode::OK };
        assert_eq!(status, expected, "{path} {value}");
    }
}

fn assert_unauthorized(values: &[&[u8]]) {
    for path in PROTECTED {
        let page = get_with_authorization(path, values);
        let shown: Vec<_> = values.iter().map(|value| String::from_utf8_lossy(value)).collect();
        assert_eq!(page.status(), StatusCode::UNAUTHORIZED, "{path} {shown:?}");
        let headers = page.headers();
        assert!(headers.get_all(WWW_AUTHENTICATE).iter().eq(CHALLENGES), "{headers:?}");
        assert_eq!(headers[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert!(!headers.contains_key(ALLOW));
        assert_eq!(text(&page), UNAUTHORIZED);
    }
}

fn get_with_authorization(path: &str, values: &[&[u8]]) -> Page {
    let mut request = get(path);
    for value in values {
        let value = HeaderValue::from_bytes(value).expect("valid header bytes");
        request.headers_mut().append(AUTHORIZATION, value);
    }
    answer(server().respond(&request))
}
