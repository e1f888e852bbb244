//! The public face of the collector.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::alerts::{AlertRule, AlertRuleError, validate_alert_rules};
use crate::board::{AddedSource, short_type_name};
use crate::clock::CoarseClock;
use crate::collector::{Collector, Setup};
use crate::encode::Format;
use crate::label::bounded;
use crate::merge::EnvelopeRate;
use crate::snapshot::Snapshot;
use crate::source::Source;

/// Merges the reports of sources into a [`Snapshot`], and evaluates alert rules on it.
///
/// Counts are summed over the sources that report them, and saturate at 2^63 − 1. `rate_per_second`,
/// `average_per_channel`, `buffer_utilization_pct` and `hit_rate_pct` are averaged, zeros included; a float that is
/// not finite counts as not reported. Patterns and aspects above 128 bytes are cut to 111, `~` and a hash. With two
/// [`EnvelopeCounters`](crate::EnvelopeCounters) that each see a part of the traffic, call
/// [`sum_envelope_rates`](Self::sum_envelope_rates).
///
/// ```
/// use parsec_telemetry::{Aggregator, AlertRule, EnvelopeCounters, Severity, TokenCounters};
///
/// let (envelopes, tokens) = (EnvelopeCounters::new(), TokenCounters::new());
/// let aggregator = Aggregator::new()
///     .source(envelopes.clone())
///     .source(tokens.clone())
///     .with_alerts(vec![AlertRule::new("no_tokens", Severity::Warning, |s| s.tokens.active_count == 0)])?;
///
/// envelopes.observe("data");
/// let snapshot = aggregator.snapshot();
/// assert_eq!(snapshot.envelopes.by_aspect["data"], 1);
/// assert_eq!(snapshot.alerts[0].name, "no_tokens");
/// # Ok::<(), parsec_telemetry::AlertRuleError>(())
/// ```
///
/// # Sources that fail
///
/// A call that panics, returns an error or is late changes no number: the last good report of the source stays in
/// every sum and average, whole, and [`Snapshot::sources`] shows its age. So no counter falls and no alert changes
/// because a call failed. Split a source whose sections should fail apart. A source is stale, and `up` is false, when
/// its last call failed, when a call has been in flight for more than 5 seconds
/// ([`Schedule::Every`](crate::Schedule): more than its period), or when it has never reported.
///
/// A rule that panics keeps its state, is counted, and names its error. With `panic = "abort"`, a panic ends the process.
///
/// # Threads
///
/// [`snapshot`](Self::snapshot) works on the calling thread. Pages over HTTP are made by one collector thread per
/// aggregator, a worker for each source that is not [`Inline`](crate::Schedule::Inline), and one for the rules, all
/// spawned at first use. Clones share all of them; adding a source, a rule or a clock to a clone gives it its own.
#[derive(Clone)]
pub struct Aggregator {
    collector: Arc<Collector>,
}

impl Aggregator {
    /// Returns an aggregator without sources: no section is measured.
    #[must_use]
    pub fn new() -> Self {
        Self::from_setup(Setup {
            sources: Vec::new(),
            rules: Vec::new(),
            envelope_rate: EnvelopeRate::default(),
            clock: None,
            started_at: SystemTime::now(),
        })
    }

    /// Adds a source, named after its type without path, generics, and the wrappers `Arc`, `Box`, `Option` and `Polled`.
    /// The rates of two counters are averaged unless [`sum_envelope_rates`](Self::sum_envelope_rates) is set.
    #[must_use]
    pub fn source<S: Source + 'static>(self, source: S) -> Self {
        self.named_source(short_type_name(std::any::type_name::<S>()), source)
    }

    /// Adds a source under a name, which is shown with its state on each page. A name that is taken gets a suffix: `_2`,
    /// `_3` and so on. One above 128 bytes is cut to 111, `~` and a hash.
    ///
    /// ```
    /// use parsec_telemetry::{Aggregator, TokenCounters};
    ///
    /// let aggregator = Aggregator::new().named_source("logins", TokenCounters::new());
    /// assert_eq!(aggregator.snapshot().sources[0].name, "logins");
    /// ```
    #[must_use]
    pub fn named_source<S: Source + 'static>(self, name: impl Into<String>, source: S) -> Self {
        let name = name.into();
        self.with(|setup| {
            let name = setup.free_name(&name);
            setup.sources.push(AddedSource {
                name,
                type_name: bounded(short_type_name(std::any::type_name::<S>())).into_owned(),
                schedule: source.schedule(),
                source: Arc::new(source),
            });
        })
    }

    /// Adds alert rules, which are evaluated on every snapshot.
    ///
    /// # Errors
    ///
    /// If a rule has no name, one above 128 bytes, or that of another rule, here or among those added before.
    pub fn with_alerts(self, rules: Vec<AlertRule>) -> Result<Self, AlertRuleError> {
        let present = &self.collector.setup().rules;
        validate_alert_rules(&[present, &rules[..]].concat())?;
        Ok(self.with(|setup| setup.rules.extend(rules)))
    }

    /// Sums the envelope rates of the sources instead of averaging them.
    ///
    /// Averaging is what the wire contract says, and is right where each source reports the same stream. Summing is
    /// right where each of several counters sees a part of the stream.
    #[must_use]
    pub fn sum_envelope_rates(self) -> Self {
        self.with(|setup| setup.envelope_rate = EnvelopeRate::Summed)
    }

    /// Sets the clock that snapshots are dated by. Defaults to the [shared clock](CoarseClock::shared).
    #[must_use]
    pub fn clock(self, clock: CoarseClock) -> Self {
        self.with(|setup| {
            setup.started_at = clock.now();
            setup.clock = Some(clock);
        })
    }

    /// Calls every source in turn, then evaluates every rule, all on the calling thread.
    ///
    /// It blocks for as long as a source or a rule does. A source with [`Schedule::Every`](crate::Schedule::Every) is
    /// called only until its first call returns.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.collector.snapshot()
    }

    /// Takes a [`snapshot`](Self::snapshot) and renders it as a page.
    #[must_use]
    pub fn render(&self, format: Format) -> Vec<u8> {
        format.render(&self.snapshot())
    }

    pub(crate) fn collector(&self) -> &Arc<Collector> {
        &self.collector
    }

    fn from_setup(setup: Setup) -> Self {
        Self { collector: Arc::new(Collector::new(setup)) }
    }

    /// Changes the setup. Clones keep theirs.
    fn with(self, change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = self.collector.setup().clone();
        change(&mut setup);
        Self::from_setup(setup)
    }
}

impl Default for Aggregator {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Aggregator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setup = self.collector.setup();
        let sources: Vec<&str> = setup.sources.iter().map(|added| &*added.name).collect();
        f.debug_struct("Aggregator")
            .field("sources", &sources)
            .field("rules", &setup.rules)
            .field("envelope_rate", &setup.envelope_rate)
            .finish_non_exhaustive()
    }
}
