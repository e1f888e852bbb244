//! A snapshot that was taken, and its pages, each made once.

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use crate::aggregator::Aggregator;
use crate::encode::Format;
use crate::serve::process;
use crate::serve::stats::Stats;
use crate::serve::text::Text;
use crate::snapshot::Snapshot;

pub(super) struct Taken {
    /// When its sources began to be asked.
    pub(super) begun: Instant,
    snapshot: Snapshot,
    /// The sources that did not answer in time, by their places.
    missing: Vec<usize>,
    pages: Mutex<Vec<(Format, Bytes)>>,
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

    pub(super) fn has(&self, format: Format) -> bool {
        self.pages().iter().any(|(made, _)| *made == format)
    }

    /// The page in a format. On the text page the server reports on itself, too, if it is one.
    pub(super) fn page(
        &self,
        format: Format,
        aggregator: &Aggregator,
        server: Option<&Stats>,
    ) -> Bytes {
        let mut pages = self.pages();
        if let Some((_, page)) = pages.iter().find(|(made, _)| *made == format) {
            return page.clone();
        }
        let mut page = format.render(&self.snapshot, aggregator.rules());
        if !self.missing.is_empty() {
            self.add_missing(&mut page, format, aggregator);
        }
        if format != Format::Json
            && let Some(stats) = server
        {
            stats.write(&mut page, aggregator);
            process::write(&mut page);
        }
        let page = Bytes::from(page);
        pages.push((format, page.clone()));
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
        let mut text = Text(page);
        let family = "parsec_telemetry_source_missing";
        let help =
            "1 for each source that did not answer in time: its numbers are not on this page.";
        text.family(family, "gauge", help);
        for (source, name) in missing {
            // Neither is in the name of any type today, and both would have to be escaped.
            let name = name.replace(['"', '\\'], "?");
            text.sample(
                family,
                &[("source", &source.to_string()), ("type", &name)],
                1,
            );
        }
    }

    fn pages(&self) -> MutexGuard<'_, Vec<(Format, Bytes)>> {
        // A page is whole before it is kept.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
