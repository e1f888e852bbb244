//! The console: one document with its style and script, and a policy that allows nothing else.

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use http::{HeaderMap, HeaderValue, Method};

use crate::serve::rendered::gzip;
use crate::serve::response::{self, Response, TEXT_HTML};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("console.css");
const SCRIPT: &str = include_str!("console.js");

const STYLE_MARKER: &str = "/*STYLE*/";
const SCRIPT_MARKER: &str = "/*SCRIPT*/";

/// A hash is that of an element's whole text. After a change, a unit test prints the new ones.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-EexYrwLRP5MMxRKavl8+vTkJimJNcasjQK8HsxY69lc='; \
    style-src 'sha256-cNjFvbrDl7y0KBjy+T/VlG5eE385K3tlsOmfjxiiyFM='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'";

static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| PAGE.replace(STYLE_MARKER, STYLE.trim_end()).replace(SCRIPT_MARKER, SCRIPT.trim_end()).into());

static COMPRESSED: LazyLock<Bytes> = LazyLock::new(|| gzip(&DOCUMENT).into());

/// Answers a GET or HEAD request for the console.
pub(super) fn respond(method: &Method, headers: &HeaderMap) -> Response {
    let mut response = response::compressible(method, headers, TEXT_HTML, &DOCUMENT, |_| COMPRESSED.clone());
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use ring::digest::{SHA256, digest};

    use super::*;

    #[test]
    fn policy_has_the_hashes_of_script_and_style() {
        let (script, style) = (hash(element("script")), hash(element("style")));
        let hashes = format!("script-src '{script}'; \\\n    style-src '{style}'; \\\n");
        let expected = format!(
            "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
        );
        assert_eq!(POLICY, expected, "paste into POLICY:\n    {hashes}");
    }

    #[test]
    fn document_has_each_part_once_and_is_below_60_kb() {
        for marker in [STYLE_MARKER, SCRIPT_MARKER] {
            assert_eq!([PAGE, STYLE, SCRIPT].map(|part| part.matches(marker).count()), [1, 0, 0], "{marker}");
            assert!(PAGE.lines().any(|line| line.trim() == marker), "{marker} has no line of its own");
        }
        assert_eq!(element("style").trim(), STYLE.trim());
        assert_eq!(element("script").trim(), SCRIPT.trim());
        assert!(DOCUMENT.len() < 60_000, "{} bytes", DOCUMENT.len());
        assert!(COMPRESSED.len() < DOCUMENT.len());
    }

    #[test]
    fn style_and_script_do_not_end_their_elements() {
        for part in [STYLE, SCRIPT] {
            let part = part.to_ascii_lowercase();
            for end in ["</script", "</style", "<script", "<!--"] {
                assert!(!part.contains(end), "{end}");
            }
        }
    }

    #[test]
    fn document_names_no_other_origin() {
        let document = document().replace("http://www.w3.org/2000/svg", "");
        for (index, _) in document.match_indices("//") {
            let before = document[..index].chars().next_back();
            let is_comment = before.is_none_or(|before| before.is_ascii_whitespace() || before == ';');
            let line = document[index..].lines().next();
            assert!(is_comment, "{line:?} may be the URL of another origin");
        }
    }

    fn document() -> &'static str {
        std::str::from_utf8(&DOCUMENT).expect("UTF-8")
    }

    /// The text of the only element with this name.
    fn element(name: &str) -> &'static str {
        let (tag, end) = (format!("<{name}"), format!("</{name}>"));
        assert_eq!(document().matches(&tag).count(), 1, "{tag}");
        let (_, rest) = document().split_once(&tag).expect("the tag");
        let (_, rest) = rest.split_once('>').expect("the end of the tag");
        rest.split_once(&end).expect("the end of the element").0
    }

    fn hash(text: &str) -> String {
        format!("sha256-{}", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
    }
}
