//! Prometheus itself scrapes the server. Its HTTP API shows the values, types, labels and alerts that it stored.

#![cfg(feature = "serve")]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;

use parsec_telemetry::{
    Aggregator, AlertRule, CacheCounters, CacheSource, CacheStats, ChannelEntry, ChannelLister, ChannelSource,
    EnvelopeCounters, EnvelopeStats, Report, Severity, Source, SourceError, TokenCounters, TokenStats, serve,
};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

mod support {
    pub(crate) mod poll;
    pub(crate) mod program;
    pub(crate) mod socket;
}

use support::poll::{DEADLINE, poll, try_poll};
use support::program::find_program;
use support::socket::connect;

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
    let prometheus = Prometheus::start(&program, &[("parsec", address)]);

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
    assert_eq!(prometheus.types(), types.collect());

    // A firing rule makes the operator's rule fire.
    assert_eq!(prometheus.alerts(), BTreeMap::new());
    prometheus.wait_for(r#"parsec_alerts_firing{alert="tokens_lost"}"#, "0");
    revoked.0.store(2, Relaxed);
    prometheus.wait_for(r#"parsec_telemetry_alerts_firing{alert="tokens_lost",severity="critical"}"#, "1");
    poll("both alerts", || (prometheus.alerts().len() == 2).then_some(()));
    assert_eq!(
        prometheus.alerts(),
        [("ParsecCritical", "firing"), ("ParsecCriticalForLong", "pending")]
            .map(|(alert, state)| (alert.to_owned(), state.to_owned()))
            .into()
    );

    revoked.0.store(0, Relaxed);
    poll("no alert", || prometheus.alerts().is_empty().then_some(()));
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
    let prometheus = Prometheus::start(&program, &[("parsec", address)]);
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
    let prometheus = Prometheus::start(&program, &targets);
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

/// Kills the process when it is dropped.
struct ChildGuard(Child);

impl ChildGuard {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.kill();
    }
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

/// Serves until the runtime is dropped.
fn start_server(aggregator: Aggregator) -> (Runtime, SocketAddr) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(serve(listener, aggregator, std::future::pending::<()>()));
    (runtime, address)
}

/// A Prometheus process with a configuration and a database of its own.
struct Prometheus {
    address: SocketAddr,
    process: ChildGuard,
    directory: PathBuf,
}

impl Prometheus {
    /// Starts Prometheus with one job per target, by name.
    fn start(program: &Path, targets: &[(&str, SocketAddr)]) -> Self {
        let directory =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prometheus-{}-{}", std::process::id(), targets[0].0));
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("rules.yml"), RULES).expect("written");
        let mut config = String::from(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n",
        );
        for (job, target) in targets {
            write!(
                config,
                "- job_name: {job}\n  \
                   metrics_path: /parsec/telemetry/metrics\n  \
                   static_configs: [{{targets: [\"{target}\"]}}]\n",
            )
            .expect("a String takes every write");
        }
        fs::write(directory.join("prometheus.yml"), config).expect("written");
        let mut process = Command::new(program)
            .current_dir(&directory)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus starts");
        let log = BufReader::new(process.stderr.take().expect("piped"));
        let mut this = Self {
            // Until the log shows it.
            address: targets[0].1,
            process: ChildGuard(process),
            directory,
        };
        this.address = listen_address(log);
        poll("readiness", || get(this.address, "/-/ready").contains("is Ready").then_some(()));
        this
    }

    /// The `data` of a response of the HTTP API.
    fn api(&self, path: &str) -> Value {
        let response = get(self.address, path);
        let response: Value =
            serde_json::from_str(&response).unwrap_or_else(|error| panic!("{path}: {error}: {response}"));
        assert_eq!(response["status"], "success", "{path}: {response}");
        response["data"].clone()
    }

    /// The series that an expression evaluates to.
    fn query(&self, expression: &str) -> Vec<Value> {
        let mut escaped = String::new();
        for byte in expression.bytes() {
            write!(escaped, "%{byte:02x}").expect("a String takes every write");
        }
        let data = self.api(&format!("/api/v1/query?query={escaped}"));
        data["result"].as_array().expect("series").clone()
    }

    /// Polls until an expression evaluates to one series with this value.
    fn wait_for(&self, expression: &str, value: &str) {
        let mut series = Vec::new();
        let arrived = try_poll(|| {
            series = self.query(expression);
            (series.len() == 1 && value_of(&series) == Some(value)).then_some(())
        });
        assert!(
            arrived.is_some(),
            "{expression} is not {value} but {series:?}; the targets: {}",
            self.api("/api/v1/targets")
        );
    }

    /// The type of each family of the page.
    fn types(&self) -> BTreeMap<String, String> {
        let data = self.api("/api/v1/targets/metadata");
        let families = data.as_array().expect("a list").iter();
        families
            .map(|family| {
                let [name, kind] = ["metric", "type"].map(|key| family[key].as_str().expect("text").to_owned());
                (name, kind)
            })
            .collect()
    }

    /// The states of the pending and firing alerts of the rule file.
    fn alerts(&self) -> BTreeMap<String, String> {
        let data = self.api("/api/v1/alerts");
        let alerts = data["alerts"].as_array().expect("a list").iter();
        alerts
            .map(|alert| {
                assert_eq!(alert["labels"]["alert"], "tokens_lost", "{alert}");
                let text = |value: &Value| value.as_str().expect("text").to_owned();
                (text(&alert["labels"]["alertname"]), text(&alert["state"]))
            })
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Before its directory is removed.
        self.process.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Finds the address in the log of Prometheus. Reads the log to its end, since a full pipe would block the process.
fn listen_address(mut log: impl BufRead + Send + 'static) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        while log.read_line(&mut line).is_ok_and(|length| length > 0) {
            if line.contains("\"Listening on\"")
                && let Some((_, address)) = line.split_once("address=")
            {
                // The receiver may be gone.
                let _ = sender.send(address.trim().to_owned());
            }
            eprint!("{line}");
            line.clear();
        }
    });
    let address = receiver.recv_timeout(DEADLINE).expect("prometheus logs its address");
    address.parse().expect("an address")
}

fn value_of(series: &[Value]) -> Option<&str> {
    series.first()?["value"][1].as_str()
}

/// The body of a page. HTTP/1.0 ends it with the connection.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    let (_, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    body.to_owned()
}
