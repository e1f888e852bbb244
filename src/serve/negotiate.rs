//! Selects the text format by `Accept`, and gzip by `Accept-Encoding`.
//!
//! An element that cannot be parsed is ignored, and no request is rejected: without an acceptable format, the page is
//! in the Prometheus format.
//!
//! Considered: `headers-accept` rejects the whole header for one element that cannot be parsed, and matches a range
//! only if all parameters are equal, which `escaping` never is.

use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderMap, HeaderName};

use crate::encode::Format;

/// With each escaping that leaves our names unchanged, which consist of letters, digits and `_`.
const ESCAPED_OPENMETRICS: [&str; 3] = [
    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=values",
];

/// A quality of 1, in thousandths.
const MAX_QUALITY: u16 = 1000;

/// Returns the preferred text format and its content type.
///
/// For equal qualities, the media range with the higher specificity decides, then Prometheus 0.0.4.
pub(super) fn text_format(headers: &HeaderMap) -> (Format, &'static str) {
    let prometheus = preference(headers, "text/plain", "0.0.4").map(|(preference, _)| preference);
    match preference(headers, "application/openmetrics-text", "1.0.0") {
        Some((preference, parameters)) if preference.quality > 0 && Some(preference) > prometheus => {
            let escaping = parameter(parameters, "escaping");
            let is_requested = |content_type: &&str| content_type.rsplit('=').next() == escaping;
            let content_type = ESCAPED_OPENMETRICS.into_iter().find(is_requested);
            (Format::OpenMetrics, content_type.unwrap_or(Format::OpenMetrics.content_type()))
        }
        _ => (Format::Prometheus, Format::Prometheus.content_type()),
    }
}

/// Returns whether the client accepts gzip, and does not prefer `identity`.
///
/// An `identity` that is not listed is acceptable (RFC 9110, 12.5.3), but not preferred.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let quality = |codings: &[&str]| {
        elements(headers, &ACCEPT_ENCODING)
            .filter(|(name, ..)| codings.iter().any(|own| own.eq_ignore_ascii_case(name)))
            .map(|(.., quality)| quality)
            .max()
    };
    let gzip = quality(&["gzip", "x-gzip"]).or_else(|| quality(&["*"]));
    gzip.is_some_and(|gzip| gzip > 0 && Some(gzip) >= quality(&["identity"]))
}

/// How much the client prefers a format. The quality decides, then the specificity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    quality: u16,
    specificity: u8,
}

/// Returns the preference for a media type, and the parameters of the media range that it is from: of the ranges that
/// include the type, the first of the most specific ones.
fn preference<'a>(headers: &'a HeaderMap, media_type: &str, version: &str) -> Option<(Preference, &'a str)> {
    let ranges = elements(headers, &ACCEPT).filter_map(|(name, parameters, quality)| {
        let specificity = specificity(name, parameters, media_type, version)?;
        Some((Preference { quality, specificity }, parameters))
    });
    ranges.reduce(|best, next| if next.0.specificity > best.0.specificity { next } else { best })
}

/// Returns how specific a media range such as `text/*` is, or `None` if it does not include the media type.
fn specificity(range: &str, parameters: &str, media_type: &str, version: &str) -> Option<u8> {
    if range == "*/*" {
        return Some(1);
    }
    if let Some(range) = range.strip_suffix("/*") {
        let (top_level, _) = media_type.split_once('/')?;
        return range.eq_ignore_ascii_case(top_level).then_some(2);
    }
    if !range.eq_ignore_ascii_case(media_type) {
        return None;
    }
    match parameter(parameters, "version") {
        None => Some(3),
        Some(own) => (own == version).then_some(4),
    }
}

/// The name, parameters and quality of each element in all headers of a name.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = (&'a str, &'a str, u16)> {
    let values = headers.get_all(name).iter();
    let elements = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    elements.filter_map(|element| {
        let (name, parameters) = element.split_once(';').unwrap_or((element, ""));
        Some((name.trim(), parameters, quality(parameters)?))
    })
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|parameter| {
        let (own, value) = parameter.split_once('=')?;
        let is_equal = own.trim().eq_ignore_ascii_case(name);
        is_equal.then(|| value.trim().trim_matches('"'))
    })
}

/// Returns `q` in thousandths, or `None` if it is not a number from 0 to 1 with at most three decimals. Defaults to
/// 1.
fn quality(parameters: &str) -> Option<u16> {
    let Some(text) = parameter(parameters, "q") else {
        return Some(MAX_QUALITY);
    };
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = decimals.bytes().chain(*b"000").take(3);
    let thousandths = digits.fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(MAX_QUALITY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_outside_0_to_1_is_rejected() {
        for (parameters, expected) in [
            ("", Some(1000)),
            ("version=1", Some(1000)),
            ("q=0", Some(0)),
            ("q=1", Some(1000)),
            ("q=0.5", Some(500)),
            ("Q = 0.05", Some(50)),
            ("a=b; q=0.125", Some(125)),
            ("q=1.000", Some(1000)),
            ("q=1.001", None),
            ("q=0.1234", None),
            ("q=-1", None),
            ("q=NaN", None),
            ("q=", None),
            ("q=.5", None),
            ("q=0.+5", None),
            ("q=99999999999", None),
        ] {
            assert_eq!(quality(parameters), expected, "{parameters}");
        }
    }
}
