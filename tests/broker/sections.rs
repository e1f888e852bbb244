//! The sections of a snapshot: presence, tokens, cache, and all six with the built-in clients.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tokio::time::sleep;

use crate::http_client::{Response, assert_close, entries, is_firing, subscribers};
use crate::process::{Broker, DEADLINE};

#[tokio::test]
async fn presence_follows_subscribers_that_connect_and_disconnect() {
    let broker = Broker::start(&["--quiet"]);
    let first = broker.subscribe("public:a", "", None).await;
    let second = broker.subscribe("public:a", "?kind=user", None).await;
    let agent = broker.subscribe("agents:b", "?kind=agent", None).await;
    let snapshot = broker
        .wait_until("2 users, 1 agent, 2 channels", |s| subscribers(s) == (2, 1) && s.channels.total_active == 2)
        .await;
    assert_close(snapshot.presence.average_per_channel, 1.5);
    assert_eq!(entries(&snapshot.channels.by_pattern), [("agents:*", 1), ("public:*", 1)]);

    drop(first);
    broker.wait_until("1 user, 1 agent", |s| subscribers(s) == (1, 1)).await;
    drop(agent);
    broker.wait_until("1 user, no agent", |s| subscribers(s) == (1, 0)).await;
    drop(second);
    // Empty channels without subscribers are removed.
    broker
        .wait_until("no subscriber and no channel", |s| subscribers(s) == (0, 0) && s.channels.total_active == 0)
        .await;
}

#[tokio::test]
async fn revoked_and_expired_tokens_are_rejected_and_counted_once() {
    let broker = Broker::start(&["--quiet"]);
    let kept = broker.issue_token(60).await;
    let revoked = broker.issue_token(60).await;
    let short = broker.issue_token(2).await;
    let short_expired_by = Instant::now() + Duration::from_secs(2);
    assert!(kept != revoked && revoked != short && kept != short);
    broker.wait_until("3 live tokens", |s| s.tokens.active_count == 3).await;

    // Publishing puts all of them into the cache.
    for token in [&kept, &revoked, &short] {
        broker.publish(token, "public:x/publish", "hello").await;
    }
    assert_eq!(revoke(&broker, &revoked).await.status, StatusCode::NO_CONTENT);
    let again = revoke(&broker, &revoked).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert!(again.text().contains("no such token"), "{}", again.text());
    let rejected = probe(&broker, &revoked).await;
    assert_eq!(rejected.status, StatusCode::UNAUTHORIZED);
    assert!(rejected.text().contains("POST /tokens"), "{}", rejected.text());

    // A token is rejected from its expiry on, whether it has already been removed or not.
    let deadline = Instant::now() + DEADLINE;
    loop {
        let sent_at = Instant::now();
        let response = probe(&broker, &short).await;
        if response.status == StatusCode::UNAUTHORIZED {
            break;
        }
        assert!(sent_at < short_expired_by, "accepted after its expiry");
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }
    // Revoked and expired tokens leave the cache.
    let snapshot = broker
        .wait_until("1 live token, in the cache", |s| s.tokens.active_count == 1 && s.cache.size_entries == 1)
        .await;
    assert_eq!(snapshot.tokens.issued_last_hour, 3);
    assert_eq!(snapshot.tokens.revoked_last_hour, 1);
    // Revoking an expired token does not record a revocation.
    assert_eq!(revoke(&broker, &short).await.status, StatusCode::NOT_FOUND);
    broker.publish(&kept, "public:x/publish", "hello").await;
    let snapshot = broker.wait_until("4 messages", |s| s.history.total_envelopes_buffered == 4).await;
    assert_eq!(snapshot.tokens.active_count, 1);
    assert_eq!(snapshot.tokens.revoked_last_hour, 1);
}

async fn revoke(broker: &Broker, token: &str) -> Response {
    broker.request(Method::DELETE, &format!("/tokens/{token}"), None, "").await
}

/// Sends an invalid publish request: 400 with a live token, 401 with any other one. Nothing is published.
async fn probe(broker: &Broker, token: &str) -> Response {
    let path = "/channels/public:x/publish?aspect=";
    let response = broker.request(Method::POST, path, Some(token), "").await;
    assert!([StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED].contains(&response.status), "{}", response.text());
    response
}

#[tokio::test]
async fn cache_section_equals_the_lookups_and_evictions() {
    let broker = Broker::start(&["--quiet", "--cache", "32", "--for", "0"]);
    let token = broker.issue_token(60).await;
    for _ in 0..10 {
        broker.publish(&token, "public:x/publish", "hello").await;
    }
    let snapshot = broker.wait_until("9 hits in 10 lookups", |s| (s.cache.hit_rate_pct - 90.0).abs() < 1e-9).await;
    assert_eq!(snapshot.cache.size_entries, 1);
    assert_eq!(snapshot.cache.evictions_last_hour, 0);
    let entry_bytes = snapshot.cache.size_bytes;
    assert!(entry_bytes > 32, "the text of a token takes 32 bytes: {snapshot:?}");

    for _ in 0..100 {
        let token = broker.issue_token(60).await;
        broker.publish(&token, "public:x/publish", "hello").await;
    }
    let snapshot =
        broker.wait_until("9 hits in 110 lookups", |s| (s.cache.hit_rate_pct - 900.0 / 110.0).abs() < 1e-9).await;
    let cache = &snapshot.cache;
    assert!((1..=32).contains(&cache.size_entries), "{snapshot:?}");
    assert_eq!(cache.size_bytes, entry_bytes * cache.size_entries);
    assert_eq!(cache.evictions_last_hour, 101 - cache.size_entries);
    assert!(is_firing(&snapshot, "cache_cold"), "{snapshot:?}");
}

#[tokio::test]
async fn built_in_clients_change_all_six_sections() {
    let mut broker = Broker::start(&[]);
    let first = broker.snapshot().await;
    let snapshot = broker
        .wait_until("numbers in all six sections", |s| {
            s.channels.total_active == 6
                && s.channels.by_pattern.len() == 3
                && s.envelopes.rate_per_second > 0.0
                && s.envelopes.by_aspect.len() >= 4
                && s.presence.total_users > 0
                && s.presence.total_agents > 0
                && s.presence.average_per_channel > 0.0
                && s.history.total_envelopes_buffered > first.history.total_envelopes_buffered
                && s.history.buffer_utilization_pct > 0.0
                && s.tokens.issued_last_hour > 20
                && s.tokens.active_count > 0
                && s.cache.hit_rate_pct > 0.0
                && s.cache.size_bytes > 0
                && s.cache.size_entries > 0
        })
        .await;
    assert!(snapshot.channels.by_pattern.contains_key("public:*"), "{snapshot:?}");
    // The first revocation happens after 3 s, the first expiry after 4 s, the first eviction with the 65th token.
    broker
        .wait_until("revocations, expiries and evictions", |s| {
            let tokens = &s.tokens;
            let ended = tokens.issued_last_hour.cast_signed() - tokens.active_count;
            tokens.revoked_last_hour > 0
                && ended > tokens.revoked_last_hour.cast_signed()
                && s.cache.evictions_last_hour > 0
        })
        .await;

    broker.signal("-INT");
    assert_eq!(broker.wait().code(), Some(0));
    let lines: Vec<String> = broker.stdout.iter().collect();
    let status_lines = lines.iter().filter(|line| line.contains(" messages/s | ") && line.contains(" | alerts: "));
    assert!(status_lines.count() >= 2, "{lines:#?}");
    let last = lines.last().expect("a last line");
    assert!(last.starts_with("stopped: "), "{lines:#?}");
}
