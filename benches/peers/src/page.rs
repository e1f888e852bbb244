//! A small broker, and its page as families that a peer can serve with the same names and values.

use hyper::Request;
use parsec_telemetry::{
    Aggregator, AlertRule, CacheCounters, CacheSource, ChannelStats, EnvelopeCounters, HistoryStats, PresenceStats,
    Server, Severity, Source, TokenCounters,
};

use crate::{Result, servers};

/// Four patterns, four aspects, and two rules, one of which fires.
pub(crate) fn aggregator() -> Result<Aggregator> {
    let envelopes = EnvelopeCounters::new();
    for (aspect, events) in [("data", 48_211), ("cursor", 9_020), ("presence", 731), ("typing", 12)] {
        let aspect = envelopes.aspect(aspect);
        (0..events).for_each(|_| aspect.observe());
    }
    let tokens = TokenCounters::new();
    (0..9_400).for_each(|_| tokens.issued());
    (0..120).for_each(|_| tokens.revoked());
    let cache = CacheSource::new(|| CacheCounters {
        hits: 91_700,
        misses: 8_300,
        size_entries: 9_000,
        size_bytes: 1 << 24,
        ..CacheCounters::default()
    });
    let rules = vec![
        AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.hit_rate_pct < 80.0)
            .description("Cache hit rate below 80 %"),
        AlertRule::new("crowded", Severity::Info, |s| s.presence.total_users > 8_000)
            .description("More than 8,000 users"),
    ];
    let aggregator = Aggregator::new().source(envelopes).source(tokens).source(cache).source(Broker);
    Ok(aggregator.with_alerts(rules)?)
}

struct Broker;

impl Source for Broker {
    fn channels(&self) -> Option<ChannelStats> {
        let patterns = [("agents:*", 37), ("private:*", 411), ("public:*", 780), ("unknown", 6)];
        Some(ChannelStats {
            total_active: 1_234,
            by_pattern: patterns.map(|(pattern, count)| (pattern.into(), count)).into(),
        })
    }

    fn presence(&self) -> Option<PresenceStats> {
        Some(PresenceStats { total_users: 8_021, total_agents: 37, average_per_channel: 6.53 })
    }

    fn history(&self) -> Option<HistoryStats> {
        Some(HistoryStats { total_envelopes_buffered: 118_000, buffer_utilization_pct: 72.4 })
    }
}

pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) is_counter: bool,
    pub(crate) samples: Vec<Sample>,
}

pub(crate) struct Sample {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

/// Reads the families back from the text page of a server.
pub(crate) async fn families() -> Result<Vec<Family>> {
    use http_body_util::BodyExt as _;

    let server = Server::builder(aggregator()?).build();
    let response = server.handle(&Request::get(servers::TEXT).body(())?);
    let page = response.into_body().collect().await?.to_bytes();
    parse(std::str::from_utf8(&page)?)
}

fn parse(page: &str) -> Result<Vec<Family>> {
    let mut families: Vec<Family> = Vec::new();
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').ok_or("a family has no help text")?;
            families.push(Family {
                name: name.to_owned(),
                help: help.to_owned(),
                is_counter: false,
                samples: Vec::new(),
            });
            continue;
        }
        let family = families.last_mut().ok_or("a line precedes all families")?;
        if line.starts_with("# TYPE ") {
            family.is_counter = line.ends_with(" counter");
        } else {
            family.samples.push(Sample::parse(line)?);
        }
    }
    Ok(families)
}

impl Sample {
    /// Parses a line whose label values contain nothing that is escaped, as on this page.
    fn parse(line: &str) -> Result<Self> {
        let (series, value) = line.rsplit_once(' ').ok_or("a sample has no value")?;
        let mut rest = series.split_once('{').map_or("", |(_, labels)| labels);
        let mut labels = Vec::new();
        while let Some((name, value)) = rest.split_once("=\"") {
            let (value, after) = value.split_once('"').ok_or("a label value has no end")?;
            labels.push((name.trim_start_matches(',').to_owned(), value.to_owned()));
            rest = after;
        }
        Ok(Self { labels, value: value.parse()? })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn parsed_page_has_the_types_labels_and_values_of_the_text() {
        let page = "# HELP a_total Events, by aspect.\n# TYPE a_total counter\na_total{aspect=\"data\",of=\"x{y, z}\"} 48\n\
                    # HELP b Rate.\n# TYPE b gauge\nb 0.5\n";
        let families = super::parse(page).expect("a valid page");
        assert_eq!((families[0].is_counter, families[1].is_counter), (true, false));
        let labels = &families[0].samples[0].labels;
        assert_eq!(labels[0], ("aspect".to_owned(), "data".to_owned()));
        assert_eq!(labels[1], ("of".to_owned(), "x{y, z}".to_owned()));
        assert!((families[1].samples[0].value - 0.5).abs() < f64::EPSILON);
    }
}
