//! Prometheus scrapes the server. Its HTTP API shows the values, types, labels and alerts that it stored.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::thread;

use parsec_telemetry::{
    Aggregator, AlertRule, CacheCounters, CacheSource, CacheStats, ChannelEntry, ChannelLister, ChannelSource,
    EnvelopeCounters, EnvelopeStats, Report, Severity, Source, SourceError, TokenCounters, TokenStats,
};
use serde_json::Value;

use crate::support::poll::poll;
use crate::support::program::find_program;
use crate::support::prometheus::{ChildGuard, Prometheus, get, start_server, value_of};

const TEXT: &str = "/parsec/telemetry/metrics";

/// Aspects that need escaping. The last would forge a sample.
const SPECIAL: [&str; 5] = ["\"quoted\"", "C:\\new", "two\nlines\r\n", "größer, 更大\0", "\"} 1\nforged_total 1\n#"];

/// A rule file of an operator, with both names of the alert metric.
const RULES: &str = r#"
groups:
- name: parsec
  rules:
  - alert: ParsecCritical
    expr: parsec_telemetry_alerts_firing{severity="critical"} == 1
  - alert: ParsecCriticalForLong
    expr: parsec_alerts_firing{severity="critical"} == 1
    for: 1h
"#;

#[test]
fn prometheus_stores_every_sample_and_raises_the_firing_alerts() {
    let Some(program) = find_program("prometheus") else {
        return;
    };
    let envelopes = EnvelopeCounters::new();
    let tokens = TokenCounters::new();
    let revoked = RevokedTokens::default();
    let aggregator = Aggregator::new()
        .source(envelopes.clone())
        .source(tokens.clone())
        .source(revoked.clone())
        .source(ChannelSource::new(Rooms))
        .source(CacheSource::new(|| CacheCounters { size_bytes: 4096, ..Default::default() }))
        .with_alerts(vec![
            AlertRule::new("tokens_lost", Severity::Critical, |s| s.tokens.active_count < 0),
            AlertRule::new("always", Severity::Info, |_| true),
        ])
        .expect("valid rules");
    let (_runtime, address) = start_server(aggregator);
    let prometheus = Prometheus::start(&program, &[("parsec", address)], RULES);

    let data = envelopes.aspect("data");
    for _ in 0..41 {
        data.observe();
    }
    for aspect in SPECIAL {
        envelopes.observe(aspect);
    }
    prometheus.wait_for(r#"up{job="parsec"}"#, "1");
    prometheus.wait_for(r#"parsec_telemetry_envelopes_total{aspect="data"}"#, "41");
    data.observe();
    tokens.issued();
    prometheus.wait_for(r#"parsec_telemetry_envelopes_total{aspect="data"}"#, "42");
    prometheus.wait_for("parsec_telemetry_tokens_active", "1");
    prometheus.wait_for("parsec_telemetry_envelope_rate_per_second > bool 0", "1");
    prometheus.wait_for(r#"parsec_telemetry_channels_by_pattern{pattern="room:*"}"#, "2");
    prometheus.wait_for("parsec_telemetry_cache_size_bytes", "4096");

    // Every sample of the page is a series, and there is no other.
    let page = get(address, TEXT);
    let samples = page.lines().filter(|line| !line.starts_with('#')).count();
    prometheus.wait_for(r#"scrape_samples_scraped{job="parsec"}"#, &samples.to_string());
    let series = prometheus.query(r#"count({job="parsec",__name__=~"(parsec|process)_.+"})"#);
    assert_eq!(value_of(&series), Some(samples.to_string()).as_deref());
    assert_eq!(prometheus.query("forged_total"), Vec::<Value>::new());

    // Label values are unchanged.
    for family in ["parsec_telemetry_envelopes_total", "parsec_telemetry_envelopes_by_aspect"] {
        let series = prometheus.query(family);
        let aspects: BTreeSet<&str> =
            series.iter().map(|series| series["metric"]["aspect"].as_str().expect("a label")).collect();
        assert_eq!(aspects, SPECIAL.into_iter().chain(["data"]).collect());
    }

    // Prometheus requests OpenMetrics, which names the family of a counter without its suffix.
    let types = page.lines().filter_map(|line| {
        let (family, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        let family = family.strip_suffix("_total").unwrap_or(family);
        Some((family.to_owned(), kind.to_owned()))
    });
    assert_eq!(stored_types(&prometheus), types.collect());

    // A firing rule makes the operator's rule fire.
    assert_eq!(active_alerts(&prometheus), BTreeMap::new());
    prometheus.wait_for(r#"parsec_alerts_firing{alert="tokens_lost"}"#, "0");
    revoked.0.store(2, Relaxed);
    prometheus.wait_for(r#"parsec_telemetry_alerts_firing{alert="tokens_lost",severity="critical"}"#, "1");
    poll("both alerts", || (active_alerts(&prometheus).len() == 2).then_some(()));
    assert_eq!(
        active_alerts(&prometheus),
        [("ParsecCritical", "firing"), ("ParsecCriticalForLong", "pending")]
            .map(|(alert, state)| (alert.to_owned(), state.to_owned()))
            .into()
    );

    revoked.0.store(0, Relaxed);
    poll("no alert", || active_alerts(&prometheus).is_empty().then_some(()));
    prometheus.wait_for(r#"parsec_alerts_firing{alert="tokens_lost"}"#, "0");
    assert_eq!(prometheus.query(r#"parsec_telemetry_alerts_firing{alert="tokens_lost"}"#), Vec::<Value>::new());
}

/// One job scrapes OpenMetrics and one the text format, each every second.
/// A total that fell and came back would be a false increase of a million, and a hit rate of zero a false alert.
#[test]
fn source_that_fails_resets_no_counter_and_changes_no_alert() {
    let Some(program) = find_program("prometheus") else {
        return;
    };
    let fails = Arc::new(AtomicBool::new(false));
    let aggregator = Aggregator::new()
        .named_source("store", Store(Arc::clone(&fails)))
        .with_alerts(vec![
            AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.hit_rate_pct < 80.0),
            AlertRule::new("busy", Severity::Info, |s| s.envelopes.by_aspect.contains_key("data")),
        ])
        .expect("valid rules");
    let (_runtime, address) = start_server(aggregator);
    let prometheus = Prometheus::start(&program, &[("parsec", address)], RULES);
    let up = r#"parsec_telemetry_source_up{source="store"}"#;
    for is_up in [true, false, true] {
        fails.store(!is_up, Relaxed);
        prometheus.wait_for(up, if is_up { "1" } else { "0" });
        prometheus.wait_for("parsec_telemetry_envelopes_total", "1000000");
        prometheus.wait_for(r#"parsec_alerts_firing{alert="busy"}"#, "1");
    }
    prometheus.wait_for("resets(parsec_telemetry_envelopes_total[5m])", "0");
    prometheus.wait_for("increase(parsec_telemetry_envelopes_total[5m])", "0");
    prometheus.wait_for(r#"changes(parsec_alerts_firing{alert="busy"}[5m])"#, "0");
    prometheus.wait_for(r#"max_over_time(parsec_alerts_firing{alert="cache_cold"}[5m])"#, "0");
}

#[test]
fn scrapes_beside_a_hundred_busy_connections_succeed() {
    let (Some(program), Some(load)) = (find_program("prometheus"), find_program("h2load")) else {
        return;
    };
    let envelopes = EnvelopeCounters::new();
    envelopes.observe("data");
    let (_runtime, address) = start_server(Aggregator::new().source(envelopes));
    let targets = [("openmetrics", address), ("text", text_only_proxy(address))];
    let prometheus = Prometheus::start(&program, &targets, RULES);
    for (job, _) in targets {
        prometheus.wait_for(&format!("up{{job=\"{job}\"}}"), "1");
    }
    let mut load = ChildGuard(
        Command::new(load)
            .args(["--h1", "-c", "100", "-D", "8"])
            .arg(format!("http://{address}{TEXT}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("h2load starts"),
    );
    poll("the load ends", || load.0.try_wait().expect("a child"));
    let mut output = String::new();
    let mut stdout = load.0.stdout.take().expect("piped");
    stdout.read_to_string(&mut output).expect("UTF-8");
    assert!(output.contains(" 0 failed, 0 errored, 0 timeout"), "{output}");
    assert!(output.contains(" 2xx, 0 3xx, 0 4xx, 0 5xx"), "{output}");

    for (job, _) in targets {
        let over_time = |function| {
            let series = prometheus.query(&format!("{function}(up{{job=\"{job}\"}}[1m])"));
            let value = value_of(&series).expect("one series").parse::<u64>();
            value.expect("a number")
        };
        assert_eq!(over_time("min_over_time"), 1, "{job}");
        let scrapes = over_time("count_over_time");
        assert!(scrapes >= 6, "{job}: {scrapes} scrapes");
    }
    // Each job received its own format.
    let page = get(address, TEXT);
    for format in ["openmetrics", "prometheus"] {
        let prefix = format!("parsec_telemetry_scrapes_total{{format=\"{format}\",code=\"200\"}} ");
        let scrapes = page.lines().find_map(|line| line.strip_prefix(&prefix));
        let scrapes: u64 = scrapes.expect("a line").parse().expect("a number");
        assert!(scrapes >= 6, "{format}: {scrapes} scrapes");
    }
    let own = get(prometheus.address, "/metrics");
    let counts_failures = |line: &&str| {
        line.starts_with("prometheus_target_scrapes_") || line.starts_with("prometheus_target_scrape_pool_exceeded")
    };
    let failures: Vec<&str> = own.lines().filter(counts_failures).collect();
    assert!(failures.len() >= 5, "{failures:#?}");
    assert!(failures.iter().all(|line| line.ends_with(" 0")), "{failures:#?}");
}

/// Forwards connections to `server`, and removes OpenMetrics from each request's `Accept`: Prometheus has no such
/// option.
fn text_only_proxy(server: SocketAddr) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(upstream) = TcpStream::connect(server) else {
                continue;
            };
            let response = [&upstream, &client].map(|stream| stream.try_clone().expect("a second handle"));
            thread::spawn(move || forward_requests(client, upstream));
            let [mut upstream, mut client] = response;
            thread::spawn(move || std::io::copy(&mut upstream, &mut client));
        }
    });
    address
}

/// A scrape's request is small enough for one read.
fn forward_requests(mut client: TcpStream, mut upstream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let request = String::from_utf8_lossy(&buffer[..length])
            .replace("application/openmetrics-text", "application/unsupported");
        if upstream.write_all(request.as_bytes()).is_err() {
            break;
        }
    }
    // Ends the copy of the response, too.
    let _ = upstream.shutdown(std::net::Shutdown::Both);
}

/// Reports a million envelopes and a warm cache, or fails.
struct Store(Arc<AtomicBool>);

impl Source for Store {
    fn collect(&self) -> Result<Report, SourceError> {
        if self.0.load(Relaxed) {
            return Err("connection refused".into());
        }
        let by_aspect = [("data".to_owned(), 1_000_000)].into();
        Ok(Report {
            envelopes: Some(EnvelopeStats { rate_per_second: 1.0, by_aspect }),
            cache: Some(CacheStats { hit_rate_pct: 95.0, ..Default::default() }),
            ..Default::default()
        })
    }
}

/// Reports more revoked than issued tokens.
#[derive(Clone, Default)]
struct RevokedTokens(Arc<AtomicI64>);

impl Source for RevokedTokens {
    fn tokens(&self) -> Option<TokenStats> {
        Some(TokenStats { active_count: -self.0.load(Relaxed), ..Default::default() })
    }
}

struct Rooms;

impl ChannelLister for Rooms {
    fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>)) {
        for name in ["room:1", "room:2"] {
            visit(ChannelEntry { name, pattern: "room:*" });
        }
    }
}

/// The type of each family of the page.
fn stored_types(prometheus: &Prometheus) -> BTreeMap<String, String> {
    let data = prometheus.api("/api/v1/targets/metadata");
    let families = data.as_array().expect("a list").iter();
    families
        .map(|family| {
            let [name, kind] = ["metric", "type"].map(|key| family[key].as_str().expect("text").to_owned());
            (name, kind)
        })
        .collect()
}

/// The states of the pending and firing alerts of the rule file.
fn active_alerts(prometheus: &Prometheus) -> BTreeMap<String, String> {
    let data = prometheus.api("/api/v1/alerts");
    let alerts = data["alerts"].as_array().expect("a list").iter();
    alerts
        .map(|alert| {
            assert_eq!(alert["labels"]["alert"], "tokens_lost", "{alert}");
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            (text(&alert["labels"]["alertname"]), text(&alert["state"]))
        })
        .collect()
}
