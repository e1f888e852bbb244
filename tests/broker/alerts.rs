//! The alert rules, and the faults of `--chaos`.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use parsec_telemetry::{AlertState, Snapshot};
use tokio::time::sleep;

use crate::http_client::is_firing;
use crate::process::{Broker, DEADLINE};

#[tokio::test]
async fn alert_fires_while_its_condition_holds() {
    let broker = Broker::start(&["--quiet", "--channels", "2", "--history", "2", "--for", "0"]);
    assert!(broker.snapshot().await.alerts.is_empty());
    let events = broker.subscribe("public:x", "", None).await;
    broker.wait_until("no_publishes firing", |s| is_firing(s, "no_publishes")).await;

    let token = broker.issue_token(60).await;
    broker.publish(&token, "public:x/publish", "hello").await;
    broker.publish(&token, "public:x/publish", "hello").await;
    broker.wait_until("no_publishes inactive", |s| !is_firing(s, "no_publishes")).await;

    let second = broker.subscribe("public:y", "", None).await;
    broker.wait_until("too_many_channels firing", |s| is_firing(s, "too_many_channels")).await;
    let third = broker.request(Method::GET, "/channels/public:z/events", None, "").await;
    assert_eq!(third.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(third.text().contains("--channels"), "{}", third.text());
    drop((events, second));
    broker.wait_until("no_subscribers firing", |s| is_firing(s, "no_subscribers")).await;
    broker.wait_until("too_many_channels inactive", |s| !is_firing(s, "too_many_channels")).await;
}

#[tokio::test]
async fn alert_is_pending_until_its_condition_has_held_for_long_enough() {
    let broker = Broker::start(&["--quiet", "--for", "1"]);
    let _events = broker.subscribe("public:x", "", None).await;
    for state in [AlertState::Pending, AlertState::Firing] {
        let snapshot = broker.wait_until("no_publishes", |s| state_of(s, "no_publishes") == state).await;
        assert_eq!(is_firing(&snapshot, "no_publishes"), state == AlertState::Firing);
    }
    broker.wait_for_line("alert no_publishes: inactive -> pending (warning): There are subscribers");
    broker.wait_for_line("alert no_publishes: pending -> firing (warning): There are subscribers");
}

#[tokio::test]
#[ignore = "watches a cycle of 40 seconds"]
async fn chaos_fires_and_resolves_alerts_and_stalls_a_source_while_no_counter_falls() {
    let broker = Broker::start(&["--chaos=40", "--for", "3"]);
    let deadline = Instant::now() + 2 * DEADLINE;
    let (mut states, mut total, mut last_good) = (Vec::new(), 0, None);
    let (mut has_stalled, mut has_fired, mut had_all_at_once) = (false, false, false);
    while !(states.ends_with(&[AlertState::Pending, AlertState::Firing, AlertState::Resolved])
        && has_stalled
        && has_fired
        && had_all_at_once)
    {
        let snapshot = broker.snapshot().await;
        assert!(Instant::now() < deadline, "{states:?} {has_stalled} {had_all_at_once} {snapshot:#?}");
        let state = state_of(&snapshot, "cache_cold");
        if states.last() != Some(&state) {
            states.push(state);
        }
        let published = snapshot.envelopes.by_aspect.values().sum();
        assert!(total <= published, "{total} {published}");
        total = published;
        has_fired |= is_firing(&snapshot, "revocation_burst");

        let source = snapshot.sources.iter().find(|source| source.name == "sessions").expect("the source");
        if source.up {
            last_good = None;
        } else {
            has_stalled = true;
            had_all_at_once |= is_firing(&snapshot, "revocation_burst") && state == AlertState::Pending;
            assert!(source.age_seconds.is_some_and(|age| age > 5.0), "{source:?}");
            let (presence, history) = (snapshot.presence, snapshot.history);
            assert!(presence.total_users + presence.total_agents > 0 && history.total_envelopes_buffered > 0);
            let first = last_good.get_or_insert_with(|| (presence.clone(), history.clone()));
            assert_eq!(*first, (presence, history));
        }
        sleep(Duration::from_millis(20)).await;
    }
    for line in [
        "chaos: the source sessions stalls for 13 s",
        "chaos: the token cache is cleared",
        "alert cache_cold: pending -> firing (warning): The token cache answers",
        "chaos: the source sessions answers again",
        "alert revocation_burst: firing -> resolved (critical): More than half",
    ] {
        broker.wait_for_line(line);
    }
}

#[test]
fn shutdown_during_a_stall_is_graceful() {
    let mut broker = Broker::start(&["--chaos=20"]);
    broker.wait_for_line("chaos: the source sessions stalls");
    broker.signal("-TERM");
    assert_eq!(broker.wait().code(), Some(0));
    let last = broker.last_line();
    assert!(last.ends_with("all connections closed"), "{last}");
}

fn state_of(snapshot: &Snapshot, rule: &str) -> AlertState {
    snapshot.rules.iter().find(|status| status.name == rule).expect("the rule exists").state
}
