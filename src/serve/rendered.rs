//! The pages of one snapshot. Each is rendered once per encoding, and shared by all requests that the snapshot
//! answers.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::collector::Collected;
use crate::encode::Format;
use crate::serve::response::MIN_COMPRESS_SIZE;
use crate::worker::lock;

/// The format and the content coding of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) format: Format,
    pub(super) gzip: bool,
}

/// The pages of the snapshot that was rendered last.
#[derive(Default)]
pub(super) struct RenderedPages(Mutex<Rendered>);

#[derive(Default)]
struct Rendered {
    of: Option<Arc<Collected>>,
    pages: Vec<(Encoding, Bytes)>,
}

impl RenderedPages {
    /// Returns a page that has been rendered. It is uncompressed if it is too small to compress.
    pub(super) fn get(&self, of: &Arc<Collected>, encoding: Encoding) -> Option<(Encoding, Bytes)> {
        let rendered = lock(&self.0);
        rendered.of.as_ref().filter(|rendered| Arc::ptr_eq(rendered, of))?;
        let find = |wanted| rendered.pages.iter().find(|(encoding, _)| *encoding == wanted);
        let is_small = |(_, page): &&(Encoding, Bytes)| page.len() < MIN_COMPRESS_SIZE;
        let page = find(encoding).or_else(|| find(Encoding { gzip: false, ..encoding }).filter(is_small));
        page.cloned()
    }

    /// Returns a page, and renders it if it has not been rendered yet.
    pub(super) fn get_or_render(
        &self,
        of: &Arc<Collected>,
        encoding: Encoding,
        render: impl FnOnce() -> Vec<u8>,
    ) -> (Encoding, Bytes) {
        if let Some(page) = self.get(of, encoding) {
            return page;
        }
        let plain = Encoding { gzip: false, ..encoding };
        let (_, page) = self.get(of, plain).unwrap_or_else(|| self.insert(of, plain, render()));
        if encoding.gzip && page.len() >= MIN_COMPRESS_SIZE {
            self.insert(of, encoding, gzip(&page))
        } else {
            (plain, page)
        }
    }

    fn insert(&self, of: &Arc<Collected>, encoding: Encoding, page: Vec<u8>) -> (Encoding, Bytes) {
        let page = (encoding, Bytes::from(page));
        let mut rendered = lock(&self.0);
        if !rendered.of.as_ref().is_some_and(|rendered| Arc::ptr_eq(rendered, of)) {
            *rendered = Rendered { of: Some(Arc::clone(of)), pages: Vec::new() };
        }
        rendered.pages.push(page.clone());
        page
    }
}

/// At the fastest level, since a page compresses well at any.
pub(super) fn gzip(page: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(page.len() / 4), Compression::fast());
    let written = encoder.write_all(page).and_then(|()| encoder.finish());
    written.expect("writing to a Vec succeeds")
}
