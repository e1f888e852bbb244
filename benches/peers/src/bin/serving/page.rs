//! What is on the pages: the same families, series and values for everybody.

use parsec_telemetry::{
    Aggregator, AlertRule, CacheCounters, CacheSource, ChannelStats, EnvelopeCounters, Format,
    HistoryStats, PresenceStats, Severity, Source, TokenCounters,
};

use crate::Result;

/// A small broker: four patterns, four aspects, two rules of which one fires.
pub(crate) fn aggregator() -> Result<Aggregator> {
    let envelopes = EnvelopeCounters::new();
    for (aspect, times) in [
        ("data", 48_211),
        ("cursor", 9_020),
        ("presence", 731),
        ("typing", 12),
    ] {
        let aspect = envelopes.aspect(aspect);
        (0..times).for_each(|_| aspect.observe());
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
        AlertRule::new("cache_cold", Severity::Warning, |s| {
            s.cache.hit_rate_pct < 80.0
        })
        .description("Cache hit rate below 80 %"),
        AlertRule::new("crowded", Severity::Info, |s| {
            s.presence.total_users > 8_000
        })
        .description("More than 8,000 users"),
    ];
    let aggregator = Aggregator::new()
        .source(envelopes)
        .source(tokens)
        .source(cache)
        .source(Broker);
    Ok(aggregator.with_alerts(rules)?)
}

struct Broker;

impl Source for Broker {
    fn channels(&self) -> Option<ChannelStats> {
        let patterns = [
            ("agents:*", 37),
            ("private:*", 411),
            ("public:*", 780),
            ("unknown", 6),
        ];
        Some(ChannelStats {
            total_active: 1_234,
            by_pattern: patterns
                .map(|(pattern, count)| (pattern.into(), count))
                .into(),
        })
    }

    fn presence(&self) -> Option<PresenceStats> {
        Some(PresenceStats {
            total_users: 8_021,
            total_agents: 37,
            average_per_channel: 6.53,
        })
    }

    fn history(&self) -> Option<HistoryStats> {
        Some(HistoryStats {
            total_envelopes_buffered: 118_000,
            buffer_utilization_pct: 72.4,
        })
    }
}

/// A family of our text page, for a peer to show the same.
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) is_counter: bool,
    pub(crate) samples: Vec<Sample>,
}

pub(crate) struct Sample {
    pub(crate) labels: Vec<(String, String)>,
    /// As it stands on the page.
    pub(crate) value: String,
}

pub(crate) fn families() -> Result<Vec<Family>> {
    let page = String::from_utf8(aggregator()?.render(Format::Prometheus))?;
    let mut families: Vec<Family> = Vec::new();
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').ok_or("a family without a help")?;
            families.push(Family {
                name: name.to_owned(),
                help: help.to_owned(),
                is_counter: false,
                samples: Vec::new(),
            });
            continue;
        }
        let family = families.last_mut().ok_or("a line without a family")?;
        if line.starts_with("# TYPE ") {
            family.is_counter = line.ends_with(" counter");
        } else {
            family.samples.push(Sample::parse(line)?);
        }
    }
    Ok(families)
}

impl Sample {
    /// Of a line whose labels contain nothing that would be escaped: those above do not.
    fn parse(line: &str) -> Result<Self> {
        let (series, value) = line
            .rsplit_once(' ')
            .ok_or("a sample needs a name and a value")?;
        let labels = series
            .split_once('{')
            .map_or("", |(_, labels)| labels.trim_end_matches('}'));
        let labels = labels
            .split(',')
            .filter_map(|label| label.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
            .collect();
        Ok(Self {
            labels,
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::families;

    #[test]
    fn the_peers_show_as_much_as_we_do() {
        let families = families().expect("our page is read back");
        let samples: usize = families.iter().map(|family| family.samples.len()).sum();
        assert_eq!((families.len(), samples), (19, 29));
        let total = families.iter().find(|family| family.is_counter);
        let total = total.expect("one is a counter");
        assert_eq!(total.name, "parsec_telemetry_envelopes_total");
        let data = &total.samples[1];
        assert_eq!(data.labels, [("aspect".to_owned(), "data".to_owned())]);
        assert_eq!(data.value, "48211");
    }
}
