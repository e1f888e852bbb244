//! `/parsec/series`: the recent past, by the parameters `tier` and `since`.

use http::{Request, StatusCode};

use crate::encode::Format;
use crate::monitor::Monitor;
use crate::series::Tier;
use crate::serve::rendered::gzip;
use crate::serve::response::{self, Response, truncate_for_display};

/// Answers a GET or HEAD request for series.
///
/// On the calling thread: this takes at most 5 ms, for all tiers of 64 aspects with gzip, and 60 µs for the points
/// since the last second.
pub(super) fn respond<B>(monitor: &Monitor, request: &Request<B>) -> Response {
    let Query { tier, since } = match Query::parse(request.uri().query().unwrap_or_default()) {
        Ok(query) => query,
        Err(text) => return response::error(StatusCode::BAD_REQUEST, text),
    };
    let series = monitor.series_since(tier, since);
    let mut body = serde_json::to_vec(&series).expect("keys are strings, and writing to a Vec succeeds");
    body.push(b'\n');
    let (content_type, gzip) = (Format::Json.content_type(), |body: &[u8]| gzip(body).into());
    response::compressible(request.method(), request.headers(), content_type, &body.into(), gzip)
}

/// The parameters of a request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    tier: Option<Tier>,
    since: Option<u64>,
}

impl Query {
    /// Returns an error as a line of text. No valid value has a character that needs percent-encoding.
    fn parse(query: &str) -> Result<Self, String> {
        let mut parsed = Self::default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let is_repeated = match name {
                "tier" => parsed.tier.replace(tier(value)?).is_some(),
                "since" => parsed.since.replace(since(value)?).is_some(),
                _ => {
                    let name = truncate_for_display(name);
                    return Err(format!("unknown parameter {name}: use tier and since\n"));
                }
            };
            if is_repeated {
                let parameter = truncate_for_display(parameter);
                return Err(format!("{parameter} is the second {name}: use tier and since at most once\n"));
            }
        }
        Ok(parsed)
    }
}

fn tier(value: &str) -> Result<Tier, String> {
    let tier = Tier::ALL.into_iter().find(|tier| tier.as_str() == value);
    tier.ok_or_else(|| {
        let [minute, hour, day] = Tier::ALL.map(Tier::as_str);
        format!("tier={}: use {minute}, {hour} or {day}\n", truncate_for_display(value))
    })
}

fn since(value: &str) -> Result<u64, String> {
    // `parse` accepts a sign.
    let seconds = value.parse().ok().filter(|_| !value.starts_with('+'));
    seconds.ok_or_else(|| {
        let value = truncate_for_display(value);
        format!("since={value}: use whole seconds since the Unix epoch, such as \"end\" of an earlier response\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: &str = "use whole seconds since the Unix epoch, such as \"end\" of an earlier response\n";

    #[test]
    fn query_with_valid_parameters_is_parsed_in_any_order() {
        for (query, tier, since) in [
            ("", None, None),
            ("&", None, None),
            ("tier=minute", Some(Tier::Minute), None),
            ("tier=hour&", Some(Tier::Hour), None),
            ("&&tier=day", Some(Tier::Day), None),
            ("since=0", None, Some(0)),
            ("since=0001795594320", None, Some(1_795_594_320)),
            ("since=18446744073709551615", None, Some(u64::MAX)),
            ("tier=hour&since=1795594320", Some(Tier::Hour), Some(1_795_594_320)),
            ("since=1795594320&tier=hour", Some(Tier::Hour), Some(1_795_594_320)),
        ] {
            assert_eq!(Query::parse(query), Ok(Query { tier, since }), "{query}");
        }
    }

    #[test]
    fn invalid_query_is_rejected_with_what_is_valid() {
        for (query, expected) in [
            ("tier", "tier=: use minute, hour or day\n".to_owned()),
            ("tier=", "tier=: use minute, hour or day\n".to_owned()),
            ("tier=week&since=5", "tier=week: use minute, hour or day\n".to_owned()),
            ("tier=Hour", "tier=Hour: use minute, hour or day\n".to_owned()),
            ("tier=h%6Fur", "tier=h%6Fur: use minute, hour or day\n".to_owned()),
            ("tier=hour=", "tier=hour=: use minute, hour or day\n".to_owned()),
            ("since", format!("since=: {SINCE}")),
            ("since=abc", format!("since=abc: {SINCE}")),
            ("since=-1", format!("since=-1: {SINCE}")),
            ("since=+1", format!("since=+1: {SINCE}")),
            ("since=1.5", format!("since=1.5: {SINCE}")),
            ("since=1e3", format!("since=1e3: {SINCE}")),
            ("since=%31", format!("since=%31: {SINCE}")),
            ("since=18446744073709551616", format!("since=18446744073709551616: {SINCE}")),
            ("span=hour", "unknown parameter span: use tier and since\n".to_owned()),
            ("Tier=hour", "unknown parameter Tier: use tier and since\n".to_owned()),
            ("=hour", "unknown parameter : use tier and since\n".to_owned()),
            ("tier=hour;since=5", "tier=hour;since=5: use minute, hour or day\n".to_owned()),
            ("tier=hour&tier=day", "tier=day is the second tier: use tier and since at most once\n".to_owned()),
            ("since=5&tier=day&since=5", "since=5 is the second since: use tier and since at most once\n".to_owned()),
        ] {
            assert_eq!(Query::parse(query), Err(expected), "{query}");
        }
    }

    #[test]
    fn long_value_is_shortened_in_the_error() {
        let value = "x".repeat(60_000);
        for query in [
            format!("tier={value}"),
            format!("since={value}"),
            value,
            "since=5&since=".to_owned() + &"0".repeat(60_000),
        ] {
            let error = Query::parse(&query).expect_err("an invalid query");
            assert!(error.len() < 300, "{} bytes", error.len());
        }
    }
}
