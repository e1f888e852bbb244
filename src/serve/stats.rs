//! What the server counts of itself, and how the text page shows it.
//!
//! Every label is of a closed set, and every sample is there from the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;

use crate::aggregator::Aggregator;
use crate::encode::Format;
use crate::encode::text::{Page, counter, gauge, opening};

/// Why a connection was not served, or no longer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    /// Every place was taken.
    Full,
    /// The headers of a request did not come in time.
    SlowRequest,
    /// An answer was not read in time.
    SlowReader,
    /// The server was ending.
    Ending,
    /// The system had no descriptor, or no memory, for it.
    NotAccepted,
}

/// By the discriminants above.
const REFUSALS: [&str; 5] = [
    "full",
    "slow_request",
    "slow_reader",
    "ending",
    "not_accepted",
];

const FORMATS: [(Format, &str); 3] = [
    (Format::Json, "json"),
    (Format::Prometheus, "prometheus"),
    (Format::OpenMetrics, "openmetrics"),
];

/// What a scrape may be answered with.
const CODES: [StatusCode; 5] = [
    StatusCode::OK,
    StatusCode::UNAUTHORIZED,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// Counts, and nothing that grows. All relaxed: none says anything about another.
#[derive(Debug, Default)]
pub(super) struct Stats {
    accepted: AtomicU64,
    open: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
    scrapes: [[AtomicU64; CODES.len()]; FORMATS.len()],
    snapshots: AtomicU64,
    snapshot_nanos: AtomicU64,
    source_timeouts: AtomicU64,
}

impl Stats {
    pub(super) fn refused(&self, why: Refusal) {
        self.refused[why as usize].fetch_add(1, Relaxed);
    }

    /// A connection, until what this returns is dropped.
    pub(super) fn accepted(self: Arc<Self>) -> Open {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        Open(self)
    }

    pub(super) fn scraped(&self, format: Format, code: StatusCode) {
        if let Some(scrapes) = self.scrapes_of(format, code) {
            scrapes.fetch_add(1, Relaxed);
        }
    }

    fn scrapes_of(&self, format: Format, code: StatusCode) -> Option<&AtomicU64> {
        let format = FORMATS.iter().position(|(known, _)| *known == format)?;
        let code = CODES.iter().position(|known| *known == code)?;
        Some(&self.scrapes[format][code])
    }

    /// A scrape that was counted as answered, and could not be.
    pub(super) fn failed(&self, format: Format) {
        self.scraped(format, StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(answered) = self.scrapes_of(format, StatusCode::OK) {
            answered.fetch_sub(1, Relaxed);
        }
    }

    pub(super) fn took_snapshot(&self, took: Duration, missing: usize) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.snapshots.fetch_add(1, Relaxed);
        self.snapshot_nanos.fetch_add(nanos, Relaxed);
        self.source_timeouts.fetch_add(missing as u64, Relaxed);
    }

    /// Appends what there is to say to a text page.
    pub(super) fn write(&self, page: &mut Page<'_>, aggregator: &Aggregator) {
        page.family(opening!(
            gauge,
            "parsec_telemetry_build_info",
            "1, by the version of the crate."
        ));
        page.text("parsec_telemetry_build_info{version=\"");
        page.text(env!("CARGO_PKG_VERSION"));
        page.text("\"} ");
        page.value(1_u64);
        page.family(opening!(
            counter,
            "parsec_telemetry_scrapes",
            "Requests for a page of numbers, by what it was answered."
        ));
        for ((_, format), by_code) in FORMATS.iter().zip(&self.scrapes) {
            for (code, count) in CODES.iter().zip(by_code) {
                page.text("parsec_telemetry_scrapes_total{format=\"");
                page.text(format);
                page.text("\",code=\"");
                page.text(code.as_str());
                page.text("\"} ");
                page.value(count.load(Relaxed));
            }
        }
        let seconds = Duration::from_nanos(self.snapshot_nanos.load(Relaxed)).as_secs_f64();
        page.family(opening!(
            summary,
            "parsec_telemetry_snapshot_duration_seconds",
            "How long the sources and the rules took, a snapshot."
        ));
        page.text("parsec_telemetry_snapshot_duration_seconds_sum ");
        page.value(seconds);
        page.text("parsec_telemetry_snapshot_duration_seconds_count ");
        page.value(self.snapshots.load(Relaxed));
        page.single(
            gauge!("parsec_telemetry_connections_open", "Connections open now."),
            self.open.load(Relaxed),
        );
        page.single(
            counter!(
                "parsec_telemetry_connections_accepted",
                "Connections accepted."
            ),
            self.accepted.load(Relaxed),
        );
        page.family(opening!(
            counter,
            "parsec_telemetry_connections_refused",
            "Connections that were not served, or no longer, by why."
        ));
        for (why, count) in REFUSALS.iter().zip(&self.refused) {
            page.text("parsec_telemetry_connections_refused_total{reason=\"");
            page.text(why);
            page.text("\"} ");
            page.value(count.load(Relaxed));
        }
        page.single(
            counter!(
                "parsec_telemetry_source_panics",
                "Sections of a source that panicked and are not in a snapshot."
            ),
            aggregator.source_panics(),
        );
        page.single(
            counter!(
                "parsec_telemetry_source_timeouts",
                "Sources that had not answered when a snapshot was ended without them."
            ),
            self.source_timeouts.load(Relaxed),
        );
        page.single(
            counter!(
                "parsec_telemetry_rule_panics",
                "Alert rules that panicked, and so did not fire on a snapshot."
            ),
            aggregator.rule_panics(),
        );
    }
}

/// A connection that is open.
#[derive(Debug)]
pub(super) struct Open(Arc<Stats>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
