//! The console: one document, and the headers that it is sent with.

use std::io::Read as _;

use flate2::read::GzDecoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, StatusCode};
use parsec_telemetry::{Aggregator, Server};

use crate::support::page::{INDEX, JSON, TEXT, answer, body, call, get_with, text};

#[test]
fn console_is_one_document_with_its_style_and_script() {
    let page = call(&server(), Method::GET, INDEX);
    assert_eq!(page.status(), StatusCode::OK);
    let text = text(&page);
    assert!(text.starts_with("<!doctype html>\n<html lang=\"en\">"), "{text}");
    for once in [
        "<style>",
        "<script type=\"module\">",
        "</html>",
        "<link rel=\"icon\" href=\"data:,\">",
        "id=\"json\"",
        "id=\"text\"",
    ] {
        assert_eq!(text.matches(once).count(), 1, "{once}");
    }
    for link in [JSON, TEXT] {
        assert!(text.contains(link.trim_start_matches('/')), "{link}");
    }
    for absent in ["/*STYLE*/", "/*SCRIPT*/", " src=", "@import"] {
        assert!(!text.contains(absent), "{absent}");
    }
}

#[test]
fn console_is_sent_with_a_policy_and_is_not_cached() {
    for method in [Method::GET, Method::HEAD] {
        let page = call(&server(), method, INDEX);
        let headers = page.headers();
        assert_eq!(headers[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[REFERRER_POLICY], "no-referrer");
        let policy: Vec<&str> =
            policy(headers).split("; ").map(|rule| rule.split(" 'sha256-").next().unwrap()).collect();
        let expected = [
            "default-src 'none'",
            "script-src",
            "style-src",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ];
        assert_eq!(policy, expected);
    }
}

#[test]
fn console_is_compressed_for_a_client_that_accepts_gzip() {
    let plain = call(&server(), Method::GET, INDEX);
    let Ok(compressed) = answer(tower::ServiceExt::oneshot(server(), get_with(INDEX, &[(ACCEPT_ENCODING, "gzip")])));
    assert!(!plain.headers().contains_key(CONTENT_ENCODING));
    assert_eq!(compressed.headers()[CONTENT_ENCODING], "gzip");
    assert_eq!(policy(compressed.headers()), policy(plain.headers()));
    for page in [&plain, &compressed] {
        assert_eq!(page.headers()[VARY], "Accept-Encoding");
        assert_eq!(page.headers()[CONTENT_LENGTH], body(page).len().to_string());
    }
    let mut decoded = Vec::new();
    GzDecoder::new(&*body(&compressed)).read_to_end(&mut decoded).expect("gzip");
    assert_eq!(decoded, body(&plain));
}

fn policy(headers: &HeaderMap) -> &str {
    headers[CONTENT_SECURITY_POLICY].to_str().expect("ASCII")
}

fn server() -> Server {
    Server::builder(Aggregator::new()).build()
}
