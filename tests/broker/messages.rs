//! Messages: order, encoding, replay, history limits, slow subscribers.

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::http_client::{assert_close, entries, subscribers};
use crate::process::{Broker, DEADLINE};

#[tokio::test]
async fn messages_are_received_in_order_and_counted_by_aspect() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.issue_token(60).await;
    let mut events = broker.subscribe("public:chat.room1", "", None).await;
    let aspect = |number| if number % 5 == 0 { "cursor" } else { "data" };
    for number in 1..=50 {
        // `data` is the default.
        let query = match aspect(number) {
            "data" => String::new(),
            aspect => format!("?aspect={aspect}"),
        };
        let path = format!("public:chat.room1/publish{query}");
        let payload = format!("message {number}");
        assert_eq!(broker.publish(&token, &path, &payload).await, number);
    }
    for number in 1..=50 {
        let event = events.next().await.expect("an event");
        assert_eq!(event.id, number);
        assert_eq!(event.aspect, aspect(number));
        assert_eq!(event.data, format!("message {number}"));
    }

    // The reports of different sources are up to 100 ms apart.
    let snapshot = broker
        .wait_until("50 envelopes and one channel", |s| {
            s.envelopes.by_aspect.values().sum::<u64>() == 50
                && s.channels.total_active == 1
                && s.history.total_envelopes_buffered == 50
        })
        .await;
    assert_eq!(entries(&snapshot.envelopes.by_aspect), [("cursor", 10), ("data", 40)]);
    assert!(snapshot.envelopes.rate_per_second > 0.0, "{snapshot:?}");
    assert_eq!(entries(&snapshot.channels.by_pattern), [("public:*", 1)]);
    assert_close(snapshot.history.buffer_utilization_pct, 50.0);
}

#[tokio::test]
async fn line_breaks_in_a_payload_are_preserved_and_do_not_forge_fields() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.issue_token(60).await;
    let mut events = broker.subscribe("public:x", "", None).await;
    for (payload, received) in [
        ("one\ntwo", "one\ntwo"),
        ("one\r\ntwo", "one\ntwo"),
        ("one\rid: 99\revent: forged", "one\nid: 99\nevent: forged"),
        ("\n\n", "\n\n"),
        ("", ""),
        ("größer, 更大", "größer, 更大"),
    ] {
        let id = broker.publish(&token, "public:x/publish", payload).await;
        let event = events.next().await.expect("an event");
        assert_eq!((event.id, event.aspect.as_str(), event.data.as_str()), (id, "data", received));
    }
}

#[tokio::test]
async fn reconnected_subscriber_receives_missed_and_then_new_messages() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.issue_token(60).await;
    for number in 1..=10 {
        broker.publish(&token, "public:x/publish", &number.to_string()).await;
    }
    // 4000 has not been assigned yet: it is from before a restart, and all messages are replayed.
    for (last_event_id, first) in [("0", 1), ("6", 7), ("10", 11), ("4000", 1)] {
        let mut events = broker.subscribe("public:x", "", Some(last_event_id)).await;
        for id in first..=10 {
            let event = events.next().await.expect("a replayed event");
            assert_eq!(event.id, id, "Last-Event-ID: {last_event_id}");
        }
    }
    let mut resumed = broker.subscribe("public:x", "", Some("9")).await;
    let mut fresh = broker.subscribe("public:x", "", None).await;
    broker.publish(&token, "public:x/publish", "new").await;
    assert_eq!(resumed.next().await.expect("the replayed event").id, 10);
    assert_eq!(resumed.next().await.expect("the new event").id, 11);
    assert_eq!(fresh.next().await.expect("only the new event").id, 11);
}

#[tokio::test]
async fn history_is_limited_by_messages_and_by_bytes() {
    let broker = Broker::start(&["--quiet", "--history", "5"]);
    let token = broker.issue_token(60).await;
    for number in 1..=12 {
        broker.publish(&token, "public:x/publish", &number.to_string()).await;
    }
    let mut events = broker.subscribe("public:x", "", Some("0")).await;
    for id in 8..=12 {
        assert_eq!(events.next().await.expect("a replayed event").id, id);
    }
    let snapshot = broker.wait_until("5 buffered", |s| s.history.total_envelopes_buffered == 5).await;
    assert_close(snapshot.history.buffer_utilization_pct, 100.0);

    // The limit of 256 KiB includes the other fields of each event, so it holds 3 of these, not 4.
    let payload = "x".repeat(64 * 1024);
    for _ in 0..5 {
        broker.publish(&token, "private:large/publish", &payload).await;
    }
    broker.wait_until("5 + 3 buffered", |s| s.history.total_envelopes_buffered == 8).await;
    let mut events = broker.subscribe("private:large", "", Some("0")).await;
    for id in 3..=5 {
        assert_eq!(events.next().await.expect("a replayed event").id, id);
    }
}

#[tokio::test]
async fn subscriber_that_does_not_read_is_removed_and_does_not_block_publishers() {
    let broker = Broker::start(&["--quiet"]);
    let token = broker.issue_token(60).await;
    let mut stuck = broker.connect_and_send("GET /channels/public:x/events HTTP/1.1\r\nhost: x\r\n\r\n").await;
    broker.wait_until("a subscriber", |s| subscribers(s) == (1, 0)).await;

    // First the socket's buffers fill, then the queue.
    let payload = "x".repeat(60 * 1024);
    let mut published = 0;
    while subscribers(&broker.snapshot().await) == (1, 0) {
        assert!(published < 2_000, "not removed after {published} messages");
        for _ in 0..50 {
            published = broker.publish(&token, "public:x/publish", &payload).await;
        }
    }

    let mut text = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    while !contains(&text, b"too slow") {
        let read =
            timeout(DEADLINE, stuck.read(&mut buffer)).await.expect("data before the deadline").expect("no error");
        assert!(read > 0, "the stream ended without its last comment");
        // Without the payloads, the text is short enough to search.
        text.extend(buffer[..read].iter().filter(|&&byte| byte != b'x'));
    }
    let text = String::from_utf8(text).expect("UTF-8");
    let ids: Vec<u64> = text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
    let consecutive: Vec<u64> = (1..=ids.len() as u64).collect();
    assert_eq!(ids, consecutive);
    assert!(!ids.is_empty() && (ids.len() as u64) < published);
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
