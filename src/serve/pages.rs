//! Requests for the metrics pages: negotiated, collected, rendered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::oneshot;

use crate::aggregator::Aggregator;
use crate::board::Freshness;
use crate::catch_panic::catch_panic;
use crate::collector::{Collected, PendingRequest};
use crate::encode::Format;
use crate::encode::text::TextEncoder;
use crate::serve::future::{ResponseFuture, State};
use crate::serve::negotiate;
use crate::serve::options::{MAX_SCRAPE_TIMEOUT, MIN_TIMEOUT, ServeOptions};
use crate::serve::process;
use crate::serve::rendered::{Encoding, RenderedPages};
use crate::serve::response::{self, Response};
use crate::serve::stats::Stats;
use crate::worker::{deadline, lock};

/// The metrics pages of an aggregator.
pub(super) struct Pages {
    pub(super) aggregator: Aggregator,
    options: ServeOptions,
    /// Present on a server, which adds its own metrics to the text page.
    stats: Option<Arc<Stats>>,
    rendered: RenderedPages,
}

/// What a request asks for.
#[derive(Clone, Copy)]
struct Wanted {
    encoding: Encoding,
    content_type: &'static str,
    is_head: bool,
}

impl Pages {
    pub(super) fn new(aggregator: Aggregator, options: ServeOptions, stats: Option<Arc<Stats>>) -> Self {
        Self { aggregator, options, stats, rendered: RenderedPages::default() }
    }

    /// Answers a request for a page. For a text format, `Accept` decides which.
    pub(super) fn respond(self: &Arc<Self>, format: Format, method: &Method, headers: &HeaderMap) -> ResponseFuture {
        let (format, content_type) = match format {
            Format::Json => (format, format.content_type()),
            Format::Prometheus | Format::OpenMetrics => negotiate::text_format(headers),
        };
        if !response::is_read(method) {
            let response = response::other_method(method);
            self.record(format, response.status());
            return ResponseFuture::ready(response);
        }
        let wanted = Wanted {
            encoding: Encoding { format, gzip: negotiate::accepts_gzip(headers) },
            content_type,
            is_head: method == Method::HEAD,
        };

        let received_at = Instant::now();
        let freshness = Freshness { received_at, max_age: self.options.max_snapshot_age, for_monitor: false };
        let collector = self.aggregator.collector();
        if let Some(latest) = collector.shared().latest(freshness)
            && let Some(page) = self.rendered.get(&latest, wanted.encoding)
        {
            return ResponseFuture::ready(self.page(wanted, page));
        }
        let timeout = scrape_timeout(headers).unwrap_or(self.options.scrape_timeout);
        let (sender, response) = oneshot::channel();
        let pages = Arc::clone(self);
        collector.request(PendingRequest {
            freshness,
            deadline: deadline(received_at, timeout),
            // Rendered on the collector thread, since a large page would block an executor.
            respond: Box::new(move |collected| {
                // The client may be gone.
                let _ = sender.send(pages.render(wanted, collected));
            }),
        });
        ResponseFuture(State::Collecting(response))
    }

    /// Records the response to a request that was answered without a page.
    pub(super) fn record(&self, format: Format, status: StatusCode) {
        if let Some(stats) = &self.stats {
            stats.scraped(format, status);
        }
    }

    fn render(&self, wanted: Wanted, collected: &Arc<Collected>) -> Response {
        let render = || self.render_uncompressed(wanted.encoding.format, collected);
        let page = catch_panic(|| self.rendered.get_or_render(collected, wanted.encoding, render));
        if let Ok(page) = page {
            return self.page(wanted, page);
        }
        let response = response::internal_error();
        self.record(wanted.encoding.format, response.status());
        response
    }

    fn render_uncompressed(&self, format: Format, collected: &Collected) -> Vec<u8> {
        let mut page = Vec::with_capacity(8192);
        match (&self.stats, format.text_format()) {
            (Some(stats), Some(text_format)) => {
                let mut encoder = TextEncoder::new(&mut page, text_format);
                encoder.write_snapshot(&collected.snapshot);
                let durations = *lock(&self.aggregator.collector().shared().durations);
                stats.encode(&mut encoder, durations);
                process::encode(&mut encoder);
                encoder.finish();
            }
            _ => format.render_into(&mut page, &collected.snapshot),
        }
        page
    }

    fn page(&self, wanted: Wanted, (encoding, page): (Encoding, Bytes)) -> Response {
        let vary = if encoding.format == Format::Json { "Accept-Encoding" } else { "Accept, Accept-Encoding" };
        let response = response::page(wanted.is_head, wanted.content_type, page);
        let response = response::encoded(response, vary, encoding.gzip);
        self.record(encoding.format, response.status());
        response
    }
}

/// Returns how long the scraper waits, less a tenth for the response to arrive.
fn scrape_timeout(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("x-prometheus-scrape-timeout-seconds")?;
    let seconds: f64 = seconds.to_str().ok()?.parse().ok()?;
    let (shortest, longest) = (MIN_TIMEOUT.as_secs_f64(), MAX_SCRAPE_TIMEOUT.as_secs_f64());
    (seconds > 0.0).then(|| Duration::from_secs_f64((seconds * 0.9).clamp(shortest, longest)))
}
