//! Which format a client wants, and whether packed.
//!
//! Nothing here refuses: what cannot be read is passed over, and who asks for nothing that there is gets what
//! everybody reads. It takes one pass and no memory, however long a header is.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING};

use crate::encode::Format;

/// How much a client wants something, in thousandths; and how exactly it has named it.
type Wish = (u16, u8);

/// The text format, and the content type to say.
///
/// The one that is wanted more; of two that are wanted alike, the one that is named more exactly; then Prometheus
/// 0.0.4.
pub(super) fn text_format(headers: &HeaderMap) -> (Format, &'static str) {
    let mut openmetrics: (u8, Wish, &str) = (0, (0, 0), "");
    let mut prometheus: (u8, Wish) = (0, (0, 0));
    for range in elements(headers, &ACCEPT) {
        let Some(range) = Range::read(range) else {
            continue;
        };
        // The most exact range decides, wherever it stands.
        if let Some(exact) = range.exactness("application", "openmetrics-text", "1.0.0")
            && exact > openmetrics.0
        {
            openmetrics = (exact, (range.quality, exact), range.escaping);
        }
        if let Some(exact) = range.exactness("text", "plain", "0.0.4")
            && exact > prometheus.0
        {
            prometheus = (exact, (range.quality, exact));
        }
    }
    let (_, wish, escaping) = openmetrics;
    if wish.0 > 0 && wish > prometheus.1 {
        (Format::OpenMetrics, openmetrics_type(escaping))
    } else {
        (Format::Prometheus, Format::Prometheus.content_type())
    }
}

/// The content type, with the escaping that was asked for where our names come out of it as they are: they are of
/// letters, digits and `_` only.
fn openmetrics_type(escaping: &str) -> &'static str {
    match escaping {
        "allow-utf-8" => "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        "underscores" => "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        "values" => "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=values",
        _ => Format::OpenMetrics.content_type(),
    }
}

/// Whether the client reads gzip, and would not rather have it plain. (Who does not speak of the plain page would
/// take it, too, and is taken to like it less: RFC 9110, 12.5.3.)
pub(super) fn wants_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for element in elements(headers, &ACCEPT_ENCODING) {
        let (name, parameters) = element.split_once(';').unwrap_or((element, ""));
        let Some(quality) = quality_in(parameters) else {
            continue;
        };
        let name = name.trim();
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            gzip = gzip.max(Some(quality));
        } else if name.eq_ignore_ascii_case("identity") {
            identity = identity.max(Some(quality));
        } else if name == "*" {
            any = any.max(Some(quality));
        }
    }
    gzip.or(any).is_some_and(|quality| quality > 0 && Some(quality) >= identity)
}

/// The elements of a list, over all headers of the name that are text.
fn elements<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','))
}

/// One element of `Accept`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    version: Option<&'a str>,
    escaping: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    fn read(element: &'a str) -> Option<Self> {
        let (name, parameters) = element.split_once(';').unwrap_or((element, ""));
        let (kind, subtype) = name.trim().split_once('/')?;
        Some(Self {
            kind,
            subtype,
            version: parameter(parameters, "version"),
            escaping: parameter(parameters, "escaping").unwrap_or(""),
            quality: quality_in(parameters)?,
        })
    }

    /// How exactly the range names a type, if it covers it at all.
    fn exactness(&self, kind: &str, subtype: &str, version: &str) -> Option<u8> {
        match (self.kind, self.subtype) {
            ("*", "*") => Some(1),
            (own, "*") if own.eq_ignore_ascii_case(kind) => Some(2),
            (own, sub) if own.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => match self.version {
                None => Some(3),
                Some(own) if own == version => Some(4),
                Some(_) => None,
            },
            _ => None,
        }
    }
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|parameter| {
        let (own, value) = parameter.split_once('=')?;
        let is_it = own.trim().eq_ignore_ascii_case(name);
        is_it.then(|| value.trim().trim_matches('"'))
    })
}

/// The quality among parameters, in thousandths: 1,000 where there is none, `None` where it is not a number from 0 to
/// 1 with up to three digits.
fn quality_in(parameters: &str) -> Option<u16> {
    let Some(text) = parameter(parameters, "q") else {
        return Some(1000);
    };
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    if digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.bytes().chain(*b"000").take(3);
    let thousandths = digits.fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quality_is_a_number_from_0_to_1() {
        for (text, quality) in [
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
            assert_eq!(quality_in(text), quality, "{text}");
        }
    }
}
