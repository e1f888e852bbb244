//! A real Prometheus scrapes the server, and its own answers say what has arrived: values, types,
//! labels and alerts.

// Without `serve` there is nothing to scrape.
#![cfg(feature = "serve")]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use parsec_telemetry::{
    Aggregator, AlertRule, CacheCounters, CacheSource, ChannelEntry, ChannelLister, ChannelSource,
    EnvelopeCounters, Severity, Source, TokenCounters, TokenStats, serve,
};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

mod support;

const PATIENCE: Duration = Duration::from_secs(30);

/// Names that have to be escaped on their way, and one that wants to be more than a name.
const ODD: [&str; 5] = [
    "\"quoted\"",
    "C:\\new",
    "two\nlines\r\n",
    "größer, 更大\0",
    "\"} 1\nforged_total 1\n#",
];

/// What an operator's rule file says today.
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
fn prometheus_stores_what_was_counted_and_raises_what_fires() {
    let Some(program) = support::program("prometheus") else {
        return;
    };
    let envelopes = EnvelopeCounters::new();
    let tokens = TokenCounters::new();
    let lost = Lost::default();
    let aggregator = Aggregator::new()
        .source(envelopes.clone())
        .source(tokens.clone())
        .source(lost.clone())
        .source(ChannelSource::new(Rooms))
        .source(CacheSource::new(|| CacheCounters {
            size_bytes: 4096,
            ..Default::default()
        }))
        .with_alerts(vec![
            AlertRule::new("tokens_lost", Severity::Critical, |s| {
                s.tokens.active_count < 0
            }),
            AlertRule::new("always", Severity::Info, |_| true),
        ])
        .expect("names of their own");
    let (_runtime, at) = serving(aggregator);
    let prometheus = Prometheus::start(&program, &[("parsec", at)]);

    // It scrapes, and the numbers move.
    let data = envelopes.aspect("data");
    for _ in 0..41 {
        data.observe();
    }
    for odd in ODD {
        envelopes.observe(odd);
    }
    prometheus.wait_for(r#"up{job="parsec"}"#, "1");
    prometheus.wait_for(r#"parsec_telemetry_envelopes_total{aspect="data"}"#, "41");
    data.observe();
    tokens.issued();
    prometheus.wait_for(r#"parsec_telemetry_envelopes_total{aspect="data"}"#, "42");
    prometheus.wait_for("parsec_telemetry_tokens_active", "1");
    prometheus.wait_for("parsec_telemetry_envelope_rate_per_second > bool 0", "1");
    prometheus.wait_for(
        r#"parsec_telemetry_channels_by_pattern{pattern="room:*"}"#,
        "2",
    );
    prometheus.wait_for("parsec_telemetry_cache_size_bytes", "4096");

    // Every line of the page has become a series, and nothing else has.
    let page = get(at, "/parsec/telemetry/metrics");
    let on_the_page = page.lines().filter(|line| !line.starts_with('#')).count();
    prometheus.wait_for(
        r#"scrape_samples_scraped{job="parsec"}"#,
        &on_the_page.to_string(),
    );
    let series = prometheus.ask(r#"count({job="parsec",__name__=~"(parsec|process)_.+"})"#);
    assert_eq!(value_of(&series), Some(on_the_page.to_string()).as_deref());
    assert_eq!(prometheus.ask("forged_total"), Vec::<Value>::new());

    // Names have come through whole.
    for family in [
        "parsec_telemetry_envelopes_total",
        "parsec_telemetry_envelopes_by_aspect",
    ] {
        let series = prometheus.ask(family);
        let aspects: BTreeSet<&str> = series
            .iter()
            .map(|series| series["metric"]["aspect"].as_str().expect("a label"))
            .collect();
        assert_eq!(aspects, ODD.into_iter().chain(["data"]).collect());
    }

    // Every family has its type. Prometheus asks for OpenMetrics, where a counter's family is
    // named without its suffix.
    let types = page.lines().filter_map(|line| {
        let (family, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        let family = family.strip_suffix("_total").unwrap_or(family);
        Some((family.to_owned(), kind.to_owned()))
    });
    assert_eq!(prometheus.types(), types.collect());

    // A rule of ours fires, and so does the operator's rule on it.
    assert_eq!(prometheus.alerts(), BTreeMap::new());
    prometheus.wait_for(r#"parsec_alerts_firing{alert="tokens_lost"}"#, "0");
    lost.0.store(2, Relaxed);
    prometheus.wait_for(
        r#"parsec_telemetry_alerts_firing{alert="tokens_lost",severity="critical"}"#,
        "1",
    );
    poll("both alerts", || {
        (prometheus.alerts().len() == 2).then_some(())
    });
    assert_eq!(
        prometheus.alerts(),
        [
            ("ParsecCritical", "firing"),
            ("ParsecCriticalForLong", "pending")
        ]
        .map(|(alert, state)| (alert.to_owned(), state.to_owned()))
        .into()
    );

    // And when it is over, it is over.
    lost.0.store(0, Relaxed);
    poll("no alert", || prometheus.alerts().is_empty().then_some(()));
    prometheus.wait_for(r#"parsec_alerts_firing{alert="tokens_lost"}"#, "0");
    assert_eq!(
        prometheus.ask(r#"parsec_telemetry_alerts_firing{alert="tokens_lost"}"#),
        Vec::<Value>::new()
    );
}

/// Both formats, every second, while a hundred others ask as fast as they can: no scrape fails.
#[test]
fn no_scrape_fails_under_load() {
    let (Some(program), Some(load)) = (support::program("prometheus"), support::program("h2load"))
    else {
        return;
    };
    let envelopes = EnvelopeCounters::new();
    envelopes.observe("data");
    let (_runtime, at) = serving(Aggregator::new().source(envelopes));
    let targets = [("openmetrics", at), ("text", asking_for_text(at))];
    let prometheus = Prometheus::start(&program, &targets);
    for (job, _) in targets {
        prometheus.wait_for(&format!("up{{job=\"{job}\"}}"), "1");
    }
    let mut load = Ended(
        Command::new(load)
            .args(["--h1", "-c", "100", "-D", "8"])
            .arg(format!("http://{at}/parsec/telemetry/metrics"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("h2load starts"),
    );
    poll("the load is over", || load.0.try_wait().expect("a child"));
    let mut said = String::new();
    let mut output = load.0.stdout.take().expect("piped");
    output.read_to_string(&mut said).expect("UTF-8");
    assert!(said.contains(" 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains(" 2xx, 0 3xx, 0 4xx, 0 5xx"), "{said}");

    for (job, _) in targets {
        let ask = |function| {
            let series = prometheus.ask(&format!("{function}(up{{job=\"{job}\"}}[1m])"));
            let value = value_of(&series).expect("one series").parse::<u64>();
            value.expect("a whole number")
        };
        assert_eq!(ask("min_over_time"), 1, "{job}");
        let scrapes = ask("count_over_time");
        assert!(scrapes >= 6, "{job}: {scrapes} scrapes");
    }
    // Each job got the format that it was to get.
    let page = get(at, "/parsec/telemetry/metrics");
    for format in ["openmetrics", "prometheus"] {
        let of = format!("parsec_telemetry_scrapes_total{{format=\"{format}\",code=\"200\"}} ");
        let scrapes = page.lines().find_map(|line| line.strip_prefix(&of));
        let scrapes: u64 = scrapes.expect("a line").parse().expect("a number");
        assert!(scrapes >= 6, "{format}: {scrapes} scrapes");
    }
    // What Prometheus counts of scrapes that went wrong.
    let own = get(prometheus.at, "/metrics");
    let wrong = |line: &&str| {
        line.starts_with("prometheus_target_scrapes_")
            || line.starts_with("prometheus_target_scrape_pool_exceeded")
    };
    let wrong: Vec<&str> = own.lines().filter(wrong).collect();
    assert!(wrong.len() >= 5, "{wrong:#?}");
    assert!(wrong.iter().all(|line| line.ends_with(" 0")), "{wrong:#?}");
}

/// Where each request for OpenMetrics becomes one for the text format on its way to a server:
/// Prometheus has no setting for that.
fn asking_for_text(server: SocketAddr) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(upstream) = TcpStream::connect(server) else {
                continue;
            };
            let back = [&upstream, &client].map(|stream| stream.try_clone().expect("a twin"));
            thread::spawn(move || {
                forward(client, upstream, |request| {
                    request.replace("application/openmetrics-text", "application/unheard-of")
                });
            });
            let [mut upstream, mut client] = back;
            thread::spawn(move || std::io::copy(&mut upstream, &mut client));
        }
    });
    at
}

/// Each request as it comes: one is small enough to come in one piece.
fn forward(mut from: TcpStream, mut to: TcpStream, change: impl Fn(String) -> String) {
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let request = String::from_utf8_lossy(&piece[..length]).into_owned();
        if to.write_all(change(request).as_bytes()).is_err() {
            break;
        }
    }
    // The other side has nothing left to say, either.
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// A process that is ended with the test.
struct Ended(Child);

impl Ended {
    fn end(&mut self) {
        // By its process id, and waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.end();
    }
}

/// Tokens that were revoked and never issued.
#[derive(Clone, Default)]
struct Lost(Arc<AtomicI64>);

impl Source for Lost {
    fn tokens(&self) -> Option<TokenStats> {
        Some(TokenStats {
            active_count: -self.0.load(Relaxed),
            ..Default::default()
        })
    }
}

struct Rooms;

impl ChannelLister for Rooms {
    fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>)) {
        for name in ["room:1", "room:2"] {
            visit(ChannelEntry {
                name,
                pattern: "room:*",
            });
        }
    }
}

/// Serves for as long as the runtime is there.
fn serving(aggregator: Aggregator) -> (Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .expect("a free port");
    let at = listener.local_addr().expect("an address");
    runtime.spawn(serve(listener, aggregator, std::future::pending::<()>()));
    (runtime, at)
}

/// A Prometheus of the test's own, ended with it.
struct Prometheus {
    at: SocketAddr,
    process: Ended,
    folder: PathBuf,
}

impl Prometheus {
    /// It scrapes each target as a job of this name.
    fn start(program: &Path, targets: &[(&str, SocketAddr)]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "prometheus-{}-{}",
            std::process::id(),
            targets[0].0
        ));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("rules.yml"), RULES).expect("written");
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
        fs::write(folder.join("prometheus.yml"), config).expect("written");
        let mut process = Command::new(program)
            .current_dir(&folder)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus starts");
        let log = BufReader::new(process.stderr.take().expect("piped"));
        // From here on it is ended, whatever happens.
        let mut this = Self {
            at: targets[0].1,
            process: Ended(process),
            folder,
        };
        this.at = listening_at(log);
        poll("readiness", || {
            get(this.at, "/-/ready").contains("is Ready").then_some(())
        });
        this
    }

    /// What the HTTP API says.
    fn api(&self, path: &str) -> Value {
        let answer = get(self.at, path);
        let answer: Value = serde_json::from_str(&answer)
            .unwrap_or_else(|error| panic!("{path}: {error}: {answer}"));
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The series that an expression gives now.
    fn ask(&self, expression: &str) -> Vec<Value> {
        let mut escaped = String::new();
        for byte in expression.bytes() {
            write!(escaped, "%{byte:02x}").expect("a String takes every write");
        }
        let data = self.api(&format!("/api/v1/query?query={escaped}"));
        data["result"].as_array().expect("series").clone()
    }

    /// Asks until an expression gives one series with this value.
    fn wait_for(&self, expression: &str, value: &str) {
        let mut said = Vec::new();
        let arrived = poll_or_give_up(|| {
            said = self.ask(expression);
            (said.len() == 1 && value_of(&said) == Some(value)).then_some(())
        });
        assert!(
            arrived.is_some(),
            "{expression} is not {value} but {said:?}; the targets: {}",
            self.api("/api/v1/targets")
        );
    }

    /// The type of each family of the page.
    fn types(&self) -> BTreeMap<String, String> {
        let data = self.api("/api/v1/targets/metadata");
        let families = data.as_array().expect("a list").iter();
        families
            .map(|family| {
                let [name, kind] =
                    ["metric", "type"].map(|key| family[key].as_str().expect("text").to_owned());
                (name, kind)
            })
            .collect()
    }

    /// The alerts of the rule file that are not inactive, and their states.
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
        // When nobody uses the folder any more.
        self.process.end();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The address that Prometheus was given, by its log, which is read to its end: a full pipe would
/// hold it up.
fn listening_at(mut log: impl BufRead + Send + 'static) -> SocketAddr {
    let (sender, found) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        while log.read_line(&mut line).is_ok_and(|length| length > 0) {
            if let Some((_, address)) = line
                .contains("\"Listening on\"")
                .then(|| line.split_once("address="))
                .flatten()
            {
                // Nobody may wait for it any more.
                let _ = sender.send(address.trim().to_owned());
            }
            eprint!("{line}");
            line.clear();
        }
    });
    let address = found
        .recv_timeout(PATIENCE)
        .expect("prometheus says where it listens");
    address.parse().expect("an address")
}

fn value_of(series: &[Value]) -> Option<&str> {
    series.first()?["value"][1].as_str()
}

/// The body of a page. HTTP/1.0, so that it ends with the connection and comes in one piece.
fn get(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {at}\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("headers and a body");
    body.to_owned()
}

fn poll<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    poll_or_give_up(ask).unwrap_or_else(|| panic!("waited for in vain: {what}"))
}

/// Asks until there is an answer, or for as long as there is patience.
fn poll_or_give_up<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let answer = ask();
        if answer.is_some() {
            return answer;
        }
        thread::sleep(Duration::from_millis(50));
    }
    None
}
