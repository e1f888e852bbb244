//! The server under test, with a source and rules that a test controls.

use std::cell::OnceCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use parsec_telemetry::{
    Aggregator, AlertRule, CacheStats, ChannelStats, EnvelopeStats, HistoryStats, ManualClock, Monitor, PresenceStats,
    Report, Schedule, Server, Severity, Source, SourceError, TokenStats,
};
use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::client::Client;
use crate::support::server::RunningServer;

/// The time that the rule `cache_cold` is pending.
pub(crate) const PENDING: Duration = Duration::from_secs(300);

/// A source whose report the test sets.
#[derive(Clone)]
pub(crate) struct Panel(Arc<Mutex<Result<Report, &'static str>>>);

impl Panel {
    /// All sections are measured, and no rule of [`Panel::aggregator`] fires.
    pub(crate) fn calm() -> Self {
        let report = Report {
            channels: Some(ChannelStats { total_active: 6, by_pattern: map([("agents:*", 2), ("public:*", 4)]) }),
            envelopes: Some(EnvelopeStats {
                rate_per_second: 112.5,
                by_aspect: map([("cursor", 1_600), ("data", 6_120)]),
            }),
            presence: Some(PresenceStats { total_users: 3, total_agents: 2, average_per_channel: 0.75 }),
            history: Some(HistoryStats { total_envelopes_buffered: 600, buffer_utilization_pct: 37.5 }),
            tokens: Some(TokenStats { issued_last_hour: 106, revoked_last_hour: 7, active_count: 64 }),
            cache: Some(CacheStats {
                hit_rate_pct: 84.25,
                size_bytes: 4096,
                size_entries: 65,
                evictions_last_hour: 12,
            }),
        };
        Self(Arc::new(Mutex::new(Ok(report))))
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Report)) {
        let mut report = self.0.lock().expect("no panic under the lock");
        change(report.as_mut().expect("the source has not failed"));
    }

    pub(crate) fn set_hit_rate(&self, percent: f64) {
        self.set(|report| report.cache.as_mut().expect("measured").hit_rate_pct = percent);
    }

    pub(crate) fn set_revoked(&self, tokens: u64) {
        self.set(|report| report.tokens.as_mut().expect("measured").revoked_last_hour = tokens);
    }

    /// As the source `panel`, with the rules `cache_cold`, `revocation_burst` and `no_users`.
    pub(crate) fn aggregator(&self) -> Aggregator {
        let rules = vec![
            AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.hit_rate_pct < 80.0)
                .description("The cache answers less than 80 % of the lookups")
                .for_at_least(PENDING),
            AlertRule::new("revocation_burst", Severity::Critical, |s| s.tokens.revoked_last_hour > 100)
                .description("More than 100 tokens were revoked in an hour"),
            AlertRule::new("no_users", Severity::Info, |s| s.presence.total_users == 0),
        ];
        Aggregator::new().named_source("panel", self.clone()).with_alerts(rules).expect("valid rules")
    }
}

impl Source for Panel {
    fn collect(&self) -> Result<Report, SourceError> {
        self.0.lock().expect("no panic under the lock").clone().map_err(Into::into)
    }

    fn schedule(&self) -> Schedule {
        Schedule::Inline
    }
}

/// A source that fails, or reports that no token exists.
#[derive(Clone, Default)]
pub(crate) struct Store(Arc<Mutex<Option<&'static str>>>);

impl Store {
    pub(crate) fn fail(&self, error: &'static str) {
        *self.0.lock().expect("no panic under the lock") = Some(error);
    }

    pub(crate) fn recover(&self) {
        *self.0.lock().expect("no panic under the lock") = None;
    }
}

impl Source for Store {
    fn collect(&self) -> Result<Report, SourceError> {
        let error = *self.0.lock().expect("no panic under the lock");
        let report = Report { tokens: Some(TokenStats::default()), ..Report::default() };
        error.map_or(Ok(report), |error| Err(error.into()))
    }
}

pub(crate) fn map<const N: usize>(entries: [(&str, u64); N]) -> std::collections::BTreeMap<String, u64> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Lets the monitor take a sample each second.
pub(crate) fn record(clock: &ManualClock, monitor: &Monitor, seconds: u32) {
    for _ in 0..seconds {
        clock.advance(Duration::from_secs(1));
        monitor.tick();
    }
}

/// Starts a browser in which the console polls ten times as often.
pub(crate) fn start_browser() -> Option<Browser> {
    let browser = Browser::start()?;
    let source = "{
        const start = setTimeout;
        window.setTimeout = (task, delay) => start(task, delay <= 5000 ? delay / 10 : delay);
    }";
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": source }));
    Some(browser)
}

pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    server: Option<RunningServer>,
    /// The numbers of messages and requests that the browser had logged before this site.
    logged: OnceCell<(usize, usize)>,
}

impl Site {
    pub(crate) fn start(aggregator: Aggregator) -> Self {
        Self::of(RunningServer::serve(aggregator))
    }

    pub(crate) fn of(server: RunningServer) -> Self {
        Self { address: server.address, server: Some(server), logged: OnceCell::new() }
    }

    /// An axum application that nests the server under `/ops`.
    pub(crate) fn nested(aggregator: Aggregator) -> Self {
        let app = Router::new().nest_service("/ops", Server::builder(aggregator).build());
        Self::of(RunningServer::start(Ipv4Addr::LOCALHOST, async |listener, shutdown| {
            let shutdown = async move { shutdown.await.unwrap_or_default() };
            axum::serve(listener, app).with_graceful_shutdown(shutdown).await
        }))
    }

    pub(crate) fn stop(&mut self) {
        let mut server = self.server.take().expect("it runs");
        server.shut_down();
        server.join();
    }

    pub(crate) fn start_again(&mut self, aggregator: Aggregator) {
        let server = Server::builder(aggregator).build();
        let server = RunningServer::start_at(self.address, 1, |listener, shutdown| server.serve(listener, shutdown));
        self.server = Some(server);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The JSON page, without the browser.
    pub(crate) fn json(&self) -> Value {
        let reply = Client::connect(self.address).get("/parsec/metrics");
        serde_json::from_slice(&reply.body).expect("JSON")
    }

    /// Opens the console and waits until it shows numbers.
    pub(crate) fn open(&self, browser: &Browser, path: &str) {
        // Ends the requests of another site, and makes the same address a new document.
        browser.open("about:blank");
        self.logged.get_or_init(|| (browser.messages().len(), browser.requests().len()));
        browser.open(&self.url(path));
        browser.wait_for("document.body.dataset.state === 'live'");
    }

    /// Asserts that the console has printed no message, and that all requests were for this server.
    pub(crate) fn assert_clean(&self, browser: &Browser) {
        let messages: Vec<_> =
            browser.messages().into_iter().skip(self.logged.get().map_or(0, |logged| logged.0)).collect();
        assert!(messages.is_empty(), "{messages:#?}");
        self.assert_own_requests(browser);
    }

    pub(crate) fn assert_own_requests(&self, browser: &Browser) {
        let is_own = |url: &String| {
            let authority = url.split('/').nth(2).unwrap_or_default();
            let (_credentials, host) = authority.rsplit_once('@').unwrap_or_default();
            url.starts_with("data:") || [authority, host].contains(&self.address.to_string().as_str())
        };
        let requests = browser.requests().into_iter().skip(self.logged.get().map_or(0, |logged| logged.1));
        let (own, other): (Vec<_>, Vec<_>) = requests.partition(is_own);
        assert!(!own.is_empty());
        assert!(other.is_empty(), "{other:#?}");
    }
}
