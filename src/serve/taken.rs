//! A snapshot that was taken, and its pages, each made once.

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::aggregator::Aggregator;
use crate::alerts::AlertRule;
use crate::catalog::{FamilyMetadata, gauge};
use crate::encode::Format;
use crate::encode::text::TextEncoder;
use crate::serve::process;
use crate::serve::stats::Stats;
use crate::snapshot::Snapshot;

/// What a page comes as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) format: Format,
    pub(super) gzip: bool,
}

impl Form {
    fn plain(self) -> Self {
        Self {
            gzip: false,
            ..self
        }
    }
}

/// What did not come to an end in time, by its places.
#[derive(Debug, Default)]
pub(super) struct Missing {
    pub(super) sources: Vec<usize>,
    pub(super) rules: Vec<usize>,
}

impl Missing {
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.rules.is_empty()
    }
}

/// A page that is smaller fits into one packet as it is.
const WORTH_PACKING: usize = 1024;

pub(super) struct Taken {
    /// When its sources began to be asked.
    pub(super) begun: Instant,
    /// How long they, and the rules, could have taken.
    pub(super) given: Duration,
    snapshot: Snapshot,
    pub(super) missing: Missing,
    /// At most one for each format, plain and packed.
    pages: Mutex<Vec<(Form, Bytes)>>,
}

impl Taken {
    pub(super) fn new(
        begun: Instant,
        given: Duration,
        snapshot: Snapshot,
        missing: Missing,
    ) -> Self {
        Self {
            begun,
            given,
            snapshot,
            missing,
            pages: Mutex::default(),
        }
    }

    pub(super) fn has(&self, form: Form) -> bool {
        self.made(form).is_some()
    }

    /// A page that is made, in the form in which it is to be sent: plain, where it is not worth
    /// packing.
    fn made(&self, form: Form) -> Option<(Form, Bytes)> {
        let pages = self.pages();
        let page = |form| pages.iter().find(|(made, _)| *made == form).cloned();
        let is_small = |(_, page): &(Form, Bytes)| page.len() < WORTH_PACKING;
        page(form).or_else(|| page(form.plain()).filter(is_small))
    }

    /// The page in a form, or plain where it is not worth packing. On the text page the server
    /// reports on itself, too, if it is one.
    pub(super) fn page(
        &self,
        form: Form,
        aggregator: &Aggregator,
        server: Option<&Stats>,
    ) -> (Form, Bytes) {
        if let Some(made) = self.made(form) {
            return made;
        }
        let page = if form.gzip {
            let (plain, page) = self.page(form.plain(), aggregator, server);
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
        let mut page = Vec::with_capacity(8192);
        if let Some(text_format) = format.text_format() {
            let mut encoder = TextEncoder::new(&mut page, text_format);
            encoder.write_snapshot(&self.snapshot);
            self.add_missing_to_text(&mut encoder, aggregator);
            if let Some(stats) = server {
                stats.encode(&mut encoder, format);
                process::encode(&mut encoder);
            }
            encoder.finish();
        } else {
            format.render_into(&mut page, &self.snapshot);
            self.add_missing_to_json(&mut page, aggregator);
        }
        page
    }

    /// Says which sources are not in the numbers, and which rules not among the alerts.
    fn add_missing_to_json(&self, page: &mut Vec<u8>, aggregator: &Aggregator) {
        let sources = self.missing_sources(aggregator);
        let sources = sources.map(|(source, name)| json!({ "source": source, "type": name }));
        let rules = self.missing_rules(aggregator);
        let missing: Vec<Value> = sources
            .chain(rules.map(|rule| json!({ "rule": rule.name() })))
            .collect();
        if !missing.is_empty() {
            page.truncate(page.len() - "}\n".len());
            // A `Vec` takes every write.
            let _ = writeln!(page, ",\"missing\":{}}}", Value::from(missing));
        }
    }

    fn add_missing_to_text(&self, encoder: &mut TextEncoder<'_>, aggregator: &Aggregator) {
        const SOURCE_MISSING: FamilyMetadata = gauge(
            "parsec_telemetry_source_missing",
            "1 for each source that did not answer in time: its numbers are not on this page.",
        );
        const RULE_MISSING: FamilyMetadata = gauge(
            "parsec_telemetry_rule_missing",
            "1 for each alert rule that did not return in time: it is shown as not firing.",
        );
        let mut family = encoder.family(&SOURCE_MISSING);
        for (source, name) in self.missing_sources(aggregator) {
            family.sample([("source", &*source.to_string()), ("type", name)], 1_u64);
        }
        let mut family = encoder.family(&RULE_MISSING);
        for rule in self.missing_rules(aggregator) {
            family.sample([("alert", rule.name())], 1_u64);
        }
    }

    fn missing_sources<'a>(
        &self,
        aggregator: &'a Aggregator,
    ) -> impl Iterator<Item = (usize, &'a str)> {
        let types: Vec<&str> = aggregator.source_types().collect();
        let places = self.missing.sources.iter();
        places.map(move |&place| (place, types[place]))
    }

    fn missing_rules<'a>(&self, aggregator: &'a Aggregator) -> impl Iterator<Item = &'a AlertRule> {
        let places = self.missing.rules.iter();
        places.map(|&place| &aggregator.rules()[place])
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
