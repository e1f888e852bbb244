//! Graceful shutdown.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::http_client::subscribers;
use crate::process::{Broker, DEADLINE};

#[tokio::test]
async fn sigterm_ends_event_streams_and_finishes_requests_in_flight() {
    let mut broker = Broker::start(&["--quiet"]);
    let token = broker.issue_token(60).await;
    let mut events = broker.subscribe("public:x", "", None).await;
    broker.publish(&token, "public:x/publish", "hello").await;
    assert_eq!(events.next().await.expect("the message").data, "hello");
    // Idle connections do not delay the exit: one without a request, one between two requests.
    let _fresh = broker.connect().await;
    let mut idle = broker.connect_and_send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(idle.read(&mut [0; 1024]).await.expect("a response") > 0);
    let mut in_flight = broker.begin_publish(&token).await;
    broker.wait_until("a subscriber", |s| subscribers(s) == (1, 0)).await;

    broker.signal("-TERM");
    assert!(events.next().await.is_none(), "the stream ends");
    let comments = &events.comments;
    assert!(comments.iter().any(|text| text.contains("shutting down")), "{comments:?}");
    assert!(TcpStream::connect(broker.address).await.is_err(), "the listener is closed");
    in_flight.write_all(b"lo").await.expect("the rest is sent");
    let mut response = String::new();
    timeout(DEADLINE, in_flight.read_to_string(&mut response))
        .await
        .expect("a response before the deadline")
        .expect("no error");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.contains("\"id\":2"), "{response}");

    assert_eq!(broker.wait().code(), Some(0));
    assert_eq!(
        broker.last_line(),
        "stopped: 2 messages published; tokens in the last hour: 1 issued, 0 revoked; \
         1 token active; all connections closed"
    );
}

#[tokio::test]
async fn endless_request_is_aborted_after_the_drain_timeout() {
    let mut broker = Broker::start(&["--quiet"]);
    let _endless = broker.begin_publish("").await;
    broker.signal("-INT");
    assert_eq!(broker.wait().code(), Some(0));
    let last = broker.last_line();
    assert!(last.ends_with("1 connection aborted after 3 s"), "{last}");
}

#[tokio::test]
async fn second_signal_aborts_the_drain() {
    for [first, second] in [["-INT", "-INT"], ["-TERM", "-INT"], ["-INT", "-TERM"]] {
        let mut broker = Broker::start(&["--quiet"]);
        let _endless = broker.begin_publish("").await;
        broker.signal(first);
        broker.wait_for_line("shutting down: ");
        broker.signal(second);
        assert_eq!(broker.wait().code(), Some(0));
        let last = broker.last_line();
        assert!(last.ends_with("1 connection aborted by a second signal"), "{last}");
    }
}

/// The seconds in which the process stood still are gaps, and the samples after them are on time.
#[tokio::test]
async fn stopped_process_leaves_a_gap_in_the_series_and_goes_on() {
    let broker = Broker::start(&["--quiet"]);
    let points = async || -> Vec<bool> {
        let series = broker.get("/parsec/series?tier=minute").await.json();
        let points = series["tiers"][0]["series"]["channels.total_active"]["avg"].as_array().cloned();
        // The first sample may come before every source has reported.
        points.unwrap_or_default().iter().map(serde_json::Value::is_number).skip_while(|known| !known).collect()
    };
    let deadline = Instant::now() + DEADLINE;
    while points().await.len() < 2 {
        assert!(Instant::now() < deadline, "no two points within {DEADLINE:?}");
        sleep(Duration::from_millis(20)).await;
    }
    broker.signal("-STOP");
    // The time that passes is the test.
    sleep(Duration::from_millis(3_500)).await;
    broker.signal("-CONT");
    loop {
        let points = points().await;
        let first = points.iter().position(|known| !known).unwrap_or(points.len());
        let gap = points[first..].iter().take_while(|known| !**known).count();
        if points[first + gap..].iter().filter(|known| **known).count() >= 3 {
            assert!(gap >= 2, "{points:?}");
            break;
        }
        assert!(Instant::now() < deadline, "no gap and three points after it within {DEADLINE:?}: {points:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
