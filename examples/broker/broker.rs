//! The broker's parts, and the telemetry over them. This is what to copy from.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use parsec_telemetry::{
    Aggregator, Aspect, CacheSource, ChannelSource, EnvelopeCounters, Server, TokenCounters,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::args::Options;
use crate::channels::Channels;
use crate::reply::Refusal;
use crate::tokens::Tokens;
use crate::{alerts, limits};

pub(crate) struct Broker {
    pub(crate) channels: Arc<Channels>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) aggregator: Aggregator,
    pub(crate) pages: Server,
    envelopes: EnvelopeCounters,
    data: Aspect,
}

impl Broker {
    pub(crate) fn new(options: &Options) -> Result<Self, Box<dyn Error>> {
        // Counters are cheap to clone, and clones share: one goes where things happen, one goes to
        // the page.
        let envelopes = EnvelopeCounters::new();
        let token_counters = TokenCounters::new();

        let channels = Arc::new(Channels::new(
            options.grammar.clone(),
            options.channels,
            options.history,
        ));
        let tokens = Arc::new(Tokens::new(token_counters.clone(), options.cache));

        let cached = Arc::clone(&tokens);
        let aggregator = Aggregator::new()
            .source(envelopes.clone())
            .source(token_counters)
            .source(CacheSource::new(move || cached.cache_counters()))
            .source(ChannelSource::new(Arc::clone(&channels)))
            // Our own: see `sources.rs`.
            .source(Arc::clone(&channels))
            .with_alerts(alerts::rules(options.channels))?;

        let mut pages = Server::builder(aggregator.clone());
        if let Some(token) = &options.page_token {
            pages = pages.bearer_token(token.as_str())?;
        }

        Ok(Self {
            channels,
            tokens,
            pages: pages.build(),
            aggregator,
            // Nearly all messages are of this aspect, so its name is looked up once, here, and
            // never again.
            data: envelopes.aspect("data"),
            envelopes,
        })
    }

    pub(crate) fn publish(
        &self,
        channel: &str,
        aspect: &str,
        payload: &str,
    ) -> Result<u64, Refusal> {
        let id = self.channels.publish(channel, aspect, payload)?;
        if aspect == self.data.name() {
            self.data.observe();
        } else {
            // Publishers choose these names. The counters bound how many they keep, so no table
            // here has to.
            self.envelopes.observe(aspect);
        }
        Ok(id)
    }
}

/// Drops expired tokens and idle channels, for ever.
pub(crate) async fn sweep(broker: Arc<Broker>) {
    let mut ticks = interval(limits::SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        broker.tokens.sweep(now);
        broker.channels.forget_idle(now);
    }
}
