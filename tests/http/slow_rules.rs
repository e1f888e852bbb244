//! Rules that block, alone and behind a source that blocks.

use std::time::Duration;

use parsec_telemetry::{Aggregator, AlertRule, Server, Severity};
use tower::ServiceExt as _;

use crate::NEVER;
use crate::support::page::{
    JSON, Page, TEXT, answer, failed_rules, get, get_json_within, snapshot, stale_sources, text,
};
use crate::support::poll::poll;
use crate::support::sources::{Gate, Responsive, SIZE_ENTRIES, frozen_aggregator};

#[test]
fn blocked_rule_is_named_and_delays_one_page_only() {
    let gate = Gate::default();
    let rules = vec![fires_on_responsive("a \"good\" one"), gate.rule("blocks")];
    let aggregator = frozen_aggregator().source(Responsive).with_alerts(rules);
    let server = Server::builder(aggregator.expect("valid rules"))
        .scrape_timeout(NEVER)
        .max_snapshot_age(Duration::ZERO)
        .build();

    // The first page waits until its deadline. The others have the time and do not wait.
    let requests = [get_json_within("0.5")].into_iter().chain((0..20).map(|_| get(JSON)));
    for request in requests {
        let page = answer(server.respond(&request));
        assert_eq!(failed_rules(&page), ["blocks"]);
        assert_eq!(snapshot(&page).cache.size_entries, SIZE_ENTRIES);
        // The states are those of the last complete evaluation: there is none.
        assert_eq!(alerts(&page), [""; 0]);
    }
    let page = text(&answer(server.respond(&get(TEXT))));
    for expected in [
        "parsec_telemetry_rule_failures_total{alert=\"blocks\"} 1",
        "parsec_telemetry_rule_failures_total{alert=\"a \\\"good\\\" one\"} 0",
        "parsec_alerts_firing{alert=\"a \\\"good\\\" one\",severity=\"info\"} 0",
    ] {
        assert!(page.lines().any(|line| line == expected), "{expected} in {page}");
    }

    assert_eq!(gate.calls(), 1);
    gate.open();
    let page = poll("the rules return", || {
        let page = answer(server.respond(&get(JSON)));
        failed_rules(&page).is_empty().then_some(page)
    });
    assert_eq!(alerts(&page), ["a \"good\" one", "blocks"]);
}

/// The source uses up the time of the request: the rules have their minimum.
#[test]
fn blocked_rule_behind_a_blocked_source_does_not_delay_the_page() {
    let [source, rule] = <[Gate; 2]>::default();
    let rules = vec![rule.rule("blocks")];
    let aggregator = frozen_aggregator().source(source.source()).source(Responsive);
    let server = Server::builder(aggregator.with_alerts(rules).expect("valid rules")).build();
    let page = answer(server.respond(&get_json_within("0.3")));
    assert_eq!(stale_sources(&page), ["Gated"]);
    assert_eq!(failed_rules(&page), ["blocks"]);
    assert_eq!(snapshot(&page).cache.size_entries, SIZE_ENTRIES);
}

#[test]
fn rules_are_evaluated_while_a_source_is_blocked() {
    let gate = Gate::default();
    let aggregator = frozen_aggregator().source(gate.source()).source(Responsive);
    let rules = vec![fires_on_responsive("fires")];
    let server = Server::builder(aggregator.with_alerts(rules).expect("valid rules")).max_snapshot_age(NEVER).build();
    let patient = server.respond(&get_json_within("20"));
    gate.wait_for_call();
    let page = answer(server.respond(&get_json_within("0.3")));
    assert_eq!(stale_sources(&page), ["Gated"]);
    assert_eq!(alerts(&page), ["fires"]);
    gate.open();
    let page = answer(patient);
    assert_eq!(stale_sources(&page), [""; 0]);
    assert_eq!(alerts(&page), ["fires"]);
}

#[test]
fn blocked_rule_does_not_block_a_mounted_handler() {
    let gate = Gate::default();
    let aggregator = Aggregator::new().with_alerts(vec![gate.rule("blocks")]);
    let handler = aggregator.expect("valid rules").handler();
    let Ok(page) = answer(handler.oneshot(get_json_within("0.2")));
    assert_eq!(failed_rules(&page), ["blocks"]);
}

fn fires_on_responsive(name: &str) -> AlertRule {
    AlertRule::new(name, Severity::Info, |snapshot| snapshot.cache.size_entries == SIZE_ENTRIES)
}

fn alerts(page: &Page) -> Vec<String> {
    let alerts = snapshot(page).alerts.into_iter();
    alerts.map(|alert| alert.name).collect()
}
