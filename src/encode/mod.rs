//! A snapshot as the bytes of a page. A format stands together with its content type.

mod escapes;
pub(crate) mod families;
mod number;
pub(crate) mod text;

use crate::encode::text::Page;
use crate::snapshot::Snapshot;

/// A format that a page comes in.
///
/// ```
/// use parsec_telemetry::{Format, Snapshot};
///
/// let page = Format::Json.render(&Snapshot::default());
/// assert!(page.starts_with(br#"{"channels":{"total_active":0}"#));
/// assert_eq!(Format::Json.content_type(), "application/json");
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
    /// The value of the `Content-Type` header.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The page of a snapshot.
    ///
    /// The text pages show every rule of `rules`, firing or not; a firing alert of the
    /// snapshot's is shown in any case.
    #[must_use]
    pub fn render(self, snapshot: &Snapshot) -> Vec<u8> {
        let mut page = Vec::with_capacity(4096);
        self.render_into(&mut page, snapshot);
        page
    }

    /// Appends the page of a snapshot to a buffer, which can be used again for the next one.
    pub fn render_into(self, page: &mut Vec<u8>, snapshot: &Snapshot) {
        match self {
            Self::Json => {
                serde_json::to_writer(&mut *page, snapshot)
                    .expect("a snapshot has string keys, and a Vec accepts every write");
                page.push(b'\n');
            }
            Self::Prometheus | Self::OpenMetrics => {
                let mut page = Page::new(page, self);
                families::write(&mut page, snapshot, &[]);
                page.end();
            }
        }
    }
}
