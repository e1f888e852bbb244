//! The broker's components and the aggregator over them. Copy from here.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use parsec_telemetry::{
    Aggregator, AlertTransition, Aspect, CacheSource, ChannelSource, EnvelopeCounters, Monitor, Server, TokenCounters,
};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{MissedTickBehavior, interval};

use crate::args::Options;
use crate::channels::Channels;
use crate::error::ApiError;
use crate::tokens::Tokens;
use crate::{alerts, chaos, limits};

pub(crate) struct Broker {
    pub(crate) channels: Arc<Channels>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) aggregator: Aggregator,
    pub(crate) telemetry: Server,
    _monitor: Monitor,
    envelopes: EnvelopeCounters,
    data: Aspect,
}

impl Broker {
    /// Also returns the receiver of each change of an alert's state.
    pub(crate) fn new(options: &Options) -> Result<(Self, UnboundedReceiver<AlertTransition>), Box<dyn Error>> {
        // Clones share their counts: one clone records, the other is the aggregator's source.
        let envelopes = EnvelopeCounters::new();
        let token_counters = TokenCounters::new();

        let channels = Arc::new(Channels::new(options.patterns.clone(), options.max_channels, options.history));
        let tokens = Arc::new(Tokens::new(token_counters.clone(), options.cache));

        let cached = Arc::clone(&tokens);
        let mut cache = CacheSource::new(move || cached.cache_counters());
        if let Some(cycle) = options.chaos {
            cache = cache.clock(chaos::cache_clock(cycle));
        }
        let aggregator = Aggregator::new()
            .source(envelopes.clone())
            .source(token_counters)
            .source(cache)
            .source(ChannelSource::new(Arc::clone(&channels)))
            // The broker's own source: see `sources.rs`. Its type is `Channels`, as that of a section.
            .named_source("sessions", Arc::clone(&channels))
            .with_alerts(alerts::rules(options.max_channels, options.max_alert_delay))?;
        // Evaluates the rules every second, whether or not a page is read.
        let (sender, transitions) = mpsc::unbounded_channel();
        let monitor =
            Monitor::builder(&aggregator).on_transition(move |change| drop(sender.send(change.clone()))).start();

        let mut telemetry = Server::builder(aggregator.clone());
        if let Some(token) = &options.page_token {
            telemetry = telemetry.bearer_token(token.as_str())?;
        }

        let broker = Self {
            channels,
            tokens,
            telemetry: telemetry.build(),
            _monitor: monitor,
            aggregator,
            // Most messages have this aspect: a handle saves the lookup on each publish.
            data: envelopes.aspect("data"),
            envelopes,
        };
        Ok((broker, transitions))
    }

    pub(crate) fn publish(&self, channel: &str, aspect: &str, payload: &str) -> Result<u64, ApiError> {
        let id = self.channels.publish(channel, aspect, payload)?;
        if aspect == self.data.name() {
            self.data.observe();
        } else {
            // Clients choose the aspect. The counters limit how many names they keep.
            self.envelopes.observe(aspect);
        }
        Ok(id)
    }
}

/// Removes expired tokens and idle channels every [`limits::SWEEP_INTERVAL`].
pub(crate) async fn sweep(broker: Arc<Broker>) {
    let mut ticks = interval(limits::SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        broker.tokens.remove_expired(now);
        broker.channels.remove_idle(now);
    }
}
