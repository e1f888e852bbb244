//! The broker example, end to end: its real binary, over HTTP, with signals.
//!
//! Its claim is that every number on the page is true, so each test does a known thing and waits
//! until the page says just that. Nothing here sleeps and hopes: what takes time is asked for again
//! until a deadline.

// Signals, and `kill` to send them.
#![cfg(all(unix, feature = "serve"))]

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use http::header::{ALLOW, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use parsec_telemetry::Snapshot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until, timeout};

const PATIENCE: Duration = Duration::from_secs(10);

// What the page says

#[tokio::test]
async fn messages_arrive_in_order_and_are_counted_by_aspect() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.take_token(60).await;
    let mut events = broker.subscribe("public:chat.room1", "", None).await;
    for number in 1..=50 {
        let aspect = if number % 5 == 0 {
            "?aspect=cursor"
        } else {
            ""
        };
        let id = broker
            .publish(
                &token,
                &format!("public:chat.room1/publish{aspect}"),
                &format!("message {number}"),
            )
            .await;
        assert_eq!(id, number);
    }
    for number in 1..=50 {
        let event = events.next().await.expect("the stream goes on");
        assert_eq!(event.id, number);
        assert_eq!(
            event.aspect,
            if number % 5 == 0 { "cursor" } else { "data" }
        );
        assert_eq!(event.data, format!("message {number}"));
    }

    let page = broker
        .page_when("50 envelopes", |page| {
            page.envelopes.by_aspect.values().sum::<u64>() == 50
        })
        .await;
    assert_eq!(
        entries(&page.envelopes.by_aspect),
        [("cursor", 10), ("data", 40)]
    );
    assert!(page.envelopes.rate_per_second > 0.0, "{page:?}");
    assert_eq!(page.channels.total_active, 1);
    assert_eq!(entries(&page.channels.by_pattern), [("public:*", 1)]);
    assert_eq!(page.history.total_envelopes_buffered, 50);
    close_to(page.history.buffer_utilization_pct, 50.0);
}

#[tokio::test]
async fn the_line_breaks_of_a_payload_survive_and_forge_nothing() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.take_token(60).await;
    let mut events = broker.subscribe("public:x", "", None).await;
    for (payload, seen) in [
        ("one\ntwo", "one\ntwo"),
        ("one\r\ntwo", "one\ntwo"),
        ("one\rid: 99\revent: forged", "one\nid: 99\nevent: forged"),
        ("\n\n", "\n\n"),
        ("", ""),
        ("größer, 更大", "größer, 更大"),
    ] {
        let id = broker.publish(&token, "public:x/publish", payload).await;
        let event = events.next().await.expect("the stream goes on");
        assert_eq!(
            (event.id, event.aspect.as_str(), event.data.as_str()),
            (id, "data", seen)
        );
    }
}

#[tokio::test]
async fn a_subscriber_that_comes_back_gets_what_it_missed_and_then_what_comes() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.take_token(60).await;
    for number in 1..=10 {
        broker
            .publish(&token, "public:x/publish", &number.to_string())
            .await;
    }
    for (last_seen, first) in [("0", 1), ("6", 7), ("10", 11), ("4000", 1)] {
        // An id that the channel has not given yet is from before a restart: everything is new.
        let mut events = broker.subscribe("public:x", "", Some(last_seen)).await;
        for id in first..=10 {
            assert_eq!(
                events.next().await.expect("a replay").id,
                id,
                "Last-Event-ID: {last_seen}"
            );
        }
    }
    let mut resumed = broker.subscribe("public:x", "", Some("9")).await;
    let mut fresh = broker.subscribe("public:x", "", None).await;
    broker.publish(&token, "public:x/publish", "new").await;
    assert_eq!(resumed.next().await.expect("the replay").id, 10);
    assert_eq!(resumed.next().await.expect("the new one").id, 11);
    assert_eq!(fresh.next().await.expect("nothing but the new one").id, 11);
}

#[tokio::test]
async fn history_is_bounded_by_number_and_by_bytes() {
    let broker = Broker::start(&["--quiet", "--history", "5"]);
    let token = broker.take_token(60).await;
    for number in 1..=12 {
        broker
            .publish(&token, "public:x/publish", &number.to_string())
            .await;
    }
    let mut events = broker.subscribe("public:x", "", Some("0")).await;
    for id in 8..=12 {
        assert_eq!(events.next().await.expect("a replay").id, id);
    }
    let page = broker
        .page_when("5 buffered", |page| {
            page.history.total_envelopes_buffered == 5
        })
        .await;
    close_to(page.history.buffer_utilization_pct, 100.0);

    // 256 KiB hold three of these and not four, because there are a few bytes around each.
    let payload = "x".repeat(64 * 1024);
    for _ in 0..5 {
        broker
            .publish(&token, "private:large/publish", &payload)
            .await;
    }
    broker
        .page_when("5 + 3 buffered", |page| {
            page.history.total_envelopes_buffered == 8
        })
        .await;
    let mut events = broker.subscribe("private:large", "", Some("0")).await;
    for id in 3..=5 {
        assert_eq!(events.next().await.expect("a replay").id, id);
    }
}

#[tokio::test]
async fn presence_follows_who_comes_and_who_goes() {
    let broker = Broker::start(&["--quiet"]);
    let first = broker.subscribe("public:a", "", None).await;
    let second = broker.subscribe("public:a", "?kind=user", None).await;
    let agent = broker.subscribe("agents:b", "?kind=agent", None).await;
    let page = broker
        .page_when("2 users, 1 agent", |page| presence(page) == (2, 1))
        .await;
    close_to(page.presence.average_per_channel, 1.5);
    assert_eq!(
        entries(&page.channels.by_pattern),
        [("agents:*", 1), ("public:*", 1)]
    );

    drop(first);
    broker
        .page_when("one user left", |page| presence(page) == (1, 1))
        .await;
    drop(agent);
    broker
        .page_when("the agent left", |page| presence(page) == (1, 0))
        .await;
    drop(second);
    // Channels that nobody is in, and that hold nothing, go with their last subscriber.
    broker
        .page_when("nobody, nowhere", |page| {
            presence(page) == (0, 0) && page.channels.total_active == 0
        })
        .await;
}

#[tokio::test]
async fn tokens_are_retired_once_and_a_dead_one_does_not_pass() {
    let broker = Broker::start(&["--quiet"]);
    let kept = broker.take_token(60).await;
    let revoked = broker.take_token(60).await;
    let short = broker.take_token(2).await;
    let short_is_over = Instant::now() + Duration::from_secs(2);
    assert!(kept != revoked && revoked != short && kept != short);
    broker
        .page_when("three live tokens", |page| page.tokens.active_count == 3)
        .await;

    // All of them are in the cache now.
    for token in [&kept, &revoked, &short] {
        broker.publish(token, "public:x/publish", "hello").await;
    }
    let delete = async |token: &str| {
        broker
            .ask(Method::DELETE, &format!("/tokens/{token}"), None, "")
            .await
    };
    assert_eq!(delete(&revoked).await.status, StatusCode::NO_CONTENT);
    let again = delete(&revoked).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert!(again.text().contains("no such token"), "{}", again.text());
    let dead = broker
        .ask(
            Method::POST,
            "/channels/public:x/publish",
            Some(&revoked),
            "hello",
        )
        .await;
    assert_eq!(dead.status, StatusCode::UNAUTHORIZED, "{}", dead.text());
    assert!(dead.text().contains("POST /tokens"), "{}", dead.text());

    // Its time is over, whether it has been swept out already or not.
    sleep_until(short_is_over.into()).await;
    let dead = broker
        .ask(
            Method::POST,
            "/channels/public:x/publish",
            Some(&short),
            "hello",
        )
        .await;
    assert_eq!(dead.status, StatusCode::UNAUTHORIZED, "{}", dead.text());
    let page = broker
        .page_when("only one is left", |page| page.tokens.active_count == 1)
        .await;
    assert_eq!(
        (page.tokens.issued_last_hour, page.tokens.revoked_last_hour),
        (3, 1)
    );
    assert_eq!(page.cache.size_entries, 1, "the dead do not take up room");
    // It has expired: there is nothing to revoke, and it is not counted out again.
    assert_eq!(delete(&short).await.status, StatusCode::NOT_FOUND);
    broker.publish(&kept, "public:x/publish", "hello").await;
    let page = broker
        .page_when("four messages", |page| {
            page.history.total_envelopes_buffered == 4
        })
        .await;
    assert_eq!(
        (page.tokens.active_count, page.tokens.revoked_last_hour),
        (1, 1)
    );
}

#[tokio::test]
async fn the_cache_section_is_what_the_cache_did() {
    let broker = Broker::start(&["--quiet", "--cache", "32"]);
    let token = broker.take_token(60).await;
    for _ in 0..10 {
        broker.publish(&token, "public:x/publish", "hello").await;
    }
    let page = broker
        .page_when("one miss in ten", |page| {
            (page.cache.hit_rate_pct - 90.0).abs() < 1e-9
        })
        .await;
    assert_eq!(
        (page.cache.size_entries, page.cache.evictions_last_hour),
        (1, 0)
    );
    let entry_bytes = page.cache.size_bytes;
    assert!(
        entry_bytes > 32,
        "the text of a token alone is 32 bytes: {page:?}"
    );

    for _ in 0..100 {
        let token = broker.take_token(60).await;
        broker.publish(&token, "public:x/publish", "hello").await;
    }
    // 9 of 110 look-ups hit.
    let page = broker
        .page_when("a cold cache", |page| {
            (page.cache.hit_rate_pct - 900.0 / 110.0).abs() < 1e-9
        })
        .await;
    assert!((1..=32).contains(&page.cache.size_entries), "{page:?}");
    assert_eq!(page.cache.size_bytes, entry_bytes * page.cache.size_entries);
    assert_eq!(
        page.cache.evictions_last_hour,
        101 - page.cache.size_entries
    );
    assert!(fires(&page, "cache_cold"), "{page:?}");
}

#[tokio::test]
async fn alerts_fire_and_end_with_their_cause() {
    let broker = Broker::start(&["--quiet", "--channels", "2", "--history", "2"]);
    assert!(broker.page().await.alerts.is_empty());
    let events = broker.subscribe("public:x", "", None).await;
    broker
        .page_when("nothing is published", |page| fires(page, "no_publishes"))
        .await;

    let token = broker.take_token(60).await;
    broker.publish(&token, "public:x/publish", "hello").await;
    broker.publish(&token, "public:x/publish", "hello").await;
    broker
        .page_when("a rate", |page| !fires(page, "no_publishes"))
        .await;

    let second = broker.subscribe("public:y", "", None).await;
    broker
        .page_when("all channels", |page| fires(page, "too_many_channels"))
        .await;
    let third = broker
        .ask(Method::GET, "/channels/public:z/events", None, "")
        .await;
    assert_eq!(third.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(third.text().contains("--channels"), "{}", third.text());
    drop((events, second));
    broker
        .page_when("nobody left", |page| fires(page, "unheard"))
        .await;
    broker
        .page_when("a channel less", |page| !fires(page, "too_many_channels"))
        .await;
}

#[tokio::test]
async fn all_pages_are_served_on_the_brokers_port() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.take_token(60).await;
    for path in ["agents:x/publish?aspect=cursor", "agents:x/publish"] {
        broker.publish(&token, path, "hello").await;
    }
    broker
        .page_when("both", |page| page.history.total_envelopes_buffered == 2)
        .await;

    let text = "text/plain; version=0.0.4";
    for (path, content_type, part) in [
        ("/", "text/html", "<html"),
        ("/healthz", "", ""),
        (
            "/parsec/metrics",
            "application/json",
            r#""by_aspect":{"cursor":1,"data":1}"#,
        ),
        (
            "/parsec/telemetry/metrics",
            text,
            r#"_envelopes_total{aspect="cursor"} 1"#,
        ),
        (
            "/parsec/telemetry/metrics",
            text,
            r#"_channels_by_pattern{pattern="agents:*"} 1"#,
        ),
        (
            "/parsec/telemetry/metrics",
            text,
            r#"alert="cache_cold",severity="warning"} 1"#,
        ),
    ] {
        let answer = broker.ask(Method::GET, path, None, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let header = answer.header(CONTENT_TYPE);
        assert!(header.starts_with(content_type), "{path}: {header}");
        assert!(
            answer.text().contains(part),
            "{path}: no {part} in:\n{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_cut_off_and_stops_nobody() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.take_token(60).await;
    let mut stuck = TcpStream::connect(broker.address)
        .await
        .expect("a connection");
    stuck
        .write_all(b"GET /channels/public:x/events HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("a request");
    broker
        .page_when("a subscriber", |page| presence(page) == (1, 0))
        .await;

    // Its socket's buffers fill, then its queue; then it is out.
    let payload = "x".repeat(60 * 1024);
    let mut published = 0;
    while presence(&broker.page().await) == (1, 0) {
        assert!(published < 2_000, "still there after {published} messages");
        for _ in 0..50 {
            published = broker.publish(&token, "public:x/publish", &payload).await;
        }
    }

    let mut text = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    while !contains(&text, b"too slow") {
        let read = timeout(PATIENCE, stuck.read(&mut buffer))
            .await
            .expect("in time")
            .expect("a connection");
        assert!(read > 0, "the last word is why");
        // The payloads are long; only what is around them matters.
        text.extend(buffer[..read].iter().filter(|&&byte| byte != b'x'));
    }
    let text = String::from_utf8(text).expect("UTF-8");
    let ids = text
        .lines()
        .filter_map(|line| line.strip_prefix("id: ")?.parse::<u64>().ok());
    let last = ids
        .enumerate()
        .map(|(at, id)| (at as u64 + 1, id))
        .inspect(|(at, id)| assert_eq!(at, id))
        .last();
    let (_, last) = last.expect("some messages");
    assert!(last < published, "it missed some of {published}");
}

// Requests that are refused

/// Status, request (sent with a live token), and what its answer says would do.
const REFUSED: &str = "
400 POST   /channels/other:x/publish                      -> public:*, private:*, agents:*
400 POST   /channels//publish                             -> use 1 to 128 letters
400 POST   /channels/public:a%20b/publish                 -> use 1 to 128 letters
400 POST   /channels/public:a%2Fb/publish                 -> use 1 to 128 letters
400 POST   /channels/public:%zz/publish                   -> write %25
400 POST   /channels/public:%+f/publish                   -> write %25
400 POST   /channels/public:%FF/publish                   -> UTF-8
400 POST   /channels/public:x/publish?aspect=             -> not an aspect: use
400 POST   /channels/public:x/publish?aspect=a%0Aid:7     -> not an aspect: use
400 POST   /channels/public:x/publish?aspct=data          -> takes aspect=
400 POST   /channels/public:x/publish?aspect=a&aspect=b   -> give it once
400 GET    /channels/other:x/events                       -> public:*, private:*, agents:*
400 GET    /channels/public:x/events?kind=robot           -> kind=user or kind=agent
400 GET    /channels/public:x/events?user=agent           -> takes kind=
400 POST   /tokens?ttl=0                                  -> from 1 to 86400
400 POST   /tokens?ttl=-1                                 -> from 1 to 86400
400 POST   /tokens?ttl=soon                               -> from 1 to 86400
400 POST   /tokens?ttl=99999999999999999999               -> from 1 to 86400
404 DELETE /tokens/no-such                                -> no such token
400 DELETE /tokens/x?now                                  -> leave ?now out
404 GET    /channels                                      -> POST   /channels/NAME/publish
404 GET    /tokens/a/b                                    -> DELETE /tokens/ID
404 GET    /nowhere                                       -> /parsec/telemetry/metrics
405 GET    /channels/public:x/publish                     -> use POST
405 PUT    /channels/public:x/publish                     -> use POST
405 POST   /channels/public:x/events                      -> use GET
405 GET    /tokens                                        -> use POST
405 GET    /tokens/x                                      -> use DELETE
";

#[tokio::test]
async fn what_is_refused_says_what_would_do_and_leaves_no_trace() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.take_token(60).await;
    for row in REFUSED.trim().lines() {
        let (request, part) = row.split_once(" -> ").expect(row);
        let [status, method, path] = request.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        let answer = broker
            .ask(method.parse().expect(row), path, Some(&token), "")
            .await;
        let text = answer.text();
        assert_eq!(answer.status.as_str(), status, "{row}: {text}");
        assert!(text.contains(part), "{row}: {text}");
        assert!(
            answer.header(CONTENT_TYPE).starts_with("text/plain"),
            "{row}"
        );
        assert!(text.ends_with('\n'), "{row}: {text}");
        match status {
            "404" => {}
            "405" => assert_eq!(part, format!("use {}", answer.header(ALLOW))),
            _ => assert_eq!(text.lines().count(), 1, "{row}: {text}"),
        }
    }
    let page = broker.page().await;
    assert_eq!(page.channels.total_active, 0, "{page:?}");
    assert_eq!(
        page.envelopes.by_aspect.values().sum::<u64>(),
        0,
        "{page:?}"
    );
    assert_eq!(page.tokens.issued_last_hour, 1, "{page:?}");
    assert_eq!(page.tokens.active_count, 1, "{page:?}");
}

#[tokio::test]
async fn who_may_publish_and_what() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.take_token(60).await;
    let bearer = format!("bearer {token}");
    let fits = "x".repeat(64 * 1024);
    let large = "x".repeat(64 * 1024 + 1);
    for (header, body, status, part) in [
        (("accept", "*/*"), &b"hello"[..], 401, "POST /tokens"),
        (("authorization", ""), b"hello", 401, "POST /tokens"),
        (("authorization", "Bearer "), b"hello", 401, "POST /tokens"),
        (("authorization", "Bearer x"), b"hello", 401, "POST /tokens"),
        (("authorization", "Basic eDp5"), b"hello", 401, "Bearer ID"),
        (("authorization", &bearer), fits.as_bytes(), 200, "\"id\":1"),
        (
            ("authorization", &bearer),
            large.as_bytes(),
            413,
            "65536 bytes",
        ),
        (("accept", "*/*"), large.as_bytes(), 413, "65536 bytes"),
        (("authorization", &bearer), b"\xFF", 400, "base64"),
    ] {
        let body = Bytes::copy_from_slice(body);
        let answer = broker
            .ask_with("POST", "/channels/public:x/publish", header, body)
            .await;
        let text = answer.text();
        assert_eq!(answer.status, status, "{header:?}: {text}");
        assert!(text.contains(part), "{header:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{header:?}: {text}");
        let challenge = answer.header(WWW_AUTHENTICATE);
        assert_eq!(challenge, if status == 401 { "Bearer" } else { "" });
    }
    let answer = broker
        .ask_with(
            "GET",
            "/channels/public:x/events",
            ("last-event-id", "x"),
            "",
        )
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text().contains("0 for all"), "{}", answer.text());

    // A client that sends all of it before it listens, and takes its time, gets to hear why, too.
    let mut deaf = TcpStream::connect(broker.address)
        .await
        .expect("a connection");
    deaf.write_all(b"POST /channels/public:x/publish HTTP/1.1\r\nhost: x\r\n")
        .await
        .expect("half of a head");
    deaf.write_all(b"connection: close\r\ncontent-length: 1000000\r\n\r\n")
        .await
        .expect("the other half");
    for _ in 0..10 {
        deaf.write_all(&vec![b'x'; 100_000])
            .await
            .expect("all of it is read");
        sleep(Duration::from_millis(10)).await;
    }
    let mut answer = String::new();
    deaf.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // Where there is far too much to read, the connection may end under its sender.
    let endless = "x".repeat(4 * 1024 * 1024);
    let path = "/channels/public:x/publish";
    if let Ok(answer) = broker
        .try_ask(Method::POST, path, Some(&token), &endless)
        .await
    {
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}

#[tokio::test]
async fn patterns_are_the_operators() {
    let patterns = ["team-*:chat.*", "lobby", "*.log"];
    let flags = patterns.map(|pattern| ["--pattern", pattern]);
    let broker = Broker::start(&[&["--quiet"], flags.as_flattened()].concat());
    let token = broker.take_token(60).await;
    // One of them encoded, as a browser sends it.
    for name in [
        "lobby",
        "team-7%3Achat.room",
        "team-:chat.",
        "a.log.log",
        ".log",
    ] {
        broker
            .publish(&token, &format!("{name}/publish"), "hello")
            .await;
    }
    for name in [
        "lobby2",
        "team-7:room",
        "xteam-7:chat.room",
        "a.logs",
        "public:x",
    ] {
        let path = format!("/channels/{name}/publish");
        let answer = broker.ask(Method::POST, &path, Some(&token), "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
        let text = answer.text();
        assert!(text.contains("team-*:chat.*, lobby, *.log"), "{text}");
    }
    let page = broker
        .page_when("five channels", |page| page.channels.total_active == 5)
        .await;
    assert_eq!(
        entries(&page.channels.by_pattern),
        [("*.log", 2), ("lobby", 1), ("team-*:chat.*", 2)]
    );
}

// Beginning and end

#[test]
fn a_port_in_use_is_a_message_and_no_panic() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, _, error) = run_to_end(&["--quiet", "--listen", &address]);
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains(&address) && error.contains("--listen 127.0.0.1:0"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_bad_flag_is_a_message_and_code_2() {
    for (args, part) in [
        (&["--port", "80"][..], "'--port'"),
        (&["--listen", "localhost:8080"], "such as 127.0.0.1:8080"),
        (&["--listen"], "'--listen'"),
        (&["--history", "many"], "from 0 to 100000"),
        (&["--history", "-1"], "from 0 to 100000"),
        (&["--channels", "0"], "from 1 to"),
        (&["--cache", "0"], "from 1 to"),
        (&["--pattern", ""], "letters, digits"),
        (&["--pattern", "a b"], "letters, digits"),
        (&["--quiet=yes"], "'--quiet'"),
        (&["8080"], "8080"),
    ] {
        let (code, _, error) = run_to_end(args);
        assert_eq!(code, Some(2), "{args:?}: {error}");
        assert!(
            error.contains(part) && error.contains("--help"),
            "{args:?}: {error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let (code, help, error) = run_to_end(&["--help"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    for flag in [
        "--listen",
        "--pattern",
        "--channels",
        "--history",
        "--cache",
        "--quiet",
    ] {
        assert!(help.contains(flag), "{help}");
    }
}

#[tokio::test]
async fn sigterm_ends_event_streams_and_then_the_process() {
    let mut broker = Broker::start(&["--quiet"]);
    let token = broker.take_token(60).await;
    let mut events = broker.subscribe("public:x", "", None).await;
    broker.publish(&token, "public:x/publish", "hello").await;
    assert_eq!(events.next().await.expect("the message").data, "hello");
    // Two that have nothing to say are not waited for: one fresh, one between two requests.
    let fresh = TcpStream::connect(broker.address)
        .await
        .expect("a connection");
    let mut idle = TcpStream::connect(broker.address)
        .await
        .expect("a connection");
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("a request");
    assert!(idle.read(&mut [0; 1024]).await.expect("an answer") > 0);
    // A request that is under way is finished.
    let mut slow = TcpStream::connect(broker.address)
        .await
        .expect("a connection");
    let head = format!(
        "POST /channels/public:x/publish HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 5\r\n\r\nhel"
    );
    slow.write_all(head.as_bytes())
        .await
        .expect("half a request");
    broker
        .page_when("a subscriber", |page| presence(page) == (1, 0))
        .await;

    let stopped = Instant::now();
    broker.signal("-TERM");
    assert!(events.next().await.is_none(), "the stream ends");
    assert!(
        events
            .comments
            .iter()
            .any(|comment| comment.contains("stopping")),
        "{:?}",
        events.comments
    );
    assert!(
        TcpStream::connect(broker.address).await.is_err(),
        "nobody is let in any more"
    );
    slow.write_all(b"lo").await.expect("the other half");
    let mut answer = String::new();
    slow.read_to_string(&mut answer)
        .await
        .expect("an answer, and the end");
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"id\":2"),
        "{answer}"
    );

    let status = broker.wait();
    assert_eq!(status.code(), Some(0));
    assert!(
        stopped.elapsed() < Duration::from_secs(3),
        "took {:?}",
        stopped.elapsed()
    );
    let last = broker.lines.iter().last().expect("a last line");
    assert!(last.starts_with("stopped: 2 messages published"), "{last}");
    assert!(
        last.contains("1 tokens issued and 0 revoked; 1 still live; 0 connections cut short"),
        "{last}"
    );
    drop((fresh, idle));
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_keep_the_broker() {
    let mut broker = Broker::start(&["--quiet"]);
    let _endless = broker.endless_request().await;
    let stopped = Instant::now();
    broker.signal("-INT");
    assert_eq!(broker.wait().code(), Some(0));
    assert!(
        stopped.elapsed() < Duration::from_secs(6),
        "took {:?}",
        stopped.elapsed()
    );
    let last = broker.lines.iter().last().expect("a last line");
    assert!(last.contains("1 connections cut short"), "{last}");
}

/// Who presses Ctrl-C again does not want to wait.
#[tokio::test]
async fn a_second_signal_cuts_the_drain_short() {
    for signals in [["-INT", "-INT"], ["-TERM", "-INT"], ["-INT", "-TERM"]] {
        let mut broker = Broker::start(&["--quiet"]);
        let _endless = broker.endless_request().await;
        let [first, second] = signals;
        broker.signal(first);
        let mut lines = Vec::new();
        while lines
            .iter()
            .all(|line: &String| !line.starts_with("stopping: "))
        {
            lines.push(broker.lines.recv_timeout(PATIENCE).expect("it stops"));
        }
        let stopped = Instant::now();
        broker.signal(second);
        assert_eq!(broker.wait().code(), Some(0));
        // The drain would have taken three.
        assert!(
            stopped.elapsed() < Duration::from_secs(2),
            "took {:?}",
            stopped.elapsed()
        );
        let last = broker.lines.iter().last().expect("a last line");
        assert!(last.contains("1 connections cut short"), "{last}");
    }
}

#[tokio::test]
async fn the_built_in_clients_move_all_six_sections() {
    let mut broker = Broker::start(&[]);
    let first = broker.page().await;
    let page = broker
        .page_when("all six have moved", |page| {
            page.channels.total_active == 6
                && page.channels.by_pattern.len() == 3
                && page.envelopes.rate_per_second > 0.0
                && page.envelopes.by_aspect.len() >= 4
                && page.presence.total_users > 0
                && page.presence.total_agents > 0
                && page.presence.average_per_channel > 0.0
                && page.history.total_envelopes_buffered > first.history.total_envelopes_buffered
                && page.history.buffer_utilization_pct > 0.0
                && page.tokens.issued_last_hour > 20
                && page.tokens.active_count > 0
                && page.cache.hit_rate_pct > 0.0
                && page.cache.size_bytes > 0
                && page.cache.size_entries > 0
        })
        .await;
    assert!(
        page.channels.by_pattern.contains_key("public:*"),
        "{page:?}"
    );
    // These take a little longer: tokens are given back, others expire, and the cache has to make
    // room.
    broker
        .page_when("tokens go, too", |page| {
            let tokens = &page.tokens;
            let gone = tokens.issued_last_hour.cast_signed() - tokens.active_count;
            tokens.revoked_last_hour > 0
                && gone > tokens.revoked_last_hour.cast_signed()
                && page.cache.evictions_last_hour > 0
        })
        .await;

    broker.signal("-INT");
    assert_eq!(broker.wait().code(), Some(0));
    let lines: Vec<String> = broker.lines.iter().collect();
    let reports = lines
        .iter()
        .filter(|line| line.contains(" messages/s | ") && line.contains(" | alerts: "));
    assert!(reports.count() >= 2, "{lines:#?}");
    assert!(
        lines.last().expect("a last line").starts_with("stopped: "),
        "{lines:#?}"
    );
}

// Who may read the pages

#[tokio::test]
async fn the_pages_want_the_token_and_the_channels_do_not() {
    let broker = Broker::start(&["--quiet", "--page-token", "s3cret"]);
    for path in ["/", "/parsec/metrics", "/parsec/telemetry/metrics"] {
        for (token, status) in [
            (None, StatusCode::UNAUTHORIZED),
            (Some("wrong"), StatusCode::UNAUTHORIZED),
            (Some("s3cret"), StatusCode::OK),
        ] {
            let answer = broker.ask(Method::GET, path, token, "").await;
            assert_eq!(answer.status, status, "{path} {token:?}");
        }
    }
    for path in ["/healthz", "/readyz"] {
        let answer = broker.ask(Method::GET, path, None, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
    // The broker's own tokens are another matter.
    let token = broker.take_token(60).await;
    assert_eq!(broker.publish(&token, "public:x/publish", "hello").await, 1);
    let answer = broker
        .ask(Method::GET, "/parsec/metrics", Some(&token), "")
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[test]
fn pages_that_whoever_reaches_the_address_may_read_are_warned_of() {
    for (listen, token, warned) in [
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
        let complaints: Vec<String> = broker.complaints.iter().collect();
        assert_eq!(complaints.len(), usize::from(warned), "{complaints:?}");
        let said = complaints
            .iter()
            .all(|complaint| complaint.contains("--page-token") && complaint.contains("127.0.0.1"));
        assert!(said, "{complaints:?}");
    }
}

// The broker as a process

struct Broker {
    process: Child,
    address: SocketAddr,
    /// What it prints, from the second line on; it ends with the process.
    lines: mpsc::Receiver<String>,
    /// What it complains of, which is nothing: a panic of one of its tasks would end up here.
    complaints: mpsc::Receiver<String>,
}

impl Broker {
    fn start(args: &[&str]) -> Self {
        let mut process = Command::new(binary())
            .args(["--listen", "127.0.0.1:0"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker starts");
        let lines = lines_of(process.stdout.take().expect("it is piped"));
        let complaints = lines_of(process.stderr.take().expect("it is piped"));
        let first = lines
            .recv_timeout(PATIENCE)
            .expect("it says where it listens");
        let address = first
            .strip_prefix("listening on http://")
            .expect(&first)
            .parse()
            .expect(&first);
        Self {
            process,
            address,
            lines,
            complaints,
        }
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status();
        assert!(status.expect("kill is there").success());
    }

    fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("it is our child") {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the broker is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    async fn take_token(&self, ttl_seconds: u64) -> String {
        let answer = self
            .ask(
                Method::POST,
                &format!("/tokens?ttl={ttl_seconds}"),
                None,
                "",
            )
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["expires_in"], ttl_seconds);
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// Publishes to `path`, below `/channels/`, and gives the message's id.
    async fn publish(&self, token: &str, path: &str, payload: &str) -> u64 {
        let answer = self
            .ask(
                Method::POST,
                &format!("/channels/{path}"),
                Some(token),
                payload,
            )
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        answer.json()["id"].as_u64().expect("an id")
    }

    async fn subscribe(&self, channel: &str, query: &str, last_seen: Option<&str>) -> Events {
        let mut request = Request::get(format!("/channels/{channel}/events{query}"));
        if let Some(last_seen) = last_seen {
            request = request.header("last-event-id", last_seen);
        }
        let answer = self.send(request, "").await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[CONTENT_TYPE], "text/event-stream");
        Events {
            body: answer.into_body(),
            text: String::new(),
            comments: Vec::new(),
        }
    }

    /// A request of which the rest never comes, and that the broker has begun to read.
    async fn endless_request(&self) -> TcpStream {
        let mut endless = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        let head =
            b"POST /channels/public:x/publish HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhel";
        endless.write_all(head).await.expect("half a request");
        let _ = self.page().await;
        endless
    }

    async fn page(&self) -> Snapshot {
        let answer = self.ask(Method::GET, "/parsec/metrics", None, "").await;
        assert_eq!(answer.status, StatusCode::OK);
        serde_json::from_slice(&answer.body).expect("what the page prints reads back")
    }

    async fn page_when(&self, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let started = Instant::now();
        loop {
            let page = self.page().await;
            if is_so(&page) {
                return page;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "the page never said: {what}; it says {page:#?}"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ask(&self, method: Method, path: &str, token: Option<&str>, body: &str) -> Answer {
        self.try_ask(method, path, token, body)
            .await
            .expect("an answer")
    }

    async fn try_ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> hyper::Result<Answer> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Answer::read(self.send(request, body.to_owned()).await?).await
    }

    async fn ask_with(
        &self,
        method: &str,
        path: &str,
        header: (&str, &str),
        body: impl Into<Bytes>,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header.0, header.1);
        let answer = self.send(request, body).await.expect("an answer");
        Answer::read(answer).await.expect("a whole answer")
    }

    /// On a connection of its own, which ends when the answer's body is dropped.
    async fn send(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> hyper::Result<Response<Incoming>> {
        let stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        let (mut connection, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        let request = request
            .header(HOST, "localhost")
            .body(Full::new(body.into()))
            .expect("a request");
        timeout(PATIENCE, connection.send_request(request))
            .await
            .expect("an answer in time")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // After a test that has ended it already, there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let complaints: Vec<String> = self.complaints.iter().collect();
        if !std::thread::panicking() {
            assert!(complaints.is_empty(), "{complaints:#?}");
        }
    }
}

/// Reads for as long as there is something to read, or the broker would wait for room in the pipe.
fn lines_of(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// `target/PROFILE/examples/broker`, seen from `target/PROFILE/deps/broker-HASH`, which is this
/// test.
fn binary() -> PathBuf {
    let this = std::env::current_exe().expect("a path");
    let profile = this.ancestors().nth(2).expect("target/PROFILE");
    let binary = profile.join("examples").join("broker");
    let changed = |path: PathBuf| path.metadata().and_then(|file| file.modified()).ok();
    let built = changed(binary.clone());
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/broker");
    for source in sources.read_dir().expect("the example is there") {
        let source = source.expect("a file").path();
        assert!(
            source.extension() != Some("rs".as_ref()) || built >= changed(source),
            "{} is not there or not up to date: `cargo test` builds it, but `cargo test --test broker` \
             does not; run `cargo build --example broker`",
            binary.display()
        );
    }
    binary
}

/// Exit code, standard output, standard error.
fn run_to_end(args: &[&str]) -> (Option<i32>, String, String) {
    let mut process = Command::new(binary())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the broker starts");
    let started = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().expect("it is our child") {
            break status;
        }
        if started.elapsed() > PATIENCE {
            process.kill().expect("it is our child");
            panic!("{args:?} should not have started");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |mut from: Box<dyn Read>| {
        let mut text = String::new();
        from.read_to_string(&mut text).expect("UTF-8");
        text
    };
    let output = text(Box::new(process.stdout.take().expect("it is piped")));
    let error = text(Box::new(process.stderr.take().expect("it is piped")));
    (status.code(), output, error)
}

// Its answers

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Answer {
    async fn read(response: Response<Incoming>) -> hyper::Result<Self> {
        let (head, body) = response.into_parts();
        let body = timeout(PATIENCE, body.collect())
            .await
            .expect("a whole answer in time")?
            .to_bytes();
        Ok(Self {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    fn header(&self, name: http::HeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("UTF-8")
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A stream of server-sent events, read as the standard says.
struct Events {
    body: Incoming,
    text: String,
    comments: Vec<String>,
}

#[derive(Debug, Default)]
struct Event {
    id: u64,
    aspect: String,
    data: String,
}

impl Events {
    /// The next event, or `None` where the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if let Some(event) = self.parse(&block) {
                    return Some(event);
                }
            }
            let frame = timeout(PATIENCE, self.body.frame())
                .await
                .expect("an event in time")?;
            let data = frame
                .expect("an unbroken stream")
                .into_data()
                .expect("data");
            self.text
                .push_str(str::from_utf8(&data).expect("the broker sends whole characters"));
        }
    }

    fn parse(&mut self, block: &str) -> Option<Event> {
        let mut event = Event::default();
        let mut data = Vec::new();
        for line in block.lines().filter(|line| !line.is_empty()) {
            match line.split_once(": ").expect("a field") {
                ("", comment) => self.comments.push(comment.to_owned()),
                ("id", id) => event.id = id.parse().expect("a number"),
                ("event", aspect) => aspect.clone_into(&mut event.aspect),
                ("data", line) => data.push(line),
                ("retry", _) => {}
                (field, _) => panic!("{field} is no field"),
            }
        }
        event.data = data.join("\n");
        (event.id > 0).then_some(event)
    }
}

fn presence(page: &Snapshot) -> (u64, u64) {
    (page.presence.total_users, page.presence.total_agents)
}

fn fires(page: &Snapshot, alert: &str) -> bool {
    page.alerts.iter().any(|firing| firing.name == alert)
}

fn entries(map: &std::collections::BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    map.iter()
        .map(|(key, &count)| (key.as_str(), count))
        .collect()
}

fn close_to(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
