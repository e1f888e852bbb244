//! Two readers of the Prometheus text format 0.0.4.
//!
//! [`read`] accepts only what our pages use, and keeps values as text, so that a 64-bit integer is exact.
//! [`read_by_published_parser`] uses a parser that is independent of this project.

use openmetrics_parser::prometheus::parse_prometheus;
use openmetrics_parser::{PrometheusType, PrometheusValue};

#[derive(Clone, Debug, PartialEq)]
pub struct Family<V> {
    pub name: String,
    pub kind: String,
    pub samples: Vec<Sample<V>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample<V> {
    pub labels: Vec<(String, String)>,
    pub value: V,
}

/// Returns the families of a page in their order, with values as text.
///
/// # Errors
///
/// Names the invalid line.
pub fn read(page: &[u8]) -> Result<Vec<Family<&str>>, String> {
    let page = str::from_utf8(page).map_err(|error| error.to_string())?;
    if page.is_empty() {
        return Ok(Vec::new());
    }
    let page = page.strip_suffix('\n').ok_or("the last line has no newline")?;
    let mut families: Vec<Family<&str>> = Vec::new();
    let mut lines = page.split('\n').peekable();
    while let Some(line) = lines.next() {
        let family = read_family(line, &mut lines).ok_or_else(|| format!("in the family that begins with {line:?}"))?;
        if families.iter().any(|known| known.name == family.name) {
            return Err(format!("{} appears twice", family.name));
        }
        families.push(family);
    }
    Ok(families)
}

/// Reads a family: HELP, TYPE and at least one sample. No two samples have the same labels.
fn read_family<'a>(
    help: &str,
    lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
) -> Option<Family<&'a str>> {
    let (name, help) = help.strip_prefix("# HELP ")?.split_once(' ')?;
    let kind = lines.next()?.strip_prefix("# TYPE ")?.strip_prefix(name)?.strip_prefix(' ')?;
    let is_plain = !help.is_empty() && !help.contains('\\');
    if !is_plain || !is_name(name) || !["counter", "gauge"].contains(&kind) {
        return None;
    }
    let mut samples: Vec<Sample<&str>> = Vec::new();
    while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
        let sample = read_sample(line.strip_prefix(name)?)?;
        if samples.iter().any(|known| known.labels == sample.labels) {
            return None;
        }
        samples.push(sample);
    }
    (!samples.is_empty()).then(|| Family { name: name.to_owned(), kind: kind.to_owned(), samples })
}

/// Reads the labels and the value that follow a name.
fn read_sample(line: &str) -> Option<Sample<&str>> {
    let mut labels = Vec::new();
    let mut rest = line;
    if let Some(first) = line.strip_prefix('{') {
        rest = first;
        loop {
            let (name, value) = rest.split_once("=\"")?;
            let (value, after) = read_label_value(value)?;
            if !is_name(name) || labels.iter().any(|(known, _)| known == name) {
                return None;
            }
            labels.push((name.to_owned(), value));
            match after.split_at_checked(1)? {
                (",", after) => rest = after,
                ("}", after) => {
                    rest = after;
                    break;
                }
                _ => return None,
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    let is_number = |byte: u8| byte.is_ascii_digit() || b"+-.e".contains(&byte);
    (!value.is_empty() && value.bytes().all(is_number)).then_some(Sample { labels, value })
}

/// Reads a label value, and returns it without escapes and with the rest after its closing quote.
fn read_label_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                '\\' => '\\',
                '"' => '"',
                'n' => '\n',
                _ => return None,
            }),
            (_, c) => value.push(c),
        }
    }
}

/// Returns whether a name is valid in every version of the format.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns the families of a page, sorted by name, as the published parser reads them. Returns `None` for a page with
/// a carriage return, which the parser treats as the end of a line. Prometheus does not.
///
/// # Errors
///
/// Returns the error of the parser.
#[must_use]
pub fn read_by_published_parser(page: &[u8]) -> Option<Result<Vec<Family<f64>>, String>> {
    (!page.contains(&b'\r')).then(|| {
        let page = str::from_utf8(page).map_err(|error| error.to_string())?;
        let exposition = parse_prometheus(page).map_err(|error| format!("{error:?}"))?;
        let mut families = Vec::new();
        for (name, family) in exposition.families {
            let names = family.get_label_names().to_vec();
            let kind = match family.family_type {
                PrometheusType::Counter => "counter",
                PrometheusType::Gauge => "gauge",
                _ => "another type",
            };
            let mut samples = Vec::new();
            for sample in family.iter_samples() {
                let set = sample.get_labelset().map_err(|error| format!("{error:?}"))?;
                let label = |name: &String| (name.clone(), set.get_label_value(name).unwrap_or_default().to_owned());
                let value = match &sample.value {
                    PrometheusValue::Gauge(value) => value.as_f64(),
                    PrometheusValue::Counter(counter) => counter.value.as_f64(),
                    other => return Err(format!("{name} has the value {other:?}")),
                };
                samples.push(Sample { labels: names.iter().map(label).collect(), value });
            }
            families.push(Family { name, kind: kind.to_owned(), samples });
        }
        families.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(families)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# HELP a Help.\n# TYPE a gauge\n";

    #[test]
    fn page_is_read_by_both_readers() {
        let page = format!("{HEAD}a{{x=\"\\\\\\\"\\n}},y=\\\\\",z=\"# c\"}} 3\na{{x=\"\",z=\"\"}} -1e-7\n");
        let labels = |x: &str, z: &str| vec![("x".to_owned(), x.to_owned()), ("z".to_owned(), z.to_owned())];
        let families = read(page.as_bytes()).expect("a page");
        assert_eq!((families[0].name.as_str(), families[0].kind.as_str()), ("a", "gauge"));
        let [first, second] = &families[0].samples[..] else { panic!("two samples") };
        assert_eq!((&first.labels, first.value), (&labels("\\\"\n},y=\\", "# c"), "3"));
        assert_eq!((&second.labels, second.value), (&labels("", ""), "-1e-7"));

        let published = read_by_published_parser(page.as_bytes()).expect("no carriage return").expect("a page");
        let numbers: Vec<_> = published[0].samples.iter().map(|sample| sample.value).collect();
        assert_eq!(numbers, [3.0, -1e-7]);
        assert_eq!(published[0].samples[0].labels, first.labels);
    }

    #[test]
    fn invalid_page_is_rejected() {
        assert_eq!(read(b""), Ok(Vec::new()));
        for bad in [
            "a 1\n",
            "# HELP a Help.\n# TYPE a gauge\na 1",
            "# HELP a Help.\n# TYPE a gauge\n",
            "# HELP a Help.\n# TYPE b gauge\na 1\n",
            "# HELP a Help.\n# TYPE a thing\na 1\n",
            "# HELP a Help.\n# TYPE a gauge\nb 1\n",
            "# HELP a Help.\n# TYPE a gauge\na 1\na 2\n",
            "# HELP a Help.\n# TYPE a gauge\na  1\n",
            "# HELP a Help.\n# TYPE a gauge\na NaN\n",
            "# HELP a Help.\n# TYPE a gauge\na{} 1\n",
            "# HELP a Help.\n# TYPE a gauge\na{x=\"1\"}2\n",
            "# HELP a Help.\n# TYPE a gauge\na{x=\"\\t\"} 2\n",
            "# HELP a Help.\n# TYPE a gauge\na{x=\"1\",x=\"2\"} 2\n",
            "# HELP a Help.\n# TYPE a gauge\na{x=\"1\"} 2\na{x=\"1\"} 3\n",
            "# HELP a Help.\n# TYPE a gauge\na{x=\"\n\"} 2\n",
            "# HELP a Help.\n# TYPE a gauge\na 1\n\n",
            "# HELP a Help.\n# TYPE a gauge\na 1\n# HELP a Help.\n# TYPE a gauge\na{x=\"1\"} 1\n",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
