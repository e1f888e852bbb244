//! The telemetry pages on the broker's port.

use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};

use crate::http_client::is_firing;
use crate::process::Broker;

#[tokio::test]
async fn broker_port_serves_all_telemetry_pages() {
    let broker = Broker::start(&["--quiet", "--for", "0"]);
    let token = broker.issue_token(60).await;
    for path in ["agents:x/publish?aspect=cursor", "agents:x/publish"] {
        broker.publish(&token, path, "hello").await;
    }
    broker
        .wait_until("2 messages in one channel, and an alert", |s| {
            s.history.total_envelopes_buffered == 2 && s.channels.total_active == 1 && is_firing(s, "cache_cold")
        })
        .await;

    let text = "text/plain; version=0.0.4";
    for (path, content_type, part) in [
        ("/", "text/html", "<html"),
        ("/", "text/html", r#"id="alerts""#),
        ("/healthz", "", ""),
        ("/parsec/series?tier=minute", "application/json", r#""tiers":[{"name":"minute""#),
        ("/parsec/metrics", "application/json", r#""by_aspect":{"cursor":1,"data":1}"#),
        ("/parsec/telemetry/metrics", text, r#"_envelopes_total{aspect="cursor"} 1"#),
        ("/parsec/telemetry/metrics", text, r#"_channels_by_pattern{pattern="agents:*"} 1"#),
        ("/parsec/telemetry/metrics", text, r#"_alerts_firing{alert="cache_cold",severity="warning"} 1"#),
    ] {
        let response = broker.get(path).await;
        let header = response.header(CONTENT_TYPE);
        assert!(header.starts_with(content_type), "{path}: {header}");
        let text = response.text();
        assert!(text.contains(part), "{path}: no {part} in:\n{text}");
    }
}

#[tokio::test]
async fn page_token_protects_the_pages_and_not_the_channels() {
    let broker = Broker::start(&["--quiet", "--page-token", "s3cret"]);
    for path in ["/", "/parsec/metrics", "/parsec/series", "/parsec/telemetry/metrics"] {
        for (token, status) in [
            (None, StatusCode::UNAUTHORIZED),
            (Some("wrong"), StatusCode::UNAUTHORIZED),
            (Some("s3cret"), StatusCode::OK),
        ] {
            let response = broker.request(Method::GET, path, token, "").await;
            assert_eq!(response.status, status, "{path} {token:?}");
        }
    }
    for path in ["/healthz", "/readyz"] {
        broker.get(path).await;
    }
    // A token of the broker is not the page token.
    let token = broker.issue_token(60).await;
    assert_eq!(broker.publish(&token, "public:x/publish", "hello").await, 1);
    let response = broker.request(Method::GET, "/parsec/metrics", Some(&token), "").await;
    assert_eq!(response.status, StatusCode::UNAUTHORIZED);
}

#[test]
fn pages_open_to_other_hosts_print_a_warning() {
    for (listen, token, warns) in [
        ("0.0.0.0:0", None, true),
        ("0.0.0.0:0", Some("s3cret"), false),
        ("127.0.0.1:0", None, false),
        ("127.0.0.2:0", None, false),
    ] {
        let token = token.map(|token| ["--page-token", token]);
        let mut args = vec!["--quiet", "--listen", listen];
        args.extend(token.iter().flatten());
        let mut broker = Broker::start(&args);
        broker.signal("-TERM");
        assert_eq!(broker.wait().code(), Some(0));
        let warnings: Vec<String> = broker.stderr.iter().collect();
        assert_eq!(warnings.len(), usize::from(warns), "{warnings:?}");
        for warning in warnings {
            assert!(warning.contains("--page-token"), "{warning}");
            assert!(warning.contains("127.0.0.1"), "{warning}");
        }
    }
}
