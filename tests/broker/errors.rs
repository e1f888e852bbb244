//! Rejected requests: each error says what to do, and leaves no trace on the telemetry pages.

use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::process::{Broker, DEADLINE};

/// Status, request (sent with a live token), and a part of the error text.
const REJECTED: &str = "
400 POST   /channels/other:x/publish                      -> public:*, private:*, agents:*
400 POST   /channels//publish                             -> use 1 to 128 letters
400 POST   /channels/public:a%20b/publish                 -> use 1 to 128 letters
400 POST   /channels/public:a%2Fb/publish                 -> use 1 to 128 letters
400 POST   /channels/public:%zz/publish                   -> write %25
400 POST   /channels/public:%+f/publish                   -> write %25
400 POST   /channels/public:%FF/publish                   -> UTF-8
400 POST   /channels/public:x/publish?aspect=             -> invalid aspect: use
400 POST   /channels/public:x/publish?aspect=a%0Aid:7     -> invalid aspect: use
400 POST   /channels/public:x/publish?aspct=data          -> accepts aspect=
400 POST   /channels/public:x/publish?aspect=a&aspect=b   -> give it once
400 GET    /channels/other:x/events                       -> public:*, private:*, agents:*
400 GET    /channels/public:x/events?kind=robot           -> kind=user or kind=agent
400 GET    /channels/public:x/events?user=agent           -> accepts kind=
400 POST   /tokens?ttl=0                                  -> from 1 to 86400
400 POST   /tokens?ttl=-1                                 -> from 1 to 86400
400 POST   /tokens?ttl=soon                               -> from 1 to 86400
400 POST   /tokens?ttl=99999999999999999999               -> from 1 to 86400
404 DELETE /tokens/no-such                                -> no such token
400 DELETE /tokens/x?now                                  -> remove ?now
404 GET    /channels                                      -> POST   /channels/NAME/publish
404 GET    /tokens/a/b                                    -> DELETE /tokens/TOKEN
404 GET    /nowhere                                       -> /parsec/telemetry/metrics
405 GET    /channels/public:x/publish                     -> use POST
405 PUT    /channels/public:x/publish                     -> use POST
405 POST   /channels/public:x/events                      -> use GET
405 GET    /tokens                                        -> use POST
405 GET    /tokens/x                                      -> use DELETE
";

#[tokio::test]
async fn rejected_request_says_what_to_do_and_changes_nothing() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.issue_token(60).await;
    for row in REJECTED.trim().lines() {
        let (request, part) = row.split_once(" -> ").expect(row);
        let [status, method, path] = request.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        let response = broker.request(method.parse().expect(row), path, Some(&token), "").await;
        let text = response.text();
        assert_eq!(response.status.as_str(), status, "{row}: {text}");
        assert!(text.contains(part), "{row}: {text}");
        let content_type = response.header(CONTENT_TYPE);
        assert!(content_type.starts_with("text/plain"), "{row}: {content_type}");
        assert!(text.ends_with('\n'), "{row}: {text}");
        match status {
            "404" => {}
            "405" => assert_eq!(part, format!("use {}", response.header(ALLOW))),
            _ => assert_eq!(text.lines().count(), 1, "{row}: {text}"),
        }
    }
    let snapshot = broker.wait_until("the issued token", |s| s.tokens.issued_last_hour > 0).await;
    assert_eq!(snapshot.channels.total_active, 0, "{snapshot:?}");
    assert_eq!(snapshot.envelopes.by_aspect.values().sum::<u64>(), 0, "{snapshot:?}");
    assert_eq!(snapshot.tokens.issued_last_hour, 1, "{snapshot:?}");
    assert_eq!(snapshot.tokens.active_count, 1, "{snapshot:?}");
}

#[tokio::test]
async fn publish_requires_a_live_token_and_a_small_utf8_payload() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.issue_token(60).await;
    let bearer = format!("bearer {token}");
    let largest = "x".repeat(64 * 1024);
    let too_large = "x".repeat(64 * 1024 + 1);
    let (largest, too_large) = (largest.as_bytes(), too_large.as_bytes());
    for (header, body, status, part) in [
        (("accept", "*/*"), &b"hello"[..], 401, "POST /tokens"),
        (("authorization", ""), b"hello", 401, "POST /tokens"),
        (("authorization", "Bearer "), b"hello", 401, "POST /tokens"),
        (("authorization", "Bearer x"), b"hello", 401, "POST /tokens"),
        (("authorization", "Basic eDp5"), b"hello", 401, "Bearer TOKEN"),
        (("authorization", &bearer), largest, 200, "\"id\":1"),
        (("authorization", &bearer), too_large, 413, "65536 bytes"),
        (("accept", "*/*"), too_large, 413, "65536 bytes"),
        (("authorization", &bearer), b"\xFF", 400, "base64"),
    ] {
        let path = "/channels/public:x/publish";
        let body = Bytes::copy_from_slice(body);
        let response = broker.request_with_header(Method::POST, path, header, body).await;
        let text = response.text();
        assert_eq!(response.status, status, "{header:?}: {text}");
        assert!(text.contains(part), "{header:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{header:?}: {text}");
        let challenge = response.header(WWW_AUTHENTICATE);
        assert_eq!(challenge, if status == 401 { "Bearer" } else { "" });
    }
}

#[tokio::test]
async fn invalid_last_event_id_is_rejected() {
    let broker = Broker::start(&["--quiet"]);
    let path = "/channels/public:x/events";
    let response = broker.request_with_header(Method::GET, path, ("last-event-id", "x"), "").await;
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
    assert!(response.text().contains("0 for"), "{}", response.text());
}

/// The client sends its whole body slowly before it reads.
#[tokio::test]
async fn client_that_sends_before_it_reads_receives_the_413() {
    let broker = Broker::start(&["--quiet"]);
    let mut client = broker.connect_and_send("POST /channels/public:x/publish HTTP/1.1\r\nhost: x\r\n").await;
    client
        .write_all(b"connection: close\r\ncontent-length: 1000000\r\n\r\n")
        .await
        .expect("the rest of the head is sent");
    for _ in 0..10 {
        client.write_all(&vec![b'x'; 100_000]).await.expect("the broker reads the whole body");
        // Not a wait: it separates the writes.
        sleep(Duration::from_millis(10)).await;
    }
    let mut response = String::new();
    timeout(DEADLINE, client.read_to_string(&mut response))
        .await
        .expect("a response before the deadline")
        .expect("no error");
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
}

/// Beyond the limit of what is discarded the broker may close the connection, so that the client sees either the 413
/// or an error.
#[tokio::test]
async fn body_of_4_mib_is_not_accepted() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.issue_token(60).await;
    let body = "x".repeat(4 * 1024 * 1024);
    let path = "/channels/public:x/publish";
    if let Ok(response) = broker.try_request(Method::POST, path, Some(&token), &body).await {
        assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert_eq!(broker.snapshot().await.history.total_envelopes_buffered, 0);
}
