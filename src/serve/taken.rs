//! A snapshot that was taken, and its pages, each made once.

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::aggregator::Aggregator;
use crate::encode::text::{Page, header};
use crate::encode::{Format, openmetrics};
use crate::serve::process;
use crate::serve::stats::Stats;
use crate::snapshot::Snapshot;

/// What a page comes as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) format: Format,
    pub(super) gzip: bool,
}

/// A page that is smaller fits into one packet as it is.
const WORTH_PACKING: usize = 1024;

pub(super) struct Taken {
    /// When its sources began to be asked.
    pub(super) begun: Instant,
    snapshot: Snapshot,
    /// The sources that did not answer in time, by their places.
    missing: Vec<usize>,
    /// At most one for each format, plain and packed.
    pages: Mutex<Vec<(Form, Bytes)>>,
}

impl Taken {
    pub(super) fn new(begun: Instant, snapshot: Snapshot, missing: Vec<usize>) -> Self {
        Self {
            begun,
            snapshot,
            missing,
            pages: Mutex::default(),
        }
    }

    pub(super) fn has(&self, form: Form) -> bool {
        self.made(form).is_some()
    }

    fn made(&self, form: Form) -> Option<Bytes> {
        let pages = self.pages();
        let mut pages = pages.iter();
        let (_, page) = pages.find(|(made, _)| *made == form)?;
        Some(page.clone())
    }

    /// The page in a form, or plain where it is not worth packing. On the text page the server
    /// reports on itself, too, if it is one.
    pub(super) fn page(
        &self,
        form: Form,
        aggregator: &Aggregator,
        server: Option<&Stats>,
    ) -> (Form, Bytes) {
        if let Some(page) = self.made(form) {
            return (form, page);
        }
        let plain = Form {
            gzip: false,
            ..form
        };
        let page = if form.gzip {
            let (_, page) = self.page(plain, aggregator, server);
            if page.len() < WORTH_PACKING {
                return (plain, page);
            }
            packed(&page)
        } else {
            self.render(form.format, aggregator, server)
        };
        let page = Bytes::from(page);
        self.pages().push((form, page.clone()));
        (form, page)
    }

    fn render(&self, format: Format, aggregator: &Aggregator, server: Option<&Stats>) -> Vec<u8> {
        // OpenMetrics is made of the text page, once all is on it.
        let base = match format {
            Format::OpenMetrics => Format::Prometheus,
            base => base,
        };
        let mut page = base.render(&self.snapshot, aggregator.rules());
        if !self.missing.is_empty() {
            self.add_missing(&mut page, base, aggregator);
        }
        if base == Format::Prometheus
            && let Some(stats) = server
        {
            let mut page = Page::new(&mut page);
            stats.write(&mut page, aggregator);
            process::write(&mut page);
        }
        if format == Format::OpenMetrics {
            let text = std::mem::take(&mut page);
            openmetrics::convert(&mut page, &text);
        }
        page
    }

    /// Says which sources are not in the numbers.
    fn add_missing(&self, page: &mut Vec<u8>, format: Format, aggregator: &Aggregator) {
        let types: Vec<&str> = aggregator.source_types().collect();
        let missing = self.missing.iter().map(|&source| (source, types[source]));
        // A `Vec` takes every write.
        if format == Format::Json {
            let entry = |(source, name): (usize, &str)| serde_json::json!({ "source": source, "type": name });
            let missing: serde_json::Value = missing.map(entry).collect();
            page.truncate(page.len() - "}\n".len());
            let _ = writeln!(page, ",\"missing\":{missing}}}");
            return;
        }
        let mut page = Page::new(page);
        page.text(header!(
            "gauge",
            "parsec_telemetry_source_missing",
            "1 for each source that did not answer in time: its numbers are not on this page."
        ));
        for (source, name) in missing {
            page.text("parsec_telemetry_source_missing{source=\"");
            page.text(&source.to_string());
            page.text("\",type=\"");
            page.label(name);
            page.single("\"} ", 1_u64);
        }
    }

    fn pages(&self) -> MutexGuard<'_, Vec<(Form, Bytes)>> {
        // A page is whole before it is kept.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At the fastest level: numbers pack well at any.
fn packed(page: &[u8]) -> Vec<u8> {
    let room = Vec::with_capacity(page.len() / 4);
    let mut encoder = GzEncoder::new(room, Compression::fast());
    let written = encoder.write_all(page).and_then(|()| encoder.finish());
    written.expect("a Vec takes every write")
}
