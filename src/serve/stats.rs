//! The server's metrics of itself. Every label set is closed, and every sample exists from the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;

use crate::catalog::{FamilyMetadata, MetricType, counter, gauge};
use crate::collector::Durations;
use crate::encode::Format;
use crate::encode::text::TextEncoder;

/// Why the server closed a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum CloseReason {
    /// The connection limit was reached.
    Limit,
    /// The head of a request took too long to arrive.
    HeaderTimeout,
    /// The client took too long to read a response.
    WriteTimeout,
    /// The server was shutting down.
    Draining,
}

/// By the discriminants of [`CloseReason`].
const CLOSE_REASONS: [&str; 4] = ["limit", "header_timeout", "write_timeout", "draining"];

const FORMATS: [(Format, &str); 3] =
    [(Format::Json, "json"), (Format::Prometheus, "prometheus"), (Format::OpenMetrics, "openmetrics")];

/// The status codes of responses to scrapes.
const CODES: [StatusCode; 7] = [
    StatusCode::OK,
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::MISDIRECTED_REQUEST,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// All accesses are relaxed: no counter says anything about another.
#[derive(Debug, Default)]
pub(super) struct Stats {
    accepted: AtomicU64,
    open: AtomicU64,
    closed: [AtomicU64; CLOSE_REASONS.len()],
    accept_errors: AtomicU64,
    scrapes: [[AtomicU64; CODES.len()]; FORMATS.len()],
}

impl Stats {
    pub(super) fn closed(&self, reason: CloseReason) {
        self.closed[reason as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn accept_error(&self) {
        self.accept_errors.fetch_add(1, Relaxed);
    }

    /// Records a connection, which is open until the returned guard is dropped.
    pub(super) fn accepted(self: Arc<Self>) -> OpenConnection {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        OpenConnection(self)
    }

    /// Records a response to a scrape.
    pub(super) fn scraped(&self, format: Format, code: StatusCode) {
        let format = FORMATS.iter().position(|(known, _)| *known == format);
        let code = CODES.iter().position(|known| *known == code);
        if let (Some(format), Some(code)) = (format, code) {
            self.scrapes[format][code].fetch_add(1, Relaxed);
        }
    }

    /// Writes the metrics to a page. The request that the page answers is recorded afterwards.
    pub(super) fn encode(&self, encoder: &mut TextEncoder<'_>, (count, sum): Durations) {
        let build_info = gauge("parsec_telemetry_build_info", "1, labeled with the version of the crate.");
        encoder.family(&build_info).sample([("version", env!("CARGO_PKG_VERSION"))], 1_u64);

        let scrapes =
            counter("parsec_telemetry_scrapes_total", "Requests for a metrics page by format and status code.");
        let mut scrapes = encoder.family(&scrapes);
        for ((_, format), by_code) in FORMATS.iter().zip(&self.scrapes) {
            for (code, count) in CODES.iter().zip(by_code) {
                scrapes.sample([("format", *format), ("code", code.as_str())], count.load(Relaxed));
            }
        }

        let snapshot_duration = FamilyMetadata {
            metric_type: MetricType::Summary,
            name: "parsec_telemetry_snapshot_duration_seconds",
            help: "Time to collect the sources and evaluate the rules, per snapshot.",
        };
        encoder.family(&snapshot_duration).summary(sum.as_secs_f64(), count);

        // Another accept loop uses `Server::respond`.
        if self.accepted.load(Relaxed) == 0 {
            return;
        }
        let open = gauge("parsec_telemetry_connections_open", "Open connections.");
        encoder.write_sample(&open, self.open.load(Relaxed));
        let accepted = counter("parsec_telemetry_connections_accepted_total", "Connections accepted.");
        encoder.write_sample(&accepted, self.accepted.load(Relaxed));
        let closed =
            counter("parsec_telemetry_connections_closed_total", "Connections closed by the server, by reason.");
        let mut closed = encoder.family(&closed);
        for (reason, count) in CLOSE_REASONS.iter().zip(&self.closed) {
            closed.sample([("reason", *reason)], count.load(Relaxed));
        }
        let accept_errors = counter(
            "parsec_telemetry_accept_errors_total",
            "Connections that the system failed to accept, for example for lack of descriptors.",
        );
        encoder.write_sample(&accept_errors, self.accept_errors.load(Relaxed));
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<Stats>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::text::TextFormat;
    use crate::serve::process;

    #[test]
    fn docs_list_every_metric_of_the_server() {
        let docs = include_str!("../../docs/METRICS.md");
        let mut page = Vec::new();
        let mut encoder = TextEncoder::new(&mut page, TextFormat::Prometheus);
        let stats = Arc::<Stats>::default();
        let _open = Arc::clone(&stats).accepted();
        stats.encode(&mut encoder, Durations::default());
        process::encode(&mut encoder);
        encoder.finish();
        let page = String::from_utf8(page).expect("pages are UTF-8");
        for line in page.lines() {
            let Some(family) = line.strip_prefix("# TYPE ") else {
                continue;
            };
            let (name, metric_type) = family.split_once(' ').expect("a name and a type");
            let row = format!("\n| `{name}` | {metric_type} |");
            assert!(docs.contains(&row), "docs/METRICS.md has no row{row}");
        }
    }
}
