//! The exposition formats: Prometheus 0.0.4 and OpenMetrics 1.0.0, which names the family of a counter without
//! `_total` and ends the page with `# EOF`.
//!
//! Written here, because `prometheus-client` and `measured` encode the metrics of a registry of their own; ours are
//! read from a [`Snapshot`].

use crate::catalog::{FamilyMetadata, METRICS, MetricType, Samples, Value};
use crate::snapshot::Snapshot;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFormat {
    Prometheus,
    OpenMetrics,
}

/// Writes a page, family by family.
pub(crate) struct TextEncoder<'a> {
    buffer: &'a mut Vec<u8>,
    format: TextFormat,
}

impl<'a> TextEncoder<'a> {
    pub(crate) fn new(buffer: &'a mut Vec<u8>, format: TextFormat) -> Self {
        Self { buffer, format }
    }

    /// Writes every family of the catalog that the snapshot has values for.
    pub(crate) fn write_snapshot(&mut self, snapshot: &Snapshot) {
        for metric in METRICS {
            if metric.section.is_some_and(|section| !snapshot.is_measured(section)) {
                continue;
            }
            match metric.samples {
                Samples::Single(_, read) => self.write_sample(&metric.family, read(snapshot)),
                Samples::Labeled(names, read) => {
                    let mut family = self.family(&metric.family);
                    read(snapshot, &mut |values, value| {
                        let labels = names.iter().zip(values);
                        family.sample(labels.map(|(&name, &value)| (name, value)), value);
                    });
                }
            }
        }
    }

    pub(crate) fn family<'b>(&'b mut self, metadata: &'b FamilyMetadata) -> FamilyEncoder<'a, 'b> {
        FamilyEncoder { encoder: self, metadata, has_samples: false }
    }

    /// Writes a family that has one sample and no labels.
    pub(crate) fn write_sample(&mut self, metadata: &FamilyMetadata, value: impl Into<Value>) {
        self.family(metadata).sample([], value);
    }

    pub(crate) fn finish(self) {
        if self.format == TextFormat::OpenMetrics {
            self.buffer.extend_from_slice(b"# EOF\n");
        }
    }

    fn push(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    fn push_label_value(&mut self, value: &str) {
        let mut rest = value.as_bytes();
        while let Some(index) = memchr::memchr3(b'\\', b'"', b'\n', rest) {
            self.buffer.extend_from_slice(&rest[..index]);
            let escaped = if rest[index] == b'\n' { b'n' } else { rest[index] };
            self.buffer.extend_from_slice(&[b'\\', escaped]);
            rest = &rest[index + 1..];
        }
        self.buffer.extend_from_slice(rest);
    }

    /// A finite float is written with the fewest digits that read back to it, and without `.0`.
    fn push_value(&mut self, value: Value) {
        match value {
            Value::Int(value) => self.push(itoa::Buffer::new().format(value)),
            Value::Float(value) => {
                let mut buffer = zmij::Buffer::new();
                let digits = buffer.format_finite(value);
                self.push(digits.strip_suffix(".0").unwrap_or(digits));
            }
        }
    }
}

/// Writes the samples of one family. A float that is not finite has no sample, and a family without samples is
/// omitted.
pub(crate) struct FamilyEncoder<'a, 'b> {
    encoder: &'b mut TextEncoder<'a>,
    metadata: &'b FamilyMetadata,
    has_samples: bool,
}

impl FamilyEncoder<'_, '_> {
    pub(crate) fn sample<'l>(&mut self, labels: impl IntoIterator<Item = (&'l str, &'l str)>, value: impl Into<Value>) {
        self.sample_with_suffix("", labels, value);
    }

    /// Writes the samples of a summary without quantiles.
    #[cfg(feature = "serve")]
    pub(crate) fn summary(&mut self, sum: f64, count: u64) {
        self.sample_with_suffix("_sum", [], sum);
        self.sample_with_suffix("_count", [], count);
    }

    fn sample_with_suffix<'l>(
        &mut self,
        suffix: &str,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        value: impl Into<Value>,
    ) {
        let value = value.into();
        if matches!(value, Value::Float(float) if !float.is_finite()) {
            return;
        }
        if !self.has_samples {
            self.write_metadata();
            self.has_samples = true;
        }
        let encoder = &mut *self.encoder;
        encoder.push(self.metadata.name);
        encoder.push(suffix);
        let mut separator = "{";
        for (name, value) in labels {
            encoder.push(separator);
            encoder.push(name);
            encoder.push("=\"");
            encoder.push_label_value(value);
            encoder.push("\"");
            separator = ",";
        }
        encoder.push(if separator == "," { "} " } else { " " });
        encoder.push_value(value);
        encoder.push("\n");
    }

    fn write_metadata(&mut self) {
        let FamilyMetadata { metric_type, name, help } = *self.metadata;
        let is_renamed = metric_type == MetricType::Counter && self.encoder.format == TextFormat::OpenMetrics;
        let family = if is_renamed { name.strip_suffix("_total").unwrap_or(name) } else { name };
        for text in ["# HELP ", family, " ", help, "\n# TYPE ", family, " ", metric_type.as_str(), "\n"] {
            self.encoder.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{counter, gauge};

    fn page(format: TextFormat, write: impl FnOnce(&mut TextEncoder<'_>)) -> String {
        let mut buffer = Vec::new();
        let mut encoder = TextEncoder::new(&mut buffer, format);
        write(&mut encoder);
        encoder.finish();
        String::from_utf8(buffer).expect("pages are UTF-8")
    }

    fn printed(value: impl Into<Value>) -> String {
        let page = page(TextFormat::Prometheus, |encoder| {
            encoder.write_sample(&gauge("a", "A."), value);
        });
        let value = page.strip_prefix("# HELP a A.\n# TYPE a gauge\na ");
        value.expect("one sample").trim_end().to_owned()
    }

    #[test]
    fn formats_differ_in_the_name_of_a_counter_and_in_the_end_of_the_page() {
        let write = |encoder: &mut TextEncoder<'_>| {
            let requests = counter("requests_total", "Requests, of requests_total.");
            let mut family = encoder.family(&requests);
            family.sample([("format", "json"), ("code", "200")], 3_u64);
            family.sample([("format", "json"), ("code", "401")], 0_u64);
            encoder.write_sample(&gauge("total_users", "Users, not b_total."), -2_i64);
        };
        let prometheus = [
            "# HELP requests_total Requests, of requests_total.",
            "# TYPE requests_total counter",
            r#"requests_total{format="json",code="200"} 3"#,
            r#"requests_total{format="json",code="401"} 0"#,
            "# HELP total_users Users, not b_total.",
            "# TYPE total_users gauge",
            "total_users -2\n",
        ]
        .join("\n");
        let openmetrics = prometheus.replacen("HELP requests_total", "HELP requests", 1);
        let openmetrics = openmetrics.replacen("TYPE requests_total", "TYPE requests", 1) + "# EOF\n";
        assert_eq!(page(TextFormat::Prometheus, write), prometheus);
        assert_eq!(page(TextFormat::OpenMetrics, write), openmetrics);
    }

    #[test]
    fn family_without_samples_is_omitted() {
        let page = page(TextFormat::Prometheus, |encoder| {
            encoder.family(&gauge("a", "A."));
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                encoder.write_sample(&gauge("b", "B."), value);
            }
        });
        assert_eq!(page, "");
    }

    #[cfg(feature = "serve")]
    #[test]
    fn summary_has_a_sum_and_a_count() {
        let metadata = FamilyMetadata { metric_type: MetricType::Summary, ..gauge("duration_seconds", "Duration.") };
        let page = page(TextFormat::Prometheus, |encoder| {
            encoder.family(&metadata).summary(0.5, 2);
        });
        let head = "# HELP duration_seconds Duration.\n# TYPE duration_seconds summary\n";
        assert_eq!(page, format!("{head}duration_seconds_sum 0.5\nduration_seconds_count 2\n"));
    }

    #[test]
    fn label_value_is_escaped_at_every_position() {
        let escaped = |value: &str| {
            let page = page(TextFormat::Prometheus, |encoder| {
                encoder.family(&gauge("a", "A.")).sample([("b", value)], 1_u64);
            });
            let value = page.strip_prefix("# HELP a A.\n# TYPE a gauge\na{b=\"");
            let value = value.and_then(|value| value.strip_suffix("\"} 1\n"));
            value.expect("one sample").to_owned()
        };
        for length in 0..40 {
            let plain = "é~ !#[]\t\r\u{7f}\u{80}€xyz{}=,".repeat(length);
            assert_eq!(escaped(&plain), plain);
            for index in 0..length {
                for (from, to) in [("\\", r"\\"), ("\"", r#"\""#), ("\n", r"\n")] {
                    let text = |middle: &str| [&"x".repeat(index), middle, &"x".repeat(length - 1 - index)].concat();
                    assert_eq!(escaped(&text(from)), text(to));
                }
            }
        }
    }

    #[test]
    fn number_is_written_with_the_fewest_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (100.0, "100"),
            (1e-7, "1e-7"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.3333333333333333"),
            (1e300, "1e+300"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        ] {
            assert_eq!(printed(value), expected);
        }
        assert_eq!(printed(u64::MAX), i64::MAX.to_string());
        assert_eq!(printed(i64::MIN), i64::MIN.to_string());
    }
}
