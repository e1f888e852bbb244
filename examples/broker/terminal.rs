//! Terminal output. The status line is built from the same snapshot as the pages.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use hyper::service::Service;
use parsec_telemetry::{AlertTransition, Snapshot};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::broker::Broker;

/// Prints a line. Unlike `println!`, it does not panic on a closed pipe, as with `| head`.
pub(crate) fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

pub(crate) fn warn(line: &str) {
    let _ = writeln!(io::stderr(), "broker: {line}");
}

pub(crate) fn print_urls(address: SocketAddr, broker: &Broker) {
    let channel = broker.channels.patterns()[0].replace('*', "hello");
    print(&format!(
        "listening on http://{address}
  console     http://{address}/
  JSON        http://{address}/parsec/metrics
  Prometheus  http://{address}/parsec/telemetry/metrics
  health      http://{address}/healthz
subscribe: curl -N http://{address}/channels/{channel}/events
token:     curl -X POST http://{address}/tokens
publish:   curl -H 'Authorization: Bearer TOKEN' -d 'hello' http://{address}/channels/{channel}/publish"
    ));
}

/// Prints the status line once per second if it has changed.
pub(crate) async fn print_status(broker: Arc<Broker>) {
    let second = Duration::from_secs(1);
    let mut ticks = interval_at(Instant::now() + second, second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let page = broker.aggregator.handler();
    let mut last = String::new();
    loop {
        ticks.tick().await;
        // Not `Aggregator::snapshot`, which blocks for as long as a source does.
        let Ok(response) = page.call(Request::new(())).await;
        let Ok(json) = response.into_body().collect().await;
        let Ok(snapshot) = serde_json::from_slice(&json.to_bytes()) else {
            continue; // 503: the sources did not answer in time
        };
        let line = status_line(&snapshot);
        if line != last {
            print(&line);
            last = line;
        }
    }
}

pub(crate) async fn print_transitions(mut transitions: UnboundedReceiver<AlertTransition>) {
    while let Some(AlertTransition { name, severity, description, from, to, .. }) = transitions.recv().await {
        print(&format!("alert {name}: {} -> {} ({severity}): {description}", from.as_str(), to.as_str()));
    }
}

fn status_line(snapshot: &Snapshot) -> String {
    let Snapshot { channels, envelopes, presence, tokens, cache, alerts, .. } = snapshot;
    let mut names: Vec<&str> = alerts.iter().map(|alert| alert.name.as_ref()).collect();
    if names.is_empty() {
        names.push("none");
    }
    format!(
        "{:.1} messages/s | {} | {}, {} | {}, {} issued, {} revoked | cache {:.0} % | alerts: {}",
        envelopes.rate_per_second,
        count(channels.total_active, "channel"),
        count(presence.total_users, "user"),
        count(presence.total_agents, "agent"),
        count(tokens.active_count, "token"),
        tokens.issued_last_hour,
        tokens.revoked_last_hour,
        cache.hit_rate_pct,
        names.join(", "),
    )
}

/// Returns the number with the noun, in the plural unless it is 1.
pub(crate) fn count<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

pub(crate) fn print_summary(broker: &Broker, drain: &impl Display) {
    let snapshot = broker.aggregator.snapshot();
    let published: u64 = snapshot.envelopes.by_aspect.values().sum();
    print(&format!(
        "stopped: {} published; tokens in the last hour: {} issued, {} revoked; {} active; {drain}",
        count(published, "message"),
        snapshot.tokens.issued_last_hour,
        snapshot.tokens.revoked_last_hour,
        count(snapshot.tokens.active_count, "token"),
    ));
}
