//! What the broker says on the terminal. The line is made of the same snapshot as the page.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parsec_telemetry::Snapshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::broker::Broker;

/// `println!` panics when nobody reads any more, as behind `| head`. The broker goes on.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "broker: {line}");
}

pub(crate) fn greet(address: SocketAddr, broker: &Broker) {
    let channel = broker.channels.patterns()[0].replace('*', "hello");
    say(&format!(
        "listening on http://{address}
  pages       http://{address}/
  JSON        http://{address}/parsec/metrics
  Prometheus  http://{address}/parsec/telemetry/metrics
  health      http://{address}/healthz
subscribe: curl -N http://{address}/channels/{channel}/events
token:     curl -X POST http://{address}/tokens
publish:   curl -H 'Authorization: Bearer TOKEN' -d 'hello' http://{address}/channels/{channel}/publish"
    ));
}

/// One line a second, unless it would say the same again.
pub(crate) async fn every_second(broker: Arc<Broker>) {
    let second = Duration::from_secs(1);
    let mut ticks = interval_at(Instant::now() + second, second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last = String::new();
    loop {
        ticks.tick().await;
        let line = line(&broker.aggregator.snapshot());
        if line != last {
            say(&line);
            last = line;
        }
    }
}

fn line(snapshot: &Snapshot) -> String {
    let Snapshot {
        channels,
        envelopes,
        presence,
        tokens,
        cache,
        ..
    } = snapshot;
    let alerts: Vec<&str> = snapshot
        .alerts
        .iter()
        .map(|alert| alert.name.as_ref())
        .collect();
    format!(
        "{:.1} messages/s | {} channels | {} users, {} agents | {} tokens, {} issued, {} revoked | cache {:.0} % | alerts: {}",
        envelopes.rate_per_second,
        channels.total_active,
        presence.total_users,
        presence.total_agents,
        tokens.active_count,
        tokens.issued_last_hour,
        tokens.revoked_last_hour,
        cache.hit_rate_pct,
        if alerts.is_empty() {
            "none".to_owned()
        } else {
            alerts.join(", ")
        },
    )
}

pub(crate) fn farewell(broker: &Broker, cut_short: usize) {
    let snapshot = broker.aggregator.snapshot();
    let published: u64 = snapshot.envelopes.by_aspect.values().sum();
    say(&format!(
        "stopped: {published} messages published; in the last hour {} tokens issued and {} revoked; {} still live; \
         {cut_short} connections cut short",
        snapshot.tokens.issued_last_hour,
        snapshot.tokens.revoked_last_hour,
        snapshot.tokens.active_count,
    ));
}
