//! Snapshots as pages.

pub(crate) mod text;

use crate::encode::text::{TextEncoder, TextFormat};
use crate::snapshot::Snapshot;

/// A format that a snapshot is rendered in.
///
/// ```
/// use parsec_telemetry::{Format, Snapshot};
///
/// let page = Format::Json.render(&Snapshot::default());
/// assert!(page.starts_with(br#"{"channels":{"total_active":0}"#));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// One JSON object and a newline.
    Json,
    /// The Prometheus text format, version 0.0.4.
    Prometheus,
    /// The OpenMetrics text format, version 1.0.0: the same families and samples.
    OpenMetrics,
}

impl Format {
    /// Returns the value of the `Content-Type` header.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Renders a snapshot.
    #[must_use]
    pub fn render(self, snapshot: &Snapshot) -> Vec<u8> {
        let mut page = Vec::with_capacity(4096);
        self.render_into(&mut page, snapshot);
        page
    }

    /// Renders a snapshot and appends the page to a buffer, which can be reused.
    pub fn render_into(self, page: &mut Vec<u8>, snapshot: &Snapshot) {
        match self.text_format() {
            None => write_json(page, snapshot),
            Some(format) => {
                let mut encoder = TextEncoder::new(page, format);
                encoder.write_snapshot(snapshot);
                encoder.finish();
            }
        }
    }

    /// Returns the exposition format, or `None` for JSON.
    pub(crate) const fn text_format(self) -> Option<TextFormat> {
        match self {
            Self::Json => None,
            Self::Prometheus => Some(TextFormat::Prometheus),
            Self::OpenMetrics => Some(TextFormat::OpenMetrics),
        }
    }
}

fn write_json(page: &mut Vec<u8>, snapshot: &Snapshot) {
    serde_json::to_writer(&mut *page, snapshot).expect("keys are strings, and writing to a Vec succeeds");
    page.push(b'\n');
}
